"""Token ids of OpenAI's cl100k_base, which LangChain sends in place of texts, decoded into texts."""

import asyncio
import codecs
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from time import monotonic
from typing import Protocol

from unbraid.errors import ItemError
from unbraid.serve.engine.errors import TextTooLong, VocabularyLoading

logger = logging.getLogger("unbraid.serve")

PATIENCE = 10.0  # seconds that requests wait for the vocabulary, from when its loading began
RETRY = 60.0  # seconds until a vocabulary that failed to load is tried again
INSTEAD = "or send the text itself (LangChain: check_embedding_ctx_length=False)"


class Decoder(Protocol):
    """The part of tiktoken.Encoding that the server uses."""

    def decode_bytes(self, tokens: Sequence[int]) -> bytes:
        """The bytes of `tokens`. Raises KeyError for an id outside the vocabulary."""
        ...


def load_cl100k() -> Decoder:
    """The vocabulary from tiktoken's cache, or downloaded. It takes 46 MB; from the cache, a quarter of a second."""
    import tiktoken

    decoder: Decoder = tiktoken.get_encoding("cl100k_base")
    return decoder


class OpenAITokens:
    """Decodes ids of cl100k_base. The first ids start a thread that loads the vocabulary, once.

    OpenAI's embedding models use cl100k_base, and LangChain assumes it for a model name it does not know.
    """

    def __init__(self, load: Callable[[], Decoder] = load_cl100k) -> None:
        """Nothing is loaded yet."""
        self._load = load
        self._lock = threading.Lock()
        self._loading: Future[Decoder] | None = None
        self._began = self._ended = 0.0

    async def ready(self) -> None:
        """Return once the vocabulary is loaded, has failed to load, or PATIENCE has passed."""
        loading = self._start()
        left = self._began + PATIENCE - monotonic()
        if not loading.done() and left > 0:
            waiting = asyncio.wrap_future(loading)
            waiting.add_done_callback(lambda one: one.cancelled() or one.exception())  # `text` reports it
            await asyncio.wait([waiting], timeout=left)

    def text_of_item(self, row: int, ids: Sequence[int], max_characters: int) -> str:
        """The text of item `row`. Raises as `text` does, naming the row, and TextTooLong."""
        try:
            text = self.text(ids)
        except ItemError as error:
            raise ItemError(f"item {row}: {error}") from error
        if len(text) > max_characters:
            raise TextTooLong(row, len(text), max_characters)
        return text

    def text(self, ids: Sequence[int]) -> str:
        """The text of `ids`, without half characters at its ends, where a client cut a longer text.

        Never waits. Raises ItemError for ids that are no text of the vocabulary and when the vocabulary failed to
        load; VocabularyLoading while it loads.
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
        return text or "\ufffd"  # only half a character: its other half is in another item

    def _decoder(self) -> Decoder:
        loading = self._start()
        if not loading.done():
            if monotonic() < self._began + PATIENCE:
                raise VocabularyLoading
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

    def _start(self) -> "Future[Decoder]":
        """The loading of the vocabulary; starts it the first time, and again RETRY seconds after a failure."""
        with self._lock:
            loading, now = self._loading, monotonic()
            if loading is None or (loading.done() and loading.exception() and now > self._ended + RETRY):
                loading = self._loading = Future()
                self._began = now
                # A daemon: tiktoken's download has no timeout and must not keep the server from stopping.
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
