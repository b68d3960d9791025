"""An index behind the server: one search at a time, in a thread, and thumbnails of the pictures in the index."""

import asyncio
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
import numpy as np

from unbraid.errors import ImageError, ItemError, UnbraidError
from unbraid.runtime.preprocess import MAX_BYTES, decode
from unbraid.serve.engine.errors import ClientGone, Overloaded
from unbraid.serve.http.errors import ApiError
from unbraid.serve.requests.schemas import SearchHit, SearchRequest

if TYPE_CHECKING:
    from unbraid.index import Index

THUMBNAIL = 512  # pixels of the longer side, as the page shows it


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
        asked: SearchRequest,
        *,
        gone: "asyncio.Future[None]",
        most_seconds: float,
    ) -> list[SearchHit]:
        """The hits of a query's base vector [1, dim] and, unless None, of its vector by `own_tier` and of its `words`.

        Raises ApiError 400 for a filter that means nothing and 500 for a broken index, Overloaded when the search did
        not begin within `most_seconds`, ClientGone when it did not begin before `gone` was done.
        """
        submitted = self._thread.submit(self._search, base, own, words, asked)
        found = asyncio.wrap_future(submitted)
        either: set[asyncio.Future[Any]] = {found, gone}
        await asyncio.wait(either, timeout=most_seconds, return_when=asyncio.FIRST_COMPLETED)
        if not found.done() and submitted.cancel():  # cancels nothing once the search has begun
            raise ClientGone if gone.done() else Overloaded("seconds", 1)
        return await found

    def _search(
        self, base: np.ndarray, own: np.ndarray | None, words: str | None, asked: SearchRequest
    ) -> list[SearchHit]:
        from unbraid.index.store.bm25 import word_terms
        from unbraid.serve.routes.marks import mark_words

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
                )
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

    def thumbnail(self, path: str) -> bytes:
        """JPEG of a picture in the index, as long as its file is what was indexed. Raises ApiError 404."""
        missing = ApiError(404, "not_found", "this picture is not in the index, or has changed since")
        with self._lock:
            hashes = [entry.sha256 for entry in self.index.entries(path) if entry.modality == "image"]
        try:
            if not hashes or Path(path).stat().st_size > MAX_BYTES:
                raise missing
            content = Path(path).read_bytes()
            if hashlib.sha256(content).hexdigest() != hashes[0]:
                raise missing
            image = decode(content, at_least=2 * THUMBNAIL)
        except (OSError, ImageError) as error:
            raise missing from error
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        out = BytesIO()
        image.save(out, "JPEG", quality=85)
        return out.getvalue()
