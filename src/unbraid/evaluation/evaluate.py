"""Evaluate one model on one data set: encode once, then score every way of searching the vectors, and baselines."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unbraid.errors import ItemError
from unbraid.evaluation.baselines import bm25, chance, minilm, random_features
from unbraid.evaluation.datasets.dataset import Retrieval, Sts, sample
from unbraid.evaluation.metrics import RANKING_METRICS, Score, Scorer, dense, rank, ranking_scores, spearman
from unbraid.evaluation.stored_vectors import stored_forms
from unbraid.evaluation.tables import json_value, markdown_table
from unbraid.evaluation.word_evidence import WordIndex
from unbraid.index.search.relevance import Relevance, Scale, relevance_of
from unbraid.runtime.routing import Side, query_side

METRICS = (*RANKING_METRICS, "Spearman")

Vectors = NDArray[np.float32]


class Model(Protocol):
    """A model to evaluate: base vectors of items and task vectors of base vectors, float32 [n, D], unit length."""

    @property
    def name(self) -> str:
        """Name shown in the table."""

    @property
    def search_modes(self) -> Mapping[str, tuple[str, str]]:
        """Search mode -> (task of the query, task of the document)."""

    def encode(
        self, items: Sequence[Any], *, progress: bool | None = None, side: Side | None = None
    ) -> Vectors:
        """Base vectors of the items; queries and documents may be encoded differently."""

    def map(self, base: Vectors, task: str) -> Vectors:
        """Task vectors of base vectors."""

    def matrix(self, task: str) -> Vectors:
        """W [D, D] of a task's mapper."""


@dataclass(frozen=True)
class Row:
    """The scores of one system on one data set."""

    dataset: str
    kind: str  # modality of the documents, or "sts"
    system: str
    mode: str | None  # the search mode; None where there is no mapper to choose
    n_queries: int  # STS: pairs
    n_documents: int
    scores: Mapping[str, Score]
    items_per_s: float | None = None  # encoded (BM25: indexed and searched) on this machine, not a benchmark
    of_teacher: float | None = None  # its nDCG@10 as a share of that of a teacher's late interaction


def evaluate(
    model: Model,
    dataset: Retrieval | Sts,
    *,
    mode: str | None = None,
    every_mode: bool = False,
    storage: bool = False,
    limit: int | None = None,
    baselines: bool = True,
    progress: bool | None = None,
) -> list[Row]:
    """Rows for `model` in the set's search mode, for its base vectors without mapper, and for the baselines.

    Baselines of text and code: BM25, all-MiniLM-L6-v2 and model + BM25; of images: random features and chance; of STS:
    all-MiniLM-L6-v2. `mode` replaces the set's mode (STS: symmetric). `every_mode` adds the model's other modes, which
    shows what a mapper costs elsewhere. `storage` adds shorter and coarser vectors (stored_vectors.py). `limit` keeps
    that many queries (see `sample`). Raises ItemError for a mode that the model lacks.
    """
    if limit is not None:
        dataset = sample(dataset, limit)
    mode = mode or ("symmetric" if isinstance(dataset, Sts) else dataset.mode)
    if mode not in model.search_modes:
        raise ItemError(
            f"{model.name} has no search mode {mode!r}, only {', '.join(sorted(model.search_modes))}"
        )
    modes = [mode, *(other for other in model.search_modes if every_mode and other != mode)]
    if isinstance(dataset, Sts):
        return _evaluate_sts(model, dataset, modes, baselines, progress)
    return _evaluate_retrieval(model, dataset, modes, storage, baselines, progress)


def _evaluate_retrieval(
    model: Model,
    dataset: Retrieval,
    modes: Sequence[str],
    storage: bool,
    baselines: bool,
    progress: bool | None,
) -> list[Row]:
    queries, documents = list(dataset.queries.values()), list(dataset.documents.values())

    def row(system: str, mode: str | None, scores: Mapping[str, Score], speed: float | None = None) -> Row:
        kind = dataset.document_modality
        return Row(dataset.name, kind, system, mode, len(queries), len(documents), scores, speed)

    def scores_of(scorer: Scorer) -> dict[str, Score]:
        return retrieval_scores(dataset, scorer)

    sides = {mode: query_side(model.search_modes[mode]) for mode in modes}
    as_query = partial(model.encode, side=sides[modes[0]])
    (base_q, base_d), speed = _encode(model.encode, queries, documents, progress, as_query=as_query)
    asked = {sides[modes[0]]: base_q}
    for side in set(sides.values()) - asked.keys():
        asked[side] = model.encode(queries, progress=progress, side=side)

    def cosine(mode: str) -> Scorer:
        query_task, document_task = model.search_modes[mode]
        return dense(model.map(asked[sides[mode]], query_task), model.map(base_d, document_task))

    own = cosine(modes[0])
    rows = [row(model.name, modes[0], scores_of(own), speed)]
    rows += [row(model.name, mode, scores_of(cosine(mode))) for mode in modes[1:]]
    rows.append(row(f"{model.name}, no mapper", None, scores_of(dense(base_q, base_d))))
    if storage:
        forms = stored_forms(model, base_q, base_d, *model.search_modes[modes[0]])
        rows += [row(f"{model.name}, {form}", modes[0], scores_of(scorer)) for form, scorer in forms.items()]
    if baselines and dataset.document_modality == "image":
        pictures = [item for item in documents if isinstance(item, Path | Image.Image)]
        nothing = random_features(pictures, base_q.shape[1])
        rows.append(row("random features", None, scores_of(dense(base_q - base_q.mean(axis=0), nothing))))
        rows.append(row("chance", None, chance(dataset)))
    elif baselines:
        texts_q, texts_d = [str(query) for query in queries], [str(document) for document in documents]
        start = time.perf_counter()
        words = bm25(texts_q, texts_d, code=dataset.document_modality == "code")
        scores = scores_of(words)
        speed = (len(queries) + len(documents)) / (time.perf_counter() - start)
        rows.append(row("BM25", None, scores, speed))
        reference, speed = _encode(minilm().encode, texts_q, texts_d, progress)
        rows.append(row(minilm().name, None, scores_of(dense(*reference)), speed))
        both = by_words(own, texts_q, WordIndex(texts_d), relevance_of(model))
        rows.append(row(f"{model.name} + BM25", modes[0], scores_of(both)))
    return rows


def by_words(cosine: Scorer, queries: Sequence[str], words: WordIndex, relevance: Relevance) -> Scorer:
    """The order of `unbraid search`: log odds of relevance, by the cosines of `cosine` and the words of `queries`."""

    def scorer(rows: slice) -> NDArray[np.float32]:
        odds = []
        for query, cosines in zip(queries[rows], cosine(rows), strict=True):
            z = Scale.of(cosines, relevance)(cosines)
            odds.append(words.log_odds(query, z, relevance))
        return np.asarray(odds, np.float32)

    return scorer


def retrieval_scores(dataset: Retrieval, scorer: Scorer) -> dict[str, Score]:
    """nDCG@10, Recall@10 and MRR@10 of `scorer`'s ranking on `dataset`."""
    query_ids, document_ids = list(dataset.queries), list(dataset.documents)
    column = {document: i for i, document in enumerate(document_ids)}
    ignored = {row: column[dataset.ignored[q]] for row, q in enumerate(query_ids) if q in dataset.ignored}
    best = rank(scorer, len(query_ids), len(document_ids), ignored=ignored)
    return ranking_scores(best, query_ids, document_ids, dataset.qrels)


def _evaluate_sts(
    model: Model, dataset: Sts, modes: Sequence[str], baselines: bool, progress: bool | None
) -> list[Row]:
    n = len(dataset.a)
    gold = np.asarray(dataset.scores)

    def row(system: str, mode: str | None, a: Vectors, b: Vectors, speed: float | None = None) -> Row:
        cosines = np.einsum("nd,nd->n", a, b)
        return Row(dataset.name, "sts", system, mode, n, n, {"Spearman": spearman(cosines, gold)}, speed)

    (base_a, base_b), speed = _encode(model.encode, dataset.a, dataset.b, progress)
    rows = []
    for place, mode in enumerate(modes):
        tasks = model.search_modes[mode]
        mapped = model.map(base_a, tasks[0]), model.map(base_b, tasks[1])
        rows.append(row(model.name, mode, *mapped, None if place else speed))
    rows.append(row(f"{model.name}, no mapper", None, base_a, base_b))
    if baselines:
        (a, b), speed = _encode(minilm().encode, dataset.a, dataset.b, progress)
        rows.append(row(minilm().name, None, a, b, speed))
    return rows


def _encode(
    encode: Callable[..., Vectors],
    first: Sequence[Any],
    second: Sequence[Any],
    progress: bool | None,
    *,
    as_query: Callable[..., Vectors] | None = None,
) -> tuple[tuple[Vectors, Vectors], float]:
    """Vectors of both lists, and items encoded per second; each distinct item of a list is encoded once.

    `as_query` encodes the first list, if it is encoded otherwise than the second.
    """
    encode([first[0]])  # opens graphs and threads, outside the timing
    start, count, both = time.perf_counter(), 0, []
    for items, given in ((first, as_query or encode), (second, encode)):
        # The type is part of the key: Code("x") == "x", but different encoders encode them.
        unique = {(type(item), item): item for item in items}
        position = {key: row for row, key in enumerate(unique)}
        vectors = given(list(unique.values()), progress=progress)
        both.append(vectors[[position[type(item), item] for item in items]])
        count += len(unique)
    return (both[0], both[1]), count / (time.perf_counter() - start)


# --- output ---


def table(rows: Sequence[Row]) -> str:
    """The rows as an aligned markdown table; 95 % intervals in brackets, metrics that no row has left out."""
    metrics = [metric for metric in METRICS if any(metric in row.scores for row in rows)]
    shares = any(row.of_teacher is not None for row in rows)
    cells = [
        ["dataset", "system", "mode", *metrics, "queries", "documents", "items/s", *["of teacher"] * shares]
    ]
    for row in rows:
        speed = "" if row.items_per_s is None else f"{row.items_per_s:,.0f}"
        scores = [_cell(row.scores.get(metric)) for metric in metrics]
        cells.append(
            [
                row.dataset,
                row.system,
                row.mode or "",
                *scores,
                f"{row.n_queries:,}",
                f"{row.n_documents:,}",
                speed,
                *["" if row.of_teacher is None else f"{row.of_teacher:.3f}"] * shares,
            ]
        )
    return markdown_table(cells, numbers_from=3 + len(metrics))


def _cell(score: Score | None) -> str:
    if score is None:
        return ""
    interval = "" if math.isnan(score.low) else f" ({score.low:.3f}–{score.high:.3f})"
    return f"{score.value:.3f}{interval}"


def to_json(rows: Sequence[Row]) -> str:
    """One JSON object for each row; NaN (an undefined score, the missing interval of chance) is null."""
    return "\n".join(json.dumps(json_value(asdict(row)), ensure_ascii=False, allow_nan=False) for row in rows)
