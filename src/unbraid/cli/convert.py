"""`unbraid index convert`: an index moves to a new bundle without being encoded again."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from unbraid.cli.options import Language, Model, Threads, Tier
from unbraid.errors import StoreError
from unbraid.items import MODALITIES
from unbraid.loading import load, open_index
from unbraid.progress import counting

app = typer.Typer()


@app.command()
def convert(
    folder: Annotated[Path, typer.Argument(metavar="INDEX", help="Folder of the index; it stays as it is.")],
    into: Annotated[Path, typer.Option("--into", help="Folder of the new index; must not exist.")],
    model: Model = None,
    tier: Tier = None,
    language: Language = None,
    pairs: Annotated[int, typer.Option(help="Items at most that are encoded for the fit.", min=50)] = 2000,
    leave_out: Annotated[
        list[str] | None,
        typer.Option("--leave-out", help="text, code or image: not converted; `unbraid index` encodes them."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Convert kinds that would lose much or are unknown, too.")
    ] = False,
    only_estimate: Annotated[
        bool, typer.Option("--estimate", help="Print what to expect, and convert nothing.")
    ] = False,
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Move an index to a newer bundle without encoding its files again, by a map fitted on some of its items.

    It prints what to expect first. Encoding everything again keeps more: unbraid index PATH... --into FOLDER.
    """
    from unbraid.index.store.shared_store import SharedStore
    from unbraid.index.transfer.convert import convert_index, doubts, fit
    from unbraid.index.transfer.shared_items import kinds_of, make_pairs

    left_out = tuple(leave_out or ())
    if unknown := set(left_out) - set(MODALITIES):
        raise typer.BadParameter(f"--leave-out {min(unknown)!r} is not one of {', '.join(MODALITIES)}")
    if into.exists() and not only_estimate:
        raise StoreError(f"{into} exists already: name a folder that does not")
    new = load(model, threads=threads, tier=tier, language=language)
    with open_index(folder, read_only=True) as index:
        store = index.store
        assert isinstance(store, SharedStore)
        if new.base_id == store.meta.base_id:
            raise StoreError(f"{folder} is of the base of {new.name} already: there is nothing to convert")
        held = kinds_of(store)
        with counting("encoding", unit="items", total=min(pairs, sum(held.values()))) as done:
            converter = fit(make_pairs(store, new, count=pairs, on_progress=done))
        kinds: dict[str, int] = {kind: count for kind, count in held.items() if kind not in left_out}
        if not as_json:
            made_with = store.meta.provenance.bundle
            typer.echo(f"{made_with or folder} -> {new.name}, fitted on {converter.pairs:,} items")
            typer.echo(report(converter.quality, kinds))
        doubtful = doubts(converter, kinds)
        about = {
            "pairs": converter.pairs,
            "converter": converter.id,
            "expected": {kind: asdict(found) for kind, found in converter.quality.items()},
            "doubts": doubtful,
        }
        if only_estimate:
            if as_json:
                typer.echo(json.dumps(about))
            return
        if doubtful and not force:
            raise StoreError(
                f"not converted: {'; '.join(doubtful)}. Use --leave-out KIND and encode those with `unbraid index`, "
                "give more --pairs, or --force"
            )
        with counting("converting", unit="items", total=store.count()) as done:
            made = convert_index(store, into, new, converter, done, leave_out=left_out)
    if made.damaged:
        typer.echo(
            f"unbraid: {made.damaged:,} damaged items were left out: unbraid index verify {folder}", err=True
        )
    if as_json:
        typer.echo(json.dumps({**about, **asdict(made), "index": str(into)}))
    else:
        more = f", {made.left_out:,} left out" if made.left_out else ""
        typer.echo(
            f"{made.items:,} items in {into}{more}; `unbraid index PATH... --into {into}` goes on from there"
        )


def report(quality: Mapping[str, Any], kinds: dict[str, int]) -> str:
    """What to expect of each kind of item in an index, as a table; `quality` is that of a converter."""
    lines = [
        "| kind  |   in index |  pairs | cosine | ten nearest kept | nearest among the ten |",
        "| ----- | ---------: | -----: | -----: | ---------------: | --------------------: |",
    ]
    for kind, count in kinds.items():
        found = quality.get(kind)
        cells = (
            f"{found.items:6,d} | {found.cosine:6.3f} | {found.recall:16.3f} | {found.nearest:21.3f}"
            if found
            else f"{'few':>6s} | {'?':>6s} | {'?':>16s} | {'?':>21s}"
        )
        lines.append(f"| {kind:5s} | {count:10,d} | {cells} |")
    lines.append(
        "against encoding again, on items that the fit had not seen; a search with one right answer keeps about the last "
        "column of its recall@10"
    )
    return "\n".join(lines)
