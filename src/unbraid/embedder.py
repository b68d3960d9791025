"""The embedder: items in, base or task vectors out. Read `encode` to follow one item through the runtime."""

import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
from PIL import Image

from unbraid.bundle import SMALL, Bundle, MapperSpec
from unbraid.custom_mapper.mapper_file import CustomMapper, matrix_id, read_mapper
from unbraid.errors import BundleError, ItemError
from unbraid.items import MODALITIES, Item, Modality, check_items, item_modality
from unbraid.runtime.cpu import usable_cores
from unbraid.runtime.image import ImageRuntime
from unbraid.runtime.onnx_session import Session, open_graph, pick_graph, run_graph
from unbraid.runtime.text import TextRuntime
from unbraid.vectors import Numbers, store_as, truncate

OnTruncate: TypeAlias = Literal["warn", "error", "ignore"]
ROWS = 4096  # base vectors mapped at a time: a thread then holds 16 MB beside input and output


class Embedder:
    """A loaded bundle. It opens graphs when they are first needed; many threads may share one object."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int | None = None,
        precision: str | None = None,
        tier: str = SMALL,
    ) -> None:
        """Encode with `bundle`, `threads` batches at a time (default: the cores this process may use).

        `precision` "int8" or "fp32" picks the encoders' graphs where the bundle has both; by default the bundle
        decides. Mappers always run in the bundle's default, fp32: folding needs them exactly linear. `tier` picks the
        text and code encoders; all tiers share the base space, the image encoder and the mappers. Raises BundleError
        for a tier that the bundle does not have.
        """
        self.bundle = bundle
        if tier not in bundle.tiers:
            raise BundleError(f"{self.name} has no tier {tier!r}; it has {', '.join(bundle.tiers)}")
        self.tier = tier
        if threads is not None and threads < 1:
            raise ItemError(f"threads is {threads}: expected 1 or more")
        self.threads = threads or usable_cores()
        self.precision = precision
        self._texts: dict[str, TextRuntime] = {}
        self._images: ImageRuntime | None = None
        self._mappers: dict[str, Session] = {}
        self._matrices: dict[str, np.ndarray] = {}

    @property
    def name(self) -> str:
        """Name and version of the bundle."""
        return f"{self.bundle.name} {self.bundle.version}"

    @property
    def dim(self) -> int:
        """Length of a base vector."""
        return self.bundle.dim

    @property
    def base_id(self) -> str:
        """Id of the base space. Vectors of different base ids must not be compared."""
        return self.bundle.base_id

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that have a mapper."""
        return tuple(self.bundle.mappers)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that this bundle encodes."""
        return self.bundle.modalities

    @property
    def search_modes(self) -> Mapping[str, tuple[str, str]]:
        """Search mode -> (task of the query, task of the documents)."""
        return self.bundle.search_modes

    def encode(
        self,
        items: Sequence[Item],
        *,
        task: str | None = None,
        dim: int | None = None,
        numbers: Numbers = "float32",
        modality: Modality | None = None,
        on_truncate: OnTruncate = "warn",
        progress: bool | None = None,
    ) -> np.ndarray:
        """Vectors of `items`, in their order.

        An item is a str (text), an unbraid.Code, a PIL image or a pathlib.Path (its suffix tells the modality);
        `modality` overrides. Without `task` the result is base vectors, with it task vectors, of unit length. `numbers`
        is how they are stored: float32, float16 or int8 [n, dim], or binary uint8 [n, dim/8]. Texts over the
        encoder's length are cut; `on_truncate` says whether that warns, raises or is ignored. `progress` None draws a
        bar when standard error is a terminal.

        Raises ItemError for an item, task, dim or `numbers` that is not supported, ImageError for a picture that
        cannot be decoded.
        """
        if task is not None:
            self._check_task(task)
        self._finish(np.empty((0, self.dim), dtype=np.float32), dim, numbers)  # refuse before long work
        if on_truncate not in get_args(OnTruncate):
            raise ItemError(f"on_truncate is {on_truncate!r}: expected 'warn', 'error' or 'ignore'")
        kinds = [item_modality(item) if modality is None else modality for item in check_items(items)]
        if unknown := [kind for kind in kinds if kind not in self.modalities]:
            known = ", ".join(self.modalities)
            raise ItemError(f"{self.name} has no encoder for {unknown[0]!r}; it encodes {known}")
        base = np.empty((len(items), self.dim), dtype=np.float32)
        for kind in MODALITIES:
            if rows := [row for row, one in enumerate(kinds) if one == kind]:
                base[rows] = self._encode_kind(kind, [items[row] for row in rows], on_truncate, progress)
        if task is not None:
            return self.map(base, task, dim=dim, numbers=numbers)
        return self._finish(base, dim, numbers)

    def tokenize(
        self, texts: Sequence[str], modality: Literal["text", "code"] = "text"
    ) -> tuple[list[list[int]], list[int]]:
        """Token ids of each text, and the positions of texts that were cut to the encoder's length."""
        return self._text_runtime(modality).tokenize(texts)

    def encode_tokens(self, ids: list[list[int]], modality: Literal["text", "code"] = "text") -> np.ndarray:
        """Base vectors float32 [n, dim] of the token ids of one text or more, as `tokenize` returns them."""
        return self._text_runtime(modality).encode(ids, threads=self.threads, progress=False)

    def check_tokens(self, ids: Sequence[int]) -> None:
        """Raise ItemError for token ids that another tokenizer made."""
        self._text_runtime("text").check(ids)

    def map(
        self, base: np.ndarray, task: str, *, dim: int | None = None, numbers: Numbers = "float32"
    ) -> np.ndarray:
        """Task vectors of stored base vectors [n, dim]. It takes microseconds a vector; nothing is encoded.

        Raises ItemError for an unknown task or vectors of another shape.
        """
        self._check_task(task)
        base = np.asarray(base)
        if base.ndim != 2 or base.shape[1] != self.dim:
            raise ItemError(f"base vectors have shape {list(base.shape)}, expected [n, {self.dim}]")
        shape = self._finish(np.empty((0, self.dim), dtype=np.float32), dim, numbers)
        result = np.empty((len(base), shape.shape[1]), dtype=shape.dtype)

        def fill(start: int) -> None:
            rows = slice(start, start + ROWS)
            vectors = self._map_rows(np.asarray(base[rows], dtype=np.float32), task)
            result[rows] = self._finish(vectors, dim, numbers)

        starts = range(0, len(base), ROWS)
        if len(starts) > 1:
            with ThreadPoolExecutor(self.threads) as pool:
                list(pool.map(fill, starts))
        elif starts:
            fill(0)
        return result

    def matrix(self, task: str) -> np.ndarray:
        """W float32 [dim, dim] with map(b) = normalize(W b), which search folds into the query.

        It is read from the mapper's own graph. Raises ItemError for an unknown task.
        """
        self._check_task(task)
        if task not in self._matrices:
            identity = np.eye(self.dim, dtype=np.float32)
            self._matrices[task] = run_graph(self._mapper(task), "mapped", {"base": identity}).T
        return self._matrices[task]

    def with_mapper(self, mapper: CustomMapper | Path | str) -> "Embedder":
        """This embedder with one more search mode: a mapper that `unbraid.fit_mapper` made, or its file.

        The mode and its task take the mapper's name; where the sides differ, the tasks are NAME-query and
        NAME-document. Both embedders share their encoders. Raises DataError for a file that is no mapper, BundleError
        for a mapper that was fitted on another base, ItemError for a name that is taken.
        """
        custom = mapper if isinstance(mapper, CustomMapper) else read_mapper(Path(mapper))
        if custom.base_id != self.base_id or custom.query.shape[0] != self.dim:
            raise BundleError(
                f"mapper {custom.name} was fitted on base {custom.base_id}, and {self.name} has base {self.base_id}: fit "
                f"it again with `unbraid mapper fit`, or use the bundle it was made with ({custom.about.get('bundle')})"
            )
        if taken := {custom.name, *custom.matrices} & {*self.tasks, *self.search_modes}:
            raise ItemError(f"mapper {custom.name}: {self.name} has a task or mode {min(taken)!r} already")
        specs = {
            task: MapperSpec(matrix_id(matrix, custom.base_id), "custom", graphs={})
            for task, matrix in custom.matrices.items()
        }
        other = copy(self)
        other.bundle = replace(
            self.bundle,
            mappers={**self.bundle.mappers, **specs},
            search_modes={**self.bundle.search_modes, custom.name: custom.mode},
        )
        other._matrices = {**self._matrices, **custom.matrices}
        return other

    def _map_rows(self, base: np.ndarray, task: str) -> np.ndarray:
        """Task vectors of a few base vectors, by the bundle's graph or a custom mapper's matrix."""
        if self.bundle.mappers[task].graphs:
            return run_graph(self._mapper(task), "task_vector", {"base": base})
        mapped = base @ self._matrices[task].T
        # In place: `normalize` copies, which takes twice the time.
        lengths = np.sqrt(np.einsum("nd,nd->n", mapped, mapped))
        mapped /= np.where(lengths == 0, 1, lengths)[:, None]
        return mapped

    def _finish(self, vectors: np.ndarray, dim: int | None, numbers: Numbers) -> np.ndarray:
        """`vectors` cut to `dim` and stored as `numbers`."""
        return store_as(truncate(vectors, self.dim if dim is None else dim, self.bundle.dims), numbers)

    def _encode_kind(
        self, kind: Modality, items: list[Item], on_truncate: OnTruncate, progress: bool | None
    ) -> np.ndarray:
        """Base vectors of items that are all of one modality."""
        if kind == "image":
            pictures = [item for item in items if isinstance(item, Path | Image.Image)]
            if wrong := [item for item in items if not isinstance(item, Path | Image.Image)]:
                raise ItemError(
                    f"cannot read {repr(wrong[0])[:60]} as a picture: pass a pathlib.Path or a PIL image"
                )
            if self._images is None:
                assert self.bundle.image is not None  # `modalities` has been checked
                self._images = ImageRuntime(self.bundle.folder, self.bundle.image, self.precision)
            return self._images.encode(pictures, threads=self.threads, progress=progress)
        runtime = self._text_runtime(kind)
        ids, cut = runtime.tokenize([_as_text(item, kind) for item in items])
        if cut and on_truncate != "ignore":
            message = f"{len(cut)} of {len(items)} items are longer than {runtime.spec.max_tokens} tokens"
            if on_truncate == "error":
                raise ItemError(f"{message}: split them, or pass on_truncate='warn'")
            warnings.warn(f"{message}; the rest of each was left out", stacklevel=3)
        return runtime.encode(ids, threads=self.threads, progress=progress)

    def _check_task(self, task: str) -> None:
        if task not in self.bundle.mappers:
            raise ItemError(f"unknown task {task!r}: {self.name} has {', '.join(self.tasks)}")

    def _text_runtime(self, kind: str) -> TextRuntime:
        """The runtime of text or code; the two share a graph where the bundle has one for both."""
        if kind not in self._texts:
            spec = self.bundle.tiers[self.tier][kind]
            shared = next((one for one in self._texts.values() if one.serves(spec)), None)
            self._texts[kind] = (
                shared.with_spec(spec) if shared else TextRuntime(self.bundle.folder, spec, self.precision)
            )
        return self._texts[kind]

    def _mapper(self, task: str) -> Session:
        if task not in self._mappers:
            graph = pick_graph(self.bundle.mappers[task].graphs, None)  # `precision` is for encoders
            self._mappers[task] = open_graph(
                self.bundle.folder / graph, {"base": (None, self.dim)}, ["mapped", "task_vector"]
            )
        return self._mappers[task]


def _as_text(item: Item, kind: str) -> str:
    """The characters of a text or code item; files are read as UTF-8."""
    if isinstance(item, str):
        return item
    if not isinstance(item, Path):
        raise ItemError(f"cannot encode {type(item).__name__} as {kind}: expected str or pathlib.Path")
    try:
        if not item.exists() or item.is_file():  # reading a pipe would block
            return item.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ItemError(f"{item}: cannot be read as {kind}: {reason}") from error
    raise ItemError(f"{item}: not a regular file")
