"""Where the words of a query stand in a snippet, for those who show it."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from unbraid.index.store.bm25 import word_terms
from unbraid.index.store.split_words import WORD, split_words


def mark_words(text: str, terms: AbstractSet[str]) -> list[tuple[int, int]]:
    """First character and the one after the last of each word of a text that `terms`, as of `word_terms`, holds.

    In scripts without spaces these are pairs of characters, joined where they touch.
    """
    found: list[tuple[int, int]] = []
    for start, end in _places(text, terms) if terms else ():
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def _places(text: str, terms: AbstractSet[str]) -> Iterator[tuple[int, int]]:
    # Of a query "ab" without spaces "b" is a term too, by which "bc" is found and which must not be marked alone.
    alone = {term for term in terms if len(term) == 1 and not any(term in other for other in terms - {term})}
    for word in WORD.finditer(text):
        start, end = word.span()
        if not word["paired"]:
            if terms & word_terms(word[0]):
                yield start, end
            continue
        for place in range(start, end):
            if place + 1 < end and any(
                one.whole in terms for one in list(split_words(text[place : place + 2]))[:1]
            ):
                yield place, place + 2
            elif text[place] in alone:
                yield place, place + 1
