"""Prompts as mappers: the vectors of texts with one prompt, computed from their vectors with another.

A prompt moves all vectors of a model in about the same way. So a matrix from base vectors, which have the prompt of
documents, stands for another pass through the encoder, and how much it keeps is measured on texts it was not fitted on.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unbraid.adopt.agreement import NEAREST
from unbraid.adopt.models import TextModel
from unbraid.adopt.sample_texts import vocabulary_words
from unbraid.export.parity_samples import docstrings
from unbraid.ridge import ridge
from unbraid.vectors import normalize

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0)  # of the pull towards the identity, in mean eigenvalues
HELD_OUT = 4  # one text in this many
# A sentence is as long as a query; words come in every language that a model knows.
SENTENCES, WORDS = 1500, 500
LONGEST = 200  # characters of a sentence
_END = re.compile(r"(?<=[.!?:])\s+|\n\s*\n")


@dataclass(frozen=True)
class PromptMapper:
    """A matrix float32 [D, D] from base vectors to those with a prompt, and what it keeps on held-out texts."""

    matrix: np.ndarray
    cosine: float  # mean, to the vectors that the prompt gives
    agreement: float  # share of the ten nearest base vectors that stay
    without: float  # the same share for base vectors as they are


def prompt_mappers(text: TextModel, sample: Sequence[str]) -> dict[str, PromptMapper]:
    """A mapper for each task whose prompt is another than that of documents, by task.

    `sample` are texts like those of the user's; sentences of docstrings and words of the vocabulary join them.
    """
    document = text.prompts.get("document", "")
    wanted = {task: prompt for task, prompt in text.prompts.items() if prompt != document}
    if not wanted:
        return {}
    texts = query_texts(text, sample)
    base = text.original(texts, document)
    fitted = {
        prompt: fit_prompt(base, text.original(texts, prompt)) for prompt in dict.fromkeys(wanted.values())
    }
    return {task: fitted[prompt] for task, prompt in wanted.items()}


def query_texts(text: TextModel, sample: Sequence[str]) -> list[str]:
    """Distinct texts of a query's length, in a fixed order that mixes them."""
    pieces = (" ".join(piece.split()) for one in [*sample, *docstrings()] for piece in _END.split(one))
    sentences = list(dict.fromkeys(piece for piece in pieces if 0 < len(piece) <= LONGEST))
    words = vocabulary_words(text.tokenizer, WORDS)
    found = [*sentences[:: max(1, len(sentences) // SENTENCES)][:SENTENCES], *words]
    return [found[row] for row in np.random.default_rng(0).permutation(len(found))]


def fit_prompt(base: np.ndarray, prompted: np.ndarray) -> PromptMapper:
    """The ridge regression from unit vectors base [n, D] to prompted [n, D], pulled towards the identity.

    The strength of the pull is the one with the highest cosine on a quarter of the rows that it is not fitted on; what the
    mapper keeps is measured there too, and the matrix that is returned is fitted on all rows.
    """
    identity = np.eye(base.shape[1])
    held = np.arange(len(base)) % HELD_OUT == 0

    def fit(rows: np.ndarray, strength: float) -> np.ndarray:
        return ridge(base[rows], prompted[rows], strength * rows.sum() / base.shape[1], identity)

    def mapped(strength: float) -> np.ndarray:
        return normalize(base[held] @ fit(~held, strength).T)

    cosines = {one: float((mapped(one) * prompted[held]).sum(axis=1).mean()) for one in STRENGTHS}
    best = max(cosines, key=lambda one: cosines[one])
    every = np.ones(len(base), dtype=bool)
    return PromptMapper(
        fit(every, best).astype(np.float32),
        cosines[best],
        nearest_kept(prompted[held], mapped(best), base[~held]),
        nearest_kept(prompted[held], base[held], base[~held]),
    )


def nearest_kept(queries: np.ndarray, others: np.ndarray, documents: np.ndarray) -> float:
    """The share of the ten nearest `documents` [m, D] to each of `queries` [n, D] that are nearest to `others` [n, D] too."""
    most = min(NEAREST, len(documents) - 1)
    wanted, have = (
        np.argpartition(-(one @ documents.T), most - 1, axis=1)[:, :most] for one in (queries, others)
    )
    return float((wanted[:, :, None] == have[:, None, :]).any(axis=2).mean())


def what_is_kept(mappers: Mapping[str, PromptMapper]) -> list[str]:
    """A sentence for each task."""
    return [
        f"{task}: its prompt is computed from base vectors, which keeps {one.agreement:.1%} of the ten nearest texts "
        f"({one.without:.1%} without the mapper; cosine {one.cosine:.4f}) on texts that the fit did not see"
        for task, one in mappers.items()
    ]
