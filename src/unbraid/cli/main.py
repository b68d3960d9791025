"""The command line. Results go to standard output, progress to standard error; wrong use is one line and exit 2."""

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from unbraid import __version__
from unbraid.bundle import PRECISIONS, SMALL
from unbraid.cli import analyse as cli_analyse
from unbraid.cli import encode as cli_encode
from unbraid.cli import index as cli_index
from unbraid.cli import mapper as cli_mapper
from unbraid.cli import search as cli_search
from unbraid.cli import serve as cli_serve
from unbraid.cli import teacher as cli_teacher
from unbraid.cli import train as cli_distill
from unbraid.cli.options import Model, Tier, own_mapper, require
from unbraid.embedder import Embedder
from unbraid.errors import UnbraidError
from unbraid.evaluation.score_file import add_scores, read_scores
from unbraid.loading import load, open_index

app = typer.Typer(
    name="unbraid",
    help="Encode text, code and images once on a CPU, then search them under any task.\n\n"
    "Start with: unbraid index FOLDER --into my.index, then: unbraid search 'what I look for' --in my.index",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(cli_encode.app)
app.add_typer(cli_index.app, name="index")
app.add_typer(cli_search.app)
app.add_typer(cli_serve.app)
app.add_typer(cli_teacher.app, name="teacher")
app.add_typer(cli_mapper.app, name="mapper")
app.add_typer(cli_distill.app)
app.add_typer(cli_analyse.app)


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def info(
    place: Annotated[
        str | None, typer.Argument(help="A bundle, an index, or nothing for the starter.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Say what a bundle or an index holds."""
    about = (
        _about_index(Path(place))
        if place and (Path(place) / "unbraid.json").exists()
        else _about_bundle(place)
    )
    if as_json:
        typer.echo(json.dumps(about, ensure_ascii=False))
    else:
        for name, value in about.items():
            typer.echo(f"{name:14s}{value}")


@app.command()
def doctor(
    model: Model = None,
    tier: Tier = SMALL,
    save: Annotated[
        bool,
        typer.Option("--save", help="Let every later load of this bundle on this machine use the fastest."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show cores, instruction sets and versions, verify the bundle, and measure which precision is fastest here."""
    from dataclasses import asdict

    from unbraid.runtime.doctor import fastest, machine, speeds
    from unbraid.runtime.picks import save_picks

    about, embedder = machine(), load(model, tier=tier)
    found = speeds(embedder)
    best = {graph: fastest(found, graph) for graph in dict.fromkeys(speed.graph for speed in found)}
    if save:
        save_picks(embedder.bundle.id, {name: best[name] for name in best if not name.endswith("mapper")})
    if as_json:
        typer.echo(json.dumps({**about, "speeds": [asdict(speed) for speed in found], "fastest": best}))
        return
    for name, value in about.items():
        typer.echo(f"{name:23s}{value}")
    typer.echo(f"{'bundle':23s}{embedder.name}: every file verified")
    for speed in found:
        rates = ", ".join(f"{rate:,.0f}/s at {kind}" for kind, rate in speed.items_per_s.items())
        rivals = sum(other.graph == speed.graph for other in found) > 1
        mark = " (fastest here)" if rivals and best[speed.graph] == speed.precision else ""
        only = "" if rivals else f" (the bundle has no other precision of {speed.graph})"
        typer.echo(f"{speed.graph + ' ' + speed.precision:23s}{rates} on one core{mark}{only}")
    if save:
        typer.echo("saved: later loads of this bundle on this machine use the fastest encoders")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="The folder of a finished `unbraid distill`.")],
    out: Annotated[Path, typer.Argument(help="Folder of the bundle; an older bundle there is replaced.")],
    precisions: Annotated[str, typer.Option(help="Of the text graph; the first is the default.")] = ",".join(
        PRECISIONS
    ),
    scores: Annotated[
        Path | None, typer.Option(help="What `unbraid evaluate --record` wrote, for the card.")
    ] = None,
) -> None:
    """Write a run as a bundle: ONNX graphs checked against torch, tokenizer, card, hashes."""
    require("onnx", "export")
    from dataclasses import asdict

    from unbraid.export import export_bundle

    wanted = precisions.split(",")
    if not set(wanted) <= set(PRECISIONS):
        raise typer.BadParameter(f"{precisions!r}: expected {' and '.join(PRECISIONS)}, separated by a comma")
    measured = read_scores(scores) if scores else None
    for parity in export_bundle(run, out, precisions=wanted, scores=measured):
        typer.echo(json.dumps(asdict(parity)))


@app.command()
def evaluate(
    datasets: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATASET...", help="BEIR folders, pair, STS or image-caption files (.jsonl[.gz])."
        ),
    ],
    model: Model = None,
    tier: Tier = SMALL,
    mode: Annotated[
        str | None,
        typer.Option(help="Search mode or .mapper file; by default what fits each data set."),
    ] = None,
    every_mode: Annotated[
        bool, typer.Option("--every-mode", help="Show the other search modes too: what each costs elsewhere.")
    ] = False,
    storage: Annotated[
        bool,
        typer.Option(
            "--storage", help="Show shorter vectors, int8 and binary ones too: what storing less loses."
        ),
    ] = False,
    split: Annotated[str | None, typer.Option(help="Only rows of this split.")] = None,
    limit: Annotated[
        int | None, typer.Option(help="At most this many queries, a seeded sample.", min=1)
    ] = None,
    baselines: Annotated[
        bool, typer.Option(help="Show BM25 and all-MiniLM-L6-v2 beside it; --no-baselines for a quick look.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a row.")] = False,
    record: Annotated[
        Path | None,
        typer.Option(help="Add the table under this command to FILE, for `unbraid export --scores`."),
    ] = None,
) -> None:
    """Score a bundle on data sets: nDCG@10, Recall@10, Spearman, with 95 % intervals."""
    require("ir_measures", "evaluate")
    from unbraid.evaluation import evaluate as score
    from unbraid.evaluation import read_dataset, table, to_json

    if record:
        read_scores(record)  # refused before the work, not after it
    embedder = load(model, tier=tier)
    if own := own_mapper(mode):
        embedder, mode = embedder.with_mapper(own), own.name
    rows = [
        row
        for path in datasets
        for row in score(
            embedder,
            read_dataset(path, split=split, mode=mode),
            mode=mode,
            every_mode=every_mode,
            storage=storage,
            limit=limit,
            baselines=baselines,
        )
    ]
    typer.echo(to_json(rows) if as_json else table(rows))
    if record:
        add_scores(record, table(rows))


def main() -> None:
    """Run the command line; every error that unbraid raises on purpose is one line and exit code 2."""
    warnings.showwarning = _show_warning
    try:
        result = app(standalone_mode=False)
    except KeyboardInterrupt:
        sys.exit(130)
    except UnbraidError as error:
        _fail(str(error))
    except BrokenPipeError:  # `unbraid search ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        # Wrong use, as typer's parser reports it; anything else is a bug and keeps its traceback.
        if not hasattr(error, "format_message"):
            raise
        if message := error.format_message():  # it is empty after help was shown for want of arguments
            _fail(f"{message} (see unbraid --help)")
        sys.exit(2)
    sys.exit(result if isinstance(result, int) else 0)


def _fail(message: str) -> None:
    typer.echo(f"unbraid: {' '.join(message.split())}", err=True)
    sys.exit(2)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    typer.echo(f"unbraid: {message}", err=True)


def _about_bundle(place: str | None) -> dict[str, Any]:
    embedder: Embedder = load(place)
    bundle = embedder.bundle
    return {
        "bundle": embedder.name,
        "folder": str(bundle.folder),
        "id": bundle.id,
        "base id": bundle.base_id,
        "dims": ", ".join(map(str, bundle.dims)),
        "encoders": "; ".join(f"{name} ({', '.join(bundle.graphs[name])})" for name in bundle.modalities),
        "tiers": ", ".join(bundle.tiers),
        "mappers": ", ".join(f"{task} ({spec.kind})" for task, spec in bundle.mappers.items()),
        "search modes": ", ".join(f"{mode} = {q} × {d}" for mode, (q, d) in bundle.search_modes.items()),
        "size": f"{sum(bundle.sizes.values()) / 1e6:.1f} MB in {len(bundle.sizes) + 1} files",
        "unbraid": __version__,
        "card": str(bundle.folder / "README.md"),
    }


def _about_index(folder: Path) -> dict[str, Any]:
    with open_index(folder, read_only=True) as index:
        meta, stats = index.meta, index.stats()
    return {
        "index": str(folder),
        "base id": meta.base_id,
        "dim": meta.dim,
        "files": stats.files,
        "chunks": ", ".join(f"{count} {kind}" for kind, count in stats.chunks.items()),
        "size": f"{(stats.bytes or 0) / 1e6:.1f} MB",
    }
