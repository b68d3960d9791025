"""Queries and documents that a multi-vector head learns from, with the teacher's vectors of those that are labelled."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unbraid.distill.data.member_items import compared, held_out_texts
from unbraid.distill.labels.label_shard import text_key
from unbraid.distill.labels.label_store import read_description, read_shards
from unbraid.distill.recipe import HeadTraining
from unbraid.errors import DataError
from unbraid.io.jsonl import read_rows
from unbraid.items import Modality
from unbraid.training.data_split import is_dev
from unbraid.vectors import normalize

Pair = tuple[str, str]


@dataclass(frozen=True)
class HeadPairs:
    """A query and its document in each row; `kinds` are the documents' modalities, `sources` the files.

    `teacher` are the unit vectors of the queries and of the documents in the teacher's space [n, D]; rows without a
    label are zero.
    """

    queries: list[str]
    documents: list[str]
    kinds: list[Modality]
    sources: list[str]
    teacher: tuple[np.ndarray, np.ndarray]

    @property
    def labelled(self) -> np.ndarray:
        """Which rows have both vectors: bool [n]."""
        query, document = (np.any(side, axis=1) for side in self.teacher)
        return np.logical_and(query, document)


def head_pairs(config: HeadTraining, data: Path, labels: Path | None, seed: int) -> HeadPairs:
    """The training rows of the files in `config`, at most `rows` of each, those with labels first; no text occurs twice, and no text of a dev
    set (item_sources.HELD_OUT) at all.

    A row has "anchor" and "positive", or "title" and "text". Raises DataError where there are none.
    """
    found: list[tuple[str, Modality, Pair]] = []
    known = label_keys(labels) if labels else set()
    banned = held_out_texts(data)
    for kind, files in (("text", config.texts), ("code", config.code)):
        modality: Modality = "code" if kind == "code" else "text"
        for name in files:
            pairs = [pair_of(line.row) for line in read_rows(data / name) if not is_dev(line.row)]
            pairs = [pair for pair in pairs if banned.isdisjoint(map(compared, pair))]
            random.Random(seed).shuffle(pairs)
            pairs.sort(key=lambda pair: not known.issuperset(_keys(pair, modality)))
            found += [(name, modality, pair) for pair in _distinct(pairs)[: config.rows]]
    if not found:
        raise DataError("no pairs to train a head on: name files with pairs as [head] texts or code")
    random.Random(seed).shuffle(found)
    queries, documents = ([pair[side] for _, _, pair in found] for side in (0, 1))
    kinds = [kind for _, kind, _ in found]
    keys = [_keys(pair, kind) for _, kind, pair in found]
    teacher = (
        _teacher_vectors(labels, [query for query, _ in keys], kinds, of_query=True),
        _teacher_vectors(labels, [document for _, document in keys], kinds, of_query=False),
    )
    return HeadPairs(queries, documents, kinds, [name for name, _, _ in found], teacher)


def pair_of(row: dict[str, object]) -> Pair:
    """Query and document of a row of a data file. Raises DataError for a row of another form."""
    for query, document in (("anchor", "positive"), ("title", "text")):
        if query in row and document in row:
            return str(row[query]), str(row[document])
    raise DataError(f"a row with {sorted(row)}: expected anchor and positive, or title and text")


def label_keys(labels: Path) -> set[str]:
    """The keys of every item that has labels."""
    return {key for shard in read_shards(labels) for key in shard.keys}


def _keys(pair: Pair, kind: Modality) -> tuple[str, str]:
    return text_key("text", pair[0]), text_key(kind, pair[1])


def _distinct(pairs: Sequence[Pair]) -> list[Pair]:
    seen: set[str] = set()
    kept = []
    for pair in pairs:
        if seen.isdisjoint(pair) and all(map(str.strip, pair)):
            seen.update(pair)
            kept.append(pair)
    return kept


def _teacher_vectors(
    labels: Path | None, keys: Sequence[str], kinds: Sequence[Modality], *, of_query: bool
) -> np.ndarray:
    """The teacher's vector of each item [n, D] by the route of its task, zero where there is none."""
    if labels is None:
        return np.zeros((len(keys), 1), np.float32)
    about = read_description(labels)
    tasks: dict[str, str] = about["tasks"]
    rows = {key: row for row, key in enumerate(keys)}
    vectors = np.zeros((len(keys), int(about["dim"])), np.float32)
    for shard in read_shards(labels):
        for place, key in enumerate(shard.keys):
            if (row := rows.get(key)) is not None:
                task = "code" if kinds[row] == "code" else "query" if of_query else "document"
                vectors[row] = shard.vectors[tasks[task]][place]
    return normalize(vectors)
