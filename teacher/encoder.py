"""The teacher: items and tasks in, vectors out. One batch of one backbone may hold every task."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, overload

import numpy as np
import torch
from PIL import Image

from unbraid.errors import ItemError, TeacherError
from unbraid.items import Code, Item, check_items, item_modality
from unbraid.progress import track
from unbraid.runtime.batching import token_budget_batches
from unbraid.tasks import SEARCH_MODES
from unbraid.teacher.inputs import Input, Reader, collate
from unbraid.teacher.model import Backbone
from unbraid.teacher.pooling import check_dim, mean_vector, token_vectors, truncate
from unbraid.teacher.routes import Route, Routes, route_of
from unbraid.teacher.stacked import Gate

WINDOW = 64  # pictures decoded at a time; one of 602,112 pixels takes 14 MB as patches


class AdapterTeacher:
    """A frozen backbone with an adapter per task.

    `routes` names the route of each task; tasks of one route have the same vectors. `id` changes whenever the vectors
    would. `about` says what decides them (model, revision, dtype, pixel limits, ...) and is stored with labels.
    """

    def __init__(
        self,
        model: Backbone,
        gate: Gate | None,
        reader: Reader,
        *,
        id: str,
        about: Mapping[str, object],
        routes: Routes,
        dims: Sequence[int],
        modalities: tuple[str, ...] = ("text", "code"),
        batch_tokens: int = 2048,
    ) -> None:
        """Take a loaded model and the gate of its stacked adapters, None where it has none.

        `dims` are the trained prefixes, `modalities` what the reader reads, `batch_tokens` the padded tokens of one
        batch.
        """
        self.model, self.gate, self.reader, self.modalities = model, gate, reader, modalities
        self.id = id
        self.about: Mapping[str, object] = dict(about)
        self.dims, self.dim = tuple(dims), max(dims)
        self.batch_tokens = batch_tokens
        self._routes = routes
        self.routes: Mapping[str, str] = {task: route.name for task, route in routes.items()}

    @property
    def search_modes(self) -> Mapping[str, tuple[str, str]]:
        """Search mode -> (task of the query, task of the documents)."""
        return SEARCH_MODES

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @overload
    def encode(
        self,
        items: Sequence[Item],
        task: str | Sequence[str],
        *,
        dim: int | None = None,
        multi_vector: Literal[False] = False,
        progress: bool = False,
    ) -> np.ndarray: ...

    @overload
    def encode(
        self,
        items: Sequence[Item],
        task: str | Sequence[str],
        *,
        dim: int | None = None,
        multi_vector: Literal[True],
        progress: bool = False,
    ) -> list[np.ndarray]: ...

    def encode(
        self,
        items: Sequence[Item],
        task: str | Sequence[str],
        *,
        dim: int | None = None,
        multi_vector: bool = False,
        progress: bool = False,
    ) -> np.ndarray | list[np.ndarray]:
        """Task vectors float32 [n, dim] of unit length, in the order given.

        `task` is one for all items or one for each: they share the batches either way. `dim` is a trained prefix,
        all dimensions if None. With `multi_vector` each item has float32 [tokens, 128], one unit vector a token,
        which has no prefixes.
        Raises ItemError naming the row for an item that cannot be read, TeacherError for a result that is not finite.
        """
        routes = self._routes_of(check_items(items), task)
        if multi_vector and dim is not None:
            raise ItemError("a multi-vector has no shorter form: leave dim out")
        dim = check_dim(dim, self.dims)
        single = np.empty((len(items), dim), dtype=np.float32)
        several: list[np.ndarray] = [np.empty(0)] * len(items)
        for rows, inputs in self._batches(items, routes, progress):
            with torch.inference_mode():
                batch = collate(inputs, self.device)
                if self.gate is not None:
                    self.gate.set([routes[row].adapter for row in rows], batch.ids.device, self.model.dtype)
                states = self.model(batch, multi_vector)
                if states.projected is None:
                    vectors = truncate(mean_vector(states.hidden, batch.pooled), dim)
                else:
                    vectors = token_vectors(states.projected, batch.mask)
                self._check_finite(vectors, rows)
                found = vectors.cpu().numpy()
            if not multi_vector:
                single[rows] = found
                continue
            for row, one, tokens in zip(rows, inputs, found, strict=True):
                several[row] = tokens[: len(one.ids)].copy()
        return several if multi_vector else single

    def count_tokens(self, texts: Sequence[str], task: str, rows: Sequence[int]) -> list[int]:
        """Tokens of each text or code snippet under `task`, its prompt's among them; nothing is computed.

        Raises ItemError, naming the row as in `rows`, for a text that cannot be read.
        """
        inputs = self.reader.read_texts(texts, self._routes_of(texts, task), rows)
        return [len(one.ids) for one in inputs]

    def _routes_of(self, items: Sequence[Item], task: str | Sequence[str]) -> list[Route]:
        tasks = [task] * len(items) if isinstance(task, str) else list(task)
        if len(tasks) != len(items):
            raise ItemError(f"{len(tasks)} tasks for {len(items)} items: give one task, or one for each item")
        if isinstance(task, str):
            route_of(self._routes, task)  # also when there are no items
        return [route_of(self._routes, one) for one in tasks]

    def _batches(
        self, items: Sequence[Item], routes: Sequence[Route], progress: bool
    ) -> Iterator[tuple[list[int], list[Input]]]:
        """Rows and inputs of each batch: texts by length, then pictures by length within a window.

        All texts and the first window of pictures are read before anything is computed, so that a bad item fails early.
        More pictures would not fit into memory at once.
        """
        kinds = [item_modality(item) for item in items]
        texts = [row for row, kind in enumerate(kinds) if kind != "image"]
        pictures = [row for row, kind in enumerate(kinds) if kind == "image"]
        inputs = self.reader.read_texts(
            [text_of(items[row], kinds[row]) for row in texts], [routes[row] for row in texts], texts
        )
        windows = [pictures[start : start + WINDOW] for start in range(0, len(pictures), WINDOW)]
        ahead = self._read_pictures(items, windows[0]) if windows else []
        batches = token_budget_batches([len(one.ids) for one in inputs], budget=self.batch_tokens)
        for batch in track(batches, "encode texts", unit="batches", shown=progress or None):
            yield [texts[i] for i in batch], [inputs[i] for i in batch]
        for window in track(windows, "encode pictures", unit=f"x {WINDOW}", shown=progress or None):
            inputs, ahead = ahead or self._read_pictures(items, window), []
            for batch in token_budget_batches([len(one.ids) for one in inputs], budget=self.batch_tokens):
                yield [window[i] for i in batch], [inputs[i] for i in batch]

    def _read_pictures(self, items: Sequence[Item], rows: Sequence[int]) -> list[Input]:
        found = []
        for row in rows:
            try:
                found.append(self.reader.read_picture(items[row]))
            except ItemError as error:
                raise type(error)(f"item {row}: {error}") from error
        return found

    def _check_finite(self, vectors: torch.Tensor, rows: Sequence[int]) -> None:
        finite = torch.isfinite(vectors).flatten(1).all(1).tolist()
        if wrong := sorted(row for row, good in zip(rows, finite, strict=True) if not good):
            raise TeacherError(
                f"{self.id}: the vector of item {wrong[0]} is not finite ({len(wrong)} in its batch) under"
                f" {self.about.get('dtype')}: load the teacher with dtype float32"
            )


def text_of(item: Item, kind: str) -> str:
    """The text of an item that is no picture, a Code where it is code; a path is read as UTF-8."""
    assert not isinstance(item, Image.Image)
    if isinstance(item, str):
        return item
    try:
        text = item.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ItemError(f"{item}: cannot be read as text: {error}") from error
    return Code(text) if kind == "code" else text
