"""What a search gives back: a hit, and the places where its text stands again."""

import os
from dataclasses import dataclass, field

from unbraid.index.files.read_words import Box
from unbraid.items import Modality


@dataclass(frozen=True)
class Place:
    """Lines of a file, from 1; pages of a PDF; what `unit` says; None for a picture."""

    path: str
    first_line: int | None
    last_line: int | None
    unit: str = ""

    def __str__(self) -> str:
        """The file, from the working folder where it is near, with its lines or pages: "a.md:3-9", "b.pdf page 2"."""
        try:
            relative = os.path.relpath(self.path)
        except ValueError:  # on another drive
            relative = self.path
        path = self.path if relative.startswith(f"..{os.sep}..") else relative
        if self.first_line is None:
            return path
        one = self.first_line == self.last_line
        unit = self.unit or "page" * path.lower().endswith((".pdf", ".tif", ".tiff"))
        if unit:
            return f"{path} {unit} {self.first_line}" + ("" if one else f"-{self.last_line}")
        return f"{path}:{self.first_line}-{self.last_line}"


@dataclass(frozen=True)
class WordPair:
    """A word of a query and the word of a passage that answers it best: the two have this cosine in their places."""

    query: str
    passage: str
    cosine: float


@dataclass(frozen=True)
class Hit:
    """One result: a chunk, or up to three adjacent ones of a file.

    `score` is the probability that the best chunk is relevant, in 0..1, by its `cosine` in the task space and, where
    words count, its `bm25`. Lines count from 1; they are pages for a PDF, what `unit` says for other documents ("slide",
    "sheet Sales, row"), None for a picture. The snippet of a picture is
    the words in it that were found; `boxes` says where each of its lines stands. `match` is the line or sentence of the
    snippet that answers the query best, `within` the headings or definitions around all of it, outermost first, and
    `copies` are the other places where the same text was found. `why` is filled where it was asked for: for each word of the
    query the word of the snippet that answers it best.
    """

    rank: int
    score: float
    path: str
    modality: Modality
    first_line: int | None
    last_line: int | None
    snippet: str
    cosine: float | None = None
    bm25: float | None = None
    boxes: list[Box] = field(default_factory=list)
    match: str = ""
    within: str = ""
    copies: list[Place] = field(default_factory=list)
    unit: str = ""
    why: list[WordPair] = field(default_factory=list)

    @property
    def place(self) -> str:
        """The file, from the working folder where it is near, with its lines or pages: "a.md:3-9", "b.pdf page 2"."""
        return str(Place(self.path, self.first_line, self.last_line, self.unit))

    @property
    def exists(self) -> bool:
        """Whether its file is there now, on this machine; the disk is asked each time."""
        return os.path.exists(self.path)

    def __str__(self) -> str:
        """One line: rank, score, place and the beginning of the snippet."""
        return (
            f"{self.rank:3d}  {self.score:.3f}  {self.place}  {' '.join(self.snippet.split())[:60]}".rstrip()
        )
