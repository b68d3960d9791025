"""Thousands of real texts: those of the user's own files, or else what comes with every Python."""

import re
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from unbraid.errors import AdoptError, DataError

CHARACTERS = 400  # that are taken of a text
LEAST_CHARACTERS = 40
FEW_TEXTS = 200  # to measure on
BRIDGE_TEXTS = 4000  # to fit a bridge on
_DOCSTRING = re.compile(r'^[ \t]*[rR]?"""(.+?)"""', re.DOTALL | re.MULTILINE)
_NOT_PROSE = {"site-packages", "test", "tests", "lib2to3", "idlelib", "idle_test"}


def library_texts(count: int) -> list[str]:
    """Up to `count` texts: docstrings of the standard library and paragraphs of Python's reference, file by file."""
    from pydoc_data.topics import topics

    texts = list(
        dict.fromkeys(
            _trimmed([*_docstrings(), *(t for page in topics.values() for t in page.split("\n\n"))])
        )
    )
    return spread(texts, count)


def folder_texts(place: Path, count: int) -> list[str]:
    """Up to `count` texts of a file, one a line, or of the files in a folder, as an index cuts them.

    Raises AdoptError for a place without enough of them.
    """
    from unbraid.index.files.read import read_chunks
    from unbraid.index.files.walk import Walk, resolve_roots

    try:
        (root,) = resolve_roots([place])
        if root.is_file():
            found = root.read_text(encoding="utf-8").splitlines()
        else:
            found = []
            texts_of = (one for one in Walk(root, lambda _: None).files() if one.modality != "image")
            for file in texts_of:
                with suppress(OSError, DataError):  # a broken file says nothing
                    found += [chunk.snippet for chunk in read_chunks(file.path.read_bytes(), file.suffix)]
    except (OSError, UnicodeDecodeError, DataError) as error:
        raise AdoptError(f"{place}: cannot be read as texts: {error}") from error
    texts = list(dict.fromkeys(_trimmed(found)))
    if len(texts) < count // 8:
        raise AdoptError(
            f"{place}: {len(texts)} texts of {LEAST_CHARACTERS} characters or more, expected {count // 8}: name a larger "
            "folder, or a file with a text on each line"
        )
    return spread(texts, count)


def spread(texts: Sequence[str], count: int) -> list[str]:
    """At most `count` of `texts`, in their order and evenly apart."""
    step = max(1.0, len(texts) / count)
    return [texts[int(place * step)] for place in range(min(count, len(texts)))]


def _docstrings() -> Iterator[str]:
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.rglob("*.py")):
        if not _NOT_PROSE & set(path.relative_to(library).parts):
            yield from _DOCSTRING.findall(path.read_text(encoding="utf-8", errors="replace"))


def _trimmed(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        lines = (line.strip() for line in text.strip().splitlines())
        if len(whole := "\n".join(lines)[:CHARACTERS].strip()) >= LEAST_CHARACTERS:
            yield whole
