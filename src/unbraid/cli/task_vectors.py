"""`unbraid retask`: an index under one task as a file of vectors, for programs that cannot fold."""

import json
from pathlib import Path
from typing import Annotated

import typer

from unbraid.cli.options import Dim, Model, Side, StoredNumbers, Threads, custom_mapper
from unbraid.custom_mapper.mapper_file import SUFFIX
from unbraid.loading import load
from unbraid.progress import counting, duration

app = typer.Typer()


@app.command()
def retask(
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
        bool, typer.Option("--estimate", help="Say what it takes, and write nothing.")
    ] = False,
    model: Model = None,
    threads: Threads = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Write an index's vectors under one task to a file. A search needs none: it folds the task into the query."""
    from unbraid.index import Store, provenance
    from unbraid.index.transfer.task_vectors import Form, estimate, materialise, require_room
    from unbraid.io.vector_file import check_suffix

    check_suffix(out)
    embedder = load(model, threads=threads)
    if own := custom_mapper(task):
        embedder, task = embedder.with_mapper(own), own.task(side)
    elif side:
        raise typer.BadParameter(f"--side goes with a {SUFFIX} file as --task")
    form = Form(task, embedder.dim if dim is None else dim, numbers)  # type: ignore[arg-type]
    made_with = provenance(embedder)
    with Store.open(folder, base_id=embedder.base_id, dim=embedder.dim, provenance=made_with) as store:
        about = estimate(store, embedder, form, out)
        typer.echo(
            f"{about.items:,} items, about {duration(about.seconds)} and {about.bytes / 1e6:,.1f} MB; "
            f"{about.free / 1e6:,.0f} MB free",
            err=True,
        )
        require_room(about, out)
        if only_estimate:
            if as_json:
                typer.echo(json.dumps({"items": about.items, "seconds": about.seconds, "bytes": about.bytes}))
            return
        with counting("mapping", unit="items", total=about.items) as say:
            done = materialise(store, embedder, form, out, say)
    if done.damaged:
        typer.echo(
            f"unbraid: {done.damaged:,} damaged items were left out: unbraid index verify {folder}", err=True
        )
    if as_json:
        typer.echo(json.dumps({"items": done.items, "damaged": done.damaged, "file": str(out)}))
    else:
        typer.echo(f"{done.items:,} {task} vectors in {out}")
