"""Progress of long work on standard error: share done, rate and time left."""

import sys
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
LONG = 30  # steps; below, the bar would be gone before it is read


def track(steps: Sequence[T], what: str, *, unit: str, shown: bool | None = None) -> Iterator[T]:
    """Yield each of `steps` and draw a bar.

    `shown` None means: where a person watches standard error, and the work is long.
    """
    if shown is None:
        shown = len(steps) >= LONG and sys.stderr.isatty()
    if not shown:
        yield from steps
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=len(steps), rate="")
        for step in steps:
            yield step
            progress.advance(task)
            speed = progress.tasks[0].speed
            progress.update(task, rate=f"{speed:,.1f}/s" if speed else "")
