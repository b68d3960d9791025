"""An index in a folder or on a Qdrant server: the options that say which, opening it, and from one to the other."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from unbraid.embedder import Embedder
from unbraid.errors import UnbraidError, require
from unbraid.progress import counting

COLLECTION = "unbraid"

Url = Annotated[
    str | None,
    typer.Option(
        "--qdrant",
        metavar="URL",
        help="A Qdrant server in place of a folder, as http://HOST:6333; its key is read from QDRANT_API_KEY.",
    ),
]
Name = Annotated[
    str | None, typer.Option("--collection", help=f"With --qdrant: the collection; {COLLECTION} if left out.")
]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of the index.")]
ServerUrl = Annotated[
    str,
    typer.Option("--qdrant", metavar="URL", help="As http://HOST:6333; its key is read from QDRANT_API_KEY."),
]
AsJson = Annotated[bool, typer.Option("--json", help="As one JSON object.")]

app = typer.Typer()


def open_index(
    folder: Path | None,
    option: str,
    url: str | None,
    name: str | None,
    embedder: Embedder,
    *,
    create: bool = False,
    storage: Any = None,
) -> Any:
    """The index of an embedder's base vectors in `folder`, which came as `option`, or on the server at `url`."""
    from unbraid.index import Store, provenance

    if (folder is None) == (url is None):
        raise typer.BadParameter(f"give either {option} FOLDER or --qdrant URL")
    _check_name(url, name)
    made_with = provenance(embedder)
    if url is None:
        return Store.open(
            folder or "",
            base_id=embedder.base_id,
            dim=embedder.dim,
            create=create,
            provenance=made_with,
            storage=storage,
        )
    collection, client = _server(url)
    return collection.open(
        client,
        name or COLLECTION,
        base_id=embedder.base_id,
        dim=embedder.dim,
        create=create,
        provenance=made_with,
        storage=storage,
    )


def reopen_index(folder: Path | None, url: str | None, name: str | None) -> Any:
    """The index in `folder`, or on the server at `url`, as it is: no model is needed."""
    from unbraid.index import Store

    _check_name(url, name)
    if url is None:
        return Store.reopen(folder or "")
    collection, client = _server(url)
    return collection.reopen(client, name or COLLECTION)


@app.command()
def push(folder: Folder, url: ServerUrl, name: Name = None, as_json: AsJson = False) -> None:
    """Put an index on a Qdrant server, as a new collection or into one of the same base; nothing is encoded."""
    from unbraid.index import Store

    collection, client = _server(url)
    with Store.reopen(folder) as source:
        meta = source.meta
        target = collection.open(
            client,
            name or COLLECTION,
            base_id=meta.base_id,
            dim=meta.dim,
            create=True,
            provenance=meta.provenance,
            storage=meta.storage,
        )
        with target:
            _copy("pushing", source, target, target.place, as_json)


@app.command()
def pull(folder: Folder, url: ServerUrl, name: Name = None, as_json: AsJson = False) -> None:
    """Put what a Qdrant server has into FOLDER, a new index or one of the same base; nothing is encoded."""
    from unbraid.index import Store
    from unbraid.index.store.meta import vacant

    with reopen_index(None, url, name) as source:
        meta = source.meta
        with Store.open(
            folder,
            base_id=meta.base_id,
            dim=meta.dim,
            create=True,
            provenance=meta.provenance,
            storage=meta.storage if vacant(folder) else None,
        ) as target:
            _copy("pulling", source, target, str(folder), as_json)


def _copy(what: str, source: Any, target: Any, place: str, as_json: bool) -> None:
    from unbraid.index.store.protocol import copy

    copied = left_out = 0
    whole = True

    def tell(more: int) -> None:
        nonlocal copied
        copied += more
        done(more)

    try:
        with counting(what, unit="chunks", total=source.count()) as done:
            left_out = copy(source, target, tell)
    except KeyboardInterrupt:
        whole = False
    total = target.count()
    if as_json:
        typer.echo(json.dumps({"items": copied, "damaged": left_out, "total_chunks": total, "index": place}))
    else:
        typer.echo(f"{copied:,} chunks copied, {total:,} in {place}")
    if left_out:
        raise UnbraidError(
            f"{left_out:,} damaged chunks were left out; find them with: unbraid index verify FOLDER"
        )
    if not whole:
        typer.echo("unbraid: interrupted; what is counted above is in, run again for the rest", err=True)
        raise typer.Exit(130)


def _check_name(url: str | None, name: str | None) -> None:
    if name is not None and url is None:
        raise typer.BadParameter("--collection goes with --qdrant URL")


def _server(url: str) -> Any:
    """The class of an index on a server, and a client of the one at `url`."""
    require("qdrant_client", "cluster")
    from unbraid.index.store.qdrant_server import QdrantCollection, connect

    return QdrantCollection, connect(url)
