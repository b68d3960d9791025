"""Measures of the space of a text-and-picture model: modality gap, alignment, cone effect, effective rank, recall.

The analysis of section 8 of the jina-embeddings-v4 paper (arXiv 2506.18902), with a number for each of its histograms.
Vectors are float32 [n, D] of unit length; row i of one array matches row i of the other and no other row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unbraid.errors import require
from unbraid.evaluation.metrics import dense, rank
from unbraid.vectors import normalize

EDGES = np.linspace(-1, 1, 81)  # of the histograms: bins of 0.025
TOP = (1, 10)  # recall at

Vectors = NDArray[np.float32]
Numbers = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Cosines:
    """The mean of some cosines, and how many of them lie in each bin of EDGES."""

    mean: float
    counts: list[int]


@dataclass(frozen=True)
class Matching:
    """Cosines of matched and of unmatched pairs, and the AUROC that tells the two apart."""

    matched: Cosines
    unmatched: Cosines
    auroc: float


@dataclass(frozen=True)
class Geometry:
    """All measures of one space; the measures of text pairs are None without such pairs."""

    pairs: int
    text_pairs: int
    image_text: Matching  # its matched mean is the cross-modal alignment
    text_text: Matching | None
    # AUROC of matched text–text above matched image–text: 0.5 is no modality gap, 1 is all gap.
    apart: float | None
    texts: Cosines  # of captions with other captions: the cone of the texts
    images: Cosines  # of pictures with other pictures
    gap: float
    gap_by_chance: float
    gap_centred: float
    text_rank: float
    image_rank: float
    most_rank: int
    recall: Mapping[int, float]  # at k: captions that find their picture among all pictures
    recall_centred: Mapping[int, float]
    recall_by_chance: Mapping[int, float]


def geometry(
    captions: Vectors, images: Vectors, first: Vectors | None = None, second: Vectors | None = None
) -> Geometry:
    """Measures of matched `captions` and `images` [n, D], and of matched texts `first` and `second` [m, D].

    Takes memory for n² cosines. Raises ValueError as `matched` does, and for fewer than two pairs.
    """
    image_text = _matching(captions, images)
    texts = None if first is None or second is None else (first, second)
    centred_captions, centred_images = centred(captions), centred(images)
    n = len(captions)
    return Geometry(
        pairs=n,
        text_pairs=0 if texts is None else len(texts[0]),
        image_text=image_text,
        text_text=None if texts is None else _matching(*texts),
        apart=None if texts is None else auroc(matched(*texts), matched(captions, images)),
        texts=_cosines(unmatched(captions, captions)),
        images=_cosines(unmatched(images, images)),
        gap=centroid_gap(captions, images),
        gap_by_chance=centroid_gap_by_chance(captions, images),
        gap_centred=centroid_gap(centred_captions, centred_images),
        text_rank=effective_rank(captions - captions.mean(0)),
        image_rank=effective_rank(images - images.mean(0)),
        most_rank=min(n - 1, captions.shape[1]),
        recall=recall(captions, images),
        recall_centred=recall(centred_captions, centred_images),
        recall_by_chance={k: min(k, n) / n for k in TOP},
    )


def matched(one: Vectors, other: Vectors) -> Vectors:
    """Cosines [n] of the matched pairs; their mean is the alignment of the paper's table 4.

    Raises ValueError unless both are [n, D], n at least 2.
    """
    if one.ndim != 2 or one.shape != other.shape or len(one) < 2:
        raise ValueError(f"expected two arrays [n, D] of two rows or more, got {one.shape} and {other.shape}")
    cosines: Vectors = np.einsum("nd,nd->n", one, other)
    return cosines


def unmatched(one: Vectors, other: Vectors) -> Vectors:
    """Cosines [n (n - 1)] of every row of `one` with all rows of `other` but its own.

    Of an array with itself, their mean is how narrow its cone is: Liang et al. 2022, "Mind the Gap" (arXiv
    2203.02053), section 2. Raises ValueError as `matched` does.
    """
    n = len(matched(one, other))
    cosines: Vectors = (one @ other.T)[~np.eye(n, dtype=bool)]
    return cosines


def auroc(above: Numbers, below: Numbers) -> float:
    """Probability that one of `above` [n] is larger than one of `below` [m], an equal one counting half.

    The area under the ROC curve, by the Mann-Whitney statistic of the ranks (Hanley & McNeil 1982).
    """
    require("scipy", "evaluate")
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([above, below]))
    n, m = len(above), len(below)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def centroid_gap(one: Vectors, other: Vectors) -> float:
    """Distance of the two mean vectors: the modality gap of Liang et al. 2022, section 4.1; from 0 to 2."""
    return float(np.linalg.norm(one.mean(0, dtype=np.float64) - other.mean(0, dtype=np.float64)))


def centroid_gap_by_chance(one: Vectors, other: Vectors) -> float:
    """Root mean square of `centroid_gap` when each pair swaps its sides at random: the gap that few pairs show anyway.

    The mean of n differences with random signs has the mean square (sum of their squares) / n². [n, D] each.
    """
    return float(np.linalg.norm(one.astype(np.float64) - other) / len(one))


def centred(vectors: Vectors) -> Vectors:
    """`vectors` without their mean, of unit length again: float32 [n, D]. GR-CLIP (arXiv 2507.19054) searches these."""
    return normalize(vectors - vectors.mean(0))


def effective_rank(matrix: Numbers) -> float:
    """exp(H(p)) of the singular values' shares p = s / sum(s) of [n, D]: from 1 to min(n, D), NaN for all zeros.

    Roy & Vetterli 2007, "The effective rank: a measure of effective dimensionality", definition 1. It is bounded by
    the number of rows: compare spaces at equal n. `geometry` removes the mean first: the cone already measures it.
    """
    values = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
    total = values.sum()
    if total == 0:
        return float("nan")
    shares = values[values > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def recall(queries: Vectors, documents: Vectors) -> dict[int, float]:
    """Share of queries that find their own document among the k nearest of all n, for each k of TOP."""
    n = len(matched(queries, documents))
    best = rank(dense(queries, documents), n, n, k=max(TOP))
    found = best == np.arange(n)[:, None]
    return {k: float(found[:, :k].any(1).mean()) for k in TOP}


def _matching(one: Vectors, other: Vectors) -> Matching:
    own, others = matched(one, other), unmatched(one, other)
    return Matching(_cosines(own), _cosines(others), auroc(own, others))


def _cosines(cosines: Vectors) -> Cosines:
    # Rounding takes a cosine of equal vectors past 1, and out of the last bin.
    counts, _ = np.histogram(np.clip(cosines, -1, 1), EDGES)
    return Cosines(float(cosines.mean(dtype=np.float64)), counts.tolist())
