"""A model's vocabulary cut to some languages: the pieces that text in them has, and what the cut costs in each."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn

from unbraid.adopt.agreement import agreement
from unbraid.adopt.models import TextModel
from unbraid.base_encoders.cut_vocabulary import (
    count_pieces,
    cut_embeddings,
    cut_tokenizer,
    occurring_pieces,
)
from unbraid.errors import AdoptError
from unbraid.runtime.text_language import language_of
from unbraid.vectors import normalize

LEAST = 100  # texts of a language
MOST = 20_000  # that are counted; more hardly add pieces
LEAST_CHARACTERS = 20  # of a text: the language of a shorter one is a guess
HELD_OUT, MEASURED = 5, 120  # one text in so many is held out, and so many of them are measured at most
BATCH = 16


@dataclass(frozen=True)
class CutLanguage:
    """What a cut costs in one language, on texts that were not counted."""

    texts: int
    cosine: float  # mean, to the vectors of the uncut model
    agreement: float  # share of the ten nearest of these texts that stay


@dataclass(frozen=True)
class Cut:
    """A text model with fewer pieces, and what that costs by language."""

    text: TextModel
    pieces: tuple[int, int]  # before and after
    parameters: tuple[int, int]
    cost: Mapping[str, CutLanguage]


def read_languages(files: Iterable[Path], languages: Sequence[str]) -> dict[str, list[str]]:
    """The lines of `files` by language, for each of `languages`, each once. Raises AdoptError where there are too few."""
    found: dict[str, dict[str, None]] = {language: {} for language in languages}
    for path in files:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise AdoptError(f"{path}: cannot be read as text: {error}") from error
        for line in map(str.strip, lines):
            if len(line) >= LEAST_CHARACTERS and (language := language_of(line)) in found:
                found[language][line] = None
    if few := {language: len(texts) for language, texts in found.items() if len(texts) < LEAST}:
        raise AdoptError(
            f"--counted-on: {', '.join(f'{count} lines of {language}' for language, count in few.items())} with "
            f"{LEAST_CHARACTERS} characters or more, expected at least {LEAST} of each language: name more text"
        )
    return {language: list(texts) for language, texts in found.items()}


def cut_to_languages(text: TextModel, texts: Mapping[str, Sequence[str]]) -> Cut:
    """`text` with the pieces that `texts` by language and the model's prompts have, its vectors otherwise as they were.

    Words whose pieces are gone are read in smaller ones. One text in five is not counted, and the cost is measured on
    them. Raises AdoptError for a tokenizer or an encoder whose vocabulary cannot be cut.
    """
    tokenizer = Tokenizer.from_str(text.tokenizer.to_str())
    tokenizer.no_truncation()
    counted = {language: list(_counted(given)) for language, given in texts.items()}
    counts = count_pieces(tokenizer, {**counted, "prompts": list(text.prompts.values())})
    encoder = copy.deepcopy(text.encoder)
    try:
        kept = occurring_pieces(tokenizer, counts)
        fewer = cut_tokenizer(text.tokenizer, kept)
        cut_embeddings(_backbone(encoder, kept), kept)
    except ValueError as error:
        raise AdoptError(
            f"--languages: {error}: this model's vocabulary cannot be cut, leave it out"
        ) from error

    def original(given: Sequence[str], prompt: str | None) -> np.ndarray:
        return _encode(encoder, fewer, [(prompt or "") + one for one in given])

    made = replace(text, encoder=encoder, tokenizer=fewer, original=original, original_ids=None)
    cost = {language: _cost(text, made, given[::HELD_OUT][:MEASURED]) for language, given in texts.items()}
    sizes = tuple(sum(one.numel() for one in each.parameters()) for each in (text.encoder, encoder))
    return Cut(made, (tokenizer.get_vocab_size(), len(kept)), (sizes[0], sizes[1]), cost)


def what_a_cut_costs(cut: Cut) -> list[str]:
    """A sentence for the size, and one for each language."""
    before, after = cut.parameters
    return [
        (
            f"vocabulary cut from {cut.pieces[0]:,} to {cut.pieces[1]:,} pieces, {before / 1e6:.1f} to {after / 1e6:.1f} "
            "million weights"
        ),
        *(
            f"{language}: mean cosine {one.cosine:.4f} to the uncut model, {one.agreement:.1%} of the ten nearest texts "
            f"stay, on {one.texts} texts that were not counted"
            for language, one in cut.cost.items()
        ),
    ]


def _counted(texts: Sequence[str]) -> Iterator[str]:
    """The texts that are not held out."""
    return (one for row, one in enumerate(texts[: MOST * HELD_OUT]) if row % HELD_OUT)


def _cost(before: TextModel, after: TextModel, texts: Sequence[str]) -> CutLanguage:
    prompt = before.prompts.get("document")
    old, new = before.original(texts, prompt), after.original(texts, prompt)
    return CutLanguage(len(texts), float((old * new).sum(axis=1).mean()), agreement(old, new))


def _backbone(encoder: nn.Module, kept: np.ndarray) -> nn.Module:
    """The transformers model in an encoder. Raises ValueError for none, and where padding would get another number."""
    from transformers import PreTrainedModel

    found = next((one for one in encoder.modules() if isinstance(one, PreTrainedModel)), None)
    if found is None:
        raise ValueError("an encoder that is no transformers model")
    padding = getattr(found.config, "pad_token_id", None)
    if padding is not None and (padding >= len(kept) or kept[padding] != padding):
        raise ValueError(f"padding is piece {padding}, which would get another number")
    return found


@torch.inference_mode()
def _encode(encoder: nn.Module, tokenizer: Tokenizer, texts: Sequence[str]) -> np.ndarray:
    """Unit vectors float32 [n, dim], batches of like length padded."""
    ids = [one.ids for one in tokenizer.encode_batch(list(texts))]
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    vectors: dict[int, np.ndarray] = {}
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        longest = max(len(ids[row]) for row in rows)
        padded = torch.tensor([ids[row] + [0] * (longest - len(ids[row])) for row in rows])
        mask = torch.tensor([[1] * len(ids[row]) + [0] * (longest - len(ids[row])) for row in rows])
        vectors |= dict(zip(rows, encoder(padded, mask).numpy(), strict=True))
    return normalize(np.stack([vectors[row] for row in range(len(ids))]))
