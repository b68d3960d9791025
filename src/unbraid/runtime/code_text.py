"""Splitting identifiers of code, before the tokenizer cuts it into word pieces."""

import re

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def split_identifiers(code: str) -> str:
    """`code` with a space at each hump of camelCase names, since the vocabulary is lower-case words.

    The tokenizer itself ends words at punctuation, underscores included.
    """
    return _HUMP.sub(" ", code)
