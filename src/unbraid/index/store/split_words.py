"""The words of a text, written as one word is looked for: whole, in parts, without what readers do not see or type.

Texts are folded first: compatibility forms (ligatures, full width, half-width kana) become the usual letters, accents
and vowel points go, so do soft hyphens and zero-width characters, and case does not count. `getName`, `snake_case`,
`v1.2.3`, `well-known` and `C++` are words, and so are their parts of two letters or more. Scripts without spaces (and
Hangul, whose particles are joined to words) are pairs of characters. The same function splits documents and queries.
"""

import itertools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

LONGEST = 64  # characters of a word; a longer one is data, and its parts mean nothing
# Not seen, or not typed: accents, Arabic vowel points and tatweel, Hebrew points.
_DROPPED = re.compile(
    "[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0640\u064b-\u0652\u0670]"
)
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)
# Written without spaces: Thai, Lao, Myanmar, Khmer, kana, Han.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_PAIRED = _UNSPACED + "\uac00-\ud7a3"  # and Hangul
_UNSPACED_CHARACTER = re.compile(f"[{_UNSPACED}]")
_PAIRED_RUN = re.compile(f"[{_PAIRED}]")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
# Vowel signs of Indic scripts, which are not \w.
_SIGNS = "\u0900-\u0963\u0966-\u0dff"
_CHARACTER = rf"[^\W{_PAIRED}{_SIGNS}]|[{_SIGNS}]"
WORD = re.compile(rf"(?P<paired>[{_PAIRED}]+)|(?:{_CHARACTER})+(?:[.-](?:{_CHARACTER})+)*(?:\+\+|#(?!\w))?")
_ASCII_WORD = re.compile(r"\w+(?:[.-]\w+)*(?:\+\+|#(?!\w))?", re.ASCII)
_BETWEEN_NAMES = re.compile(r"[.+#-]+")
_PIECE = re.compile(r"[A-ZÀ-ÖØ-Þ]+(?![a-zß-öø-ÿ])|[A-ZÀ-ÖØ-Þ]?[a-zß-öø-ÿ]+|[0-9]+|[^A-Za-z0-9À-ÿ]+")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)+")


@dataclass(frozen=True)
class Word:
    """A word as it is looked for, and its parts, all distinct; of a script without spaces, pairs and no parts."""

    whole: str
    parts: tuple[str, ...] = ()

    def __hash__(self) -> int:
        """That of the whole word, which Python keeps: caches are asked for every word of a text."""
        return hash(self.whole)


def split_words(text: str) -> Iterator[Word]:
    """The words of a text in their order."""
    return itertools.chain.from_iterable(map(words_in, runs(text)))


def runs(text: str) -> list[str]:
    """What `words_in` splits of a text, in its order: words as they stand there, and runs of a script without spaces."""
    text = visible(text)
    return _ASCII_WORD.findall(text) if text.isascii() else [found[0] for found in WORD.finditer(text)]


def words_in(run: str) -> list[Word]:
    """The words of one of `runs`: one, or several of a script without spaces; none of nothing but underscores."""
    if _PAIRED_RUN.match(run):
        return list(_pairs(run))
    return [_word(run)] if run.strip("_") else []


def is_unspaced(character: str) -> bool:
    """Whether a character is of a script without spaces between words."""
    return _UNSPACED_CHARACTER.match(character) is not None


def fold(text: str) -> str:
    """The text as it is compared with another, each run of white space as one space."""
    return " ".join(visible(text).casefold().split())


def visible(text: str) -> str:
    """The text in the usual letters, without accents and invisible characters; its case stays."""
    if text.isascii():
        return text
    decomposed = unicodedata.normalize("NFKD", _INVISIBLE.sub("", text))
    return unicodedata.normalize("NFC", _DROPPED.sub("", decomposed))


@lru_cache(50_000)
def _word(word: str) -> Word:
    whole = word.casefold()[:LONGEST]
    if len(word) > LONGEST:
        return Word(whole)
    if (
        word.isascii() and word.isalpha() and (word[1:].islower() or word.isupper())
    ):  # most words have no parts
        return Word(whole)
    parts = dict.fromkeys(_NUMBER.findall(word))
    for name in _BETWEEN_NAMES.split(word):
        parts[name.strip("_")] = None
        for atom in name.split("_"):
            pieces = _PIECE.findall(atom)
            parts.update(dict.fromkeys([atom, *pieces] if len(pieces) > 1 else [atom]))
    folded = dict.fromkeys(part.casefold() for part in parts if len(part) > 1)
    folded.pop(whole, None)
    return Word(whole, tuple(folded))


def _pairs(run: str) -> Iterator[Word]:
    """Pairs of neighbours; a single character of Han is a word too, so that it is found alone."""
    if len(run) == 1:
        yield Word(run)
        return
    for first, second in itertools.pairwise(run):
        yield Word(first + second, (first,) if _HAN.match(first) else ())
    if _HAN.match(run[-1]):
        yield Word(run[-1])
