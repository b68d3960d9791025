"""What the server encodes with: a bundle on a CPU, or a teacher. Both take batches in which tasks are mixed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from unbraid.embedder import Embedder
from unbraid.errors import ItemError
from unbraid.image import decode
from unbraid.items import Code, Item, Modality
from unbraid.vectors import truncate

if TYPE_CHECKING:
    from unbraid.teacher import AdapterTeacher

TEXTS: tuple[Literal["text", "code"], ...] = ("text", "code")  # modalities that have tokens
BASE = "base"  # the task of those who want base vectors
PICTURE_COST = (
    40  # tokens that take as long as a picture's tower (180 pictures/s beside 235 texts of 32 tokens)
)
PIXELS_A_TOKEN = 25_000  # that are decoded in the time of a token


@dataclass(frozen=True, slots=True)
class Given:
    """An item as a request gives it: a text or code, token ids, or the bytes of a picture file of so many pixels."""

    kind: Modality
    content: str | list[int] | bytes
    size: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Entry:
    """An item ready for a batch. `tokens` is what usage says, `cost` what the queue and the budget count."""

    kind: Modality
    content: str | list[int] | bytes
    task: str
    tokens: int
    cost: int


class Engine(Protocol):
    """An encoder behind the server; `read` and `encode` may be called from several threads."""

    name: str
    tasks: tuple[str, ...]
    default_task: str  # of requests that name none
    modalities: tuple[str, ...]
    dims: tuple[int, ...]  # the longest first
    dim: int
    multi_vector: bool  # whether it has vectors of every token
    workers: int  # batches that run at a time
    batch_tokens: int  # budget of a batch
    about: Mapping[str, object]  # for those who ask what is served

    def read(self, given: Sequence[Given], task: str) -> tuple[list[Entry], list[int]]:
        """Entries of `given`, and the positions of the texts that were cut. Raises ItemError."""
        ...

    def encode(self, entries: Sequence[Entry], multi: bool) -> Sequence[np.ndarray] | np.ndarray:
        """float32 [n, dim], each entry's under its own task; with `multi` n arrays [tokens, 128]."""
        ...


class BundleEngine:
    """A bundle: one base pass over a batch, then a mapper for each task in it."""

    multi_vector = False

    def __init__(self, embedder: Embedder, workers: int) -> None:
        """`embedder` is loaded with one thread: a batch has one, and `workers` batches run at a time."""
        self.embedder = embedder
        self.name = embedder.bundle.name
        self.tasks = (BASE, *embedder.tasks)
        self.default_task = BASE
        self.modalities = embedder.modalities
        self.dims = tuple(sorted(embedder.bundle.dims, reverse=True))
        self.dim = embedder.dim
        self.workers = workers
        text = embedder.bundle.tiers[embedder.tier].get("text")
        self.max_tokens = text.max_tokens if text else 0
        self.batch_tokens = max(256, text.batch_tokens if text else 0)
        self.about: Mapping[str, object] = {
            "version": embedder.bundle.version,
            "base_id": embedder.base_id,
            "tier": embedder.tier,
            "max_tokens": self.max_tokens,
            "search_modes": {mode: list(pair) for mode, pair in embedder.search_modes.items()},
        }

    def read(self, given: Sequence[Given], task: str) -> tuple[list[Entry], list[int]]:
        """Tokenise; pictures stay as they are."""
        entries: list[Entry | None] = [None] * len(given)
        cut: list[int] = []
        for row, one in enumerate(given):
            if isinstance(one.content, bytes):
                cost = PICTURE_COST + one.size[0] * one.size[1] // PIXELS_A_TOKEN
                entries[row] = Entry("image", one.content, task, 0, cost)
            elif isinstance(one.content, list):
                try:
                    self.embedder.check_tokens(one.content)
                except ItemError as error:
                    raise ItemError(f"item {row}: {error}") from error
                entries[row] = Entry("text", one.content, task, len(one.content), len(one.content))
        for kind in TEXTS:
            texts = {
                row: one.content for row, one in enumerate(given) if one.kind == kind and entries[row] is None
            }
            if texts:
                ids, short = self.embedder.tokenise([str(text) for text in texts.values()], kind)
                for row, one_ids in zip(texts, ids, strict=True):
                    entries[row] = Entry(kind, one_ids, task, len(one_ids), len(one_ids))
                rows = list(texts)
                cut += [rows[place] for place in short]
        return [entry for entry in entries if entry is not None], sorted(cut)

    def encode(self, entries: Sequence[Entry], multi: bool) -> np.ndarray:
        """float32 [n, dim]."""
        base = np.empty((len(entries), self.dim), dtype=np.float32)
        for kind in TEXTS:  # they may share a graph, but need not
            ids = {
                row: entry.content
                for row, entry in enumerate(entries)
                if entry.kind == kind and isinstance(entry.content, list)
            }
            if ids:
                base[list(ids)] = self.embedder.encode_tokens(list(ids.values()), kind)
        for row, entry in enumerate(entries):
            if isinstance(entry.content, bytes):  # one at a time: decoded, a picture takes up to 75 MB
                base[row] = self.embedder.encode([self._decode(entry.content)], progress=False)[0]
        for task in {entry.task for entry in entries} - {BASE}:
            rows = [row for row, entry in enumerate(entries) if entry.task == task]
            base[rows] = self.embedder.map(base[rows], task)
        return base

    def _decode(self, content: bytes) -> Item:
        image = self.embedder.bundle.image
        return decode(content, at_least=4 * image.preprocess.size if image else None)


class TeacherEngine:
    """A teacher: every item under its own task's adapter in one batch."""

    def __init__(self, teacher: "AdapterTeacher") -> None:
        """One batch runs at a time: a GPU is filled by its size."""
        self.teacher = teacher
        self.name = str(teacher.about.get("model", teacher.id))
        self.tasks = tuple(teacher.routes)
        self.default_task = "symmetric"  # as jina-embeddings-v4 is served: text-matching
        self.modalities = teacher.modalities
        self.dims = tuple(sorted(teacher.dims, reverse=True))
        self.dim = teacher.dim
        self.multi_vector = True
        self.workers = 1
        self.batch_tokens = teacher.batch_tokens
        self.about: Mapping[str, object] = {
            key: value for key, value in teacher.about.items() if isinstance(value, str | int | float)
        }

    def read(self, given: Sequence[Given], task: str) -> tuple[list[Entry], list[int]]:
        """Count tokens; the teacher reads the items again when it encodes them. A teacher refuses, or cuts itself."""
        if any(isinstance(one.content, list) for one in given):
            raise ItemError("a teacher takes texts and pictures, no token ids: its prompts go before them")
        texts = {
            row: Code(one.content) if one.kind == "code" else str(one.content)
            for row, one in enumerate(given)
            if isinstance(one.content, str)
        }
        counts = dict(
            zip(texts, self.teacher.count_tokens(list(texts.values()), task, list(texts)), strict=True)
        )
        entries = []
        for row, one in enumerate(given):
            tokens = counts[row] if row in counts else self.teacher.reader.picture_tokens(*one.size)
            entries.append(Entry(one.kind, texts.get(row, one.content), task, tokens, tokens))
        return entries, []

    def encode(self, entries: Sequence[Entry], multi: bool) -> Sequence[np.ndarray] | np.ndarray:
        """float32 [n, dim], or n arrays [tokens, 128]."""
        items: list[Item] = [
            decode(entry.content) if isinstance(entry.content, bytes) else entry.content
            for entry in entries
            if not isinstance(entry.content, list)  # `read` lets no token ids through
        ]
        tasks = [entry.task for entry in entries]
        if multi:
            return self.teacher.encode(items, tasks, multi_vector=True)
        return self.teacher.encode(items, tasks)


def shorten(vectors: np.ndarray, dim: int | None, dims: Sequence[int]) -> np.ndarray:
    """`vectors` cut to `dim`, one of `dims`, at unit length."""
    return vectors if dim is None else truncate(vectors, dim, dims)
