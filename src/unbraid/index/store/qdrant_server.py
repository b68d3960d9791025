"""The same index as a collection of a Qdrant server or cluster, by its official client.

A point is what it is in a folder (store.py): its id, a base vector, the words that BM25 counts, an `Entry` with checksum
as payload. What the collection was made with is in its metadata, under "unbraid". The server acknowledges a write when
it is in its write-ahead log and applied (wait=True); a request that did not get through is repeated, which does no
harm, since every write here may happen twice.
"""

import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Self, TypeVar
from uuid import UUID

import httpx
import numpy as np
import qdrant_edge as edge
from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from unbraid.errors import StoreError
from unbraid.index.protocol import Scores, Vectors
from unbraid.index.store.bm25 import document_terms
from unbraid.index.store.checksum import sound_entry, to_payload
from unbraid.index.store.entry import Entry, Fields, new_fields, point_id
from unbraid.index.store.file_state import PAYLOAD, FileState, file_states
from unbraid.index.store.filter import ANYTHING, Condition, Only, matching, merged
from unbraid.index.store.folder_store import SAMPLE, check_base, check_vectors, checked_tower
from unbraid.index.store.meta import FORMAT, Meta, Provenance, meta_of, metadata_version
from unbraid.index.store.protocol import Candidates, tamed
from unbraid.index.store.vector_storage import OVERSAMPLING, Storage

T = TypeVar("T")
KEY = "unbraid"  # in the collection's metadata
BASE, WORDS = "base", "words"  # names of a point's two vectors
API_KEY = "QDRANT_API_KEY"
TIMEOUT = 60  # seconds of one request
TRIES = 5  # of a request, half a second, then one, two and four apart
PAUSE = 0.5
TRANSIENT = {408, 429, 502, 503, 504}
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


class QdrantCollection:
    """An index on a Qdrant server; it satisfies `Collection`. Many processes may use it at a time."""

    def __init__(self, client: QdrantClient, name: str) -> None:
        """Use `QdrantCollection.open`."""
        self.client, self.name = client, name
        url = client.init_options.get("url")
        self.place = f"collection {name} at {url}" if url else f"collection {name}"
        self.meta: Meta
        self._sample: Vectors | None = None  # read once between writes of this process

    @classmethod
    def open(
        cls,
        client: QdrantClient,
        name: str,
        *,
        base_id: str,
        dim: int,
        create: bool = False,
        provenance: Provenance | None = None,
        storage: Storage | None = None,
    ) -> Self:
        """The index in collection `name`; `create` makes it, of this `provenance`, where there is none of that name.

        Raises StoreError as `Store.open` does, and when the server cannot be reached.
        """
        self = cls(client, name)
        if not self._ask(lambda: client.collection_exists(name)):
            if not create:
                raise StoreError(
                    f"no {self.place}; make one with: unbraid index PATH --qdrant URL --collection {name}"
                )
            kept, made_with = storage or Storage(dim), provenance or Provenance()
            self._create(Meta(FORMAT, base_id, dim, kept, metadata_version(), "", made_with))
        self.meta = self._read_meta()
        check_base(self.place, self.meta, base_id, dim, provenance)
        if storage not in (None, self.meta.storage):
            raise StoreError(
                f"{self.place} keeps {self.meta.storage}, not {storage}: leave these options out, or "
                "choose another --collection"
            )
        pictures = partial(self.count, Only(modality="image"))
        changed = checked_tower(self.place, self.meta, provenance or Provenance(), pictures)
        if create and changed != self.meta:
            self.meta = changed
            about = {KEY: asdict(changed)}
            self._ask(lambda: client.update_collection(name, metadata=about))
        return self

    @classmethod
    def reopen(cls, client: QdrantClient, name: str) -> Self:
        """The index in collection `name` as it is, for work that needs no model. Raises StoreError as `open` does."""
        self = cls(client, name)
        if not self._ask(lambda: client.collection_exists(name)):
            raise StoreError(f"no {self.place}")
        self.meta = self._read_meta()
        return self

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def __enter__(self) -> Self:
        """The collection itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def upsert(self, entries: Sequence[Entry], vectors: Vectors) -> None:
        """Add or replace `entries` with their base vectors [n, dim]."""
        check_vectors(vectors, len(entries), self.meta.dim)
        self._sample = None
        self._index_fields({name: value for entry in entries for name, value in entry.fields.items()})
        rows = self.meta.storage.narrow(vectors)
        points = [
            models.PointStruct(
                id=str(point_id(entry.path, entry.sha256, entry.chunk)),
                vector=_vectors(entry, row),
                payload=to_payload(entry, row),
            )
            for entry, row in zip(entries, rows, strict=True)
        ]
        for start in range(0, len(points), POINTS):
            part = points[start : start + POINTS]
            self._ask(partial(self.client.upsert, self.name, part, wait=True))

    def delete(self, paths: Iterable[str]) -> None:
        """Remove every chunk of `paths`."""
        for path in paths:
            self._delete(models.Filter(must=[_is("path", models.MatchValue(value=path))]))

    def delete_older(self, files: Iterable[Entry]) -> None:
        """Remove every chunk of each entry's path that is not of the entry's content."""
        for file in files:
            kept = [str(point_id(file.path, file.sha256, number)) for number in range(file.chunks)]
            here = _is("path", models.MatchValue(value=file.path))
            self._delete(models.Filter(must=[here], must_not=[models.HasIdCondition(has_id=kept)]))

    def restate(self, files: Mapping[str, tuple[int, Fields]]) -> None:
        """Remember a new modification time in ns and new fields, by path, of files whose content is the same."""
        for path, (ns, fields) in files.items():
            entries, vectors = self._file(path)
            self.upsert([replace(entry, mtime_ns=ns, fields=fields) for entry in entries], vectors)

    def take_over(self, copies: Mapping[str, tuple[str, int]], fields: Fields) -> set[str]:
        """Store files under new paths with the vectors of another path: {new: (old, mtime in ns)}; returns those in."""
        done = set()
        for new, (old, ns) in copies.items():
            entries, vectors = self._file(old)
            if entries and len(entries) == entries[0].chunks == len({entry.chunk for entry in entries}):
                kept = merged(entries[0].fields, fields)
                moved = [replace(entry, path=new, mtime_ns=ns, fields=kept) for entry in entries]
                self.upsert(moved, vectors)
                done.add(new)
        return done

    def settle(self) -> bool:
        """The server does that by itself."""
        return False

    def files(self) -> dict[str, FileState]:
        """What the index holds, by path."""
        found = self._scroll(None, SCROLL, PAYLOAD, vectors=False)
        return file_states(record.payload or {} for records in found for record in records)

    def count(self, only: Only = ANYTHING) -> int:
        """Number of chunks that `only` lets through."""
        kind = self._filter(only)
        return self._ask(lambda: self.client.count(self.name, count_filter=kind, exact=True)).count

    def size(self) -> int:
        """About the number of chunks, at no cost."""
        return int(self._ask(lambda: self.client.count(self.name, exact=False)).count)

    def nearest(self, queries: Vectors, limit: int, only: Only = ANYTHING) -> list[Candidates]:
        """For each query of [n, dim] the `limit` chunks of the largest inner products."""
        storage, kind = self.meta.storage, self._filter(only)
        return self._query(
            [
                models.QueryRequest(
                    query=query.tolist(), using=BASE, filter=kind, limit=limit, params=_params(storage)
                )
                for query in np.asarray(queries, np.float32)[:, : storage.dim]
            ]
        )

    def nearest_words(
        self, queries: Sequence[edge.SparseVector], limit: int, only: Only = ANYTHING
    ) -> list[Candidates]:
        """For each query's words the `limit` chunks of the best BM25 scores."""
        kind = self._filter(only)
        return self._query([_words_request(query, kind, limit) for query in queries])

    def word_scores(
        self, queries: Sequence[edge.SparseVector], ids: Sequence[Sequence[UUID]]
    ) -> list[Scores]:
        """BM25 scores [m] of the chunks `ids[i]` for the words of query i; 0 without any of them."""
        requests = [
            _words_request(
                query,
                models.Filter(must=[models.HasIdCondition(has_id=list(map(str, some)))]),
                max(1, len(some)),
            )
            for query, some in zip(queries, ids, strict=True)
        ]
        scores = []
        for some, found in zip(ids, self._query(requests), strict=True):
            known = dict(zip(found.ids(), found.scores(), strict=True))
            scores.append(np.asarray([known.get(one, 0.0) for one in some], np.float32))
        return scores

    def sample(self) -> Vectors:
        """Base vectors [n, dim] of up to SAMPLE chunks, drawn at random: those of the lowest ids, which are hashes."""
        if self._sample is None:
            self._sample = tamed(self._base_vectors(next(self._scroll(None, SAMPLE, False, vectors=True))))
        return self._sample

    def vectors(self, ids: Sequence[UUID]) -> Vectors:
        """Base vectors [n, dim] as they are stored, checked by nobody; no numbers where an id is gone."""
        found = self._retrieve(ids, payload=False)
        none = np.full(self.meta.storage.dim, np.nan)
        rows = np.asarray([_row(found[one]) if one in found else none for one in ids], np.float32)
        return self.meta.storage.widen(rows.reshape(-1, self.meta.storage.dim), self.meta.dim)

    def entries(self, ids: Sequence[UUID], vectors: Vectors) -> list[Entry | None]:
        """What is stored under each of `ids`; None, and one warning, where the checksum does not match.

        `vectors` is what `vectors` has of them.
        """
        found = self._retrieve(ids, payload=True)
        rows = vectors[:, : self.meta.storage.dim]
        entries = [
            sound_entry(found[one].payload, row) if one in found else None
            for one, row in zip(ids, rows, strict=True)
        ]
        if damaged := sum(entry is None for entry in entries):
            warnings.warn(
                f"{damaged} chunks of {self.place} were left out: damaged, or deleted just now", stacklevel=2
            )
        return entries

    def items(self) -> Iterator[tuple[list[Entry], Vectors, int]]:
        """Every item that is sound with its base vector, some hundred at a time, and how many of them are damaged."""
        for records in self._scroll(None, POINTS, True, vectors=True):
            entries, vectors = self._sound_items(records)
            yield entries, vectors, len(records) - len(entries)

    def _file(self, path: str) -> tuple[list[Entry], Vectors]:
        """The chunks of one file that are not damaged, and their base vectors [n, dim]."""
        here = models.Filter(must=[_is("path", models.MatchValue(value=path))])
        found = self._scroll(here, POINTS, True, vectors=True)
        return self._sound_items([record for records in found for record in records])

    def _sound_items(self, records: Sequence[models.Record]) -> tuple[list[Entry], Vectors]:
        sound = [
            (entry, record)
            for record in records
            if (entry := sound_entry(record.payload, np.asarray(_row(record), np.float32)))
        ]
        return [entry for entry, _ in sound], self._base_vectors([record for _, record in sound])

    def _retrieve(self, ids: Sequence[UUID], *, payload: bool) -> dict[UUID, models.Record]:
        """The payloads of `ids`, or the vectors, by id."""
        part = partial(self.client.retrieve, self.name, list(map(str, ids)), with_payload=payload)
        records = self._ask(partial(part, with_vectors=False if payload else [BASE]))
        return {UUID(str(record.id)): record for record in records}

    def _base_vectors(self, records: Sequence[models.Record]) -> Vectors:
        rows = np.asarray([_row(record) for record in records], np.float32).reshape(-1, self.meta.storage.dim)
        return self.meta.storage.widen(rows, self.meta.dim)

    def _query(self, requests: list[models.QueryRequest]) -> list[Candidates]:
        found = self._ask(lambda: self.client.query_batch_points(self.name, requests))
        return [Candidates(one.points) for one in found]

    def _scroll(
        self, only: models.Filter | None, limit: int, payload: bool | list[str], *, vectors: bool
    ) -> Iterator[list[models.Record]]:
        offset = None
        while True:
            page = partial(self.client.scroll, self.name, only, limit, offset=offset, with_payload=payload)
            records, offset = self._ask(partial(page, with_vectors=[BASE] if vectors else False))
            yield records
            if offset is None:
                return

    def _delete(self, only: models.Filter) -> None:
        self._sample = None
        chosen = models.FilterSelector(filter=only)
        self._ask(lambda: self.client.delete(self.name, chosen, wait=True))

    def _filter(self, only: Only) -> models.Filter | None:
        paths = None
        if only.patterns:
            hits = self._ask(lambda: self.client.facet(self.name, "path", limit=ALL, exact=True)).hits
            paths = matching([str(hit.value) for hit in hits], only.patterns)
        return server_filter(only, paths)

    def _create(self, meta: Meta) -> None:
        storage = meta.storage
        copy = {
            "exact": None,
            "int8": models.ScalarQuantization(
                scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
            ),
            "binary": models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True)),
        }
        vectors = models.VectorParams(
            size=storage.dim,
            distance=models.Distance.DOT,
            datatype=models.Datatype(storage.numbers),
            on_disk=storage.candidates != "exact",
        )
        # An exact scan has no use for a graph; with a smaller copy the server searches it by the graph of its own defaults.
        graph = models.HnswConfigDiff(m=0) if storage.candidates == "exact" else None
        try:
            self._ask(
                lambda: self.client.create_collection(
                    self.name,
                    vectors_config={BASE: vectors},
                    sparse_vectors_config={WORDS: models.SparseVectorParams(modifier=models.Modifier.IDF)},
                    hnsw_config=graph,
                    quantization_config=copy[storage.candidates],
                    metadata={KEY: asdict(meta)},
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
            meta = meta_of(known)
        except (TypeError, KeyError, StoreError) as error:
            raise StoreError(
                f"{self.place}: its metadata cannot be read: {error!r}; index again into another"
            ) from error
        if meta.format != FORMAT:
            raise StoreError(
                f"{self.place} has format {meta.format}, this unbraid reads {FORMAT}: index again into another --collection"
            )
        kinds = {
            "path": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, prefix=True),
            "modality": models.PayloadSchemaType.KEYWORD,
            "language": models.PayloadSchemaType.KEYWORD,
        }
        for key, kind in kinds.items():
            if key not in about.payload_schema:
                self._index(key, kind)
        return meta

    def _index_fields(self, fields: Fields) -> None:
        """Give each of `fields` an index of the kind of its value. Raises StoreError where it has one of another kind."""
        if not fields:
            return
        known = self._ask(lambda: self.client.get_collection(self.name)).payload_schema
        kinds = {str: models.PayloadSchemaType.KEYWORD, int: models.PayloadSchemaType.INTEGER}
        held = {
            key: next((kind for kind in kinds if kinds[kind] == info.data_type), None)
            for key, info in known.items()
        }
        for key, kind in new_fields(held, fields).items():
            self._index(key, kinds[kind])

    def _index(self, key: str, kind: Any) -> None:
        self._ask(lambda: self.client.create_payload_index(self.name, key, field_schema=kind, wait=True))

    def _ask(self, request: Callable[[], T]) -> T:
        """What the server answers; a request that may get through later is repeated. Raises StoreError."""
        for attempt in range(TRIES):
            try:
                return request()
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


def server_filter(only: Only, paths: Sequence[str] | None) -> models.Filter | None:
    """Items that `only` lets through, None for all; `paths` are those that its patterns match, None without patterns."""
    must: list[Any] = []
    places: list[Any] = [
        _is("path", match)
        for path in only.paths
        for match in (models.MatchValue(value=path), models.MatchPrefix(prefix=path.rstrip("/") + "/"))
    ]
    if paths is not None:
        places.append(_is("path", models.MatchAny(any=list(paths))))
    if places:
        must.append(models.Filter(should=places))
    if only.modality:
        must.append(_is("modality", models.MatchValue(value=only.modality)))
    if only.languages:
        must.append(_is("language", models.MatchAny(any=list(only.languages))))
    must += [_compared(one) for one in only.conditions if one.compare != "!="]
    must_not: list[Any] = [
        _is(f"fields.{one.name}", models.MatchValue(value=one.value))
        for one in only.conditions
        if one.compare == "!="
    ]
    return models.Filter(must=must, must_not=must_not) if must or must_not else None


def _is(key: str, match: models.Match) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=match)


def _compared(one: Condition) -> models.FieldCondition:
    key = f"fields.{one.name}"
    if one.compare == "=":
        return _is(key, models.MatchValue(value=one.value))
    names = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
    return models.FieldCondition(key=key, range=models.Range(**{names[one.compare]: float(one.value)}))


def _params(storage: Storage) -> models.SearchParams:
    """How a server finds candidates in a collection of this storage."""
    if storage.candidates == "exact":
        return models.SearchParams(exact=True)
    rescored = models.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING[storage.candidates])
    return models.SearchParams(quantization=rescored)


def _row(record: models.Record) -> Any:
    """The base vector of a point as it is stored."""
    assert isinstance(record.vector, dict)
    return record.vector[BASE]


def _vectors(entry: Entry, row: Vectors) -> dict[str, Any]:
    """The base vector, and the words where there are any; these follow from the payload, so nothing guards them."""
    words = document_terms(entry.text)
    return {BASE: row.tolist(), **({WORDS: _sparse(words)} if words.indices else {})}


def _words_request(query: edge.SparseVector, only: models.Filter | None, limit: int) -> models.QueryRequest:
    return models.QueryRequest(query=_sparse(query), using=WORDS, filter=only, limit=limit)


def _sparse(words: edge.SparseVector) -> models.SparseVector:
    return models.SparseVector(indices=words.indices, values=words.values)


def _transient(error: Exception) -> bool:
    if isinstance(error, UnexpectedResponse):
        return error.status_code in TRANSIENT
    if isinstance(error, ResponseHandlingException):
        return isinstance(error.source, httpx.TransportError)
    return isinstance(error, ResourceExhaustedResponse)
