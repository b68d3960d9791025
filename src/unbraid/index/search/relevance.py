"""The probability that a chunk is relevant, from what its vector and its words show: what a search ranks by.

A logistic map of a few features. Cosines come as z, their distance from usual ones in standard deviations, since their
scale differs from task to task. Words come as BM25 over the root of the query's best: BM25 is a sum of log odds, and z has
log odds of z**2 / 2, so both grow alike. A word that few chunks hold leads where it is the whole query, and less where it
looks like a name or a number among others. Products with z say that words weigh less where the vectors know the answer. A
bundle brings its own map as `relevance` in bundle.json, which benchmarks/fit_relevance.py writes; another gets the starter's.

The cosine of a text with the picture that it describes is lower than with another text about the same. So a picture's
cosine first becomes that of a text as relevant, by a straight line (benchmarks/mixed.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unbraid.bundle import MultiVectorSpec
from unbraid.errors import BundleError
from unbraid.index.protocol import Scores

FEATURES = ("one", "z", "z2", "words", "words_z", "single", "named", "size")
VECTOR_FEATURES = ("one", "z", "size")
FLOOR = 0.03  # where even the best hit is less likely relevant than this, nothing is
# Of a query that only lists words, what z and words count, times their weights: such a query asks for a place where these
# words stand, and has no sentence whose meaning a vector could hold (docs/experiments.md).
LISTED_Z, LISTED_WORDS = 0.7, 1.5
FEW = 6  # chunks that a word leads to before it counts less
# Cosines that the map's own mean and spread count as: an index of a few chunks has none to speak of.
USUAL = 20


@dataclass(frozen=True)
class Evidence:
    """What is known of n candidates of one query, among `chunks` in the index.

    `z` [n] are standardized cosines, `bm25` [n] the scores of the query's words and `best` the largest of the index.
    `rare` [n] is the largest `rarity` of a word that few chunks hold and this one does, else 0: of the query's only word
    where it is `single`, else of those that look like a name or a number. `listed`: the query only lists words.
    """

    z: Scores
    bm25: Scores
    best: float
    rare: Scores
    single: bool
    chunks: int
    listed: bool = False


@dataclass(frozen=True)
class Relevance:
    """A map to log odds: weights of FEATURES, of VECTOR_FEATURES for a search without words, and usual cosines.

    `picture` is the slope and the constant by which the cosine of a picture counts as that of a text. `look` is by search mode
    the share of its weight that a second look counts (second_look.py), 0 where it does not help; 1 where the bundle says
    nothing.
    """

    words: tuple[float, ...]
    vector: tuple[float, ...]
    mean: float
    spread: float
    picture: tuple[float, float] = (1.0, 0.0)
    look: Mapping[str, float] = field(default_factory=dict)

    def as_of_texts(self, cosines: Scores, pictures: NDArray[np.bool_]) -> Scores:
        """Cosines [n], those of `pictures` [n] as cosines of texts that are as relevant."""
        slope, constant = self.picture
        return np.where(pictures, slope * cosines + constant, cosines)

    def of_picture(self, counted: float) -> float:
        """The cosine of a picture that counts as this one of a text."""
        slope, constant = self.picture
        return (counted - constant) / slope

    def log_odds(self, evidence: Evidence) -> Scores:
        """Log odds [n] that candidates are relevant."""
        return features(evidence) @ np.asarray(self.words)

    @property
    def per_z(self) -> float:
        """Log odds of a candidate by its vector alone, for each unit of z."""
        return self.vector[1]

    def by_vector(self, z: float, chunks: int) -> float:
        """The probability that a candidate of this z is relevant, where nothing is known of words. It grows with z."""
        return probability(self.vector_log_odds(z, chunks))

    def vector_log_odds(self, z: Any, chunks: int) -> Any:
        """The same as log odds, of one z or of [n]."""
        one, per_z, size = self.vector
        return one + per_z * z + size * float(np.log(max(chunks, 2)))


# By `python benchmarks/fit_relevance.py DATA --tier base` for starter 0.3, but for the weight of `single`, which is 3.2 there and
# lets too few rare words lead (docs/experiments.md).
STARTER = Relevance(
    words=(-6.765, 1.417, 0.785, 0.406, -0.057, 7.0, 0.384, -0.4),
    vector=(-7.756, 2.076, -0.4),
    mean=0.1203,
    spread=0.0967,
)


def relevance_of(model: Any) -> Relevance:
    """The map of a model's bundle, or else that of the starter."""
    about: Mapping[str, Any] | None = getattr(getattr(model, "bundle", None), "relevance", None)
    if not about:
        return STARTER
    sizes = len(about.get("words", ())), len(about.get("vector", ()))
    if sizes != (len(FEATURES), len(VECTOR_FEATURES)) or not {"mean", "spread"} <= about.keys():
        raise BundleError(
            "the map to relevance in bundle.json is of another version of unbraid: fit it again with "
            "benchmarks/fit_relevance.py --write"
        )
    slope, constant = about.get("picture", (1.0, 0.0))  # a bundle of before has none
    words, vector = tuple(about["words"]), tuple(about["vector"])
    # A bundle of before has log odds in place of shares, of the one weight that there was.
    look = {str(mode): float(odds) / MultiVectorSpec.look for mode, odds in about.get("look", {}).items()}
    look |= {str(mode): float(share) for mode, share in about.get("look_share", {}).items()}
    return Relevance(words, vector, about["mean"], about["spread"], (slope, constant), look)


@dataclass(frozen=True)
class Scale:
    """Turns the cosines of a query into z."""

    mean: float
    spread: float

    @classmethod
    def of(cls, usual: Scores, relevance: Relevance) -> "Scale":
        """From the query's cosines with a sample [n] of the index, and USUAL that the map has seen elsewhere."""
        n = len(usual) + USUAL
        mean = (float(usual.sum()) + USUAL * relevance.mean) / n
        second = (float((usual**2).sum()) + USUAL * (relevance.spread**2 + relevance.mean**2)) / n
        return cls(mean, max(second - mean**2, 1e-12) ** 0.5)

    def __call__(self, cosines: Any) -> Any:
        """Cosines, one or [n], as z."""
        return (cosines - self.mean) / self.spread


def features(evidence: Evidence) -> NDArray[np.float64]:
    """FEATURES of each candidate [n, f]."""
    z, bm25, rare = (np.asarray(one, np.float64) for one in (evidence.z, evidence.bm25, evidence.rare))
    size = np.full_like(z, np.log(max(evidence.chunks, 2)))
    rare, none = rare / size, np.zeros_like(z)
    single, named = (rare, none) if evidence.single else (none, rare)
    z = np.clip(z, -3, 12)
    words = bm25 / max(evidence.best, 1e-6) ** 0.5
    of_z, of_words = (LISTED_Z, LISTED_WORDS) if evidence.listed else (1.0, 1.0)
    columns = [
        np.ones_like(z),
        of_z * z,
        of_z * np.maximum(z, 0) ** 2 / 10,
        of_words * words,
        of_words * words * z,
        single,
        named,
        size,
    ]
    return np.stack(columns, axis=-1)


def probability(log_odds: float) -> float:
    """The probability of log odds, in 0..1."""
    return float(1 / (1 + np.exp(-np.clip(log_odds, -50, 50))))


def rarity(score: Scores, holding: int, chunks: int) -> Scores:
    """What Evidence counts a word for that `holding` of `chunks` hold: its BM25 score alone, up to 2.5 of its IDF.

    So a chunk that is about the word comes before one that only stands below a heading or in a file with it. A word that
    more than FEW chunks hold counts for less, by the square of how many times more: none of them may be about it.
    """
    return np.minimum(score, 2.5 * idf(holding, chunks)) * min(1.0, FEW / max(holding, 1)) ** 2


def idf(holding: int, chunks: int) -> float:
    """IDF of a word that `holding` of `chunks` hold, as the store has it."""
    return float(np.log1p((max(chunks, holding) - holding + 0.5) / (holding + 0.5)))
