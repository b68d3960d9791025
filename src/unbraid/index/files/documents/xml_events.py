"""XML by its tags as they come, with defusedxml: no tree is built, and entities are refused."""

import posixpath
from collections.abc import Mapping
from typing import IO, Protocol
from urllib.parse import unquote
from xml.etree import ElementTree

from unbraid.index.files.documents.parts import Refused
from unbraid.index.files.documents.zipped import Zipped


class Target(Protocol):
    """What is told of each tag and text; names have no namespace."""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""

    def end(self, name: str) -> None:
        """An element ends."""

    def data(self, text: str) -> None:
        """Text, in pieces."""


class _Local:
    """Calls a Target with local names."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.data = target.data

    def start(self, name: str, attributes: dict[str, str]) -> None:
        own = (
            {key.rpartition("}")[2]: value for key, value in attributes.items()} if attributes else attributes
        )
        self._target.start(name.rpartition("}")[2], own)

    def end(self, name: str) -> None:
        self._target.end(name.rpartition("}")[2])


def parse(stream: IO[bytes], target: Target) -> None:
    """Tell `target` what the XML in `stream` holds. Raises Refused for entities and for what is no XML."""
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import XMLParser

    parser = XMLParser(target=_Local(target))
    try:
        while piece := stream.read(1 << 16):
            parser.feed(piece)
        parser.close()
    except DefusedXmlException:
        raise Refused("XML with entities, which can grow without end") from None
    except ElementTree.ParseError:
        raise Refused("broken XML") from None


class _Elements:
    """The attributes of every element of some names, in order."""

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names
        self.found: list[tuple[str, dict[str, str]]] = []

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name in self.names:
            self.found.append((name, dict(attributes)))

    def end(self, name: str) -> None:
        pass

    def data(self, text: str) -> None:
        pass


def elements(stream: IO[bytes], *names: str) -> list[tuple[str, dict[str, str]]]:
    """(name, attributes) of every element of these names, in order."""
    target = _Elements(frozenset(names))
    parse(stream, target)
    return target.found


def main_part(archive: Zipped) -> str:
    """The part of an Office file that the others belong to; empty where there is none."""
    return next((name for kind, name in relations(archive, "").values() if kind == "officeDocument"), "")


def relations(archive: Zipped, name: str) -> dict[str, tuple[str, str]]:
    """What the part `name` of an Office file refers to: id -> (last word of its type, name of the other part)."""
    folder, file = posixpath.split(name)
    path = posixpath.join(folder, "_rels", f"{file}.rels")
    if path not in archive:
        return {}
    with archive.open(path) as stream:
        found = elements(stream, "Relationship")
    return {
        about.get("Id", ""): (
            about.get("Type", "").rpartition("/")[2],
            within(folder, about.get("Target", "")),
        )
        for _, about in found
        if about.get("TargetMode") != "External"
    }


def within(folder: str, target: str) -> str:
    """The name of the member that `target` means, seen from `folder`."""
    return posixpath.normpath(posixpath.join("/", folder, unquote(target.partition("#")[0]))).lstrip("/")
