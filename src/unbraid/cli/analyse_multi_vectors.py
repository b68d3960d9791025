"""`unbraid analyse --multi-vectors`: how many vectors a document carry the score of late interaction."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from unbraid.cli.late_teacher import token_vectors_of
from unbraid.errors import DataError, require
from unbraid.loading import load
from unbraid.tasks import SEARCH_MODES

if TYPE_CHECKING:
    from unbraid.evaluation import Retrieval
    from unbraid.evaluation.vector_budget import Row

TEACHER = "teacher:"


def analyse_multi_vectors(
    models: Sequence[str],
    data: Path,
    *,
    tier: str | None,
    mode: str,
    split: str | None,
    limit: int,
    out: Path | None,
    device: str | None,
    as_json: bool,
) -> None:
    """Print, and write into `out`, what fewer vectors a document keep of the score. Raises DataError for graded pairs."""
    require("ir_measures", "evaluate")
    from unbraid import __version__
    from unbraid.evaluation import Retrieval, read_dataset
    from unbraid.evaluation.datasets.dataset import sample
    from unbraid.evaluation.vector_budget import table, to_json, write

    if out:
        require("matplotlib", "train")
    dataset = sample(read_dataset(data, split=split, mode=None), limit)
    if not isinstance(dataset, Retrieval):
        raise DataError(f"{data}: has graded pairs and no documents to find: give a retrieval set")
    rows = [row for name in models for row in _rows(name, dataset, tier, mode, device)]
    typer.echo(to_json(rows) if as_json else table(rows))
    if out:
        about = {"split": split, "limit": limit, "tier": tier, "unbraid": __version__}
        write(out, rows, about)
        typer.echo(f"analysis.json and analysis.png in {out}", err=True)


def _rows(name: str, dataset: "Retrieval", tier: str | None, mode: str, device: str | None) -> "list[Row]":
    """The rows of a bundle, or of a teacher, which leaves out no token."""
    from unbraid.evaluation.late_interaction import equally
    from unbraid.evaluation.vector_budget import measure

    asked, documents = list(dataset.queries.values()), list(dataset.documents.values())
    if name.startswith(TEACHER):
        require("torch", "teacher")
        from unbraid.teacher import load as load_teacher

        short = name.removeprefix(TEACHER)
        encode = token_vectors_of(load_teacher(short, device=device), short)
        query, document = SEARCH_MODES[mode]
        shown = f"teacher {short}, {mode}"
        return measure(shown, dataset, equally(encode(asked, query)), encode(documents, document), None)
    model = load(name, tier=tier)
    pruned, whole = (
        [one.vectors for one in model.token_vectors(documents, tier=model.tier, pruned=pruned)]
        for pruned in (True, False)
    )
    queries = model.token_vectors(asked, tier=model.tier)
    return measure(f"{model.name}, tier {model.tier}", dataset, queries, pruned, whole)
