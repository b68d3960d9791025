"""The trained students of a run, as functions from texts to base vectors."""

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeAlias

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from unbraid.base_encoders.static_encoder import load_static_encoder
from unbraid.base_encoders.text_encoder import load_text_encoder
from unbraid.bundle import SMALL
from unbraid.distill.recipe import Recipe, TextTier
from unbraid.items import Modality
from unbraid.progress import track
from unbraid.runtime.batching import token_budget_batches
from unbraid.runtime.code_text import split_identifiers
from unbraid.runtime.routing import ENGLISH
from unbraid.runtime.text_language import language_of

ToBase: TypeAlias = Callable[[list[str], Modality], Tensor]  # texts and their modality -> base vectors [n, D]
MULTI = "multi"


def load_students(
    recipe: Recipe,
    run: Path,
    *,
    dtype: torch.dtype,
    tiers: Sequence[str] | None = None,
    max_tokens: int | None = None,
) -> dict[str, ToBase]:
    """The trained text tiers of `recipe` in `run`, by name; those among `tiers` if given.

    Where multi is one of them, the others give it texts in other languages, as they do in use. Of a text they read the
    first `max_tokens`, or as many as each was trained on.
    """
    chosen = [*recipe.text, *(["nano"] if recipe.nano else [])] if tiers is None else tiers
    encoders: dict[str, nn.Module] = {
        tier: load_text_encoder(run / tier).eval() for tier in recipe.text if tier in chosen
    }
    splits: dict[str, bool] = {tier: config.split_identifiers for tier, config in recipe.text.items()}
    if "nano" in chosen:
        encoders["nano"] = load_static_encoder(run / "nano").eval()
    own = {
        name: partial(
            _encode_kind,
            encoder,
            _tokenizer(run / name / "tokenizer.json", max_tokens),
            splits.get(name, splits[SMALL]),
            dtype,
        )
        for name, encoder in encoders.items()
    }
    if MULTI not in own:
        return dict(own)
    other = lru_cache(maxsize=32)(lambda texts: own[MULTI](list(texts), "text"))
    return {name: one if name == MULTI else partial(_routed, one, other) for name, one in own.items()}


def best_english(recipe: Recipe) -> TextTier:
    """The tier of `recipe` whose vectors of English texts are the targets of what has no labels."""
    return "base" if "base" in recipe.text else SMALL


def weights_hash(run: Path, tiers: Sequence[str]) -> str:
    """SHA-256 of the projections of trained `tiers` in `run`: other weights have another one."""
    whole = hashlib.sha256()
    for tier in tiers:
        name = "static.safetensors" if tier == "nano" else "projection.safetensors"
        whole.update((run / tier / name).read_bytes())
    return whole.hexdigest()


def _tokenizer(path: Path, max_tokens: int | None) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(path))
    if max_tokens:
        tokenizer.enable_truncation(max_tokens)
    return tokenizer


def _encode_kind(
    encoder: nn.Module,
    tokenizer: Tokenizer,
    split_code: bool,
    dtype: torch.dtype,
    texts: list[str],
    modality: Modality,
) -> Tensor:
    if split_code and modality == "code":
        texts = [split_identifiers(text) for text in texts]
    return encode(encoder, tokenizer, texts, dtype)


def _routed(
    english: ToBase, other: Callable[[tuple[str, ...]], Tensor], texts: list[str], modality: Modality
) -> Tensor:
    """Base vectors of texts, those of other languages by `other`."""
    if modality == "code" or not (
        foreign := [row for row, text in enumerate(texts) if language_of(text) != ENGLISH]
    ):
        return english(texts, modality)
    base = other(tuple(texts[row] for row in foreign))
    if len(foreign) == len(texts):
        return base
    left = sorted(set(range(len(texts))) - set(foreign))
    joined = torch.cat([english([texts[row] for row in left], modality), base])
    return joined[torch.tensor([*left, *foreign]).argsort()]


@torch.inference_mode()
def encode(
    encoder: nn.Module, tokenizer: Tokenizer, texts: list[str], dtype: torch.dtype = torch.float32
) -> Tensor:
    """Base vectors float32 [n, 512] of `texts`, in order."""
    tokenizer.no_padding()
    encodings = tokenizer.encode_batch_fast(texts)
    batches = token_budget_batches([len(encoding.ids) for encoding in encodings], budget=4096)
    parts = []
    for batch in track(batches, "encode", unit="batches"):
        ids = nn.utils.rnn.pad_sequence([torch.tensor(encodings[i].ids) for i in batch], batch_first=True)
        lengths = torch.tensor([len(encodings[i].ids) for i in batch])
        mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
        with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
            parts.append(encoder(ids, mask).float())
    order = torch.tensor([row for batch in batches for row in batch])
    return torch.cat(parts)[order.argsort()]
