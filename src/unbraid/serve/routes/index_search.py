"""An index behind the server: one search at a time, in a thread; what it holds; its files and thumbnails of its pictures."""

import asyncio
import hashlib
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import msgspec
import numpy as np

from unbraid.errors import ImageError, ItemError, UnbraidError
from unbraid.io.regular_file import read_regular
from unbraid.runtime.preprocess import MAX_BYTES, decode
from unbraid.serve.engine.errors import ClientGone, Overloaded
from unbraid.serve.http.errors import ApiError
from unbraid.serve.limits import Limits
from unbraid.serve.requests.schemas import (
    Facet,
    FacetsRequest,
    FacetsResponse,
    SearchHit,
    SearchRequest,
    Status,
    UnderWay,
)

if TYPE_CHECKING:
    from unbraid.index import Index

THUMBNAIL = 512  # pixels of the longer side, as the page shows it
# Hits of a search that may have a `why`: each costs an encoding, and other searches wait for it.
EXPLAINED = 20
LARGEST_FILE = 64 << 20  # bytes, as it is read whole

T = TypeVar("T")


class IndexSearch:
    """Searches an open index for the server. Whoever opened the index closes it."""

    def __init__(self, index: "Index") -> None:
        """Serve searches of `index`, one at a time."""
        self.index, self.modes = index, index.model.search_modes
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="search")

    async def own_tier(self) -> str | None:
        """The tier that encodes a query once more, if the index holds texts of it now: `Index.own_tier`.

        Raises ApiError 500 for an index that cannot be read.
        """
        if self.index.model.multilingual_tier is None:
            return None
        try:
            return await asyncio.wrap_future(self._thread.submit(lambda: self.index.own_tier))
        except UnbraidError as error:
            raise ApiError(500, "index_failed", str(error)) from error

    async def search(
        self,
        base: np.ndarray,
        own: np.ndarray | None,
        words: str | None,
        text: str | None,
        asked: SearchRequest,
        *,
        gone: "asyncio.Future[None]",
        limits: Limits,
    ) -> list[SearchHit]:
        """The hits of a query's base vector [1, dim] and, unless None, of its vector by `own_tier` and of its `words`.

        `text` is the query where it is one text. Raises ApiError 400 for a filter that means nothing and 500 for a broken index,
        Overloaded when the search did not begin within the limit queue_seconds, ClientGone when it did not begin before `gone`
        was done.
        """
        submitted = self._thread.submit(self._search, base, own, words, text, asked, limits)
        found = asyncio.wrap_future(submitted)
        either: set[asyncio.Future[Any]] = {found, gone}
        await asyncio.wait(either, timeout=limits.queue_seconds, return_when=asyncio.FIRST_COMPLETED)
        if not found.done() and submitted.cancel():  # cancels nothing once the search has begun
            raise ClientGone if gone.done() else Overloaded("seconds", 1)
        return await found

    def _search(
        self,
        base: np.ndarray,
        own: np.ndarray | None,
        words: str | None,
        text: str | None,
        asked: SearchRequest,
        limits: Limits,
    ) -> list[SearchHit]:
        from unbraid.index.search.explain import explained
        from unbraid.index.search.marks import mark_words
        from unbraid.index.store.bm25 import word_terms

        try:
            with self._lock:
                (found,) = self.index.search_vectors(
                    base,
                    [words],
                    own=own,
                    mode=asked.mode,
                    k=asked.k,
                    min_score=asked.min_score,
                    modality=asked.modality,
                    path=asked.paths,
                    language=asked.languages,
                    where=asked.where or (),
                    texts=[text],
                    rerank=asked.rerank,
                    look_seconds=limits.look_seconds,
                )
                if asked.explain:
                    shown = explained(self.index.model, text, found[:EXPLAINED], self.index.reader)
                    found = [*shown, *found[EXPLAINED:]]
        except ItemError as error:  # a filter that means nothing
            raise ApiError(400, "invalid_input", str(error)) from error
        except UnbraidError as error:
            raise ApiError(500, "index_failed", str(error)) from error
        hits = [msgspec.convert(hit, SearchHit, from_attributes=True) for hit in found]
        terms = word_terms(words or "")
        for hit in hits:
            hit.marks = mark_words(hit.snippet, terms)
            # A thumbnail shows the first page.
            if (
                hit.modality == "image"
                and hit.first_line in (None, 1)
                and not hit.path.lower().endswith(".pdf")
            ):
                hit.picture = f"/v1/pictures?path={quote(hit.path)}"
        return hits

    async def run(self, look: Callable[[], T]) -> T:
        """`look()`, in the thread and turn of searches. Raises ApiError 500 for an index that cannot be read."""

        def alone() -> T:
            with self._lock:
                return look()

        try:
            return await asyncio.wrap_future(self._thread.submit(alone))
        except UnbraidError as error:
            raise ApiError(500, "index_failed", str(error)) from error

    def status(self, most_hits: int) -> Status:
        """How much the index holds, and what is being indexed. Call it by `run`."""
        modalities = self.index.store.facet("modality")
        now = self.index.under_way()
        under_way = None if now is None else msgspec.convert(now, UnderWay, from_attributes=True)
        return Status(sum(modalities.values()), modalities, most_hits, under_way)

    def facets(self, asked: FacetsRequest) -> FacetsResponse:
        """What a search can be narrowed to. Call it by `run`. Raises ApiError 400 for an unknown language."""
        from unbraid.index.search.facets import facets
        from unbraid.index.store.filter import read_filter

        try:
            filter = read_filter(modality=asked.modality, language=asked.languages)
            found = facets(self.index.store, filter, asked.folder)
        except ItemError as error:
            raise ApiError(400, "invalid_input", str(error)) from error
        return FacetsResponse(
            found.top, asked.folder or found.top, _listed(found.folders), _listed(found.languages)
        )

    def file(self, path: str, *, most_bytes: int = LARGEST_FILE, modality: str | None = None) -> bytes:
        """Content of a file in the index, as long as it is what was indexed. Raises ApiError 404."""
        with self._lock:
            entries = [one for one in self.index.entries(path) if modality in (None, one.modality)]
        if not entries:
            raise ApiError(404, "not_found", "this file is not in the index")
        try:
            content = read_regular(path, most_bytes, follow=True)
        except OSError as error:
            raise ApiError(404, "not_found", "this file cannot be read now") from error
        if len(content) > most_bytes:
            raise ApiError(404, "not_found", f"this file is larger than {most_bytes >> 20} MiB")
        if hashlib.sha256(content).hexdigest() != entries[0].sha256:
            raise ApiError(404, "not_found", "this file has changed since it was indexed")
        return content

    def thumbnail(self, path: str) -> bytes:
        """JPEG of a picture in the index, as long as its file is what was indexed. Raises ApiError 404."""
        try:
            image = decode(self.file(path, most_bytes=MAX_BYTES, modality="image"), at_least=2 * THUMBNAIL)
        except ImageError as error:
            raise ApiError(404, "not_found", str(error)) from error
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        out = BytesIO()
        image.save(out, "JPEG", quality=85)
        return out.getvalue()


def _listed(counts: Mapping[str, int]) -> list[Facet]:
    return [Facet(value, count) for value, count in counts.items()]
