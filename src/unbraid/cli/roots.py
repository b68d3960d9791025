"""The roots of an index on the command line: list them, take one out, and see what of them was left out."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import structs, to_builtins

from unbraid.cli.options import AsJson
from unbraid.cli.place import Index, IndexName, find_index, one_place
from unbraid.cli.qdrant import Name, Tally, Url
from unbraid.io.printable import printable
from unbraid.loading import open_index
from unbraid.sizes import write_size

app = typer.Typer()


@app.command()
def roots(folder: Index = None, url: Url = None, name: Name = None, as_json: AsJson = False) -> None:
    """List the files and folders that an index was given, with their settings and numbers of files."""
    place = one_place(folder, "INDEX", None, url, name) if url else find_index(folder)
    with open_index(place, qdrant=url, collection=name, read_only=True) as index:
        found = index.roots()
    if as_json:
        typer.echo(json.dumps([structs.asdict(root) for root in found], ensure_ascii=False))
        return
    if not found:
        typer.echo(
            "no roots yet: an index of an earlier version has none until its next: unbraid index PATH..."
        )
    for root in found:
        typer.echo(describe(root))


@app.command()
def remove(
    root: Annotated[
        Path,
        typer.Argument(
            metavar="ROOT", help="A file or folder that `unbraid index roots` lists.", show_default=False
        ),
    ],
    folder: Annotated[
        Path | None, typer.Option("--in", help="Folder of the index; by default the one of your own.")
    ] = None,
    own: IndexName = None,
    url: Url = None,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Take a file or folder that the index was given out of it, with all that was found below it; the files stay."""
    place = one_place(folder, "--in", own, url, name)
    with open_index(place, qdrant=url, collection=name) as index:
        known = next((one.files for one in index.roots() if one.path == str(root)), 0)
        with Tally("removing", "files", known) as tally:
            index.remove_root(root, on_progress=tally.add)
        total = index.count()
    if as_json:
        typer.echo(json.dumps({"files": tally.count, "total_chunks": total, "index": index.place}))
    else:
        typer.echo(f"{root} removed with {tally.count:,} files, {total:,} chunks left in {index.place}")
    tally.exit_if_interrupted("gone")


@app.command()
def skipped(folder: Index = None, as_json: AsJson = False) -> None:
    """List what the last run over each root left out, with the reasons; hidden and ignored files are counted by rule."""
    with open_index(find_index(folder), read_only=True) as index:
        found = index.skipped()
    if as_json:
        typer.echo(json.dumps([to_builtins(one) for one in found], ensure_ascii=False))
        return
    if not found:
        typer.echo("nothing is known yet: what is left out is kept from the next run of unbraid index on")
    for one in found:
        typer.echo(f"{printable(one.root)}  {len(one.files) + sum(one.counts.values()):,} left out")
        for file in one.files:
            typer.echo(f"  {printable(file.path)}: {printable(file.reason)}")
        for reason, count in one.counts.items():
            typer.echo(f"  {count:,} {printable(reason)}")


def describe(root: Any) -> str:
    """A root in one line: its path, files, when it was refreshed, and the settings that are not the usual ones."""
    parts = [f"{root.files:,} file{'s' * (root.files != 1)}"]
    parts.append(
        f"refreshed {root.refreshed[:16].replace('T', ' ')} UTC" if root.refreshed else "never finished"
    )
    if root.include:
        parts.append(f"include {' '.join(root.include)}")
    if root.exclude:
        parts.append(f"exclude {' '.join(root.exclude)}")
    parts += ["hidden files too"] * root.hidden
    parts += ["no words in pictures"] * (not root.ocr)
    parts += ["pages as pictures"] * root.page_images + ["archives"] * root.archives
    parts += ["multi-vectors"] * root.multi_vector
    if root.max_size is not None:
        parts.append(f"up to {write_size(root.max_size)}")
    parts += [f"{field}={value}" for field, value in root.fields.items()]
    return printable(f"{root.path}  {', '.join(parts)}")
