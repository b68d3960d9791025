"""EPUB: the chapters in the order in which they are read, under their titles."""

import posixpath
import re
from collections.abc import Mapping

from unbraid.errors import DataError
from unbraid.index.files.decode import decode
from unbraid.index.files.documents.parts import Document, Part, Refused
from unbraid.index.files.documents.xml_events import elements, parse, within
from unbraid.index.files.documents.zipped import Zipped
from unbraid.index.files.read_html import read_html

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_OF_FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
_HEAD = re.compile(r"<head[\s>].*?</head\s*>", re.IGNORECASE | re.DOTALL)
_MAX_CHAPTER = 16 * 1024**2  # bytes


def read_book(data: bytes, document: Document) -> None:
    """Numbers are chapters: files of text of the book, in its order. Raises Refused."""
    archive = Zipped(data)
    if _CONTAINER not in archive:
        raise Refused("not an epub inside")
    if _ENCRYPTION in archive:
        with archive.open(_ENCRYPTION) as stream:
            methods = [about.get("Algorithm", "") for _, about in elements(stream, "EncryptionMethod")]
        if any(method not in _OF_FONTS for method in methods):
            raise Refused("protected by DRM")
    with archive.open(_CONTAINER) as stream:
        roots = [about.get("full-path", "") for _, about in elements(stream, "rootfile")]
    package = next((root for root in roots if root in archive), None)
    if package is None:
        raise Refused("not an epub inside")
    about = _Package()
    with archive.open(package) as stream:
        parse(stream, about)
    folder = posixpath.dirname(package)
    files = {key: within(folder, target) for key, target in about.files.items()}
    titles = _titles(archive, [files[key] for key in about.contents if key in files])
    part = document.part("chapter")
    part.outer = " ".join(about.title.split())
    chapters = [files[key] for key in about.order if key in files]
    for number, name in enumerate(dict.fromkeys(chapters), start=1):
        if name in archive:
            _add_chapter(part, number, archive, name, titles.get(name, ""))


def _add_chapter(part: Part, number: int, archive: Zipped, name: str, title: str) -> None:
    if archive.members[name].file_size > _MAX_CHAPTER:
        raise Refused(f"a chapter of over {_MAX_CHAPTER // 1024**2} MB")
    try:
        text, _ = decode(archive.read(name))
    except DataError:
        return
    lines, sections = read_html(_HEAD.sub("", text), xml=True)
    headings = {
        section.first: (len(section.context) + 1, section.name) for section in sections if section.name
    }
    if not any(line.strip() for line in lines.lines):
        return
    if title and not headings:
        part.add(title, number, level=1)
    elif not headings:
        part.untitled()
    for place, line in enumerate(lines.lines):
        level, _ = headings.get(place, (None, ""))
        part.add(line, number, level=level, apart=not lines.lines[place - 1] if place else True)


class _Package:
    """The files of a book, their order, its title and the files that hold its table of contents."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.order: list[str] = []
        self.contents: list[str] = []
        self.title = ""
        self._within_title = False

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "item":
            key = attributes.get("id", "")
            self.files[key] = attributes.get("href", "")
            if (
                attributes.get("media-type") == "application/x-dtbncx+xml"
                or "nav" in attributes.get("properties", "").split()
            ):
                self.contents.append(key)
        elif name == "itemref":
            self.order.append(attributes.get("idref", ""))
        self._within_title = name == "title" and not self.title

    def data(self, text: str) -> None:
        if self._within_title:
            self.title = (self.title + text)[:500]

    def end(self, name: str) -> None:
        self._within_title = False


def _titles(archive: Zipped, contents: list[str]) -> dict[str, str]:
    """The title of each file by the tables of contents."""
    found: dict[str, str] = {}
    for name in contents:
        if name not in archive:
            continue
        target = _Contents(posixpath.dirname(name))
        try:
            with archive.open(name) as stream:
                parse(stream, target)
        except Refused:  # a page of HTML that is no XML
            continue
        for path, title in target.found.items():
            found.setdefault(path, title)
    return found


class _Contents:
    """A table of contents: navPoint with text and content, or links."""

    def __init__(self, folder: str) -> None:
        self.found: dict[str, str] = {}
        self._folder = folder
        self._pieces: list[str] = []
        self._link = ""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name in ("navPoint", "a"):
            self._pieces = []
            self._link = attributes.get("href", "")
        elif name == "content":
            self._keep(attributes.get("src", ""))

    def data(self, text: str) -> None:
        self._pieces.append(text)

    def end(self, name: str) -> None:
        if name == "a" and self._link:
            self._keep(self._link)

    def _keep(self, link: str) -> None:
        title = " ".join("".join(self._pieces).split())[:500]
        if title and link:
            self.found.setdefault(within(self._folder, link), title)
        self._pieces = []
