"""Dev sets of a joined teacher, from the sources that nothing is trained on (item_sources.HELD_OUT).

Queries and documents are items with a language, so that members read them as they read training items. Items in
another language have no English side, because a user's have none either.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from unbraid.distill.data.item_sources import ENGLISH, HELD_OUT, HeldOut, Row, language_tag
from unbraid.distill.data.member_items import LONGEST
from unbraid.distill.data.training_items import TrainingItem, field_text
from unbraid.evaluation.metrics import dense, rank, ranking_scores, spearman
from unbraid.io.jsonl import read_rows
from unbraid.items import Modality
from unbraid.tasks import SEARCH_MODES

SEED = 0
LEAST_ROWS = 30  # a language with fewer is no set


@dataclass(frozen=True)
class DevSet:
    """`relevant` holds for each query the rows of its documents; `scores` are those of similarity pairs, by row."""

    name: str
    kind: str  # "retrieval", "code" or "sts"
    language: str  # of the queries
    queries: list[TrainingItem]
    documents: list[TrainingItem]
    relevant: list[set[int]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    @property
    def tasks(self) -> tuple[str, str]:
        """The task of the queries and that of the documents."""
        return SEARCH_MODES["symmetric" if self.kind == "sts" else self.kind]


def dev_sets(folder: Path, *, queries: int, documents: int) -> list[DevSet]:
    """Every set below `folder`, in the order of HELD_OUT, with at most so many queries and documents.

    Documents are those of the queries and others of the same source. With larger numbers a set keeps what it had.
    Raises DataError for a file that cannot be read.
    """
    by_name: dict[str, tuple[HeldOut, list[Row]]] = {}
    for held in HELD_OUT:
        for line in read_rows(folder / f"{held.file}.jsonl.gz"):
            row = line.row
            if held.keep(row):
                name = f"{held.name}.{language_tag(str(row[held.by]))}" if held.by else held.name
                by_name.setdefault(name, (held, []))[1].append(row)
    made = []
    for name, (held, found) in by_name.items():
        if len(found) >= LEAST_ROWS:
            random.Random(SEED).shuffle(found)
            made.append(
                _sts(name, held, found)
                if held.kind == "sts"
                else _retrieval(name, held, found, queries, documents)
            )
    return made


def dev_items(sets: Iterable[DevSet]) -> list[TrainingItem]:
    """The distinct items of all `sets`, set by set."""
    found: dict[tuple[str, str], TrainingItem] = {}
    for one in sets:
        for item in (*one.queries, *one.documents):
            found.setdefault((item.modality, item.text), item)
    return list(found.values())


def score(one: DevSet, query: np.ndarray, document: np.ndarray) -> float:
    """nDCG@10 of unit vectors [queries, d] and [documents, d], or for similarity the Spearman correlation."""
    if one.kind == "sts":
        return spearman((query * document).sum(1), np.array(one.scores)).value
    names = [[str(row) for row in range(len(side))] for side in (query, document)]
    qrels = {str(row): {str(right): 1 for right in wanted} for row, wanted in enumerate(one.relevant)}
    ranking = rank(dense(query, document), len(query), len(document), k=10)
    return ranking_scores(ranking, names[0], names[1], qrels)["nDCG@10"].value


def _retrieval(name: str, held: HeldOut, found: Sequence[Row], queries: int, documents: int) -> DevSet:
    language = name.rpartition(".")[2] if held.by else held.language
    modality: Modality = "code" if held.kind == "code" else "text"
    asked: dict[str, set[int]] = {}
    texts: dict[str, int] = {}
    for row in found:
        query, document = (field_text(row, field)[:LONGEST] for field in (held.query, held.document))
        if held.first_sentence:
            query = _first_sentence(query)
        if not query or not document:
            continue
        if query in asked or len(asked) < queries:
            asked.setdefault(query, set()).add(texts.setdefault(document, len(texts)))
        elif len(texts) < documents:
            texts.setdefault(document, len(texts))
    of_documents = ENGLISH if held.english_documents else language
    return DevSet(
        name,
        held.kind,
        language,
        [TrainingItem(text, "text", language=language) for text in asked],
        [TrainingItem(text, modality, language=of_documents) for text in texts],
        list(asked.values()),
    )


def _sts(name: str, held: HeldOut, found: Sequence[Row]) -> DevSet:
    sides = [
        [TrainingItem(field_text(row, side), "text", language=held.language) for row in found]
        for side in ("a", "b")
    ]
    scores = [float(row["score"]) for row in found]
    return DevSet(name, "sts", held.language, sides[0], sides[1], scores=scores)


def _first_sentence(text: str) -> str:
    """The text up to the first full stop after fifteen characters, in any script: a short query for a paragraph."""
    for place, character in enumerate(text):
        if character in ".。?!؟।" and place >= 15:
            return text[: place + 1]
    return text
