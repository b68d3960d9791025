"""`unbraid evaluate`: scores of a bundle on data sets, beside baselines."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unbraid.cli.late_teacher import token_vectors_of
from unbraid.cli.options import Language, Model, Tier, custom_mapper
from unbraid.errors import require
from unbraid.evaluation.score_file import add_scores, read_scores
from unbraid.loading import load

if TYPE_CHECKING:
    from unbraid.evaluation import Row
    from unbraid.evaluation.late_interaction import Teacher


def evaluate(
    datasets: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATASET...",
            help="Folders of BEIR or Jina-VDR, or .jsonl[.gz] files of pairs (anchor, positive), STS rows (a, b, score) or "
            "captioned pictures (file, caption).",
        ),
    ],
    model: Model = None,
    tier: Tier = None,
    language: Language = None,
    mode: Annotated[
        str | None, typer.Option(help="Search mode or .mapper file; default: the data set's own mode.")
    ] = None,
    every_mode: Annotated[
        bool, typer.Option("--every-mode", help="Add the other search modes: what each costs elsewhere.")
    ] = False,
    storage: Annotated[
        bool,
        typer.Option("--storage", help="Add shorter, int8 and binary vectors: what smaller storage costs."),
    ] = False,
    multi_vector: Annotated[
        bool,
        typer.Option("--multi-vector", help="Add late interaction: every document ranked by MaxSim."),
    ] = False,
    vectors: Annotated[
        int | None,
        typer.Option(
            "--vectors", help="With --multi-vector: also at most this many vectors a document.", min=1
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            "--teacher", help="With --multi-vector: a teacher whose late interaction is the measure."
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only rows of this split.")] = None,
    limit: Annotated[
        int | None, typer.Option(help="At most this many queries, a seeded sample.", min=1)
    ] = None,
    baselines: Annotated[
        bool, typer.Option(help="Add BM25 and all-MiniLM-L6-v2; --no-baselines is faster.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for each row.")] = False,
    record: Annotated[
        Path | None,
        typer.Option(help="Add the table to FILE, for `unbraid train export --scores`.", metavar="FILE"),
    ] = None,
) -> None:
    """Score a bundle on data sets: nDCG@10, Recall@10, Spearman, with 95 % intervals."""
    require("ir_measures", "evaluate")
    from unbraid.evaluation import evaluate as score
    from unbraid.evaluation import evaluate_multi_vector, read_dataset, table, to_json

    if not multi_vector and (vectors is not None or teacher is not None):
        raise typer.BadParameter("--vectors and --teacher go with --multi-vector")

    if record:
        read_scores(record)  # a bad file is refused before the work
    embedder = load(model, tier=tier, language=language)
    if custom := custom_mapper(mode):
        embedder, mode = embedder.with_mapper(custom), custom.name
    measure = _teacher(teacher) if teacher is not None else None
    rows: list[Row] = []
    for path in datasets:
        data = read_dataset(path, split=split, mode=mode)
        late = []
        if multi_vector:  # first: it may be refused
            late = evaluate_multi_vector(
                embedder, data, vectors=vectors, teacher=measure, mode=mode, limit=limit
            )
        rows += score(
            embedder,
            data,
            mode=mode,
            every_mode=every_mode,
            storage=storage,
            limit=limit,
            baselines=baselines,
        )
        rows += late
    typer.echo(to_json(rows) if as_json else table(rows))
    if record:
        add_scores(record, table(rows))


def _teacher(name: str) -> "Teacher":
    """The teacher `name`. Raises DataError for one without multi-vectors."""
    require("torch", "teacher")
    from unbraid.evaluation.late_interaction import Teacher
    from unbraid.teacher import load as load_teacher

    loaded = load_teacher(name)
    return Teacher(f"teacher {name}", token_vectors_of(loaded, name), loaded.search_modes)
