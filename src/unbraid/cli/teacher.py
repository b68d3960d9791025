"""`unbraid train teacher ...`: train adapters, score them task by task, write a merged checkpoint."""

import json
from pathlib import Path
from typing import Annotated

import typer

from unbraid.cli.options import Device
from unbraid.errors import require

app = typer.Typer(
    help="A teacher: fit its adapters, score every task, merge one adapter for vLLM.", no_args_is_help=True
)

TeacherName = Annotated[
    str,
    typer.Option(
        "--teacher",
        help="starter, e5, mpnet, minilm, a folder (adapters, a checkpoint, a joined teacher) or a hub id org/name.",
    ),
]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16 or float16; default: by device.")]


@app.command()
def fit(
    recipe: Annotated[
        Path, typer.Argument(metavar="RECIPE", help='A TOML file, or "starter" for the shipped one.')
    ],
    data: Annotated[Path, typer.Option("--data", help="Folder that the recipe's file names start from.")],
    run: Annotated[Path, typer.Option("--run", help="Folder for everything that this run makes.")],
    task: Annotated[
        str | None, typer.Option(help="Train only this task: several processes can train one each.")
    ] = None,
    device: Device = None,
    scores: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A text file with tables for the card."),
    ] = None,
) -> None:
    """Train a recipe's adapters: one on pairs, then a copy of it for each task. Run it again to resume."""
    require("torch", "train")
    from unbraid.teacher.adapters import read_recipe, train_adapters

    shown = scores.read_text(encoding="utf-8") if scores else ""
    for line in train_adapters(read_recipe(recipe), data, run, task=task, device=device, scores=shown):
        typer.echo(line)


@app.command()
def score(
    datasets: Annotated[
        list[Path],
        typer.Argument(metavar="DATASET...", help="BEIR folders, pair or STS files (.jsonl[.gz])."),
    ],
    teacher: TeacherName = "starter",
    mode: Annotated[
        str | None, typer.Option(help="Search mode, retrieval or code; default: each set's own.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="At most this many queries, a seeded sample.", min=1)
    ] = None,
    multi_vector: Annotated[
        bool, typer.Option("--multi-vector", help="Add late interaction in every mode.")
    ] = False,
    vectors: Annotated[
        int | None,
        typer.Option(
            "--vectors", help="With --multi-vector: also at most this many vectors a document.", min=1
        ),
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a row.")] = False,
) -> None:
    """Score every task of a teacher on every data set, beside all-MiniLM-L6-v2."""
    require("ir_measures", "evaluate")
    if vectors is not None and not multi_vector:
        raise typer.BadParameter("--vectors goes with --multi-vector")
    from unbraid.cli.late_teacher import token_vectors_of
    from unbraid.evaluation import evaluate_teacher, read_dataset, table, to_json
    from unbraid.teacher import load

    loaded = load(teacher, device=device, dtype=dtype)
    late = token_vectors_of(loaded, teacher) if multi_vector else None
    rows = [
        row
        for path in datasets
        for row in evaluate_teacher(
            teacher,
            loaded.encode,
            loaded.search_modes,
            read_dataset(path, split=None, mode=mode),
            limit=limit,
            late=late,
            vectors=vectors,
        )
    ]
    typer.echo(to_json(rows) if as_json else table(rows))


@app.command()
def merge(
    task: Annotated[str, typer.Argument(metavar="ADAPTER", help="retrieval, text-matching or code.")],
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="Folder of the merged checkpoint; an earlier merge is replaced."),
    ],
    teacher: Annotated[
        str, typer.Option("--teacher", help="A checkpoint folder in the published layout, or its hub id.")
    ] = "jinaai/jina-embeddings-v4",
    revision: Annotated[
        str | None, typer.Option(help="Revision of a hub id; the pinned one if left out.")
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
) -> None:
    """Merge one adapter into the base, in the layout that vLLM serves, and check that the vectors agree."""
    require("torch", "teacher")
    from unbraid.teacher.loading import read_dtype
    from unbraid.teacher.merge import merge as merge_task

    merged = merge_task(teacher, task, out, revision=revision, device=device, dtype=read_dtype(dtype))
    typer.echo(
        json.dumps({"folder": str(merged.folder), "difference": merged.difference, "cosine": merged.cosine})
    )
