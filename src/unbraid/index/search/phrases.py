"""Phrases in double quotes, which have to stand in a chunk as they are written."""

import re
from collections.abc import Sequence

from unbraid.index.store.split_words import fold

_QUOTED = re.compile(r'["“”„«»]([^"“”„«»]*)["“”„«»]')


def quoted_phrases(query: str) -> list[str]:
    """The phrases of a query, folded."""
    return [phrase for found in _QUOTED.findall(query) if (phrase := fold(found))]


def holds_phrases(text: str, phrases: Sequence[str]) -> bool:
    """Whether a text holds each of the folded `phrases`, not inside of a word."""
    if not phrases:
        return True
    folded = fold(text)
    return all(_whole(phrase).search(folded) for phrase in phrases)


def _whole(phrase: str) -> re.Pattern[str]:
    before, after = (r"(?<!\w)" if phrase[0].isalnum() else ""), (r"(?!\w)" if phrase[-1].isalnum() else "")
    return re.compile(before + re.escape(phrase) + after)
