"""Pairs to fit a mapper on: reading them, grouping those that share a text, encoding them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from unbraid.embedder import Embedder
from unbraid.errors import DataError
from unbraid.io.jsonl import Line, read_rows
from unbraid.items import Code
from unbraid.vectors import normalize

T = TypeVar("T")
EXPECTED = '{"query": ..., "positive": ..., "negative": ...} (negative optional) or {"a": ..., "b": ..., "score": ...}'


@dataclass(frozen=True)
class Pairs:
    """n pairs of texts. Either each right text answers its left text, or `grades` say how alike the two are."""

    left: Sequence[str]  # queries, or the first of each graded pair
    right: Sequence[str | Path]  # positives (Code where they are code, a Path of a picture), or the second
    negative: Sequence[str | None]  # a document that is no answer, where a row has one
    grades: np.ndarray | None  # float64 [n], higher is more alike; None for pairs that are answers
    # int [n], the file that each was found in; None for pairs that were given.
    files: np.ndarray | None = None

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self.left)

    def take(self, rows: np.ndarray) -> "Pairs":
        """The pairs at positions `rows`."""
        return Pairs(
            [self.left[row] for row in rows],
            [self.right[row] for row in rows],
            [self.negative[row] for row in rows],
            None if self.grades is None else self.grades[rows],
            None if self.files is None else self.files[rows],
        )

    def groups(self) -> np.ndarray:
        """Group int [n] of each pair: two pairs of one file, or that share a text, directly or not, share a group.

        Held-out pairs must share no text with the pairs of the fit, and be of other files; otherwise the score is too good.
        """
        if self.files is not None:  # found pairs share no text
            return self.files
        parent: dict[str | Path, str | Path] = {}

        def root(text: str | Path) -> str | Path:
            while parent.setdefault(text, text) != text:
                parent[text] = parent[parent[text]]
                text = parent[text]
            return text

        for left, right in zip(self.left, self.right, strict=True):
            parent[root(left)] = root(right)
        number: dict[str | Path, int] = {}
        return np.array([number.setdefault(root(left), len(number)) for left in self.left], dtype=np.intp)


@dataclass(frozen=True)
class EncodedPairs:
    """Pairs as unit vectors float32 [m, D] of their distinct texts, and the rows that make up each pair."""

    queries: np.ndarray  # of the left sides [U, D]
    documents: np.ndarray  # of the right sides and the negatives [V, D]
    left: np.ndarray  # int [n], rows of `queries`
    right: np.ndarray  # int [n], rows of `documents`
    negative: np.ndarray  # int [n], rows of `documents`; -1 where a pair has none
    grades: np.ndarray | None

    def mapped(self, query: np.ndarray, document: np.ndarray) -> "EncodedPairs":
        """The same pairs under one matrix [D, D] for each side."""
        return replace(
            self, queries=normalize(self.queries @ query.T), documents=normalize(self.documents @ document.T)
        )


def read_pairs(path: Path) -> Pairs:
    """The pairs of a .jsonl or .jsonl.gz file, one JSON object a line.

    A row is {"query" or "anchor", "positive" or "document"} with an optional "negative", or a graded pair {"a", "b",
    "score"}. "modality": "code" marks positive and negative (a and b) as code. Raises DataError that names the line
    for anything else, for a file that mixes both kinds, and for a file without pairs.
    """
    left: list[str] = []
    right: list[str] = []
    negative: list[str | None] = []
    grades: list[float] = []
    for line in read_rows(path):
        graded = "score" in line.row
        if left and graded != bool(grades):
            raise line.wrong(
                "graded pairs and pairs of queries and answers in one file", "one kind: split the file"
            )
        modality = line.row.get("modality", "text")
        if modality not in ("text", "code"):
            raise line.wrong(f"'modality' {str(modality)[:40]!r}", '"text" or "code"')
        kind = Code if modality == "code" else str
        if graded:
            left.append(kind(_text(line, "a")))
            right.append(kind(_text(line, "b")))
            negative.append(None)
            score = line.row["score"]
            if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
                raise line.wrong(f"'score' {str(score)[:40]!r}", "a number")
            grades.append(float(score))
        else:
            left.append(_text(line, "query", "anchor"))
            right.append(kind(_text(line, "positive", "document")))
            given = line.row.get("negative") is not None
            negative.append(kind(_text(line, "negative")) if given else None)
    if not left:
        raise DataError(f"{path}: holds no pairs; expected rows {EXPECTED}")
    return Pairs(left, right, negative, np.array(grades) if grades else None)


def _text(line: Line, *names: str) -> str:
    """The first of the fields `names` that the row has: a string that is not blank."""
    name = next((name for name in names if name in line.row), None)
    if name is None:
        raise line.wrong(f"no field {' or '.join(map(repr, names))}", EXPECTED)
    text = line.row[name]
    if not isinstance(text, str) or not text.strip():
        raise line.wrong(f"{name!r} {str(text)[:40]!r}", "a string that is not empty")
    return text


def encode_pairs(model: Embedder, pairs: Pairs, progress: bool | None = None) -> EncodedPairs:
    """`pairs` with the base vectors of their texts; each distinct text of a side is encoded once.

    The left side is encoded as queries are; both sides of graded pairs are alike.
    """
    wanted = [(row, text) for row, text in enumerate(pairs.negative) if text is not None]
    queries, left = _distinct(pairs.left)
    documents, right = _distinct([*pairs.right, *(text for _, text in wanted)])
    negative = np.full(len(pairs), -1)
    negative[[row for row, _ in wanted]] = right[len(pairs) :]
    side: Literal["query"] | None = "query" if pairs.grades is None else None
    return EncodedPairs(
        model.encode(queries, on_truncate="ignore", progress=progress, side=side),
        model.encode(documents, on_truncate="ignore", progress=progress),
        left,
        right[: len(pairs)],
        negative,
        pairs.grades,
    )


def _distinct(texts: Sequence[T]) -> tuple[list[T], np.ndarray]:
    """Every item once, and the row int64 [n] of each in them. Code is another item than a text of its characters."""
    number: dict[tuple[type, T], int] = {}
    rows = [number.setdefault((type(text), text), len(number)) for text in texts]
    return [text for _, text in number], np.array(rows, np.int64)
