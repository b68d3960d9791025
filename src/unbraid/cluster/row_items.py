"""Rows to items, and items to vectors; where a batch is refused, row by row."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from unbraid.errors import ItemError, UnbraidError
from unbraid.items import IMAGE_SUFFIXES, Code, Item, Modality
from unbraid.runtime.preprocess import decode

Encode = Callable[[Sequence[Item]], np.ndarray]
PICTURES = 16  # at a time: pictures given as bytes stay decoded until they are encoded


def to_item(
    content: str | bytes | None, modality: Modality, folder: Path, at_least: int | None = None
) -> Item:
    """The item of a row; a picture's path starts from `folder`, its bytes are decoded with `at_least`.

    Raises ItemError for invalid content.
    """
    if content is None:
        raise ItemError(f"there is no {modality}: the value is null")
    if isinstance(content, bytes):
        return decode(content, at_least=at_least)
    try:
        content.encode()
    except UnicodeEncodeError:
        raise ItemError(f"the {modality} is not valid UTF-8") from None
    if modality == "image":
        path = folder / content
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            raise ItemError(f"{content!r} does not end in {', '.join(sorted(IMAGE_SUFFIXES))}")
        return path
    return Code(content) if modality == "code" else content


def encode_rows(
    contents: Sequence[str | bytes | None],
    modality: Modality,
    folder: Path,
    encode: Encode,
    vectors: np.ndarray,
    at_least: int | None = None,
) -> list[str | None]:
    """Fill `vectors` [n, d] with the rows' vectors; returns for each row the reason it has none, or None.

    `encode` gets many items at once. When it refuses them, the halves are tried, down to the item at fault.
    """
    reasons: list[str | None] = [None] * len(contents)
    step = PICTURES if modality == "image" else max(1, len(contents))
    for start in range(0, len(contents), step):
        items: dict[int, Item] = {}
        for row in range(start, min(start + step, len(contents))):
            try:
                items[row] = to_item(contents[row], modality, folder, at_least)
            except ItemError as error:
                reasons[row] = str(error)
        found = _encode_each(list(items.values()), encode)
        for row, vector in zip(items, found, strict=True):
            if isinstance(vector, str):
                reasons[row] = vector
            else:
                vectors[row] = vector
    return reasons


def _encode_each(items: Sequence[Item], encode: Encode) -> Sequence[np.ndarray | str]:
    """The vector of each item, or the reason it has none."""
    if not items:
        return []
    try:
        return list(encode(items))
    except UnbraidError as error:
        if len(items) == 1:
            return [str(error)]
    middle = len(items) // 2
    return [*_encode_each(items[:middle], encode), *_encode_each(items[middle:], encode)]
