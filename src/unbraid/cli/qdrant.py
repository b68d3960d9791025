"""An index in a folder or on a Qdrant server: the options that say which, opening it, and copying between the two."""

import json
from pathlib import Path
from typing import Annotated, Any, Self

import typer

from unbraid.cli.options import AsJson, Model, Tier
from unbraid.errors import UnbraidError
from unbraid.loading import COLLECTION, load, open_index
from unbraid.progress import counting

Url = Annotated[
    str | None,
    typer.Option(
        "--qdrant",
        metavar="URL",
        help="A Qdrant server instead of a folder, such as http://HOST:6333. The key comes from QDRANT_API_KEY.",
    ),
]
Name = Annotated[
    str | None, typer.Option("--collection", help=f"With --qdrant: the collection; {COLLECTION} if left out.")
]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of the index.")]
ServerUrl = Annotated[
    str,
    typer.Option(
        "--qdrant", metavar="URL", help="Such as http://HOST:6333. The key comes from QDRANT_API_KEY."
    ),
]

app = typer.Typer()


class Tally:
    """Counts what is done and draws a bar. Ctrl-C ends the block, and what is done stays counted."""

    def __init__(self, what: str, unit: str, total: int) -> None:
        """For `total` units of work."""
        self.count = 0
        self.interrupted = False
        self._bar = counting(what, unit=unit, total=total)

    def __enter__(self) -> Self:
        """Draw the bar."""
        self._tell = self._bar.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *about: object) -> bool:
        """Remove the bar; Ctrl-C is noted."""
        self._bar.__exit__(None, None, None)
        self.interrupted = kind is KeyboardInterrupt
        return self.interrupted

    def add(self, more: int) -> None:
        """Count `more` as done."""
        self.count += more
        self._tell(more)

    def exit_if_interrupted(self, state: str) -> None:
        """After Ctrl-C, print where the counted work is (`state`) and exit with 130."""
        if self.interrupted:
            typer.echo(
                f"unbraid: interrupted; what is counted above is {state}, run again for the rest", err=True
            )
            raise typer.Exit(130)


@app.command()
def push(folder: Folder, url: ServerUrl, name: Name = None, as_json: AsJson = False) -> None:
    """Put an index on a Qdrant server, as a new collection or into one of the same base; nothing is encoded."""
    with (
        open_index(folder, read_only=True) as source,
        open_index(qdrant=url, collection=name) as target,
    ):
        _copy("pushing", source, target, as_json)


@app.command()
def pull(folder: Folder, url: ServerUrl, name: Name = None, as_json: AsJson = False) -> None:
    """Put what a Qdrant server has into FOLDER, a new index or one of the same base; nothing is encoded."""
    with (
        open_index(qdrant=url, collection=name, read_only=True) as source,
        open_index(folder) as target,
    ):
        _copy("pulling", source, target, as_json)


@app.command("multi-vectors")
def multi_vectors(
    url: ServerUrl,
    name: Name = None,
    model: Model = None,
    tier: Tier = None,
    vectors: Annotated[
        int | None,
        typer.Option("--vectors", help="At most this many for a chunk, by joining; default: all.", min=1),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give the texts and code of a Qdrant collection that have none their multi-vectors, which the server compares by MaxSim."""
    from unbraid.index.store.qdrant_store import QdrantStore
    from unbraid.index.transfer.multi_vectors import add_multi_vectors

    with open_index(qdrant=url, collection=name, model=load(model, tier=tier)) as index:
        store = index.store
        assert isinstance(store, QdrantStore)  # what a URL opens
        with Tally("multi-vectors", "chunks", index.count()) as tally:
            add_multi_vectors(store, index.model, vectors=vectors, on_progress=tally.add)
        if as_json:
            typer.echo(json.dumps({"items": tally.count, "index": store.place}))
        else:
            typer.echo(f"{tally.count:,} chunks have multi-vectors now, in {store.place}")
        tally.exit_if_interrupted("in")


def _copy(what: str, source: Any, target: Any, as_json: bool) -> None:
    left_out = 0
    with Tally(what, "chunks", source.count()) as tally:
        left_out = source.copy_to(target, on_progress=tally.add)
    total, place = target.count(), target.store.place
    if as_json:
        about = {"items": tally.count, "damaged": left_out, "total_chunks": total, "index": place}
        typer.echo(json.dumps(about))
    else:
        typer.echo(f"{tally.count:,} chunks copied, {total:,} in {place}")
    if left_out:
        raise UnbraidError(
            f"{left_out:,} damaged chunks were left out; find them with: unbraid index verify FOLDER"
        )
    tally.exit_if_interrupted("in")
