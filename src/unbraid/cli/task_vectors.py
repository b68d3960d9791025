"""`unbraid index task-vectors`: an index under one task as a file of vectors, for other programs."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from unbraid.cli.options import Dim, Model, Side, StoredNumbers, Threads, custom_mapper
from unbraid.custom_mapper.mapper_file import SUFFIX
from unbraid.loading import load, open_index
from unbraid.progress import counting, duration

app = typer.Typer()


@app.command("task-vectors")
def task_vectors(
    folder: Annotated[Path, typer.Argument(metavar="INDEX", help="Folder of the index.")],
    task: Annotated[str, typer.Option("--task", help="query, document, symmetric, code or a .mapper file.")],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="FILE.parquet, .npy (rows in FILE.npy.json) or .jsonl; replaced."),
    ],
    side: Side = None,
    dim: Dim = None,
    numbers: StoredNumbers = "float32",
    only_estimate: Annotated[
        bool, typer.Option("--estimate", help="Print what it takes, and write nothing.")
    ] = False,
    model: Model = None,
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Write an index's vectors under one task to a file. A search needs no such file: it folds the task into the query."""
    from unbraid.io.vector_file import check_suffix

    check_suffix(out)
    own = custom_mapper(task)
    if own:
        task = own.task(side)
    elif side:
        raise typer.BadParameter(f"--side goes with a {SUFFIX} file as --task")

    def embedder() -> Any:
        loaded = load(model, threads=threads)
        return loaded.with_mapper(own) if own else loaded

    with open_index(folder, model=embedder, read_only=True) as index:
        about = index.estimate_task_vectors(out, task, dim=dim, numbers=numbers)  # type: ignore[arg-type]
        typer.echo(
            f"{about.items:,} items, about {duration(about.seconds)} and {about.bytes / 1e6:,.1f} MB; "
            f"{about.free / 1e6:,.0f} MB free",
            err=True,
        )
        if only_estimate:
            if as_json:
                typer.echo(json.dumps({"items": about.items, "seconds": about.seconds, "bytes": about.bytes}))
            return
        with counting("mapping", unit="items", total=about.items) as done:
            written = index.export_task_vectors(out, task, dim=dim, numbers=numbers, on_progress=done)  # type: ignore[arg-type]
    if written.damaged:
        typer.echo(
            f"unbraid: {written.damaged:,} damaged items were left out: unbraid index verify {folder}",
            err=True,
        )
    if as_json:
        typer.echo(json.dumps({"items": written.items, "damaged": written.damaged, "file": str(out)}))
    else:
        typer.echo(f"{written.items:,} {task} vectors in {out}")
