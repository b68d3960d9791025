"""`unbraid index`: make folders searchable, and look after the index that comes of it."""

import json
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from unbraid.cli import convert as cli_convert
from unbraid.cli import qdrant as cli_qdrant
from unbraid.cli import roots as cli_roots
from unbraid.cli import task_vectors as cli_task_vectors
from unbraid.cli.options import (
    Archives,
    AsJson,
    Exclude,
    Hidden,
    Include,
    Language,
    MaxSize,
    Model,
    MultiVector,
    Ocr,
    PageImages,
    Threads,
    Tier,
)
from unbraid.cli.place import Index, IndexName, default_index, existing, find_index, one_place
from unbraid.cli.qdrant import Folder, Tally
from unbraid.config import read_config
from unbraid.errors import install_command
from unbraid.io.printable import printable as shown
from unbraid.loading import load, open_index
from unbraid.progress import counting

EXAMPLES = 3  # of the files skipped for one reason


class _AddUnlessNamed(TyperGroup):
    """Reads `unbraid index ~/notes --into X` as `unbraid index add ~/notes --into X`: any word but a command is a path."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("--help", "-h")):
            args = ["add", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_AddUnlessNamed,
    help="Make folders of text, code and pictures searchable, and look after the index.\n\n"
    "unbraid index PATH... --into FOLDER indexes; without --into, into an index of your own. Run it again after changes, "
    "also without PATH. It is short for `unbraid index add`, whose --help shows its options. Write ./stats for a folder that has the name of a command below.",
    no_args_is_help=True,
)

app.add_typer(cli_roots.app)
app.add_typer(cli_qdrant.app)
app.add_typer(cli_convert.app)
app.add_typer(cli_task_vectors.app)


@app.command()
def add(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="Files and folders to make searchable; by default those that the index was given before.",
        ),
    ] = None,
    into: Annotated[
        Path | None, typer.Option("--into", help="Folder of the index; made when it does not exist.")
    ] = None,
    own: IndexName = None,
    field: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=VALUE, a field of every file under PATH for `search --where`; NAME= removes it."
        ),
    ] = None,
    dim: Annotated[
        int | None,
        typer.Option(help="For a new index: keep fewer dimensions of each base vector, such as 256."),
    ] = None,
    numbers: Annotated[
        str | None, typer.Option(help="For a new index: keep vectors in float32 or float16.")
    ] = None,
    candidates: Annotated[
        str | None,
        typer.Option(
            help="For a new index: find candidates exactly (exact), in a copy in int8 or binary, or in int8 from 50,000 chunks on (auto, the default)."
        ),
    ] = None,
    include: Include = None,
    exclude: Exclude = None,
    hidden: Hidden = None,
    max_size: MaxSize = None,
    ocr: Ocr = None,
    page_images: PageImages = None,
    archives: Archives = None,
    multi_vector: MultiVector = None,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Delete what is gone also where a folder is missing, empty, or has lost most of its files.",
        ),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Name each file that is left out, with the reason.")
    ] = False,
    url: cli_qdrant.Url = None,
    name: cli_qdrant.Name = None,
    model: Model = None,
    tier: Tier = None,
    language: Language = None,
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as one JSON object.")] = False,
) -> None:
    """Make folders searchable; run it again after changes. The same as `unbraid index PATH... --into FOLDER`.

    The index keeps the PATHs with --include, --exclude, --hidden, --max-size, --ocr, --page-images, --archives, --multi-vector and
    --field. Without a PATH all of them are brought up to date.
    """
    from unbraid.index.files.walk import printable
    from unbraid.index.store.filter import read_fields

    settings = (field, include, exclude, hidden, max_size, ocr, page_images, archives, multi_vector)
    if not paths and any(value is not None for value in settings):
        raise typer.BadParameter("give the PATH that these settings are of")
    folder = one_place(into, "--into", own, url, name)
    config = read_config()
    told = _tell_skipped if verbose else None
    bar = True if sys.stderr.isatty() else None
    if tier is None and model is None:
        tier = config.tier
    with open_index(
        folder,
        qdrant=url,
        collection=name,
        model=lambda: load(model, threads=threads, tier=tier, language=language),
        dim=dim,
        numbers=numbers,  # type: ignore[arg-type]  # checked there
        candidates=candidates,  # type: ignore[arg-type]
    ) as index:
        if not paths and folder is not None and folder == default_index() and config.roots:
            held = [Path(root.path) for root in index.roots()] if folder.exists() else []
            paths = [*held, *map(Path, config.roots)]
        if paths:
            report = index.add(
                paths,
                fields=read_fields(field) if field else None,
                include=include,
                exclude=exclude,
                hidden=hidden,
                max_size=max_size,
                ocr=ocr,
                page_images=page_images,
                archives=archives,
                multi_vector=multi_vector,
                defaults=config.of_new_roots,
                prune=prune,
                on_skip=told,
                progress=bar,
            )
        else:
            if folder is not None:
                existing(folder)
            report = index.refresh(prune=prune, on_skip=told, progress=bar)
        agreed = (
            [] if as_json or report.interrupted else [doubt.root for doubt in report.doubts if _agrees(doubt)]
        )
        if agreed:
            pruned = index.refresh(agreed, prune=True, progress=bar)
            report.deleted += pruned.deleted
            report.doubts = [doubt for doubt in report.doubts if doubt.root not in agreed]
        total = index.count()
    if as_json:
        skipped = [
            {"path": printable(one.path), "reason": one.reason, "rule": one.rule} for one in report.skipped
        ]
        assumed = [{"path": printable(one.path), "encoding": one.reason} for one in report.assumed]
        about = {**vars(report), "skipped": skipped, "assumed": assumed, "total_chunks": total}
        about["doubts"] = [asdict(doubt) for doubt in report.doubts]
        typer.echo(json.dumps(about, ensure_ascii=False))
    else:
        typer.echo(
            f"{report.added} added, {report.changed} changed, {report.moved} moved or copied, {report.unchanged} unchanged, "
            f"{report.deleted} gone; {report.chunks} chunks encoded, {total} in {index.place}"
        )
        typer.echo(", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in report.seconds.items()))
        if report.words_read:
            typer.echo(f"words looked for in {_pictures(report.words_read)}, found in {report.words_found}")
        if report.words_unread:
            typer.echo(_say_unread(report))
        by_reason: dict[str, list[str]] = {}
        for one in report.skipped:
            by_reason.setdefault(one.reason, []).append(printable(one.path))
        for reason, names in by_reason.items():
            typer.echo(f"skipped {len(names)} {reason}: {', '.join(names[:EXAMPLES])}")
        if report.left_out:
            typer.echo(f"left out {report.left_out} passages of base64 or paths of drawings")
        by_encoding: dict[str, list[str]] = {}
        for one in report.assumed:
            by_encoding.setdefault(one.reason, []).append(printable(one.path))
        for encoding, names in by_encoding.items():
            typer.echo(f"read {len(names)} as {encoding}: {', '.join(names[:EXAMPLES])}")
    if report.interrupted:
        typer.echo(
            "unbraid: interrupted; what is counted above is in the index, run again for the rest", err=True
        )
        raise typer.Exit(130)
    if report.doubts:
        for doubt in report.doubts:
            typer.echo(shown(f"unbraid: {doubt}; nothing of it was deleted from the index"), err=True)
        typer.echo(
            "unbraid: mount or restore it and run again. If the files are really gone: --prune deletes them from the index, "
            "unbraid index remove ROOT takes the root out. If it was moved, index its new path: nothing is encoded again",
            err=True,
        )
        raise typer.Exit(1)


@app.command()
def stats(folder: Index = None, as_json: AsJson = False) -> None:
    """Show what an index holds, how large it is and which bundle made it."""
    folder = find_index(folder)
    from unbraid.cli.tiers import encoded_by, written_in

    with open_index(folder, read_only=True) as index:
        about, meta = index.stats(), index.meta
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
        "encoded by": encoded_by(about),
        **({"written in": written_in(about.text_languages, made.languages)} if about.text_languages else {}),
        "size": f"{(about.bytes or 0) / 1e6:.1f} MB{_of_tokens(about.token_vectors)}",
        "vectors": str(meta.storage),
        **({"copied": f"{about.copied:,} chunks, for candidates"} if about.copied else {}),
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
    folder: Index = None,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Encode damaged items again where their file still has the content."),
    ] = False,
    model: Model = None,
    tier: Tier = None,
    language: Language = None,
    threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Check every stored vector and payload and name the damaged ones. Exits with 1 when there are any."""
    folder = find_index(folder)
    with open_index(
        folder, model=lambda: load(model, threads=threads, tier=tier, language=language), read_only=not repair
    ) as index:
        with ExitStack() as stack:
            found = index.verify(on_progress=_bar(stack, "verifying"))
        about = {"index": str(folder), "intact": found.intact, **asdict(found)}
        if not as_json:
            _say_findings(folder, found)
        left = not found.intact
        if repair and left:
            with ExitStack() as stack:
                done = index.repair(on_progress=_bar(stack, "repairing"))
            left, about["repair"] = bool(done.lost or done.missing), asdict(done)
            if not as_json:
                _say_repair(folder, done)
        elif left and not as_json:
            typer.echo(f"unbraid index verify {folder} --repair encodes again what its files still hold")
    if as_json:
        typer.echo(json.dumps(about, ensure_ascii=False))
    if left:
        raise typer.Exit(1)


@app.command()
def compact(folder: Index = None, as_json: AsJson = False) -> None:
    """Free the space of deleted and replaced chunks. Needs as much free disk as the index takes."""
    folder = find_index(folder)
    with open_index(folder) as index:
        before = index.stats().bytes or 0
        typer.echo(f"compacting {before / 1e6:.1f} MB; Ctrl-C does no harm", err=True)
        # The library works without looking at signals: let Ctrl-C end the process at once, which is as safe as kill -9.
        usual = signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            index.compact()
        finally:
            signal.signal(signal.SIGINT, usual)
        after = index.stats().bytes or 0
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
    with (
        open_index(folder, read_only=True) as index,
        counting("exporting", unit="chunks", total=index.count()) as done,
    ):
        count = index.export(out, on_progress=done)
    typer.echo(json.dumps({"items": count, "file": str(out)}) if as_json else f"{count:,} chunks in {out}")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="IN.parquet", help="What `unbraid index export` wrote.")],
    folder: Folder,
    as_json: AsJson = False,
) -> None:
    """Put an exported index into FOLDER, a new one or one of the same base; nothing is encoded."""
    from unbraid.index.transfer.index_file import IndexFile

    with open_index(folder) as index:
        with Tally("importing", "chunks", IndexFile(file).items) as tally:
            index.import_file(file, on_progress=tally.add)
        total = index.count()
    if as_json:
        typer.echo(json.dumps({"items": tally.count, "total_chunks": total, "index": str(folder)}))
    else:
        typer.echo(f"{tally.count:,} chunks imported, {total:,} in {folder}")
    tally.exit_if_interrupted("in")


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
    """Remove files and folders from an index and its disk; the files themselves stay."""
    folder = find_index(paths.pop(0)) if url is None else None
    if not paths:
        raise typer.BadParameter("give the FOLDER of the index and the PATHs to take out")
    folder = one_place(folder, "FOLDER", None, url, name)
    with open_index(folder, qdrant=url, collection=name) as index:
        with Tally("deleting", "files", len(index.files_below(paths))) as tally:
            index.delete(paths, on_progress=tally.add)
        total = index.count()
    place = str(folder or index.place)
    if as_json:
        typer.echo(json.dumps({"files": tally.count, "total_chunks": total, "index": place}))
    else:
        typer.echo(
            f"{tally.count:,} file{'s' * (tally.count != 1)} removed, {total:,} chunks left in {place}"
        )
    tally.exit_if_interrupted("gone")


def at_terminal() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _agrees(doubt: Any) -> bool:
    """Whether a person at a terminal says that what is gone is to be deleted."""
    if not at_terminal():
        return False
    return typer.confirm(f"{shown(str(doubt))}. Delete them from the index?", default=False, err=True)


def _tell_skipped(skipped: Any) -> None:
    typer.echo(shown(f"skipped {skipped}"), err=True)


def _say_unread(report: Any) -> str:
    """How many pictures were not read, and what helps."""
    missing = f"read them with: {install_command('ocr')}"
    return f"the words in {_pictures(report.words_unread)} were not read; {report.words_fault or missing}"


def _pictures(count: int) -> str:
    return f"{count:,} picture{'s' * (count != 1)}"


def _of_tokens(size: int) -> str:
    """The share of token vectors in the size of an index."""
    return f", {size / 1e6:.1f} MB of it token vectors" if size else ""


def _origin(converted: Mapping[str, Any]) -> str:
    """From what, and how well, the vectors of an index were converted."""
    kept = ", ".join(f"{kind} {found['nearest']:.0%}" for kind, found in converted["quality"].items())
    return f"from {converted['bundle'] or converted['base_id']}; of the nearest items kept: {kept}"


def _bar(stack: ExitStack, what: str) -> Any:
    """A function (done, total) that draws a bar until `stack` ends; the total is known when it is first called."""
    shown: list[Any] = []

    def advance(done: int, total: int) -> None:
        if not shown:
            shown.append(stack.enter_context(counting(what, unit="chunks", total=total)))
        shown[0](done)

    return advance


def _say_findings(folder: Path, found: Any) -> None:
    for file, reason in found.broken.items():
        typer.echo(f"broken   {file}: {reason}")
    for item in found.damaged:
        typer.echo(f"damaged  {_place(item)}: {item.reason}")
    if found.missing:
        typer.echo(f"missing  {found.missing:,} chunks fewer than when the index was last closed")
    if found.intact:
        note = "" if found.hashed else "; its last writer was killed, what it had acknowledged is checked"
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
