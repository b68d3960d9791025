"""How many vectors a document carry the score of late interaction: what fewer of them keep, as a table and a picture."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unbraid.evaluation.datasets.dataset import Retrieval
from unbraid.evaluation.evaluate import retrieval_scores
from unbraid.evaluation.late_interaction import by_maxsim
from unbraid.evaluation.metrics import Score
from unbraid.evaluation.tables import json_value, markdown_table
from unbraid.multi_vector.maxsim import maxsim
from unbraid.multi_vector.token_vectors import TokenVectors, pool

BUDGETS = (64, 32, 16, 8, 4)
ALL, UNPRUNED = "all", "all, with stop words"
KEY = (
    "Vectors: mean of a document. nDCG kept: share of that with all vectors. Score kept: the same of the mean MaxSim of queries\n"
    "with their relevant documents. Stop words: punctuation and repeats too, in documents."
)

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """What late interaction scores with one form of the documents."""

    model: str
    dataset: str
    form: str  # "all", "at most 32", ...
    vectors: float  # of a document, on average
    ndcg: Score
    ndcg_kept: float
    score_kept: float


def measure(
    model: str,
    dataset: Retrieval,
    queries: Sequence[TokenVectors],
    documents: Sequence[Vectors],
    unpruned: Sequence[Vectors] | None,
) -> list[Row]:
    """A row for all vectors [tokens, D] of the documents, one for each of BUDGETS, and one for the `unpruned` ones."""
    forms: dict[str, Sequence[Vectors]] = {ALL: documents}
    for most in BUDGETS:
        forms[f"at most {most}"] = [pool(one, most) for one in documents]
    if unpruned is not None:
        forms[UNPRUNED] = unpruned
    found = {
        form: (
            retrieval_scores(dataset, by_maxsim(queries, some))["nDCG@10"],
            _relevant(dataset, queries, some),
        )
        for form, some in forms.items()
    }
    whole, score = found[ALL][0].value, found[ALL][1]
    return [
        Row(
            model,
            dataset.name,
            form,
            float(np.mean([len(one) for one in forms[form]])),
            ndcg,
            ndcg.value / whole if whole else float("nan"),
            mean / score if score > 0 else float("nan"),
        )
        for form, (ndcg, mean) in found.items()
    ]


def _relevant(dataset: Retrieval, queries: Sequence[TokenVectors], documents: Sequence[Vectors]) -> float:
    """The mean MaxSim of queries with the documents that are relevant to them; -1 where a side has no tokens."""
    column = {document: row for row, document in enumerate(dataset.documents)}
    scores = []
    for name, query in zip(dataset.queries, queries, strict=True):
        wanted = [column[one] for one, gain in dataset.qrels[name].items() if gain > 0 and one in column]
        scores += maxsim(query, [documents[row] for row in wanted]).tolist()
    return float(np.mean(scores)) if scores else float("nan")


def table(rows: Sequence[Row]) -> str:
    """The key, and a line for each row."""
    cells = [["dataset", "model", "vectors of a document", "mean", "nDCG@10", "nDCG kept", "score kept"]]
    for row in rows:
        ndcg = f"{row.ndcg.value:.3f} ({row.ndcg.low:.3f}–{row.ndcg.high:.3f})"
        kept = [f"{row.ndcg_kept:.3f}", f"{row.score_kept:.3f}"]
        cells.append([row.dataset, row.model, row.form, f"{row.vectors:.1f}", ndcg, *kept])
    return f"{KEY}\n\n{markdown_table(cells, numbers_from=3)}"


def to_json(rows: Sequence[Row]) -> str:
    """One JSON object a line."""
    return "\n".join(json.dumps(json_value(asdict(row)), ensure_ascii=False) for row in rows)


def write(folder: Path, rows: Sequence[Row], about: Mapping[str, object]) -> None:
    """Write analysis.json, with `about`, and analysis.png into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    _draw(folder / "analysis.png", rows)
    values = {**about, "rows": [json_value(asdict(row)) for row in rows]}
    text = json.dumps(values, indent=1, ensure_ascii=False)
    (folder / "analysis.json").write_text(f"{text}\n", encoding="utf-8")


def _draw(path: Path, rows: Sequence[Row]) -> None:
    """A panel for each data set: the shares that are kept, by the vectors of a document."""
    from matplotlib.figure import Figure

    datasets = list(dict.fromkeys(row.dataset for row in rows))
    figure = Figure(figsize=(6 * len(datasets), 4), layout="constrained")
    for panel, name in zip(figure.subplots(1, len(datasets), squeeze=False)[0], datasets, strict=True):
        here = [row for row in rows if row.dataset == name]
        for number, model in enumerate(dict.fromkeys(row.model for row in here)):
            _lines(panel, [row for row in here if row.model == model], f"C{number}", model)
        panel.set_title(name, loc="left", fontsize=10)
        panel.set_xlabel("vectors of a document, mean")
        panel.set_xscale("log", base=2)
        panel.xaxis.set_major_formatter("{x:.0f}")
        panel.set_ylabel("share kept")
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)


def _lines(panel: Any, rows: Sequence[Row], colour: str, model: str) -> None:
    """nDCG solid and scores dashed, from few vectors to all; a cross for what is not pruned."""
    line = sorted((row for row in rows if row.form != UNPRUNED), key=lambda row: row.vectors)
    places = [row.vectors for row in line]
    panel.plot(places, [row.ndcg_kept for row in line], "o-", color=colour, label=f"{model}: nDCG@10")
    panel.plot(places, [row.score_kept for row in line], ".--", color=colour, label=f"{model}: MaxSim")
    for row in rows:
        if row.form == UNPRUNED:
            panel.plot([row.vectors], [row.ndcg_kept], "x", color=colour, label=f"{model}: with stop words")
