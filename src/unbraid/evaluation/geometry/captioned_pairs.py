"""Pictures with their captions, one to one, and pairs of matching texts: the data of an analysis."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np

from unbraid.errors import DataError
from unbraid.evaluation.datasets.dataset import Retrieval, Scratch
from unbraid.evaluation.datasets.read_dataset import read_dataset
from unbraid.io.jsonl import read_rows
from unbraid.items import Item

SEED = 0  # of the sample that a limit keeps
# Two texts about one picture. A title is left out: it names the picture and rarely describes it.
TEXT_FIELDS = ("caption", "alt")

T = TypeVar("T")


@dataclass(frozen=True)
class Captioned:
    """Matched pairs; items of two different pairs of a list do not match.

    `texts_from` says where the pairs of texts come from. Pictures out of a tar live as long as this object.
    """

    name: str
    pictures: list[tuple[str, Path]]
    texts: list[tuple[str, str]]
    texts_from: str
    scratch: Scratch | None = field(default=None, repr=False, compare=False)


def read_captioned(
    path: Path, *, split: str | None = None, limit: int | None = None, texts: Path | None = None
) -> Captioned:
    """The captioned pictures of `path`, a file as `read_dataset` takes it, at most `limit` by a seeded sample.

    A picture with two captions (in the fields caption and alt, or in two rows) gives a pair of texts; `texts`, a file
    of pairs, replaces them. Repeated captions and pictures are left out: they would match items of other pairs.
    Raises DataError for anything but captioned pictures, or fewer than two of them.
    """
    dataset = read_dataset(path, split=split)
    if not isinstance(dataset, Retrieval) or dataset.document_modality != "image":
        raise DataError(
            f"{path}: found no captioned pictures, expected rows with file and caption beside a .tar of that name"
        )
    pictures = [
        (caption, picture)
        for caption, picture in one_to_one(dataset)
        if isinstance(caption, str) and isinstance(picture, Path)
    ]
    pictures = _sample(pictures, limit)
    if len(pictures) < 2:
        raise DataError(
            f"{path}: found {len(pictures)} picture with a caption of its own, expected at least 2"
        )
    if texts is not None:
        return Captioned(
            dataset.name, pictures, _text_pairs(texts, limit), f"the pairs of {texts.name}", dataset.scratch
        )
    second = _second_texts(path, split)
    pairs = [(caption, second[caption]) for caption, _ in pictures if caption in second]
    return Captioned(dataset.name, pictures, _distinct(pairs), "two captions of one picture", dataset.scratch)


def one_to_one(dataset: Retrieval) -> list[tuple[Item, Item]]:
    """Pairs of a query and its first document; a query is left out when an earlier one has the same document."""
    firsts = [(query, next(iter(dataset.qrels[query]), None)) for query in dataset.queries]
    return [
        (dataset.queries[query], dataset.documents[document])
        for query, document in _distinct((query, document) for query, document in firsts if document)
    ]


def _second_texts(path: Path, split: str | None) -> dict[str, str]:
    """Text -> another text about the same picture, where there is one."""
    found: dict[str, dict[str, None]] = {}
    for line in read_rows(path):
        if split is None or line.row.get("split") == split:
            texts = (value.strip() for name in TEXT_FIELDS if isinstance(value := line.row.get(name), str))
            found.setdefault(str(PurePosixPath(line.text("file"))), {}).update(
                dict.fromkeys(filter(None, texts))
            )
    second: dict[str, str] = {}
    for of_one in found.values():
        if len(of_one) > 1:
            first, other, *_ = of_one
            for text in of_one:
                second.setdefault(text, other if text == first else first)
    return second


def _text_pairs(path: Path, limit: int | None) -> list[tuple[str, str]]:
    dataset = read_dataset(path)
    if (
        not isinstance(dataset, Retrieval)
        or (dataset.query_modality, dataset.document_modality) != ("text",) * 2
    ):
        raise DataError(f"{path}: expected pairs of texts, rows with anchor and positive, and found others")
    pairs = _sample([(str(one), str(other)) for one, other in one_to_one(dataset)], limit)
    if len(pairs) < 2:
        raise DataError(f"{path}: found {len(pairs)} pair of texts, expected at least 2")
    return pairs


def _distinct(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs that share neither side with an earlier pair that was kept."""
    kept: dict[str, str] = {}
    seen: set[str] = set()
    for one, other in pairs:
        if one not in kept and other not in seen:
            kept[one] = other
            seen.add(other)
    return list(kept.items())


def _sample(rows: Sequence[T], limit: int | None) -> list[T]:
    if limit is None or len(rows) <= limit:
        return list(rows)
    chosen = np.sort(np.random.default_rng(SEED).choice(len(rows), limit, replace=False))
    return [rows[row] for row in chosen.tolist()]
