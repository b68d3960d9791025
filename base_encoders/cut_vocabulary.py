"""Keep the most useful pieces of a Unigram vocabulary, counted for each language by itself.

Words whose pieces are gone are cut into smaller ones that are kept; they do not become unknown. Counts over all texts
together would keep what the languages with most text need, and Hindi or Greek would pay for it.
"""

import json
import unicodedata
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

CODE = "code"  # counted as a language of its own
# Beside 1 of any other language: files of every country hold English and code.
WEIGHTS = {"en": 8.0, CODE: 4.0}


def count_pieces(tokenizer: Tokenizer, texts: Mapping[str, Iterable[str]]) -> dict[str, np.ndarray]:
    """How often each piece occurs in the texts of each language: int64 [pieces] by language."""
    size = tokenizer.get_vocab_size()
    return {
        language: np.bincount(
            [
                piece
                for one in tokenizer.encode_batch_fast(list(given), add_special_tokens=False)
                for piece in one.ids
            ],
            minlength=size,
        )
        for language, given in texts.items()
    }


def balanced_pieces(tokenizer: Tokenizer, counts: Mapping[str, np.ndarray], size: int) -> np.ndarray:
    """The `size` pieces to keep, int64 in their old order: special ones, single characters, then the most frequent.

    A piece's worth is the sum of its shares of each language's pieces. All letters of alphabets are kept, and the other
    single characters that occur, so that no text of these languages has unknown pieces, and hardly any of a language
    without counts. Raises ValueError when they alone are more than `size`.
    """
    worth = np.zeros(tokenizer.get_vocab_size())
    for language, found in counts.items():
        worth += found / max(1, found.sum()) * WEIGHTS.get(language, 1.0)
    needed = _needed(tokenizer, worth)
    if len(needed) > size:
        raise ValueError(f"{len(needed):,} special pieces and characters, asked to keep {size:,} pieces")
    worth[needed] = np.inf
    return np.sort(np.argsort(-worth, kind="stable")[:size])


def occurring_pieces(tokenizer: Tokenizer, counts: Mapping[str, np.ndarray]) -> np.ndarray:
    """All pieces that occur, special ones and single characters, int64 in their old order; see `balanced_pieces`."""
    found = np.zeros(tokenizer.get_vocab_size())
    for one in counts.values():
        found += one
    return np.union1d(np.flatnonzero(found), _needed(tokenizer, found))


def _needed(tokenizer: Tokenizer, worth: np.ndarray) -> np.ndarray:
    """The pieces that are always kept, int64, where those with a `worth` [pieces] above zero occur."""
    pieces = [tokenizer.id_to_token(row) or "" for row in range(tokenizer.get_vocab_size())]
    unknown = json.loads(tokenizer.to_str())["model"].get("unk_id")
    special = {*tokenizer.get_added_tokens_decoder(), unknown}
    occurring = {character for row in np.flatnonzero(worth) for character in pieces[row]}
    needed = (
        row
        for row, piece in enumerate(pieces)
        if row in special or (len(piece) == 1 and (piece in occurring or _alphabetic(piece)))
    )
    return np.fromiter(needed, dtype=np.int64)


def _alphabetic(character: str) -> bool:
    """Whether it is a letter or mark of a script with few of them: Chinese and Korean have thousands."""
    name = unicodedata.name(character, "")
    return unicodedata.category(character)[0] in "LM" and not name.startswith(("CJK", "HANGUL"))


def cut_tokenizer(tokenizer: Tokenizer, kept: np.ndarray) -> Tokenizer:
    """The tokenizer with the pieces `kept` alone, numbered from 0 in their order; special ones must be among them.

    Raises ValueError if it is no Unigram, or adds special tokens by other means than a template.
    """
    about = json.loads(tokenizer.to_str())
    model, template = about["model"], about["post_processor"] or {"type": "TemplateProcessing"}
    if model["type"] != "Unigram":
        raise ValueError(f"a tokenizer of type {model['type']}, expected Unigram")
    if template["type"] != "TemplateProcessing":
        raise ValueError(f"a post-processor of type {template['type']}, expected TemplateProcessing")
    number = {int(old): new for new, old in enumerate(kept)}
    # An added token may stand behind the vocabulary, as its own last number.
    model["vocab"] = [model["vocab"][old] for old in number if old < len(model["vocab"])]
    if model["unk_id"] is not None:
        model["unk_id"] = number[model["unk_id"]]
    for token in about["added_tokens"]:
        token["id"] = number[token["id"]]
    for special in template.get("special_tokens", {}).values():
        special["ids"] = [number[old] for old in special["ids"]]
    return Tokenizer.from_str(json.dumps(about))


@torch.no_grad()
def cut_embeddings(model: nn.Module, kept: np.ndarray) -> None:
    """Keep the rows `kept` of the token embeddings of a transformers `model`, in place."""
    rows: Tensor = model.get_input_embeddings().weight[torch.from_numpy(kept)]  # type: ignore[operator]
    table = nn.Embedding(*rows.shape, _weight=rows.clone())
    model.set_input_embeddings(table)  # type: ignore[operator]
    model.config.vocab_size = len(kept)  # type: ignore[union-attr]
