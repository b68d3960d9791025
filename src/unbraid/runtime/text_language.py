"""The language a text is written in (index/files/language.py has the programming language of a file).

The script decides first: most scripts stand for one language here. For Latin, Cyrillic and Arabic letters a linear
model of character n-grams decides: one short vector for each n-gram of one to five letters; their mean is scored by
one row for each language. The model is 43 KB and needs numpy alone.
"""

import re
from functools import cache, lru_cache
from importlib.resources import files
from io import BytesIO
from typing import NamedTuple

import numpy as np

UNKNOWN = "und"
READ = 600  # characters that are looked at
LEAST_SURE = 0.4  # probability below which a language is not named
# A text shorter than SHORT characters is read as English unless another language is TIMES as likely: names and commands
# look like many languages (docs/experiments.md).
SHORT, TIMES = 40, 5.0
# Another script than Latin is the text's own from this share of its letters: other languages quote English terms.
LEAST_SHARE = 0.25
SYLLABIC = 2.5  # a Han, kana or Hangul letter counts as so many letters of an alphabet

LATIN = "latin"
# Script -> its code points (first, last). Kana tells Japanese from Chinese, so it is a script of its own.
_RANGES: dict[str, tuple[tuple[int, int], ...]] = {
    LATIN: ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F), (0x1E00, 0x1EFF)),
    "greek": ((0x370, 0x3FF), (0x1F00, 0x1FFF)),
    "cyrillic": ((0x400, 0x52F),),
    "armenian": ((0x531, 0x58F),),
    "hebrew": ((0x591, 0x5F4),),
    "arabic": ((0x600, 0x6FF), (0x750, 0x77F), (0xFB50, 0xFDFF), (0xFE70, 0xFEFF)),
    "devanagari": ((0x900, 0x97F),),
    "bengali": ((0x980, 0x9FF),),
    "gurmukhi": ((0xA00, 0xA7F),),
    "gujarati": ((0xA80, 0xAFF),),
    "tamil": ((0xB80, 0xBFF),),
    "telugu": ((0xC00, 0xC7F),),
    "kannada": ((0xC80, 0xCFF),),
    "malayalam": ((0xD00, 0xD7F),),
    "sinhala": ((0xD80, 0xDFF),),
    "thai": ((0xE00, 0xE7F),),
    "lao": ((0xE80, 0xEFF),),
    "myanmar": ((0x1000, 0x109F),),
    "georgian": ((0x10A0, 0x10FF),),
    "ethiopic": ((0x1200, 0x137F),),
    "khmer": ((0x1780, 0x17FF),),
    "hangul": ((0x1100, 0x11FF), (0x3130, 0x318F), (0xAC00, 0xD7AF)),
    "kana": ((0x3040, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9D)),
    "han": ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF)),
}
_ONE_LANGUAGE = dict(
    pair.split(":")
    for pair in (
        "greek:el armenian:hy hebrew:he devanagari:hi bengali:bn gurmukhi:pa gujarati:gu tamil:ta telugu:te kannada:kn"
        " malayalam:ml sinhala:si thai:th lao:lo myanmar:my georgian:ka ethiopic:am khmer:km hangul:ko kana:ja han:zh"
    ).split()
)
# Languages that the model tells apart within a script, in the order of its rows.
SHARED_SCRIPTS: dict[str, tuple[str, ...]] = {
    LATIN: tuple("en de fr es it pt ca ro nl sv da no fi pl cs sk hr hu tr vi id ms fil sw lv lt sq".split()),
    "cyrillic": tuple("ru uk be bg sr mk ba".split()),
    "arabic": ("ar", "fa", "ur"),
}
MODELED = tuple(language for found in SHARED_SCRIPTS.values() for language in found)
LANGUAGES = tuple(sorted({*MODELED, *_ONE_LANGUAGE.values()}))

_ENGLISH = SHARED_SCRIPTS[LATIN].index("en")

GRAMS = (1, 2, 3, 4, 5)
_NOT_LETTERS = re.compile(r"[\W\d_]+")
_FIRST = np.array([first for found in _RANGES.values() for first, _ in found], np.uint32)
_LAST = np.array([last for found in _RANGES.values() for _, last in found], np.uint32)
_SCRIPTS = tuple(_RANGES)
_SCRIPT_OF = np.array([row for row, found in enumerate(_RANGES.values()) for _ in found])
_BY_START = np.argsort(_FIRST)


class LanguageModel(NamedTuple):
    """`table` float32 [buckets, d], a vector a bucket; `rows` float32 [languages, d] and `bias`, as MODELED orders."""

    table: np.ndarray
    rows: np.ndarray
    bias: np.ndarray


def detect(text: str) -> str:
    """The language of `text` as a code such as "en" or "zh", one of LANGUAGES; "und" where it cannot be told.

    Text without letters, and text in a script that is not known, is "und". Han without kana is "zh".
    """
    language, sure = detect_surely(text)
    return language if sure >= LEAST_SURE else UNKNOWN


def detect_surely(text: str, model: LanguageModel | None = None) -> tuple[str, float]:
    """The likeliest language of `text` and its probability, 1 where the script decides; ("und", 0) without letters.

    `model` is the shipped one if None.
    """
    script = script_of(text)
    if script is None:
        return UNKNOWN, 0.0
    if script in _ONE_LANGUAGE:
        return _ONE_LANGUAGE[script], 1.0
    odds = _odds(text, script, model or shipped_model())
    best = int(odds.argmax())
    return SHARED_SCRIPTS[script][best], float(odds[best])


def language_of(text: str) -> str:
    """The language that an encoder should read `text` as: what `detect` finds, and "en" for more than English.

    Names, commands and single words belong to no language: short text that may well be English, and text without
    letters, is "en". Letters of a script that is not known here are "und".
    """
    return _language_of(text[:READ])


@lru_cache(1024)  # an index asks for the route of each chunk, then encodes it
def _language_of(text: str) -> str:
    script = script_of(text)
    if script is None:
        return UNKNOWN if any(map(str.isalpha, text)) else "en"
    if script != LATIN:
        return detect(text)
    odds = _odds(text, LATIN, shipped_model())
    best = int(odds.argmax())
    if best == _ENGLISH or (len(text) < SHORT and odds[best] < TIMES * odds[_ENGLISH]):
        return "en"
    return SHARED_SCRIPTS[LATIN][best] if odds[best] >= LEAST_SURE else UNKNOWN


def is_english(text: str) -> bool:
    """Whether `text` is taken for English where training texts are chosen; `language_of` decides for a text in use.

    It is English, or has Latin letters or none and cannot be told: names and commands belong to no language.
    """
    language = detect(text)
    return language == "en" or (language == UNKNOWN and script_of(text) in (LATIN, None))


def script_of(text: str) -> str | None:
    """The script of a text: the commonest besides Latin if it has a quarter of the letters; None without letters."""
    points = np.frombuffer(text[:READ].encode("utf-32-le", "replace"), "<u4")
    place = np.searchsorted(_FIRST[_BY_START], points, side="right") - 1
    row = _BY_START[np.maximum(place, 0)]
    known = (place >= 0) & (points <= _LAST[row])
    count = np.bincount(_SCRIPT_OF[row[known]], minlength=len(_SCRIPTS)).astype(np.float64)
    for name in ("hangul", "kana", "han"):
        count[_SCRIPTS.index(name)] *= SYLLABIC
    if not count.any():
        return None
    kana, han = _SCRIPTS.index("kana"), _SCRIPTS.index("han")
    if count[kana] * 12 >= count[han]:  # Japanese has Han in every sentence; Chinese hardly ever quotes kana
        count[kana], count[han] = count[kana] + count[han], 0
    other = count.copy()
    other[_SCRIPTS.index(LATIN)] = 0
    best = int(other.argmax())
    return _SCRIPTS[best] if other[best] > 0 and other[best] >= LEAST_SHARE * count.sum() else LATIN


def _odds(text: str, script: str, model: LanguageModel) -> np.ndarray:
    """The probability of each of the languages that share a script."""
    own = [MODELED.index(name) for name in SHARED_SCRIPTS[script]]
    grams = gram_buckets(text, len(model.table))
    logits = model.rows[own] @ model.table[grams].mean(axis=0) + model.bias[own]
    odds: np.ndarray = np.exp(logits - logits.max())
    return odds / odds.sum()


def gram_buckets(text: str, buckets: int) -> np.ndarray:
    """The bucket int64 [grams] of each n-gram of one to five characters of `text`: lower case, letters and spaces."""
    words = f" {_NOT_LETTERS.sub(' ', text[:READ].lower()).strip()} "
    points = np.frombuffer(words.encode("utf-32-le", "replace"), "<u4").astype(np.uint64)
    found = []
    for size in GRAMS:
        if len(points) < size:
            break
        mixed = np.full(len(points) - size + 1, size, np.uint64)
        for step in range(size):
            mixed = (
                mixed * np.uint64(0x9E3779B1) + points[step : len(points) - size + 1 + step]
            ) & np.uint64(0xFFFFFFFF)
        mixed = (mixed ^ (mixed >> np.uint64(15))) * np.uint64(0x85EBCA6B) & np.uint64(0xFFFFFFFF)
        found.append((mixed >> np.uint64(8)) % np.uint64(buckets))
    return np.concatenate(found).astype(np.int64)


@cache
def shipped_model() -> LanguageModel:
    """The model that comes with the package."""
    return read_model(files("unbraid.runtime").joinpath("text_language.npz").read_bytes())


def read_model(content: bytes) -> LanguageModel:
    """The model in a file's bytes, as `unbraid.distill.fit_text_language` wrote it."""
    with np.load(BytesIO(content)) as stored:
        table = stored["table"].astype(np.float32) * stored["scale"].astype(np.float32)
        return LanguageModel(table, stored["rows"].astype(np.float32), stored["bias"].astype(np.float32))
