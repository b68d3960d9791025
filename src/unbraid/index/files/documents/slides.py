"""PowerPoint (.pptx): the words of each slide under its title, with its notes."""

from collections.abc import Mapping

from unbraid.index.files.documents.parts import Document, Refused
from unbraid.index.files.documents.xml_events import elements, main_part, parse, relations
from unbraid.index.files.documents.zipped import Zipped

_TITLES = ("title", "ctrTitle")
_PASSED_OVER = ("sldNum", "dt", "ftr", "hdr", "sldImg")  # the same on every slide


def read_slides(data: bytes, document: Document) -> None:
    """Numbers are slides. Raises Refused."""
    archive = Zipped(data)
    main = main_part(archive)
    if main not in archive or "ppt" not in main:
        raise Refused("not a pptx inside")
    parts = relations(archive, main)
    with archive.open(main) as stream:
        order = [about.get("id", "") for _, about in elements(stream, "sldId")]
    part = document.part("slide")
    for number, name in enumerate((parts[key][1] for key in order if key in parts), start=1):
        if name not in archive:
            continue
        slide = _Slide()
        with archive.open(name) as stream:
            parse(stream, slide)
        diagrams, notes = _Slide(), _Slide()
        for kind, other in relations(archive, name).values():
            if kind in ("diagramData", "notesSlide") and other in archive:
                with archive.open(other) as stream:
                    parse(stream, notes if kind == "notesSlide" else diagrams)
        title = " ".join(slide.title)
        if title:
            part.add(title, number, level=1)
        else:
            part.untitled()
        paragraphs = [*slide.paragraphs, *diagrams.paragraphs, *notes.title, *notes.paragraphs]
        for place, text in enumerate(paragraphs):
            part.add(text, number, apart=place == 0)


class _Slide:
    """The paragraphs of a slide, those of its title apart."""

    def __init__(self) -> None:
        self.title: list[str] = []
        self.paragraphs: list[str] = []
        self._pieces: list[str] = []
        self._row: list[str] | None = None
        self._placeholder = ""
        self._within_text = False

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "sp":
            self._placeholder = ""
        elif name == "ph":
            self._placeholder = attributes.get("type", "")
        elif name == "p":
            self._pieces = []
        elif name == "t":
            self._within_text = True
        elif name in ("br", "tab"):
            self._pieces.append(" ")
        elif name == "tr":
            self._row = []
        elif name == "tc" and self._row is not None:
            self._row.append("")

    def data(self, text: str) -> None:
        if self._within_text:
            self._pieces.append(text)

    def end(self, name: str) -> None:
        if name == "t":
            self._within_text = False
        elif name == "sp":
            self._placeholder = ""
        elif name == "tr" and self._row is not None:
            row, self._row = self._row, None
            if any(row):
                self.paragraphs.append(" | ".join(row))
        elif name == "p":
            text, self._pieces = " ".join("".join(self._pieces).split()), []
            if not text or self._placeholder in _PASSED_OVER:
                return
            if self._row:
                self._row[-1] = f"{self._row[-1]} {text}".strip()
            elif self._placeholder in _TITLES:
                self.title.append(text)
            else:
                self.paragraphs.append(text)
