"""Pairs to fit a mapper on: reading them, and telling which of them share a text."""

import gzip
import json
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.errors import DataError
from unbraid.items import Code

EXPECTED = '{"query": ..., "positive": ..., "negative": ...} (negative optional) or {"a": ..., "b": ..., "score": ...}'


@dataclass(frozen=True)
class Pairs:
    """n pairs of texts. Either each right is an answer to its left, or `grades` say how alike the two are."""

    left: Sequence[str]  # queries, or the first of each graded pair
    right: Sequence[str]  # positives (Code where they are code), or the second
    negative: Sequence[str | None]  # a document that is no answer, where a row has one
    grades: np.ndarray | None  # float64 [n], higher is more alike; None for pairs that are answers

    def __len__(self) -> int:
        """How many pairs."""
        return len(self.left)

    def take(self, rows: np.ndarray) -> "Pairs":
        """The pairs at positions `rows`."""
        return Pairs(
            [self.left[row] for row in rows],
            [self.right[row] for row in rows],
            [self.negative[row] for row in rows],
            None if self.grades is None else self.grades[rows],
        )

    def groups(self) -> np.ndarray:
        """int [n]: equal for two pairs that share a text, directly or through other pairs.

        What is held out must share no text with what is fitted on, or the score flatters.
        """
        parent: dict[str, str] = {}

        def root(text: str) -> str:
            while parent.setdefault(text, text) != text:
                parent[text] = parent[parent[text]]
                text = parent[text]
            return text

        for left, right in zip(self.left, self.right, strict=True):
            parent[root(left)] = root(right)
        number: dict[str, int] = {}
        return np.array([number.setdefault(root(left), len(number)) for left in self.left], dtype=np.intp)


def read_pairs(path: Path) -> Pairs:
    """The pairs of a .jsonl or .jsonl.gz file, one JSON object a line.

    A row is {"query" or "anchor", "positive" or "document"} with an optional "negative", or a graded {"a", "b",
    "score"}; "modality": "code" says that positive and negative (a and b) are code. Raises DataError naming the
    line for anything else, for a mixture of both kinds, and for a file without pairs.
    """
    left: list[str] = []
    right: list[str] = []
    negative: list[str | None] = []
    grades: list[float] = []
    for number, row in _rows(path):
        where = f"{path}, line {number}"
        graded = "score" in row
        if left and graded != bool(grades):
            raise DataError(
                f"{where}: graded pairs and pairs of queries and answers do not mix: split the file"
            )
        kind = _kind(row, where)
        if graded:
            left.append(kind(_text(row, where, "a")))
            right.append(kind(_text(row, where, "b")))
            negative.append(None)
            grades.append(_score(row, where))
        else:
            left.append(_text(row, where, "query", "anchor"))
            right.append(kind(_text(row, where, "positive", "document")))
            apart = row.get("negative") is not None
            negative.append(kind(_text(row, where, "negative")) if apart else None)
    if not left:
        raise DataError(f"{path}: holds no pairs; expected rows {EXPECTED}")
    return Pairs(left, right, negative, np.array(grades) if grades else None)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers from 1 and their objects; blank lines are left out."""
    number = 0
    try:
        if path.exists() and not path.is_file():  # reading a pipe would wait for ever
            raise DataError(f"{path}: not a regular file")
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                row = json.loads(line.decode("utf-8-sig"))
                if not isinstance(row, dict):
                    raise DataError(
                        f"{path}, line {number}: found a {type(row).__name__}, expected {EXPECTED}"
                    )
                yield number, row
    except DataError:
        raise
    except (ValueError, RecursionError) as error:  # JSON, UTF-8
        raise DataError(f"{path}, line {number}: not a JSON object: {error}") from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}, after line {number}: cannot be read: {reason}") from error


def _text(row: dict[str, Any], where: str, *names: str) -> str:
    """The first of the fields `names` that the row has: a string that is not blank."""
    for name in names:
        if name in row:
            if isinstance(row[name], str) and row[name].strip():
                return row[name]
            raise DataError(
                f"{where}: {name!r} is {str(row[name])[:40]!r}, expected a string that is not empty"
            )
    raise DataError(f"{where}: has no {' or '.join(map(repr, names))}; expected {EXPECTED}")


def _score(row: dict[str, Any], where: str) -> float:
    score = row["score"]
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        raise DataError(f"{where}: 'score' is {str(score)[:40]!r}, expected a number")
    return float(score)


def _kind(row: dict[str, Any], where: str) -> type[str]:
    """`Code` or `str`, as the row's modality says."""
    modality = row.get("modality", "text")
    if modality not in ("text", "code"):
        raise DataError(f'{where}: \'modality\' is {str(modality)[:40]!r}, expected "text" or "code"')
    return Code if modality == "code" else str
