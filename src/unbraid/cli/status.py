"""`unbraid status` and `unbraid forget`: the indexes that a person has, and how one goes."""

import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import structs

from unbraid.cli.options import AsJson
from unbraid.cli.place import default_index, find_index
from unbraid.cli.roots import describe
from unbraid.config import read_config
from unbraid.errors import StoreError
from unbraid.places import MARK, config_file, named_indexes
from unbraid.sizes import disk_bytes, write_size


def status(as_json: AsJson = False) -> None:
    """Show your indexes, their folders and files, their sizes, when they were refreshed, and the config file."""
    from unbraid.index.roots import NOTE, parse_roots
    from unbraid.index.under_way import under_way

    read_config()  # a mistake in it is told here too
    indexes = named_indexes()
    chosen = default_index()
    if chosen not in indexes.values() and (chosen / MARK).exists():
        indexes = {str(chosen): chosen, **indexes}
    about: list[dict[str, Any]] = []
    for name, folder in indexes.items():
        note = folder / f"{NOTE}.json"
        roots = parse_roots(note.read_bytes() if note.exists() else None, str(folder))
        about.append(
            {"name": name, "folder": str(folder), "default": folder == chosen, "bytes": disk_bytes(folder)}
            | {"roots": roots, "under_way": under_way(folder)}
        )
    config = config_file()
    if as_json:
        for one in about:
            one["roots"] = [structs.asdict(root) for root in one["roots"]]
            one["under_way"] = one["under_way"] and one["under_way"].facts()
        found = {"config": str(config), "config_exists": config.exists(), "indexes": about}
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    for one in about:
        files = sum(root.files for root in one["roots"])
        mark = ", the default" * one["default"]
        typer.echo(
            f"{one['name']}{mark}: {files:,} file{'s' * (files != 1)}, {write_size(one['bytes'])} in {one['folder']}"
        )
        if one["under_way"]:
            typer.echo(f"  {one['under_way']}")
        for root in one["roots"]:
            typer.echo(f"  {describe(root)}")
    if not about:
        typer.echo("no index yet; make one with: unbraid index FOLDER")
    typer.echo(f"config file: {config}{'' if config.exists() else ' (none)'}")


def forget(
    name: Annotated[
        Path | None,
        typer.Argument(
            metavar="[NAME]",
            help="Name or folder of the index; by default the one that a search without a name uses.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove an index of yours from the disk, after asking. The files that it was made from stay."""
    from unbraid.index.store.folder_store import FolderStore

    folder = find_index(name).resolve()
    if not (folder / MARK).is_file():
        raise StoreError(f"{folder} is not an index: it has no {MARK}; nothing was removed")
    size = write_size(disk_bytes(folder))
    if not yes and not typer.confirm(f"Remove the index {folder} ({size})?", default=False, err=True):
        raise typer.Exit(1)
    store = FolderStore.open(folder)  # an error where another process uses it
    if store is not None:
        (folder / MARK).unlink()  # from here on it is no index, also if what follows is cut off
        store.close()
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise StoreError(
            f"{folder} is no index any more, but not all of it could be removed: {error}"
        ) from error
    typer.echo(f"removed {folder}, {size}")
