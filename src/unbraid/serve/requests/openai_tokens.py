"""Token ids of OpenAI's cl100k_base, which LangChain sends in place of texts, read back into texts."""

import asyncio
import codecs
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from time import monotonic
from typing import Protocol

from unbraid.errors import ItemError
from unbraid.serve.http.errors import ApiError

logger = logging.getLogger("unbraid.serve")

PATIENCE = 10.0  # seconds that requests wait for the vocabulary, counted from when its loading began
AGAIN = 60.0  # seconds after which a vocabulary that could not be loaded is tried again
INSTEAD = "or send the text itself (LangChain: check_embedding_ctx_length=False)"


class Decoder(Protocol):
    """What is needed of a tiktoken.Encoding."""

    def decode_bytes(self, tokens: Sequence[int]) -> bytes:
        """The bytes of `tokens`. Raises KeyError for one that is not in the vocabulary."""
        ...


def load_cl100k() -> Decoder:
    """The vocabulary from tiktoken's cache, or downloaded: a quarter of a second and 46 MB when it is at hand."""
    import tiktoken

    decoder: Decoder = tiktoken.get_encoding("cl100k_base")
    return decoder


class ForeignIds:
    """Reads ids of cl100k_base; its vocabulary is loaded once, in a thread of its own, when ids first need it.

    It is the vocabulary of OpenAI's embedding models, and what LangChain takes for a model name it does not know.
    """

    def __init__(self, load: Callable[[], Decoder] = load_cl100k) -> None:
        """Nothing is loaded yet."""
        self._load = load
        self._lock = threading.Lock()
        self._loading: Future[Decoder] | None = None
        self._began = self._ended = 0.0

    async def ready(self) -> None:
        """Return once the vocabulary is loaded, or cannot be, or has been waited for long enough."""
        loading = self._start()
        left = self._began + PATIENCE - monotonic()
        if not loading.done() and left > 0:
            waiting = asyncio.wrap_future(loading)
            waiting.add_done_callback(lambda one: one.cancelled() or one.exception())  # `text` tells it
            await asyncio.wait([waiting], timeout=left)

    def text(self, ids: Sequence[int]) -> str:
        """The text of `ids`; halves of characters at its ends, where a client cut a longer text, are left out.

        Never waits. Raises ItemError for ids that are no text of the vocabulary, and when that cannot be had;
        ApiError 503 while it is being loaded.
        """
        decoder = self._decoder()
        try:
            content = decoder.decode_bytes(ids)
        except (KeyError, OverflowError):
            raise ItemError(
                "token ids that are neither of this model's tokenizer, with its special tokens around them, nor of "
                f"cl100k_base: send those, {INSTEAD}"
            ) from None
        first = 0
        while first < min(3, len(content)) and content[first] & 0xC0 == 0x80:
            first += 1
        try:
            text = codecs.getincrementaldecoder("utf-8")().decode(content[first:])
        except UnicodeDecodeError:
            raise ItemError(
                "token ids without this model's special tokens that are no text to cl100k_base either: send ids of "
                f"one of them, {INSTEAD}"
            ) from None
        return text or "\ufffd"  # nothing but half a character: the rest of it is in another item

    def _start(self) -> "Future[Decoder]":
        """The loading, begun if it was not, or failed a while ago."""
        with self._lock:
            loading, now = self._loading, monotonic()
            if loading is None or (loading.done() and loading.exception() and now > self._ended + AGAIN):
                loading = self._loading = Future()
                self._began = now
                # A daemon: tiktoken's download has no deadline, and must not keep the server from ending.
                threading.Thread(target=self._run, args=(loading,), name="cl100k_base", daemon=True).start()
            return loading

    def _run(self, loading: "Future[Decoder]") -> None:
        try:
            decoder = self._load()
        except Exception as error:
            logger.warning("cl100k_base could not be loaded", exc_info=True)
            self._ended = monotonic()
            loading.set_exception(error)
        else:
            loading.set_result(decoder)

    def _decoder(self) -> Decoder:
        loading = self._start()
        if not loading.done():
            if monotonic() < self._began + PATIENCE:
                raise ApiError(503, "loading", "the vocabulary of token ids is being loaded", retry_after=1)
            why = "is still being downloaded: try later, put it into the server's TIKTOKEN_CACHE_DIR"
        elif isinstance(error := loading.exception(), ModuleNotFoundError):
            why = f"needs {error.name}: pip install {error.name} where the server runs"
        elif error is not None:
            why = f"could not be loaded ({type(error).__name__}): put it into the server's TIKTOKEN_CACHE_DIR"
        else:
            return loading.result()
        raise ItemError(
            "token ids without this model's special tokens are read as OpenAI's cl100k_base, whose vocabulary "
            f"{why}, {INSTEAD}"
        )
