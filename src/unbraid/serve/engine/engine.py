"""What the server encodes with: a bundle on a CPU, or a teacher. Both take batches in which tasks are mixed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from unbraid.embedder import Embedder
from unbraid.errors import ItemError
from unbraid.items import Code, Item, Modality
from unbraid.runtime.preprocess import decode
from unbraid.serve.http.errors import ApiError
from unbraid.serve.http.limits import Limits
from unbraid.serve.requests.openai_tokens import ForeignIds
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
    characters: int = Limits.characters  # that token ids of another vocabulary may stand for


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

    async def prepare(self, given: Sequence[Given]) -> None:
        """Wait, not for long, for what reading `given` needs beside the model: the vocabulary of foreign ids."""
        ...

    def read(self, given: Sequence[Given], task: str) -> tuple[list[Entry], list[int]]:
        """Entries of `given`, and the positions of the texts that were cut. Raises ItemError and ApiError."""
        ...

    def encode(self, entries: Sequence[Entry], multi: bool) -> Sequence[np.ndarray] | np.ndarray:
        """float32 [n, dim], each entry's under its own task; with `multi` n arrays [tokens, 128]."""
        ...


class BundleEngine:
    """A bundle: one base pass over a batch, then a mapper for each task in it."""

    multi_vector = False

    def __init__(self, embedder: Embedder, workers: int, foreign: ForeignIds | None = None) -> None:
        """`embedder` is loaded with one thread: a batch has one, and `workers` batches run at a time."""
        self.embedder = embedder
        self.foreign = foreign or ForeignIds()
        self.name = embedder.bundle.name
        self.tasks = (BASE, *embedder.tasks)
        self.default_task = BASE
        self.modalities = embedder.modalities
        self.dims = tuple(sorted(embedder.bundle.dims, reverse=True))
        self.dim = embedder.dim
        self.workers = workers
        text = embedder.bundle.tiers[embedder.tier].get("text")
        self.max_tokens = text.max_tokens if text else 0
        self.batch_tokens = max(512, text.batch_tokens if text else 0)
        self.frame = len(embedder.tokenise([""])[0][0]) if text else 0  # special tokens around every text
        self.about: Mapping[str, object] = {
            "version": embedder.bundle.version,
            "base_id": embedder.base_id,
            "tier": embedder.tier,
            "max_tokens": self.max_tokens,
            "search_modes": {mode: list(pair) for mode, pair in embedder.search_modes.items()},
        }

    async def prepare(self, given: Sequence[Given]) -> None:
        """Wait for the vocabulary of foreign ids, if there are any."""
        if any(isinstance(one.content, list) and not self._is_own(one.content) for one in given):
            await self.foreign.ready()

    def read(self, given: Sequence[Given], task: str) -> tuple[list[Entry], list[int]]:
        """Tokenise; pictures stay as they are, and so do token ids of the bundle's own tokenizer."""
        entries: list[Entry | None] = [None] * len(given)
        cut: list[int] = []
        texts_of: dict[Modality, dict[int, str]] = {kind: {} for kind in TEXTS}
        for row, one in enumerate(given):
            if isinstance(one.content, bytes):
                cost = PICTURE_COST + one.size[0] * one.size[1] // PIXELS_A_TOKEN
                entries[row] = Entry("image", one.content, task, 0, cost)
            elif isinstance(one.content, str):
                texts_of[one.kind][row] = one.content
            elif self._is_own(one.content):
                try:
                    self.embedder.check_tokens(one.content)
                except ItemError as error:
                    raise ItemError(f"item {row}: {error}") from error
                entries[row] = Entry("text", one.content, task, len(one.content), len(one.content))
            else:
                texts_of[one.kind][row] = _text_of_ids(one, row, self.foreign)
        for kind in TEXTS:
            texts = texts_of[kind]
            if texts:
                ids, short = self.embedder.tokenise(list(texts.values()), kind)
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

    def _is_own(self, ids: list[int]) -> bool:
        """Whether ids carry the tokenizer's special tokens; where there are none, nothing tells ids apart.

        No text's ids of cl100k_base look so: there 101 and 102, our [CLS] and [SEP], are bytes from within a character.
        """
        if not self.frame:
            return False
        try:
            self.embedder.check_tokens([*ids[: self.frame], *ids[-self.frame :]])
        except ItemError:
            return False
        return True

    def _decode(self, content: bytes) -> Item:
        image = self.embedder.bundle.image
        return decode(content, at_least=4 * image.preprocess.size if image else None)


class TeacherEngine:
    """A teacher: every item under its own task's adapter in one batch."""

    def __init__(self, teacher: "AdapterTeacher", foreign: ForeignIds | None = None) -> None:
        """One batch runs at a time: a GPU is filled by its size."""
        self.teacher = teacher
        self.foreign = foreign or ForeignIds()
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

    async def prepare(self, given: Sequence[Given]) -> None:
        """Wait for the vocabulary of token ids, if there are any."""
        if any(isinstance(one.content, list) for one in given):
            await self.foreign.ready()

    def read(self, given: Sequence[Given], task: str) -> tuple[list[Entry], list[int]]:
        """Count tokens; the teacher reads the items again when it encodes them. A teacher refuses, or cuts itself.

        Its prompts go before a text, so ids of its own tokenizer are of no use to it: all are foreign ones.
        """
        texts: dict[int, str] = {}
        for row, one in enumerate(given):
            if not isinstance(one.content, bytes):
                ids = isinstance(one.content, list)
                text = _text_of_ids(one, row, self.foreign) if ids else str(one.content)
                texts[row] = Code(text) if one.kind == "code" else text
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


def text_too_long(row: int, characters: int, most: int) -> ApiError:
    """The refusal of a text over the limit of characters."""
    return ApiError(
        400,
        "text_too_long",
        f"item {row} has {characters:,} characters, at most {most:,} are taken: split it",
        param="input",
    )


def _text_of_ids(one: Given, row: int, foreign: ForeignIds) -> str:
    assert isinstance(one.content, list)
    try:
        text = foreign.text(one.content)
    except ItemError as error:
        raise ItemError(f"item {row}: {error}") from error
    if len(text) > one.characters:
        raise text_too_long(row, len(text), one.characters)
    return text


def shorten(vectors: np.ndarray, dim: int | None, dims: Sequence[int]) -> np.ndarray:
    """`vectors` cut to `dim`, one of `dims`, at unit length."""
    return vectors if dim is None else truncate(vectors, dim, dims)
