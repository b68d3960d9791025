"""Pairs of what a text says of a picture that it shows, and the picture's file."""

import html
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from unbraid.index.files.read_html import HTML_SUFFIXES
from unbraid.index.files.read_markdown import MARKDOWN_SUFFIXES
from unbraid.items import IMAGE_SUFFIXES

# The parts have a greatest length, so that no text takes long.
_MARKDOWN = re.compile(r"!\[([^\]\n]{1,300})\]\(\s{0,9}<?([^\s)>]{1,300})")
_IMG = re.compile(r"<img\b([^>]{1,2000})>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"\b(alt|src)\s{0,9}=\s{0,9}(?:\"([^\"]{1,300})\"|'([^']{1,300})')", re.IGNORECASE)
_RST = re.compile(
    r"^\.\. (?:\|[^|\n]{1,80}\| )?(?:image|figure):: *([^\s]{1,300}) *((?:\n[ \t]+[^\n]*|\n(?=\n[ \t]+\S))*)",
    re.MULTILINE,
)
_OPTION = re.compile(r"[ \t]+:(\w+):[ \t]*(.*)")


def picture_pairs(text: str, file: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """(caption or alternative text, picture) of a Markdown, HTML or reStructuredText file within `folder`.

    A picture has to be a file in the folder.
    """
    for said, address in _said(text, file.suffix.lower()):
        place = _inside(file, address, folder)
        if place is not None:
            yield " ".join(html.unescape(said).split()), place


def _said(text: str, suffix: str) -> Iterator[tuple[str, str]]:
    """(what is said, address) of each picture."""
    if suffix in MARKDOWN_SUFFIXES:
        yield from ((found[1], found[2]) for found in _MARKDOWN.finditer(text))
    if suffix in HTML_SUFFIXES | MARKDOWN_SUFFIXES:
        for tag in _IMG.finditer(text):
            given = {found[1].lower(): found[2] or found[3] for found in _ATTRIBUTE.finditer(tag[1])}
            if given.keys() == {"alt", "src"}:
                yield given["alt"], given["src"]
    if suffix == ".rst":
        for directive in _RST.finditer(text):
            options, caption = {}, ""
            for line in directive[2].split("\n"):
                if found := _OPTION.fullmatch(line):
                    options[found[1]] = found[2]
                elif line.strip() and not caption:
                    caption = line.strip()
            if said := caption or options.get("alt", ""):
                yield said, directive[1]


def _inside(file: Path, address: str, folder: Path) -> Path | None:
    """The picture at an address in `file`; None for one elsewhere, or that is no picture."""
    try:
        place = (file.parent / unquote(address.partition("#")[0].partition("?")[0])).resolve()
        inside = place.is_relative_to(folder.resolve()) and place.is_file()
    except (OSError, ValueError, RuntimeError):
        return None
    return place if inside and place.suffix.lower() in IMAGE_SUFFIXES else None
