"""`unbraid index`: make folders searchable, and look after the index that comes of it."""

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Self

import typer
from typer.core import TyperGroup

from unbraid.bundle import SMALL
from unbraid.cli import qdrant as cli_qdrant
from unbraid.cli.options import Model, Threads, Tier
from unbraid.cli.qdrant import AsJson, Folder
from unbraid.errors import DataError
from unbraid.loading import load
from unbraid.progress import counting

GROUP = 200  # paths deleted at a time: each time ends on the disk, so Ctrl-C loses no more than a moment


class _AddUnlessNamed(TyperGroup):
    """`unbraid index ~/notes --into X` is `unbraid index add ~/notes --into X`: what is no command is a path."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["add", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_AddUnlessNamed,
    help="Make folders of text, code and pictures searchable, and look after the index.\n\n"
    "unbraid index PATH... --into FOLDER indexes; run it again after changes. It is short for `unbraid index add`, whose "
    "--help shows its options. A file or folder that has the name of a command below is given as ./stats.",
    no_args_is_help=True,
)

app.add_typer(cli_qdrant.app)


@app.command()
def add(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Files and folders to make searchable.")
    ],
    into: Annotated[
        Path | None, typer.Option("--into", help="Folder of the index; made when it does not exist.")
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=VALUE that a search can ask for, of every file under PATH; NAME= takes it away."
        ),
    ] = None,
    dim: Annotated[
        int | None,
        typer.Option(help="Of a new index: keep 512, 256, 128 or 64 dimensions of each base vector."),
    ] = None,
    numbers: Annotated[
        str | None, typer.Option(help="Of a new index: keep vectors in float32 or float16.")
    ] = None,
    candidates: Annotated[
        str | None,
        typer.Option(
            help="Of a new index: find candidates exact, or by a copy in int8 or binary (large ones)."
        ),
    ] = None,
    url: cli_qdrant.Url = None,
    name: cli_qdrant.Name = None,
    model: Model = None,
    tier: Tier = SMALL,
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as one JSON object.")] = False,
) -> None:
    """Make folders searchable; run it again after changes. The same as `unbraid index PATH... --into FOLDER`."""
    from dataclasses import asdict

    from unbraid.index import Storage, update
    from unbraid.index.files.walk import resolve_roots
    from unbraid.index.store.filter import fields_of

    fields = fields_of(field or [])
    embedder = load(model, threads=threads, tier=tier)
    if dim is not None and dim not in embedder.bundle.dims:
        raise DataError(f"--dim {dim}: expected one of {', '.join(map(str, embedder.bundle.dims))}")
    storage = None
    if dim or numbers or candidates:
        storage = Storage(dim or embedder.dim, numbers or "float32", candidates or "exact")  # type: ignore[arg-type]
    if into or url:
        resolve_roots(paths)  # before there is an index: one that a wrong path left would keep its storage
    with cli_qdrant.open_index(into, "--into", url, name, embedder, create=True, storage=storage) as store:
        report = update(store, embedder, paths, fields=fields, progress=sys.stderr.isatty())
        total = store.count()
    if as_json:
        typer.echo(json.dumps({**asdict(report), "total_chunks": total}, ensure_ascii=False))
    else:
        typer.echo(
            f"{report.added} added, {report.changed} changed, {report.moved} moved or copied, {report.unchanged} unchanged, "
            f"{report.deleted} gone; {report.chunks} chunks encoded, {total} in {into or store.place}"
        )
        typer.echo(", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in report.seconds.items()))
        for reason, skipped in report.skipped.items():
            typer.echo(f"skipped {skipped.count} {reason}: {', '.join(skipped.examples)}")
    if report.interrupted:
        typer.echo(
            "unbraid: interrupted; what is counted above is in the index, run again for the rest", err=True
        )
        raise typer.Exit(130)


@app.command()
def stats(folder: Folder, as_json: AsJson = False) -> None:
    """Say what an index holds, how large it is and which bundle made it."""
    from dataclasses import asdict

    from unbraid.index import Store

    with Store.reopen(folder) as store:
        about, meta = store.stats(), store.meta
    if as_json:
        typer.echo(json.dumps({"index": str(folder), **asdict(about), **asdict(meta)}, ensure_ascii=False))
        return
    made = meta.provenance
    unfinished = f", {about.incomplete} of them cut off: index again" if about.incomplete else ""
    rows = {
        "index": str(folder),
        "files": f"{about.files:,}{unfinished}",
        "chunks": ", ".join(f"{count:,} {kind}" for kind, count in about.chunks.items()) or "none",
        "languages": ", ".join(f"{count:,} chunks {name}" for name, count in about.languages.items())
        or "none",
        "size": f"{about.bytes / 1e6:.1f} MB",
        "vectors": str(meta.storage),
        "base id": f"{meta.base_id}, {meta.dim} dimensions",
        "made by": f"{made.bundle or 'unknown'} {made.bundle_id} with unbraid {meta.unbraid}",
        **({"converted": _origin(made.converted)} if made.converted else {}),
        "encoders": ", ".join(f"{name} {one}" for name, one in made.encoders.items()),
        "mappers": ", ".join(f"{task} {one}" for task, one in made.mappers.items()),
    }
    for name, value in rows.items():
        typer.echo(f"{name:11s}{value}")


@app.command()
def verify(
    folder: Folder,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Encode damaged items again where their file still has the content."),
    ] = False,
    model: Model = None,
    tier: Tier = SMALL,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Check every stored vector and payload; name what is damaged, and exit with 1 if anything is."""
    from dataclasses import asdict

    from unbraid.index import provenance
    from unbraid.index.store.verify import repair as put_right
    from unbraid.index.store.verify import verify as check

    with _Bar("verifying") as bar:
        found = check(folder, bar.advance)
    if as_json:
        about: dict[str, Any] = {"index": str(folder), "sound": found.sound, **asdict(found)}
    else:
        _say_findings(folder, found)
    left = not found.sound
    if repair and not found.sound:
        embedder = load(model, threads=threads, tier=tier)
        with _Bar("repairing") as bar:
            done = put_right(folder, embedder, bar.advance, provenance(embedder))
        left = bool(done.lost or done.missing)
        if as_json:
            about["repair"] = asdict(done)
        else:
            _say_repair(folder, done)
    elif left and not as_json:
        typer.echo(f"unbraid index verify {folder} --repair encodes again what its files still hold")
    if as_json:
        typer.echo(json.dumps(about, ensure_ascii=False))
    if left:
        raise typer.Exit(1)


@app.command()
def compact(folder: Folder, as_json: AsJson = False) -> None:
    """Give back the room of deleted and replaced chunks. Needs about the size of the index until it is done."""
    from unbraid.index import Store

    with Store.reopen(folder) as store:
        before = store.stats().bytes
        typer.echo(f"compacting {before / 1e6:.1f} MB; Ctrl-C does no harm", err=True)
        # The library works without looking at signals: let Ctrl-C end the process at once, which is as safe as kill -9.
        usual = signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            store.compact()
        finally:
            signal.signal(signal.SIGINT, usual)
    with Store.reopen(folder) as store:  # files that were replaced go when they are closed
        after = store.stats().bytes
    if as_json:
        typer.echo(json.dumps({"index": str(folder), "bytes_before": before, "bytes": after}))
    else:
        typer.echo(f"{before / 1e6:.1f} MB before, {after / 1e6:.1f} MB now in {folder}")


@app.command()
def export(
    folder: Folder,
    out: Annotated[Path, typer.Argument(metavar="OUT.parquet", help="The file; an older one is replaced.")],
    as_json: AsJson = False,
) -> None:
    """Write base vectors, what they came from and provenance to a Parquet file."""
    from unbraid.index import Store
    from unbraid.index.transfer.parquet_file import write_index

    if out.suffix != ".parquet" or not out.absolute().parent.is_dir():
        raise DataError(f"{out}: expected a file that ends in .parquet, in a folder that exists")
    with Store.reopen(folder) as store, counting("exporting", unit="chunks", total=store.count()) as done:
        count = write_index(store, out, done)
    typer.echo(json.dumps({"items": count, "file": str(out)}) if as_json else f"{count:,} chunks in {out}")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="IN.parquet", help="What `unbraid index export` wrote.")],
    folder: Folder,
    as_json: AsJson = False,
) -> None:
    """Put an exported index into FOLDER, a new one or one of the same base; nothing is encoded."""
    from unbraid.index import Store
    from unbraid.index.store.meta import vacant
    from unbraid.index.transfer.parquet_file import IndexFile

    given = IndexFile(file)
    meta = given.meta
    with Store.open(
        folder,
        base_id=meta.base_id,
        dim=meta.dim,
        create=True,
        provenance=meta.provenance,
        storage=meta.storage if vacant(folder) else None,
    ) as store:
        count, whole = 0, False

        def tell(more: int) -> None:
            nonlocal count
            count += more
            done(more)

        try:
            with counting("importing", unit="chunks", total=given.items) as done:
                given.load(store, tell)
            whole = True
        except KeyboardInterrupt:
            pass
        total = store.count()
    if as_json:
        typer.echo(json.dumps({"items": count, "total_chunks": total, "index": str(folder)}))
    else:
        typer.echo(f"{count:,} chunks imported, {total:,} in {folder}")
    if not whole:
        typer.echo("unbraid: interrupted; what is counted above is in, run again for the rest", err=True)
        raise typer.Exit(130)


@app.command()
def delete(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER PATH...",
            help="Folder of the index, left out with --qdrant; files and folders to take out, which need not exist.",
        ),
    ],
    url: cli_qdrant.Url = None,
    name: cli_qdrant.Name = None,
    as_json: AsJson = False,
) -> None:
    """Take files and folders out of an index; gone from the disk when it says so."""
    folder = paths.pop(0) if url is None else None
    if not paths:
        raise typer.BadParameter("give the FOLDER of the index and the PATHs to take out")
    with cli_qdrant.reopen_index(folder, url, name) as store:
        known = store.files()
        chosen = sorted({path for given in paths for path in _below(given, known)})
        removed = 0
        try:
            with counting("deleting", unit="files", total=len(chosen)) as done:
                for start in range(0, len(chosen), GROUP):
                    group = chosen[start : start + GROUP]
                    store.delete(group)
                    removed += len(group)
                    done(len(group))
        except KeyboardInterrupt:
            pass
        total = store.count()
    if as_json:
        typer.echo(json.dumps({"files": removed, "total_chunks": total, "index": str(folder or store.place)}))
    else:
        typer.echo(f"{removed:,} files taken out, {total:,} chunks left in {folder or store.place}")
    if removed < len(chosen):
        typer.echo("unbraid: interrupted; what is counted above is gone, run again for the rest", err=True)
        raise typer.Exit(130)


def _origin(converted: Mapping[str, Any]) -> str:
    """From what, and how well, the vectors of an index were converted."""
    kept = ", ".join(f"{kind} {found['nearest']:.0%}" for kind, found in converted["quality"].items())
    return f"from {converted['bundle'] or converted['base_id']}; of the nearest items kept: {kept}"


def _below(given: Path, known: Sequence[str] | Any) -> list[str]:
    """The paths of the index that are `given` or lie in it. Raises DataError when there are none."""
    tops = {Path(os.path.realpath(given)).as_posix(), Path(os.path.abspath(given)).as_posix()}
    found = [path for path in known if any(path == top or path.startswith(f"{top}/") for top in tops)]
    if not found:
        raise DataError(f"nothing in the index lies at {given}; nothing was deleted")
    return found


class _Bar:
    """A bar for work whose total is known only when it reports for the first time."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._context: Any = nullcontext()
        self._tell: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *about: object) -> None:
        self._context.__exit__(*about)

    def advance(self, done: int, total: int) -> None:
        """Show `done` more of `total` chunks."""
        if self._tell is None:
            self._context = counting(self.what, unit="chunks", total=total)
            self._tell = self._context.__enter__()
        self._tell(done)


def _say_findings(folder: Path, found: Any) -> None:
    for file, reason in found.broken.items():
        typer.echo(f"broken   {file}: {reason}")
    for item in found.damaged:
        typer.echo(f"damaged  {_place(item)}: {item.reason}")
    if found.missing:
        typer.echo(f"missing  {found.missing:,} chunks fewer than when the index was last closed")
    if found.sound:
        note = "" if found.sealed else "; its last writer was killed, what it had acknowledged is checked"
        typer.echo(f"{found.items:,} chunks in {folder}, all as they were written{note}")
    elif found.broken:
        typer.echo(f"{folder} is damaged, its chunks were not read")
    else:
        typer.echo(f"{found.items:,} chunks in {folder} are as they were written")


def _say_repair(folder: Path, done: Any) -> None:
    for path in done.encoded:
        typer.echo(f"encoded  {path}")
    for item in done.lost:
        typer.echo(f"lost     {_place(item)}: {item.reason}")
    if done.missing:
        typer.echo(f"lost     {done.missing:,} chunks that nothing names")
    if done.lost or done.missing:
        typer.echo("unbraid index PATH... --into, on what was indexed before, puts in what still exists")
    typer.echo(f"{done.kept:,} chunks kept, {len(done.encoded)} files encoded again in {folder}")


def _place(item: Any) -> str:
    """Path, lines and chunk of a damaged item, as far as they are known."""
    path = item.path or f"a chunk of an unknown file (id {item.id})"
    lines = f":{item.first_line}-{item.last_line}" if item.first_line is not None else ""
    return f"{path}{lines}{f' chunk {item.chunk}' if item.chunk is not None else ''}"
