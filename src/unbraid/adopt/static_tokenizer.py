"""The tokenizer of a static model, which puts nothing around a text."""

import json

from tokenizers import Tokenizer


def without_special_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """A copy that puts no special tokens around a text."""
    about = json.loads(tokenizer.to_str())
    return Tokenizer.from_str(json.dumps(about | {"post_processor": None}))
