"""The embedder: items in, base or task vectors out. Read `encode` to follow one item through the runtime."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args, overload

import numpy as np
from PIL import Image

from unbraid.bundle import Bundle, MapperSpec, TextSpec
from unbraid.custom_mapper.mapper_file import CustomMapper, matrix_id, read_mapper
from unbraid.errors import BundleError, ItemError
from unbraid.items import Item, Modality, check_items, item_modality
from unbraid.mix import Query, join_mixes, split_mixes, without_mixes
from unbraid.multi_vector.token_vectors import TokenVectors, pool
from unbraid.runtime.cpu import usable_cores
from unbraid.runtime.image import ImageRuntime
from unbraid.runtime.multi_vector import MultiVectorRuntime, is_sentence_piece
from unbraid.runtime.onnx_session import Session, open_graph, pick_graph, run_graph
from unbraid.runtime.routing import (
    ENGLISH,
    Route,
    Side,
    check_language,
    check_side,
    tier_of,
    trained_languages,
)
from unbraid.runtime.text import TextRuntime
from unbraid.runtime.text_language import language_of
from unbraid.runtime.text_tokenizer import TextTokenizer
from unbraid.vectors import Numbers, store_as, truncate

OnTruncate: TypeAlias = Literal["warn", "error", "ignore"]
Place: TypeAlias = Callable[[int], str]  # says where an item of a row stood
_ITEM: Place = "item {}".format
ROWS = 4096  # base vectors mapped at a time: a thread then holds 16 MB beside input and output


class Embedder:
    """A loaded bundle. It opens graphs when they are first needed; many threads may share one object."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int | None = None,
        precision: str | None = None,
        tier: str | None = None,
        language: str | None = None,
    ) -> None:
        """Encode with `bundle`, `threads` batches at a time (default: the cores this process may use).

        `precision` "int8" or "fp32" picks the encoders' graphs where the bundle has both; by default the bundle
        decides. Mappers always run in the bundle's default, fp32: folding needs them exactly linear. `tier` encodes
        every text and code; without it each text goes to the tier for its language (see `route`), which `language`
        says in place of looking at the texts. All tiers share the base space, the image encoder and the mappers.
        Raises BundleError for a tier that the bundle does not have, ItemError for a `language` that is no code.
        """
        self.bundle = bundle
        self._check_tier(tier)
        check_language(language)
        self.named_tier, self.language = tier, language
        self._trained = trained_languages(bundle)
        if threads is not None and threads < 1:
            raise ItemError(f"threads is {threads}: expected 1 or more")
        self.threads = threads or usable_cores()
        self.precision = precision
        self._texts: dict[tuple[str, str], TextRuntime] = {}  # by tier and modality
        # By the encoder's graph and the head's id.
        self._heads: dict[tuple[str, str], MultiVectorRuntime] = {}
        self._tokenizers: dict[tuple[str, int], TextTokenizer] = {}  # by file and length
        self._images: ImageRuntime | None = None
        self._mappers: dict[str, Session] = {}
        self._matrices: dict[str, np.ndarray] = {}

    def __repr__(self) -> str:
        """Its bundle, what it encodes, and the tiers of its texts."""
        return (
            f"<Embedder {self.name}: {', '.join(self.modalities)} in {self.dim} dimensions; tiers "
            f"{', '.join(self.tiers)}; tasks {', '.join(self.tasks)}>"
        )

    def __getstate__(self) -> dict[str, Any]:
        """All but what is open, which is opened again when it is needed: an embedder may go to another process."""
        return {**vars(self), "_texts": {}, "_heads": {}, "_tokenizers": {}, "_images": None, "_mappers": {}}

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
    def tier(self) -> str:
        """The tier of English texts and of code: the one that was named, or the bundle's tier of documents."""
        return self.named_tier or self.bundle.document_tier

    @property
    def query_tier(self) -> str:
        """The tier of English queries and of code as a query: the one that was named, or the bundle's."""
        return self.named_tier or self.bundle.query_tier

    @property
    def tiers(self) -> tuple[str, ...]:
        """Every tier that a text may go to; the first is that of English documents."""
        if self.named_tier:
            return (self.named_tier,)
        return tuple(dict.fromkeys([self.tier, self.query_tier, *self._other_languages()]))

    @property
    def multilingual_tier(self) -> str | None:
        """The tier with the most languages besides English; None where there is none, or where a tier was named."""
        if self.named_tier:
            return None
        return max(self._other_languages(), key=lambda tier: len(self._trained[tier]), default=None)

    def _other_languages(self) -> list[str]:
        """The tiers that were trained on languages besides English."""
        return [tier for tier, known in self._trained.items() if set(known) - {ENGLISH}]

    @property
    def max_tokens(self) -> int:
        """Tokens that every encoder in `tiers` reads of a text or code, special tokens and its prefix left out."""
        return min(self._tokenizer(spec).room(spec.prefix) for spec in self._text_specs())

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

    @property
    def multi_vector_dims(self) -> dict[str, int]:
        """Tier -> length of a token's vector, for every tier of the bundle that has multi-vectors."""
        found = {tier: specs["text"].multi_vector for tier, specs in self.bundle.tiers.items()}
        return {tier: spec.dim for tier, spec in found.items() if spec}

    @overload
    def encode(
        self,
        items: Iterable[Query],
        *,
        task: str | None = None,
        dim: int | None = None,
        numbers: Numbers = "float32",
        modality: Modality | None = None,
        on_truncate: OnTruncate = "warn",
        progress: bool | None = None,
        tier: str | None = None,
        language: str | None = None,
        side: Side | None = None,
        multi_vector: Literal[False] = False,
        vectors: None = None,
    ) -> np.ndarray: ...

    @overload
    def encode(
        self,
        items: Iterable[Query],
        *,
        task: None = None,
        dim: None = None,
        numbers: Literal["float32"] = "float32",
        modality: Modality | None = None,
        on_truncate: OnTruncate = "warn",
        progress: bool | None = None,
        tier: str | None = None,
        language: str | None = None,
        side: Side | None = None,
        multi_vector: Literal[True],
        vectors: int | None = None,
    ) -> list[np.ndarray]: ...

    def encode(
        self,
        items: Iterable[Query],
        *,
        task: str | None = None,
        dim: int | None = None,
        numbers: Numbers = "float32",
        modality: Modality | None = None,
        on_truncate: OnTruncate = "warn",
        progress: bool | None = None,
        tier: str | None = None,
        language: str | None = None,
        side: Side | None = None,
        multi_vector: bool = False,
        vectors: int | None = None,
    ) -> np.ndarray | list[np.ndarray]:
        """Vectors of `items`, a list, array, column or generator of them, in their order.

        An item is a str (text), an unbraid.Code, a PIL image or a pathlib.Path (its suffix tells the modality);
        `modality` overrides. An unbraid.Mix of them gives one vector. Without `task` the result is base vectors, with it
        task vectors, of unit length. `numbers` is how they are stored: float32, float16 or int8 [n, dim], or binary uint8
        [n, dim/8]. Texts over the encoder's length are cut; `on_truncate` says whether that warns, raises or is ignored.
        `progress` None draws a bar when standard error is a terminal. `tier`, `language` and `side` choose the text encoder
        as in `route`.

        With `multi_vector` each text and code gives float32 [tokens, dim], a unit vector for each token, at most `vectors`
        of them where that is given; those are not cut, rounded or mapped to a task. See `token_vectors`.

        Raises ItemError for an item, task, dim, `numbers`, `language` or `side` that is not supported, BundleError for
        an unknown tier, ImageError for a picture that cannot be decoded.
        """
        if multi_vector:
            if task is not None or dim is not None or numbers != "float32":
                raise ItemError(
                    "a multi-vector has no tasks, no shorter form and no fewer bits: leave task, dim, numbers out"
                )
            if vectors is not None and (type(vectors) is not int or vectors < 1):
                raise ItemError(f"vectors is {vectors!r}: expected how many an item may have, 1 or more")
            tokens = self.token_vectors(
                items,
                modality=modality,
                on_truncate=on_truncate,
                progress=progress,
                tier=tier,
                language=language,
                side=side,
            )
            return [one.vectors if vectors is None else pool(one.vectors, vectors) for one in tokens]
        if vectors is not None:
            raise ItemError("vectors is a number of vectors for each item: it needs multi_vector=True")
        if task is not None:
            self._check_task(task)
        self._finish(np.empty((0, self.dim), dtype=np.float32), dim, numbers)  # refuse before long work
        _check_truncation(on_truncate)
        choose = self._router(task, tier, language, side)
        items = check_items(items)
        parts, place = split_mixes(items)
        kinds = self._kinds(parts, modality, place)
        inputs = _inputs(parts, kinds, place)
        alike: dict[tuple[Modality, str], list[int]] = {}  # rows by modality and tier; pictures have no tier
        for row, (kind, item) in enumerate(zip(kinds, inputs, strict=True)):
            alike.setdefault((kind, choose(kind, item).tier), []).append(row)
        base = np.empty((len(parts), self.dim), dtype=np.float32)
        for (kind, name), rows in alike.items():
            base[rows] = self._encode_alike(kind, name, [inputs[row] for row in rows], on_truncate, progress)
        base = join_mixes(base, items)
        if task is not None:
            return self.map(base, task, dim=dim, numbers=numbers)
        return self._finish(base, dim, numbers)

    def token_vectors(
        self,
        items: Iterable[Query],
        *,
        modality: Modality | None = None,
        on_truncate: OnTruncate = "warn",
        progress: bool | None = None,
        tier: str | None = None,
        language: str | None = None,
        side: Side | None = None,
        pruned: bool = True,
    ) -> list[TokenVectors]:
        """For each text or code the unit vectors of its tokens, with their weights and ids, for late interaction.

        `pruned` leaves out stop words, punctuation and repeats. Scores are `unbraid.multi_vector.maxsim.maxsim`. Items of
        different tiers must not be compared, whose tokens lie in different spaces. Raises as `encode`, and ItemError for a
        picture, a Mix and a tier without multi-vectors.
        """
        _check_truncation(on_truncate)
        choose = self._router(None, tier, language, side)
        single = without_mixes(check_items(items))
        kinds = self._kinds(single, modality)
        if "image" in kinds:
            raise ItemError(f"item {kinds.index('image')}: pictures have no multi-vectors")
        inputs = _inputs(single, kinds)
        alike: dict[tuple[Modality, str], list[int]] = {}
        for row, (kind, item) in enumerate(zip(kinds, inputs, strict=True)):
            alike.setdefault((kind, choose(kind, item).tier), []).append(row)
        heads = {}  # before long work
        for (kind, name), rows in alike.items():
            with _at(_ITEM, rows[0]):
                heads[kind, name] = self._head(self._text_runtime(kind, name), name)
        found: dict[int, TokenVectors] = {}
        for (kind, name), rows in alike.items():
            runtime = self._text_runtime(kind, name)
            ids = self._token_ids(runtime, [inputs[row] for row in rows], on_truncate)
            tokens = heads[kind, name].encode(ids, pruned=pruned, threads=self.threads, progress=progress)
            found |= dict(zip(rows, tokens, strict=True))
        return [found[row] for row in range(len(single))]

    def route(
        self,
        items: Iterable[Item],
        *,
        task: str | None = None,
        modality: Modality | None = None,
        tier: str | None = None,
        language: str | None = None,
        side: Side | None = None,
    ) -> list[Route]:
        """The tier that `encode` with the same arguments sends each item to, and the language of its text.

        An English text goes to the bundle's tier for its side, and so does code. A text in another language goes to
        the first tier that was trained on it, or else to the tier with the most languages. `language` says what the
        texts are written in; without it their first characters are looked at. `tier`, here or when the model was
        loaded, goes before both: no text is looked at. `side` "query" or "document" is that of `task` by default, and
        document for a task that both sides have. A bundle whose tiers name no languages reads every text as English.

        The language is "" where none was looked for, and "und" for letters of an unknown script. Raises as `encode`.
        """
        choose = self._router(task, tier, language, side)
        items = check_items(items)
        kinds = self._kinds(items, modality)
        return [
            choose(kind, "" if kind == "image" else item)
            for item, kind in zip(_inputs(items, kinds), kinds, strict=True)
        ]

    def tokenize(
        self, texts: Sequence[str], modality: Literal["text", "code"] = "text", *, tier: str | None = None
    ) -> tuple[list[list[int]], list[int]]:
        """Token ids of each text behind the tier's prefix, and the positions of texts that were cut to the encoder's length.

        `tier` None is the tier of English documents, here and in the methods below.
        """
        return self._text_runtime(modality, tier).tokenize(texts)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, whole and without special tokens: the most that it has as text or code in the `tiers`."""
        readers = {(one.tokenizer, one.split_identifiers): self._tokenizer(one) for one in self._text_specs()}
        counts = [reader.count(texts, split) for (_, split), reader in readers.items()]
        return [max(each) for each in zip(*counts, strict=True)]

    def encode_tokens(
        self, ids: list[list[int]], modality: Literal["text", "code"] = "text", *, tier: str | None = None
    ) -> np.ndarray:
        """Base vectors float32 [n, dim] of the token ids of one text or more, as `tokenize` returns them."""
        return self._text_runtime(modality, tier).encode(ids, threads=self.threads, progress=False)

    def token_vectors_of_ids(
        self, ids: list[list[int]], modality: Literal["text", "code"] = "text", *, tier: str | None = None
    ) -> list[TokenVectors]:
        """What `token_vectors` gives for the texts with these token ids, as `tokenize` returns them."""
        head = self._head(self._text_runtime(modality, tier), tier or self.tier)
        return head.encode(ids, pruned=True, threads=self.threads, progress=False)

    def check_tokens(self, ids: Sequence[int], *, tier: str | None = None) -> None:
        """Raise ItemError for token ids that another tokenizer made."""
        self._text_tokenizer(tier).check(ids)

    def special_tokens(self, *, tier: str | None = None) -> int:
        """How many special tokens stand around every text."""
        return len(self._text_tokenizer(tier).frame)

    def pieces(
        self, ids: Iterable[int], modality: Literal["text", "code"] = "text", *, tier: str | None = None
    ) -> list[str]:
        """The piece of the tokenizer's vocabulary for each token id."""
        self._check_tier(tier)
        tokenizer = self._tokenizer(self.bundle.tiers[tier or self.tier][modality]).tokenizer
        return [tokenizer.id_to_token(int(one)) or "" for one in ids]

    def sentence_pieces(self, tier: str) -> bool:
        """Whether a tier's tokenizer has SentencePieces, where ▁ begins a word, else WordPieces, where ## goes on with one."""
        return is_sentence_piece(self._tokenizer(self.bundle.tiers[tier]["text"]).tokenizer)

    def text_of_tokens(self, ids: Sequence[int], *, tier: str | None = None) -> str:
        """The text of token ids, without special tokens: what a tier with a prefix encodes behind it."""
        return self._text_tokenizer(tier).text(ids)

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
        finite = np.isfinite(base).all(axis=1)
        if not finite.all():
            raise ItemError(
                f"base vector {int(finite.argmin())} holds numbers that are not finite (NaN or infinity)"
            )
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
        vars(other).update(vars(self))  # open graphs too
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

    def _encode_alike(
        self, kind: Modality, tier: str, items: list[Any], on_truncate: OnTruncate, progress: bool | None
    ) -> np.ndarray:
        """Base vectors of pictures, or of texts or code that are all for one tier."""
        if kind == "image":
            if self._images is None:
                assert self.bundle.image is not None  # `modalities` has been checked
                self._images = ImageRuntime(self.bundle.folder, self.bundle.image, self.precision)
            return self._images.encode(items, threads=self.threads, progress=progress)
        runtime = self._text_runtime(kind, tier)
        ids = self._token_ids(runtime, items, on_truncate)
        return runtime.encode(ids, threads=self.threads, progress=progress)

    def _token_ids(
        self, runtime: TextRuntime, items: Sequence[str], on_truncate: OnTruncate
    ) -> list[list[int]]:
        """Token ids of texts. What is too long is cut as `on_truncate` says."""
        ids, cut = runtime.tokenize(items)
        if cut and on_truncate != "ignore":
            message = f"{len(cut)} of {len(items)} items are longer than {runtime.spec.max_tokens} tokens"
            if on_truncate == "error":
                raise ItemError(f"{message}: split them, or pass on_truncate='warn'")
            warnings.warn(f"{message}; the rest of each was left out", stacklevel=4)
        return ids

    def _kinds(
        self, items: Sequence[Item], modality: Modality | None, place: Place = _ITEM
    ) -> list[Modality]:
        """The modality of each item. Raises ItemError for one that the bundle does not encode."""
        kinds: list[Modality] = []
        for row, item in enumerate(items):
            with _at(place, row):
                kind = item_modality(item) if modality is None else modality
                if kind not in self.modalities:
                    known = ", ".join(self.modalities)
                    raise ItemError(f"{self.name} has no encoder for {kind!r}; it encodes {known}")
            kinds.append(kind)
        return kinds

    def _router(
        self, task: str | None, tier: str | None, language: str | None, side: Side | None
    ) -> Callable[[Modality, Item], Route]:
        """A function from the modality and content of an item to its route; what was asked for is checked first."""
        self._check_tier(tier)
        check_language(language)
        check_side(side)
        of_query, of_document = ({tasks[place] for tasks in self.search_modes.values()} for place in (0, 1))
        is_query = side == "query" or (side is None and task in of_query - of_document)
        english = self.query_tier if is_query else self.tier
        named, known = tier or self.named_tier, language or self.language

        def choose(kind: Modality, item: Item) -> Route:
            if kind == "image":
                return Route("", "")
            if kind == "code":
                return Route(named or english, "")
            if named or not self._trained:
                return Route(named or english, known or "")
            found = known or language_of(str(item))
            return Route(tier_of(found, english, self._trained), found)

        return choose

    def _check_task(self, task: str) -> None:
        if task not in self.bundle.mappers:
            raise ItemError(f"unknown task {task!r}: {self.name} has {', '.join(self.tasks)}")

    def _check_tier(self, tier: str | None) -> None:
        if tier is not None and tier not in self.bundle.tiers:
            raise BundleError(f"{self.name} has no tier {tier!r}; it has {', '.join(self.bundle.tiers)}")

    def _text_specs(self) -> list[TextSpec]:
        """What the tiers that a text may go to say of their encoders."""
        return [spec for tier in self.tiers for spec in self.bundle.tiers[tier].values()]

    def _text_tokenizer(self, tier: str | None) -> TextTokenizer:
        self._check_tier(tier)
        return self._tokenizer(self.bundle.tiers[tier or self.tier]["text"])

    def _tokenizer(self, spec: TextSpec) -> TextTokenizer:
        """The tokenizer of `spec`, which several tiers may share. Raises BundleError where its prefix leaves no room."""
        key = (spec.tokenizer, spec.max_tokens)
        if key not in self._tokenizers:
            self._tokenizers[key] = TextTokenizer(self.bundle.folder / spec.tokenizer, spec.max_tokens)
        if spec.prefix:
            self._tokenizers[key].room(spec.prefix)
        return self._tokenizers[key]

    def _text_runtime(self, kind: str, tier: str | None = None) -> TextRuntime:
        """The runtime of text or code in a tier; the two share a graph where the bundle has one for both."""
        self._check_tier(tier)
        key = (tier or self.tier, kind)
        if key not in self._texts:
            spec = self.bundle.tiers[key[0]][kind]
            opened, reader = list(self._texts.values()), self._tokenizer(spec)
            if shared := next((one for one in opened if one.serves(spec)), None):
                self._texts[key] = shared.with_spec(spec)
            else:
                tokens = next(
                    (one.tokens for one in opened if one.spec.token_graphs == spec.token_graphs), None
                )
                self._texts[key] = TextRuntime(
                    self.bundle.folder, spec, self.precision, tokens=tokens, reader=reader
                )
        return self._texts[key]

    def _head(self, runtime: TextRuntime, tier: str) -> MultiVectorRuntime:
        """The multi-vector head of a tier; text and code share it where they share their graph."""
        if (spec := runtime.spec.multi_vector) is None:
            known = list(self.multi_vector_dims)
            others = f"choose tier {' or '.join(known)}" if known else "no tier of it has"
            raise ItemError(f"tier {tier} of {self.name} has no multi-vectors: {others}")
        key = (str(runtime.graph), spec.id)
        if key not in self._heads:
            self._heads[key] = MultiVectorRuntime(self.bundle.folder, runtime, spec)
        return self._heads[key]

    def _mapper(self, task: str) -> Session:
        if task not in self._mappers:
            graph = pick_graph(self.bundle.mappers[task].graphs, None)  # `precision` is for encoders
            self._mappers[task] = open_graph(
                self.bundle.folder / graph, {"base": (None, self.dim)}, ["mapped", "task_vector"]
            )
        return self._mappers[task]


@contextmanager
def _at(place: Place, row: int) -> Iterator[None]:
    """Name the position of an item in its errors."""
    try:
        yield
    except ItemError as error:
        raise ItemError(f"{place(row)}: {error}") from error


def _check_truncation(on_truncate: str) -> None:
    if on_truncate not in get_args(OnTruncate):
        raise ItemError(f"on_truncate is {on_truncate!r}: expected 'warn', 'error' or 'ignore'")


def _inputs(items: Sequence[Item], kinds: Sequence[Modality], place: Place = _ITEM) -> list[Any]:
    """The characters of texts and code, pictures as they are. Raises ItemError, which names the position."""
    found: list[Any] = []
    for row, (item, kind) in enumerate(zip(items, kinds, strict=True)):
        if kind == "image":
            if not isinstance(item, Path | Image.Image):
                raise ItemError(
                    f"{place(row)}: cannot read {repr(item)[:60]} as a picture: pass a pathlib.Path or a PIL image"
                )
            found.append(item)
        else:
            with _at(place, row):
                found.append(_as_text(item, kind))
    return found


def _as_text(item: Item, kind: str) -> str:
    """The characters of a text or code item; files are read as UTF-8."""
    if isinstance(item, str):
        return item
    if not isinstance(item, Path):
        raise ItemError(f"cannot encode {type(item).__name__} as {kind}: expected str or pathlib.Path")
    try:
        if not item.exists() or item.is_file():  # reading a pipe would block
            return item.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ItemError(f"{item}: cannot be read as {kind}: {reason}") from error
    raise ItemError(f"{item}: not a regular file")
