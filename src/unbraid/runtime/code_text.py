"""How a code snippet is written before it is cut into word pieces."""

import re

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def split_identifiers(code: str) -> str:
    """`code` with a space at each hump of camelCase names: the vocabulary is lower case and knows words.

    Punctuation, underscores among it, already ends a word for the tokenizer.
    """
    return _HUMP.sub(" ", code)
