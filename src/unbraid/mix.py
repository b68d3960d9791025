"""`Mix`: several items as one query, each with a weight: a picture and words, several pictures, "not this one"."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from numbers import Real
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from unbraid.errors import ItemError
from unbraid.items import Item, item_modality

# Share of words beside pictures. Cosines of two pictures lie higher and further apart than those of a text with a picture,
# so that words count less than their share says (docs/experiments.md).
WORDS = 0.6
NOT = 0.3  # of a part that is not wanted, where the wanted ones are 1 together
# Length of the sum of vectors, for weights of 1 together, below which its direction is rounding of the graphs.
SHORTEST = 0.01


@dataclass(frozen=True, init=False)
class Mix:
    """Several items as one query, each with a weight; a negative weight says "not like this one".

    Its base vector is normalize(Σ weight · base vector of the part): only the ratios of weights matter. The words of its
    texts with a positive weight count in a search as those of a text do.
    """

    parts: tuple[Item, ...]
    weights: tuple[float, ...]

    def __init__(self, parts: Iterable[Item], weights: Iterable[float] | None = None) -> None:
        """Texts, unbraid.Code, paths and pictures, and as many weights.

        Without `weights`, parts count the same, but words 0.6 together and pictures 0.4 where there are both. Raises
        ItemError for parts that are no items, weights that are not finite and weights of which none is positive.
        """
        if isinstance(parts, str | Path | Image.Image | Mix):
            raise ItemError(f"Mix takes a list of items, got one {type(parts).__name__}: wrap it as [item]")
        parts = _listed(parts, "items")
        for place, part in enumerate(parts):
            try:
                item_modality(part)
            except ItemError as error:
                raise ItemError(f"part {place}: {error}") from error
        if weights is None:
            weights = shared_weights([item_modality(part) == "image" for part in parts])
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "weights", check_weights(weights, len(parts)))

    @property
    def words(self) -> str | None:
        """The texts and code that are wanted, a line each; None where there are none."""
        return joined_words(self.parts, self.weights)


Query: TypeAlias = Item | Mix


def shared_weights(pictures: Sequence[bool], words: float = WORDS, unwanted: int = 0) -> list[float]:
    """Weights of parts that are pictures or words, and then of `unwanted` others, each of which has -NOT.

    All words together have `words` and all pictures the rest. Parts of one sort have the same weight, 1 together.
    """
    of_pictures = sum(pictures)
    of_words = len(pictures) - of_pictures
    share = words if of_pictures and of_words else float(of_words > 0)
    wanted = [(1 - share) / of_pictures if picture else share / of_words for picture in pictures]
    return [*wanted, *[-NOT] * unwanted]


def check_weights(weights: Iterable[float], count: int) -> tuple[float, ...]:
    """`weights` as floats. Raises ItemError unless they are `count` finite numbers, at least one of them positive."""
    given = _listed(weights, "weights")
    if len(given) != count or not count:
        raise ItemError(
            f"{count} parts have {len(given)} weights: expected one a part, and at least one part"
        )
    found = []
    for place, weight in enumerate(given):
        if not isinstance(weight, Real) or isinstance(weight, bool) or not _is_finite(weight):
            raise ItemError(f"weight {place} is {repr(weight)[:40]}: expected a finite number")
        found.append(float(weight))
    if max(found) <= 0:
        raise ItemError(
            f"no weight of {', '.join(f'{one:g}' for one in found[:8])} is positive: say what you look for too"
        )
    return tuple(found)


def words_of(query: Query) -> str | None:
    """What of a query counts word by word: a text or code, or those of a mix; None for anything else."""
    if isinstance(query, Mix):
        return query.words
    return str(query) if isinstance(query, str) else None


def joined_words(parts: Iterable[object], weights: Iterable[float]) -> str | None:
    """The texts and code among `parts` whose weight is positive, a line each; None where there are none."""
    texts = [
        str(part) for part, weight in zip(parts, weights, strict=True) if isinstance(part, str) and weight > 0
    ]
    return "\n".join(texts) if texts else None


def mix_vectors(base: np.ndarray, weights: Iterable[float]) -> np.ndarray:
    """normalize(Σ weight · row), float32 [dim], of the base vectors [n, dim] of n parts.

    Raises ItemError where the parts cancel out, and as `check_weights`.
    """
    scaled = np.array(check_weights(weights, len(base)))
    scaled /= np.abs(scaled).max()  # so that no sum of large weights overflows
    scaled /= np.abs(scaled).sum()
    total = scaled @ base.astype(np.float64)
    length = float(np.linalg.norm(total))
    if length < SHORTEST:
        raise ItemError(
            f"the parts cancel out: their weighted sum has a length of {length:.4f}, too short for a direction; change the "
            "weights, or leave out what is both wanted and not wanted"
        )
    mixed: np.ndarray = (total / length).astype(np.float32)
    return mixed


def split_mixes(items: Sequence[Query]) -> tuple[Sequence[Item], Callable[[int], str]]:
    """The single items of `items`, with the parts of each mix in its place, and a function that says where one stood."""
    single = [item for item in items if not isinstance(item, Mix)]
    if len(single) == len(items):
        return single, "item {}".format
    parts = list(chain.from_iterable(item.parts if isinstance(item, Mix) else [item] for item in items))
    return parts, list(_places(items)).__getitem__


def without_mixes(items: Sequence[Query]) -> list[Item]:
    """`items` themselves. Raises ItemError for a mix, which has one vector and no tokens."""
    single = [item for item in items if not isinstance(item, Mix)]
    if len(single) < len(items):
        row = next(row for row, item in enumerate(items) if isinstance(item, Mix))
        raise ItemError(f"item {row}: a Mix has no multi-vector: encode its parts")
    return single


def join_mixes(base: np.ndarray, items: Sequence[Query]) -> np.ndarray:
    """A base vector for each of `items`, [n, dim], of those of all their parts, as `split_mixes` gives them."""
    if len(base) == len(items) and not any(isinstance(item, Mix) for item in items):
        return base
    joined = np.empty((len(items), base.shape[1]), dtype=np.float32)
    start = 0
    for row, item in enumerate(items):
        if isinstance(item, Mix):
            end = start + len(item.parts)
            try:
                joined[row] = mix_vectors(base[start:end], item.weights)
            except ItemError as error:
                raise ItemError(f"item {row}: {error}") from error
        else:
            end = start + 1
            joined[row] = base[start]
        start = end
    return joined


def _places(items: Sequence[Query]) -> Iterator[str]:
    for row, item in enumerate(items):
        if isinstance(item, Mix):
            yield from (f"item {row}, part {place}" for place in range(len(item.parts)))
        else:
            yield f"item {row}"


def _listed(values: Iterable, what: str) -> tuple:
    try:
        return tuple(values)
    except TypeError:
        raise ItemError(f"Mix takes a list of {what}, got {type(values).__name__}") from None


def _is_finite(number: Real) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number that no float holds
        return False
