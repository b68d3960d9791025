"""Pairs from a folder that nobody has labelled: headings and their sections, comments and their functions, captions and
their pictures. What would teach little is left out, and each pair knows its file.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from unbraid.custom_mapper.function_pairs import function_pairs
from unbraid.custom_mapper.mapper_pairs import Pairs
from unbraid.custom_mapper.picture_pairs import picture_pairs
from unbraid.custom_mapper.section_pairs import section_pairs
from unbraid.errors import DataError, ImageError
from unbraid.index.files.decode import decode
from unbraid.index.files.walk import EVERY_FILE, File, Walk, check_exists
from unbraid.items import MODALITIES, Code, Modality
from unbraid.runtime.preprocess import decode as decode_picture

Kind: TypeAlias = Literal["section", "function", "picture"]
MODALITY: Mapping[Kind, Modality] = {"section": "text", "function": "code", "picture": "image"}

LEAST_LETTERS = 4  # of a heading; 2 in scripts whose letters are syllables or words
MOST_QUESTION = 300  # characters of a heading or description: a longer one is no title
LEAST_DESCRIPTION = 15  # characters of what is said of a function or a picture
LEAST_TEXT = 80  # characters of a section or function; a shorter one lists links or calls another function
MOST_TEXT = 4000  # characters that are kept of it: encoders read no more
# Headings that say nothing of their section, as they are without digits and punctuation.
GENERIC = frozenset(
    "about|abstract|acknowledgements|acknowledgments|advanced usage|api|api reference|appendix|arguments|attributes|"
    "author|authors|background|basic usage|bug fixes|bugs|bugfixes|caveats|changed|changelog|changes|class|classes|"
    "conclusion|configuration|contents|contributing|contributors|copyright|credits|deprecated|deprecations|description|"
    "details|development|discussion|documentation|example|examples|exceptions|faq|features|fixed|fixes|functions|"
    "further reading|general|getting help|getting started|glossary|help|history|how to use|improvements|index|indices "
    "and tables|install|installation|installing|internals|intro|introduction|license|licence|limitations|links|"
    "methods|misc|miscellaneous|module|modules|more|motivation|name|new features|news|note|notes|optional|options|"
    "other|other changes|others|output|overview|parameters|prerequisites|preface|properties|purpose|quick start|"
    "quickstart|readme|reference|references|related|release notes|removed|requirements|resources|result|results|return|"
    "returns|sample|samples|see also|setup|solution|summary|support|synopsis|table of contents|tests|testing|tips|todo|"
    "troubleshooting|tutorial|tutorials|unreleased|usage|using|version|warning|what next|what s new|whats new|"
    "einleitung|einführung|übersicht|überblick|inhalt|beispiel|beispiele|verwendung|siehe auch|exemple|exemples|"
    "sommaire|voir aussi|ejemplo|ejemplos|introducción|resumen|véase también".split("|")
)
_WORDS = re.compile(r"[^\W\d_]+")
_WIDE = re.compile(r"[\u0e00-\u0eff\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def folder_pairs(folder: Path, modalities: Collection[str] = MODALITIES) -> Pairs:
    """The pairs of the files below `folder` that an index would read, of the kinds whose `modalities` are encoded.

    A heading or description that stands over two texts is left out, and so is one that is short or says nothing
    ("Introduction"). Raises DataError for a folder that is none, and for one without pairs.
    """
    check_exists(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder; for a file of pairs leave out --folder")
    found: list[tuple[str, str | Path, Kind, int]] = []
    walk = Walk(folder.resolve(), lambda _: None, EVERY_FILE)
    for number, file in enumerate(walk.files()):
        found += [
            (" ".join(left.split()), right, kind, number)
            for left, right, kind in _pairs_of(file, folder)
            if MODALITY[kind] in modalities and _says_something(left, kind) and _is_whole(right)
        ]
    kept = _distinct(found)
    if not kept:
        raise DataError(
            f"{folder}: no file in it has headings over text, commented functions or captioned pictures"
        )
    left, right, kinds, numbers = zip(*kept, strict=True)
    items = [Code(one) if kind == "function" else one for one, kind in zip(right, kinds, strict=True)]
    return Pairs(left, items, [None] * len(left), None, np.array(numbers))


def count_kinds(pairs: Pairs) -> dict[Kind, int]:
    """How many pairs there are of each kind."""
    return dict(Counter(_kind(right) for right in pairs.right))


def _kind(right: str | Path) -> Kind:
    return "picture" if isinstance(right, Path) else "function" if isinstance(right, Code) else "section"


def _pairs_of(file: File, folder: Path) -> Iterator[tuple[str, str | Path, Kind]]:
    """All pairs of a file; none of one that cannot be read."""
    if file.modality == "image":
        return
    try:
        data = file.path.read_bytes()
        yield from ((left, right[:MOST_TEXT], "section") for left, right in section_pairs(data, file.suffix))
        text, _ = decode(data)
    except (OSError, DataError):
        return
    if file.modality == "code":
        yield from (
            (left, right[:MOST_TEXT], "function") for left, right in function_pairs(text, file.suffix)
        )
    yield from ((left, right, "picture") for left, right in picture_pairs(text, file.path, folder))


def _says_something(left: str, kind: Kind) -> bool:
    """Whether a heading or description tells its text from others."""
    letters = "".join(_WORDS.findall(left))
    if len(left) > MOST_QUESTION or len(letters) < (2 if _WIDE.search(left) else LEAST_LETTERS):
        return False
    return _key(left) not in GENERIC and (kind == "section" or len(left) >= LEAST_DESCRIPTION)


def _is_whole(right: str | Path) -> bool:
    """Whether a text is long enough to be found, and whether a picture can be opened."""
    if isinstance(right, str):
        return len(right) >= LEAST_TEXT
    try:
        decode_picture(right, at_least=1)
    except ImageError:
        return False
    return True


def _distinct(found: list[tuple[str, str | Path, Kind, int]]) -> list[tuple[str, str | Path, Kind, int]]:
    """The pairs without copies, without a left side that stands over several right ones, each right one once."""
    unique = {(_key(left), right): (left, right, kind, file) for left, right, kind, file in reversed(found)}
    stands = Counter(key for key, _ in unique)
    by_right = {right: pair for (key, right), pair in unique.items() if stands[key] == 1}
    return list(reversed(by_right.values()))


def _key(left: str) -> str:
    """The words of a heading: "3.1 Release notes" and "Release notes" are one."""
    return " ".join(_WORDS.findall(left.casefold()))
