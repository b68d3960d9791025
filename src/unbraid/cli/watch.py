"""`unbraid watch`: keep an index in line with the disk."""

import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from unbraid.cli.options import AsJson, Language, Model, Threads, Tier
from unbraid.cli.place import IndexName, existing, one_place
from unbraid.cli.qdrant import Name, Url
from unbraid.cli.refresh_few import summary
from unbraid.config import read_config
from unbraid.errors import StoreError, require
from unbraid.loading import load, open_index


def watch(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="Files and folders to make searchable first; by default those that the index was given before.",
        ),
    ] = None,
    into: Annotated[
        Path | None, typer.Option("--into", help="Folder of the index; made when it does not exist.")
    ] = None,
    own: IndexName = None,
    url: Url = None,
    name: Name = None,
    model: Model = None,
    tier: Tier = None,
    language: Language = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Keep an index in line with the disk: what you save can be searched two seconds later. Ctrl-C ends it.

    It watches every PATH that the index was ever given; `unbraid index roots` lists them. Searches go on meanwhile.
    """
    from unbraid.index.add import Report
    from unbraid.index.watch import watch as watch_index

    require("watchfiles", "watch")
    folder = one_place(into, "--into", own, url, name)
    if folder is not None and not paths:
        existing(folder)
    config = read_config()
    if tier is None and model is None:
        tier = config.tier

    def tell(found: Report | StoreError) -> None:
        at = time.strftime("%H:%M:%S")
        if isinstance(found, StoreError):
            typer.echo(f"unbraid: {at} {found}; tried again", err=True)
            return
        for doubt in found.doubts:
            typer.echo(f"unbraid: {doubt}; nothing of it was deleted from the index", err=True)
        if as_json:
            names = ("added", "changed", "moved", "deleted", "chunks")
            typer.echo(json.dumps({"time": at, **{name: getattr(found, name) for name in names}}))
        else:
            typer.echo(f"{at}  {summary(found)}")
        sys.stdout.flush()

    with open_index(
        folder,
        qdrant=url,
        collection=name,
        model=lambda: load(model, threads=threads, tier=tier, language=language),
    ) as index:
        # What a service manager sends is as Ctrl-C: the index is closed as usual.
        usual = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            if paths:
                bar = True if sys.stderr.isatty() else None
                if index.add(paths, defaults=config.of_new_roots, progress=bar).interrupted:
                    raise KeyboardInterrupt
            watch_index(index, tell, threading.Event())
        except KeyboardInterrupt:
            typer.echo("unbraid: the index is up to date with what is listed above", err=True)
        finally:
            signal.signal(signal.SIGTERM, usual)
