"""An index behind the server: one search at a time, and the pictures that are in it."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from unbraid.embedder import Embedder
from unbraid.errors import ItemError
from unbraid.index import Index as OpenIndex
from unbraid.serve.http.errors import ApiError, ClientGone, overloaded
from unbraid.serve.requests.image_input import thumbnail
from unbraid.serve.requests.schemas import SearchForm


class Index:
    """An open index and the embedder of its base space. Used by one thread at a time."""

    def __init__(self, index: OpenIndex, embedder: Embedder) -> None:
        """`index` is closed by whoever opened it."""
        self.index, self.embedder = index, embedder
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="search")

    def check_mode(self, mode: str) -> None:
        """Raise ApiError 400 for a mode that the bundle does not have."""
        if mode not in self.embedder.search_modes:
            known = ", ".join(self.embedder.search_modes)
            raise ApiError(
                400, "invalid_mode", f"unknown mode {mode[:50]!r}: expected one of {known}", param="mode"
            )

    async def search(
        self,
        base: np.ndarray,
        text: str | None,
        form: SearchForm,
        *,
        gone: "asyncio.Future[None]",
        patience: float,
    ) -> list[dict[str, Any]]:
        """The hits of a query's base vector [dim], as the answer shows them.

        Raises ApiError 400 for a hybrid one without text and for a filter that means nothing, 429 when it was not
        begun within `patience` seconds, ClientGone when it was not begun and `gone` is done.
        """
        if form.hybrid and text is None:
            raise ApiError(400, "no_words", "a hybrid search needs a query of words", param="hybrid")
        search = self._thread.submit(self._search, base, text, form)
        found = asyncio.wrap_future(search)
        either: set[asyncio.Future[Any]] = {found, gone}
        await asyncio.wait(either, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if not found.done() and search.cancel():  # which does nothing once it has begun
            raise ClientGone if gone.done() else overloaded("seconds", 1)
        return await found

    def _search(self, base: np.ndarray, text: str | None, form: SearchForm) -> list[dict[str, Any]]:
        try:
            with self._lock:
                (hits,) = self.index.search_vectors(
                    base[None],
                    [text] if form.hybrid and text is not None else None,
                    mode=form.mode,
                    k=form.k,
                    modality=form.modality,
                    path=form.paths or (),
                    language=form.languages or (),
                    where=form.where or (),
                )
        except ItemError as error:  # a filter that means nothing
            raise ApiError(400, "invalid_input", str(error)) from error
        return [
            {**asdict(hit), "picture": picture_url(hit.path) if hit.modality == "image" else None}
            for hit in hits
        ]

    def picture(self, path: str) -> bytes:
        """JPEG thumbnail of a picture in the index. Raises ApiError 404 for every other path."""
        with self._lock:
            entries = self.index.entries(path)
        pictures = [entry for entry in entries if entry.modality == "image"]
        if not pictures:
            raise ApiError(404, "not_found", "this picture is not in the index")
        return thumbnail(Path(path), pictures[0].sha256)


def picture_url(path: str) -> str:
    """Where the page finds a picture of the index."""
    return f"/v1/pictures?path={quote(path)}"
