"""Which index a command means: a folder, a name, a Qdrant server, or the one that a person has by default."""

import os
from pathlib import Path
from typing import Annotated

import typer

from unbraid.config import read_config
from unbraid.errors import StoreError
from unbraid.places import DEFAULT, INDEX, index_folder, named_indexes

IndexName = Annotated[
    str | None,
    typer.Option(
        "--index",
        metavar="NAME",
        help=f"An index of yours by its name, or a path. By default {INDEX}, the config file, or {DEFAULT}.",
    ),
]
# For commands about one index; resolved by `find_index`.
Index = Annotated[
    Path | None,
    typer.Argument(metavar="[INDEX]", help="Folder or name of the index; by default the one of your own."),
]


def default_index() -> Path:
    """The index that is meant where none is named: by UNBRAID_INDEX, the config file, or the usual name."""
    return index_folder(os.environ.get(INDEX) or read_config().index or DEFAULT)


def find_index(given: Path | None) -> Path:
    """The folder that a command's INDEX means: a folder, else the index of that name, or the default one."""
    if given is None:
        return existing(default_index())
    named = named_indexes().get(str(given))
    return named if named is not None and not given.exists() else given


def one_place(
    folder: Path | None, option: str, index: str | None, url: str | None, collection: str | None
) -> Path | None:
    """The folder of the index that the options of a command mean; None for one on a Qdrant server.

    `folder` came as `option`. Raises BadParameter where two are given.
    """
    if sum(one is not None for one in (folder, index, url)) > 1:
        raise typer.BadParameter(f"give one of {option} FOLDER, --index NAME and --qdrant URL")
    if collection is not None and url is None:
        raise typer.BadParameter("--collection goes with --qdrant URL")
    if url is not None or folder is not None:
        return folder
    return default_index() if index is None else index_folder(index)


def existing(folder: Path) -> Path:
    """`folder`, which must be there. Raises StoreError that names the indexes there are, or says how to make one."""
    if folder.exists():
        return folder
    names = ", ".join(named_indexes())
    has = f"; you have {names}" if names else ""
    raise StoreError(f"no index at {folder}{has}. Make one with: unbraid index FOLDER, or name another one")
