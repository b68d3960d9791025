"""Tokenizers of CLIP-type models as files of the tokenizers library, with the ids of the original."""

from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from unbraid.adopt.clip_cleaning import PUNCTUATION, cleaning, lower_case
from unbraid.errors import AdoptError

# open_clip's, which finds parts of words in any case. What it does not match are spaces.
PARTS = r"(?i:<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d)|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def open_clip_tokenizer(original: Any, folder: Path) -> tuple[Tokenizer, int]:
    """The tokenizer of an open_clip model, and the id that it pads with. Any: classes of open_clip.

    Raises AdoptError, which names `folder`, for one that a file cannot hold.
    """
    import open_clip
    from open_clip.tokenizer import HFTokenizer

    if isinstance(original, open_clip.SimpleTokenizer):
        if original.reduction_fn is not None:
            raise AdoptError(
                f"{folder}: drops tokens at random (reduction_mask), which no tokenizer file does"
            )
        return _byte_pairs(original), 0
    if not isinstance(original, HFTokenizer):
        raise AdoptError(f"{folder}: tokenizer {type(original).__name__} of open_clip is not known")
    if original.tokenizer_mode or original.strip_sep_token:
        raise AdoptError(f"{folder}: tokenizer_mode and strip_sep_token of open_clip are not supported")
    backend = getattr(original.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise AdoptError(f"{folder}: {type(original.tokenizer).__name__} has no fast form (tokenizer.json)")
    tokenizer = Tokenizer.from_str(backend.to_str())
    steps = cleaning(_clean_name(original))
    tokenizer.normalizer = normalizers.Sequence(
        [*steps, *([tokenizer.normalizer] if tokenizer.normalizer else [])]
    )
    return _cut(tokenizer, original.context_length), int(original.tokenizer.pad_token_id)


def _clean_name(original: Any) -> Any:
    from open_clip.tokenizer import get_clean_fn

    return next(
        name for name in ("lower", "whitespace", "canonicalize") if get_clean_fn(name) is original.clean_fn
    )


def _byte_pairs(original: Any) -> Tokenizer:
    """open_clip's own tokenizer: byte pairs, with a mark at the end of each word."""
    merges = sorted(original.bpe_ranks, key=original.bpe_ranks.get)
    tokenizer = Tokenizer(
        models.BPE(
            vocab=dict(original.encoder),
            merges=merges,
            continuing_subword_prefix="",
            end_of_word_suffix="</w>",
        )
    )
    clean = _clean_name(original)
    tokenizer.normalizer = normalizers.Sequence(cleaning(clean))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PARTS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    start, end = original.all_special_ids[:2]
    names = [original.decoder[one] for one in (start, end)]
    if clean != "canonicalize":  # which leaves no control token of a text as it is
        tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=True) for name in names])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{names[0]} $A {names[1]}", special_tokens=list(zip(names, (start, end), strict=True))
    )
    return _cut(tokenizer, original.context_length)


def siglip_tokenizer(original: Any, max_tokens: int) -> Tokenizer:
    """That of transformers' SiglipTokenizer, which reads a sentencepiece file: lower case, no punctuation, then pieces."""
    from transformers.convert_slow_tokenizer import SentencePieceExtractor

    about = SentencePieceExtractor(original.vocab_file).extract(None)
    tokenizer = Tokenizer(models.Unigram(about["vocab"], unk_id=about["unk_id"], byte_fallback=False))
    chars = about["_spm_precompiled_charsmap"]
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace("▁", " "),
            *(lower_case() if original.do_lower_case else []),
            normalizers.Replace(Regex(PUNCTUATION), ""),
            normalizers.Replace(Regex(r"[\s\x1c-\x1f]+"), " "),  # as Python has spaces
            *([normalizers.Precompiled(chars)] if chars else []),
            normalizers.Replace(Regex(" +"), " "),
            normalizers.Strip(),
            normalizers.Prepend("▁"),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="never", split=True)
    end = original.eos_token
    tokenizer.add_special_tokens([AddedToken(end, special=True, normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", special_tokens=[(end, original.eos_token_id)]
    )
    return _cut(tokenizer, max_tokens)


def fast_tokenizer(original: Any, max_tokens: int, folder: Path) -> Tokenizer:
    """The tokenizers file inside a tokenizer of transformers. Raises AdoptError for one that has none."""
    backend = getattr(original, "backend_tokenizer", None)
    if backend is None:
        raise AdoptError(f"{folder}: {type(original).__name__} has no fast form (tokenizer.json)")
    return _cut(Tokenizer.from_str(backend.to_str()), max_tokens)


def _cut(tokenizer: Tokenizer, max_tokens: int) -> Tokenizer:
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer
