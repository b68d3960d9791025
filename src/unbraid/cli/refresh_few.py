"""`unbraid search --refresh`: bring an index up to date before a search, where little has changed."""

from typing import Any

import typer

from unbraid.io.lock import FolderHeld

MOST = 100  # files: some seconds


def refresh_few(index: Any) -> None:
    """Index what changed in the roots of `index`, if that is little; says on standard error what was done."""
    changed = index.changed_places()
    if not changed:
        return
    if len(changed) > MOST:
        typer.echo(
            f"unbraid: {len(changed):,} files have changed, more than --refresh does; searched as it is. Bring it up to date: "
            f"unbraid index --into {index.place}",
            err=True,
        )
        return
    try:
        report = index.refresh_places(changed)
    except FolderHeld as held:
        typer.echo(f"unbraid: {held}; searched as it is", err=True)
        return
    if report.interrupted:
        raise KeyboardInterrupt
    typer.echo(f"unbraid: refreshed: {summary(report)}", err=True)


def summary(report: Any) -> str:
    """What a run did, in a line."""
    counts = {
        "added": report.added,
        "changed": report.changed,
        "moved or copied": report.moved,
        "gone": report.deleted,
    }
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "nothing to do"
