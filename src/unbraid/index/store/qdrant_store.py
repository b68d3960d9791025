"""The same index as a collection of a Qdrant server or cluster, by its official client.

A point is the same as in a folder (folder_store.py): its id, a base vector, the words that BM25 counts, an `Entry` with
checksum as payload. What the collection was made with is in its metadata, under "unbraid". The server acknowledges a
write when it is in its write-ahead log and applied (wait=True). A request that did not get through is repeated, which
is safe because every write here may happen twice.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Self, TypeVar
from uuid import UUID

import httpx
import numpy as np
import qdrant_edge as edge
from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from unbraid.errors import StoreError, UnbraidError
from unbraid.index.protocol import Vectors
from unbraid.index.store.bm25 import VERSION, document_words
from unbraid.index.store.checksum import to_payload
from unbraid.index.store.entry import (
    KEYWORDS,
    PAYLOAD,
    Entry,
    Fields,
    FileState,
    file_states,
    new_fields,
    point_id,
)
from unbraid.index.store.file_fields import KEYS
from unbraid.index.store.filter import (
    ANYTHING,
    FIELDS,
    Filter,
    build_filter,
    field_names,
    matching,
    values_of,
)
from unbraid.index.store.meta import READABLE, Meta, describe, parse_meta, readable_formats
from unbraid.index.store.storage import OVERSAMPLING, Copy, Storage
from unbraid.index.store.store import SAMPLE, Candidates, Page, Payload, Store, Version, check_vectors

T = TypeVar("T")
KEY = "unbraid"  # in the collection's metadata
BASE, WORDS = "base", "words"  # names of a point's two vectors
TOKENS = "tokens"  # name of its multi-vector, where the collection has them
API_KEY = "QDRANT_API_KEY"
TIMEOUT = 60  # seconds of one request
TRIES = 5  # of a request, half a second, then one, two and four apart
PAUSE = 0.5
TRANSIENT = {408, 429, 502, 503, 504}
TOKEN_POINTS = 50  # with multi-vectors in one request: 8 MB as JSON
POINTS = 500  # with vectors in one request: 4 MB as JSON, of 32 MB that a server takes
SCROLL = 10_000
ALL = 1 << 30


def connect(url: str) -> QdrantClient:
    """A client of the server at `url`, with the key in QDRANT_API_KEY if there is one. Raises StoreError for no URL."""
    try:
        return QdrantClient(
            url=url, api_key=os.environ.get(API_KEY), timeout=TIMEOUT, check_compatibility=False
        )
    except (ValueError, httpx.InvalidURL) as error:
        raise StoreError(
            f"{url!r} is not the address of a Qdrant server, such as http://HOST:6333: {error}"
        ) from error


class QdrantStore(Store):
    """An index on a Qdrant server. Many processes may use it at a time."""

    def __init__(self, client: QdrantClient, name: str) -> None:
        """Use `QdrantStore.open` or `create`."""
        super().__init__()
        self.client, self.name = client, name
        url = client.init_options.get("url")
        self.place = f"collection {name} at {url}" if url else f"collection {name}"
        self.meta: Meta
        self._closed = False
        self._changes = 0  # by this process

    @classmethod
    def open(cls, url: str, name: str) -> Self | None:
        """The index in collection `name` of the server at `url`; None where there is none of that name.

        Raises StoreError for a collection of something else, and when the server cannot be reached.
        """
        self = cls(connect(url), name)
        try:
            if self._ask(lambda: self.client.collection_exists(name)):
                self.meta = self._read_meta()
                return self
        except BaseException:
            self.close()
            raise
        self.close()
        return None

    @classmethod
    def create(cls, url: str, name: str, meta: Meta) -> Self:
        """A new index in collection `name`, or the one that another process made a moment ago."""
        self = cls(connect(url), name)
        try:
            self._create(replace(meta, shard="", words=VERSION))
            self.meta = self._read_meta()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Close the connections; a second call does nothing."""
        self._closed = True
        self.client.close()

    def set_meta(self, meta: Meta) -> None:
        """Replace the description of the model that made the index."""
        self._ask(lambda: self.client.update_collection(self.name, metadata={KEY: describe(meta)}))
        self.meta = meta

    def read_note(self, name: str) -> bytes | None:
        """What `write_note` stored under this name; None where it never did."""
        about = self._ask(lambda: self.client.get_collection(self.name))
        note = (about.config.metadata or {}).get(f"{KEY}_{name}")
        return None if note is None else str(note).encode()

    def write_note(self, name: str, content: bytes) -> None:
        """Keep `content`, UTF-8 text, in the collection's metadata, which the server merges by key."""
        self._ask(
            lambda: self.client.update_collection(self.name, metadata={f"{KEY}_{name}": content.decode()})
        )

    def upsert(self, entries: Sequence[Entry], vectors: Vectors) -> None:
        """Add or replace `entries` with their base vectors [n, dim]."""
        check_vectors(vectors, len(entries), self.meta.dim)
        self._changes += 1
        numbers = self._index_fields([entry.fields for entry in entries])
        points = []
        for entry, row in zip(entries, self.meta.storage.narrow(vectors), strict=True):
            named: dict[str, Any] = {BASE: row.tolist()}
            # No checksum holds them, since they follow from the payload.
            words = document_words(entry.snippet, entry.path, entry.modality, entry.context)
            if words.indices:
                named[WORDS] = _sparse(words)
            identity = str(point_id(entry.path, entry.sha256, entry.chunk))
            points.append(
                models.PointStruct(id=identity, vector=named, payload=to_payload(entry, row, numbers))
            )
        for start in range(0, len(points), POINTS):
            part = points[start : start + POINTS]
            self._ask(partial(self.client.upsert, self.name, part, wait=True))

    def delete(self, paths: Iterable[str]) -> None:
        """Remove every chunk of `paths`."""
        for path in paths:
            self._delete(models.Filter(must=[_condition("path", "value", path)]))

    def delete_older(self, files: Iterable[Entry]) -> None:
        """Remove every chunk of each entry's path that is not of the entry's content."""
        for file in files:
            kept = [str(point_id(file.path, file.sha256, number)) for number in range(file.chunks)]
            here = _condition("path", "value", file.path)
            self._delete(models.Filter(must=[here], must_not=[models.HasIdCondition(has_id=kept)]))

    def settle(self) -> None:
        """Nothing: the server does that by itself."""

    def copied(self) -> None:
        """None: the server knows."""

    def version(self) -> Version:
        """Changes with every write of this process, and with the number of chunks."""
        return str(self._changes), self.count()

    def disk_bytes(self) -> None:
        """None: the server knows."""

    def files(self, filter: Filter = ANYTHING) -> dict[str, FileState]:
        """What the index holds of files whose chunks pass `filter`, by path."""
        pages = self._scroll(self._filter(filter), SCROLL, PAYLOAD, vectors=False)
        return file_states(record.payload or {} for page in pages for record in page)

    def count(self, filter: Filter = ANYTHING) -> int:
        """Number of chunks that pass `filter`."""
        kind = self._filter(filter)
        return self._ask(lambda: self.client.count(self.name, count_filter=kind, exact=True)).count

    def size(self) -> int:
        """About the number of chunks, at no cost."""
        return int(self._ask(lambda: self.client.count(self.name, exact=False)).count)

    def facet(self, key: str, filter: Filter = ANYTHING) -> dict[str, int]:
        """Chunks that pass `filter` by value of path or one of KEYWORDS; those without a value are not counted."""
        chosen = None if filter == ANYTHING else self._filter(filter)
        hits = self._ask(
            lambda: self.client.facet(self.name, key, facet_filter=chosen, limit=ALL, exact=True)
        ).hits
        return dict(sorted((str(hit.value), hit.count) for hit in hits))

    def nearest(self, queries: Vectors, limit: int, filter: Filter = ANYTHING) -> list[Candidates]:
        """For each query of [n, dim] the `limit` chunks with the largest inner products, unchecked."""
        storage, kind = self.meta.storage, self._filter(filter)
        return self._query(
            [
                models.QueryRequest(
                    query=query.tolist(), using=BASE, filter=kind, limit=limit, params=_params(storage)
                )
                for query in np.asarray(queries, np.float32)[:, : storage.dim]
            ]
        )

    def nearest_words(
        self, queries: Sequence[edge.SparseVector], limit: int, filter: Filter = ANYTHING
    ) -> list[Candidates]:
        """For each query's words the `limit` chunks of the best BM25 scores, none without any of the words."""
        kind = self._filter(filter)
        return self._query([_words_request(query, kind, limit) for query in queries])

    def words_among(
        self, queries: Sequence[edge.SparseVector], ids: Sequence[Sequence[UUID]]
    ) -> list[Candidates]:
        """Those of the chunks `ids[i]` that hold words of query i, with their BM25 scores."""
        among = [models.Filter(must=[models.HasIdCondition(has_id=list(map(str, some)))]) for some in ids]
        sizes = [max(1, len(some)) for some in ids]
        return self._query(list(map(_words_request, queries, among, sizes)))

    def set_words(self, words: Mapping[UUID, edge.SparseVector]) -> None:
        """Replace the words of points by id."""
        some = [
            models.PointVectors(id=str(one), vector={WORDS: _sparse(vector)})
            for one, vector in words.items()
            if vector.indices
        ]
        none = [str(one) for one, vector in words.items() if not vector.indices]
        if some:
            self._ask(lambda: self.client.update_vectors(self.name, some, wait=True))
        if none:
            self._ask(lambda: self.client.delete_vectors(self.name, [WORDS], none, wait=True))

    def add_tokens(self, dim: int) -> None:
        """Give the collection a multi-vector of `dim` numbers a token, in float16, compared by MaxSim; again does nothing."""
        about = self._ask(lambda: self.client.get_collection(self.name))
        known = about.config.params.vectors
        if isinstance(known, dict) and TOKENS in known:
            return
        compared = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
        config = models.DenseVectorConfig(
            size=dim,
            distance=models.Distance.DOT,
            multivector_config=compared,
            datatype=models.VectorStorageDatatype.FLOAT16,
        )
        named = models.DenseVectorNameConfig(dense=config)
        self._ask(lambda: self.client.create_vector_name(self.name, TOKENS, named, wait=True))
        # They score candidates that other vectors found: a graph over all tokens would only take room.
        change = {TOKENS: models.VectorParamsDiff(hnsw_config=models.HnswConfigDiff(m=0), on_disk=True)}
        self._ask(lambda: self.client.update_collection(self.name, vectors_config=change))

    def without_tokens(self, modality: str) -> Iterator[Page]:
        """Chunks of a modality that have no multi-vector, as stored, unchecked, some hundred at a time."""
        none = models.HasVectorCondition(has_vector=TOKENS)
        asked = models.Filter(must=[_condition("modality", "value", modality)], must_not=[none])
        for page in self._scroll(asked, POINTS, True, vectors=True):
            ids = [UUID(str(record.id)) for record in page]
            yield Page(ids, [record.payload or {} for record in page], self._rows(page), None)

    def set_tokens(self, tokens: Mapping[UUID, Vectors]) -> None:
        """Replace the multi-vectors of points by id, [tokens, dim] with at least one token each."""
        points = [
            models.PointVectors(id=str(one), vector={TOKENS: rows.tolist()}) for one, rows in tokens.items()
        ]
        for start in range(0, len(points), TOKEN_POINTS):
            part = points[start : start + TOKEN_POINTS]
            self._ask(partial(self.client.update_vectors, self.name, part, wait=True))

    def vectors(self, ids: Sequence[UUID]) -> Vectors:
        """Base vectors [n, dim] as stored, unchecked; NaN where an id is gone."""
        found = self._retrieve(ids, payload=False)
        none = np.full(self.meta.storage.dim, np.nan)
        rows = np.asarray([_row(found[one]) if one in found else none for one in ids], np.float32)
        return self.meta.storage.widen(rows.reshape(-1, self.meta.storage.dim), self.meta.dim)

    def pictures(self, ids: Sequence[UUID]) -> set[UUID]:
        """Those of `ids` that are pictures by what they show, not by the words in them."""
        asked = models.Filter(
            must=[models.HasIdCondition(has_id=list(map(str, ids))), _condition("modality", "value", "image")]
        )
        pages = self._scroll(asked, SCROLL, False, vectors=False)
        return {UUID(str(record.id)) for page in pages for record in page}

    def payloads(self, ids: Sequence[UUID]) -> dict[UUID, Payload | None]:
        """What is stored beside the vectors of those `ids` that are there."""
        return {one: record.payload for one, record in self._retrieve(ids, payload=True).items()}

    def page(self, filter: Filter, start: UUID | None) -> Page:
        """Some hundred chunks as stored, unchecked, from the id `start` on."""
        first = None if start is None else str(start)
        page, following = self._read_page(self._filter(filter), POINTS, True, first, vectors=True)
        ids = [UUID(str(record.id)) for record in page]
        payloads: list[Payload] = [record.payload or {} for record in page]
        return Page(ids, payloads, self._rows(page), None if following is None else UUID(str(following)))

    def read_sample(self) -> Vectors:
        """Base vectors [n, dim] of the SAMPLE chunks of the lowest ids, which are hashes and so random."""
        page, _ = self._read_page(None, SAMPLE, False, None, vectors=True)
        return self.meta.storage.widen(self._rows(page), self.meta.dim)

    def _rows(self, records: Sequence[models.Record]) -> Vectors:
        return np.asarray(list(map(_row, records)), np.float32).reshape(-1, self.meta.storage.dim)

    def _retrieve(self, ids: Sequence[UUID], *, payload: bool) -> dict[UUID, models.Record]:
        """The payloads of `ids`, or the vectors, by id."""
        part = partial(self.client.retrieve, self.name, list(map(str, ids)), with_payload=payload)
        records = self._ask(partial(part, with_vectors=False if payload else [BASE]))
        return {UUID(str(record.id)): record for record in records}

    def _query(self, requests: list[models.QueryRequest]) -> list[Candidates]:
        found = self._ask(lambda: self.client.query_batch_points(self.name, requests))
        return [Candidates(one.points) for one in found]

    def _scroll(
        self, filter: models.Filter | None, limit: int, payload: bool | list[str], *, vectors: bool
    ) -> Iterator[list[models.Record]]:
        start: Any = None
        while True:
            records, start = self._read_page(filter, limit, payload, start, vectors=vectors)
            if records:
                yield records
            if start is None:
                return

    def _read_page(
        self,
        filter: models.Filter | None,
        limit: int,
        payload: bool | list[str],
        start: Any,
        *,
        vectors: bool,
    ) -> tuple[list[models.Record], Any]:
        """Up to `limit` points that pass `filter`, from the id `start` on, and the id that follows."""
        page = partial(self.client.scroll, self.name, filter, limit, offset=start, with_payload=payload)
        return self._ask(partial(page, with_vectors=[BASE] if vectors else False))

    def _delete(self, filter: models.Filter) -> None:
        self._changes += 1
        chosen = models.FilterSelector(filter=filter)
        self._ask(lambda: self.client.delete(self.name, chosen, wait=True))

    def _filter(self, filter: Filter) -> Any:
        paths = matching(list(self.facet("path")), filter.patterns) if filter.patterns else None
        fields = {}
        if filter.conditions:
            known = field_names(self._ask(lambda: self.client.get_collection(self.name)).payload_schema)
            fields = values_of(filter.conditions, known, lambda name: self.facet(FIELDS + name))
        return build_filter(filter, paths, fields, _condition, models.Filter)

    def _create(self, meta: Meta) -> None:
        storage, copy = meta.storage, _copy(meta.storage)
        copies = {
            None: None,
            "int8": models.ScalarQuantization(
                scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
            ),
            "binary": models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True)),
        }
        vectors = models.VectorParams(
            size=storage.dim,
            distance=models.Distance.DOT,
            datatype=models.Datatype(storage.numbers),
            on_disk=copy is not None,
        )
        # An exact scan has no use for a graph; with a smaller copy the server searches it by the graph of its own defaults.
        graph = models.HnswConfigDiff(m=0) if copy is None else None
        try:
            self._ask(
                lambda: self.client.create_collection(
                    self.name,
                    vectors_config={BASE: vectors},
                    sparse_vectors_config={WORDS: models.SparseVectorParams(modifier=models.Modifier.IDF)},
                    hnsw_config=graph,
                    quantization_config=copies[copy],
                    metadata={KEY: describe(meta)},
                )
            )
        except StoreError:
            # Another process was faster, or a first try got through: its metadata decides.
            if not self._ask(lambda: self.client.collection_exists(self.name)):
                raise

    def _read_meta(self) -> Meta:
        """What the collection was made with; its indexes over payload fields are made where they are not there yet."""
        about = self._ask(lambda: self.client.get_collection(self.name))
        known = (about.config.metadata or {}).get(KEY)
        if known is None:
            raise StoreError(
                f"{self.place} is not an unbraid index: its metadata has no {KEY!r}; choose another --collection (the "
                "server has to be Qdrant 1.16 or newer)"
            )
        try:
            meta = parse_meta(known)
        except (TypeError, KeyError, StoreError) as error:
            raise StoreError(
                f"{self.place}: its metadata cannot be read: {error!r}; index again into another"
            ) from error
        if meta.format not in READABLE:
            raise StoreError(
                f"{self.place} has format {meta.format}, this unbraid reads {readable_formats()}: index again into another "
                "--collection"
            )
        kinds = {
            "path": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, prefix=True),
            **dict.fromkeys(KEYWORDS, models.PayloadSchemaType.KEYWORD),
            **dict.fromkeys(KEYS.values(), models.PayloadSchemaType.INTEGER),
        }
        for key, kind in kinds.items():
            if key not in about.payload_schema:
                self._index(key, kind)
        return meta

    def _index_fields(self, fields: Sequence[Fields]) -> list[str]:
        """Give each of `fields` an index over its values; returns those that the collection keeps as whole numbers.

        Raises StoreError as `new_fields`.
        """
        if not any(fields):
            return []
        known = self._ask(lambda: self.client.get_collection(self.name)).payload_schema
        whole = models.PayloadSchemaType.INTEGER
        numbers = [name for name in field_names(known) if known[FIELDS + name].data_type == whole]
        for name in new_fields(fields, field_names(known), numbers):
            self._index(FIELDS + name, models.PayloadSchemaType.KEYWORD)
        return numbers

    def _index(self, key: str, kind: Any) -> None:
        self._ask(lambda: self.client.create_payload_index(self.name, key, field_schema=kind, wait=True))

    def _ask(self, request: Callable[[], T]) -> T:
        """What the server answers; a request that may get through later is repeated. Raises StoreError."""
        if self._closed:
            raise StoreError(f"the index {self.place} has been closed: open it again")
        for attempt in range(TRIES):
            try:
                return request()
            except UnbraidError:
                raise
            except (ApiException, QdrantException, ValueError) as error:
                if attempt + 1 == TRIES or not _transient(error):
                    raise StoreError(self._message(error)) from error
                wait = error.retry_after_s if isinstance(error, ResourceExhaustedResponse) else 0
                time.sleep(max(wait, PAUSE * 2**attempt))
        raise AssertionError("the loop returns or raises")

    def _message(self, error: Exception) -> str:
        if isinstance(error, ResponseHandlingException):
            return f"{self.place}: the server does not answer ({error.source}); tried {TRIES} times"
        if isinstance(error, UnexpectedResponse) and error.status_code in (401, 403):
            return f"{self.place}: the server refuses this key: set the environment variable {API_KEY}"
        return f"{self.place}: the server refuses: {' '.join(str(error).split())}"


def _condition(key: str, kind: str, value: Any) -> models.FieldCondition:
    """Items whose payload field `key` is `value`, begins with it, is one of it or between (see `build_filter`)."""
    if kind == "range":
        low, high = value
        return models.FieldCondition(key=key, range=models.Range(gte=low, lt=high))
    match = {"value": models.MatchValue, "prefix": models.MatchPrefix, "any": models.MatchAny}[kind]
    return models.FieldCondition(key=key, match=match(**{kind: value}))


def _copy(storage: Storage) -> Copy | None:
    """The smaller copy of a collection, which is chosen when it is made, empty."""
    return storage.copy_of(0)


def _params(storage: Storage) -> models.SearchParams:
    """How a server finds candidates in a collection of this storage."""
    copy = _copy(storage)
    if copy is None:
        return models.SearchParams(exact=True)
    rescored = models.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING[copy])
    return models.SearchParams(quantization=rescored)


def _row(record: models.Record) -> Any:
    """The base vector of a point as it is stored."""
    assert isinstance(record.vector, dict)
    return record.vector[BASE]


def _words_request(query: edge.SparseVector, filter: models.Filter | None, limit: int) -> models.QueryRequest:
    return models.QueryRequest(query=_sparse(query), using=WORDS, filter=filter, limit=limit)


def _sparse(words: edge.SparseVector) -> models.SparseVector:
    return models.SparseVector(indices=words.indices, values=words.values)


def _transient(error: Exception) -> bool:
    if isinstance(error, UnexpectedResponse):
        return error.status_code in TRANSIENT
    if isinstance(error, ResponseHandlingException):
        return isinstance(error.source, httpx.TransportError)
    return isinstance(error, ResourceExhaustedResponse)
