"""`unbraid evaluate`: scores of a bundle on data sets, beside baselines."""

from pathlib import Path
from typing import Annotated

import typer

from unbraid.cli.options import Language, Model, Tier, custom_mapper
from unbraid.errors import require
from unbraid.evaluation.score_file import add_scores, read_scores
from unbraid.loading import load


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
    from unbraid.evaluation import read_dataset, table, to_json

    if record:
        read_scores(record)  # a bad file is refused before the work
    embedder = load(model, tier=tier, language=language)
    if custom := custom_mapper(mode):
        embedder, mode = embedder.with_mapper(custom), custom.name
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
