"""`load` and `open_index`: from a name to an embedder, from a folder to an index."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unbraid.bundle import PRECISIONS, STARTER, read_bundle
from unbraid.embedder import Embedder
from unbraid.errors import BundleError, MissingExtraError, StoreError
from unbraid.hub_bundle import fetch_bundle

if TYPE_CHECKING:  # loads Qdrant Edge
    from unbraid.index.index import Index

COLLECTION = "unbraid"  # on a Qdrant server, where no other name is given


def load(
    source: str | Path | None = None,
    *,
    revision: str | None = None,
    threads: int | None = None,
    precision: str | None = None,
    tier: str | None = None,
    language: str | None = None,
) -> Embedder:
    """An embedder from the starter inside the package (None or "starter"), a bundle folder, or a hub id "org/name".

    `revision` pins a hub id: a commit, tag or branch. `threads` is how many batches run at a time. `precision` "int8" or
    "fp32" picks the encoders' graphs where the bundle has both; the default is the bundle's own. By default each text
    goes to the tier for its language (`Embedder.route`). `language`, such as "de", says the language of all texts. `tier`
    sends every text to one tier: "nano" is much faster and less exact, in the same base space. Every file is verified
    before it is used. Raises BundleError when the bundle is not found or refused, or lacks the tier, ItemError for a
    `language` that is no code.
    """
    if precision not in (None, *PRECISIONS):
        raise BundleError(f"precision {precision!r} is not known: expected one of {', '.join(PRECISIONS)}")
    folder = STARTER if source is None or source == STARTER.name else Path(source)
    # Path.exists raises for a name that is too long.
    bundle = read_bundle(folder) if os.path.exists(folder) else fetch_bundle(str(source), revision)
    return Embedder(bundle, threads=threads, precision=precision, tier=tier, language=language)


def open_index(
    path: str | Path | None = None,
    *,
    model: Any = None,
    read_only: bool = False,
    qdrant: str | None = None,
    collection: str | None = None,
    dim: int | None = None,
    numbers: Literal["float32", "float16"] | None = None,
    candidates: Literal["auto", "exact", "int8", "binary"] | None = None,
) -> "Index":
    """The index in the folder `path`, or in a `collection` of the Qdrant server at the URL `qdrant`.

    An index that does not exist is made when files are added. `model` is an embedder or a function that loads one when
    it is first needed; `unbraid.load` by default. `dim`, `numbers` and `candidates` say how a new index keeps its
    vectors: how many dimensions, in which numbers, and whether candidates come from these or from a smaller copy; by default
    from a copy in int8 once there are 50,000 chunks. With `read_only` nothing is written but token_vectors.sqlite, a cache,
    and an index that does not exist is an error. Raises StoreError for something that is not an index, was made with another
    base or other options, or is held by a process that cannot be reached.
    """
    from unbraid.index.index import Index

    if (path is None) == (qdrant is None):
        raise StoreError("give either the folder of the index or qdrant=URL")
    if collection is not None and qdrant is None:
        raise StoreError("collection goes with qdrant=URL")
    kind: Any
    where: tuple[Any, ...]
    if path is not None:
        from unbraid.index.store.shared_store import SharedStore as kind

        where, place = (Path(path).expanduser(),), str(Path(path).expanduser())
    else:
        try:
            from unbraid.index.store.qdrant_store import QdrantStore as kind
        except ImportError as error:
            raise MissingExtraError("qdrant_client", "cluster") from error
        name = collection or COLLECTION
        where, place = (qdrant, name), f"collection {name} at {qdrant}"
    store = kind.open(*where)
    if store is None and read_only:
        make = f"--into {place}" if path is not None else f"--qdrant {qdrant} --collection NAME"
        raise StoreError(f"no index at {place}; make one with: unbraid index PATH... {make}")
    options = {"dim": dim, "numbers": numbers, "candidates": candidates}
    load_model: Callable[[], Any] = load if model is None else model if callable(model) else lambda: model
    try:
        index = Index(
            store,
            place=store.place if store else place,
            create=lambda meta: kind.create(*where, meta),
            load_model=load_model,
            options={name: value for name, value in options.items() if value is not None},
            read_only=read_only,
        )
        if store is not None and model is not None and not callable(model):
            index.model  # noqa: B018  # another base is an error now
    except BaseException:
        if store is not None:
            store.close()
        raise
    return index
