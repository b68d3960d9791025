"""The index behind the tools: opened when a tool needs it, and closed soon after."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unbraid.mcp.paths import Paths

if TYPE_CHECKING:
    from unbraid.index import Index

KEPT_OPEN = 10.0  # seconds; the first search in an index that was just opened takes some ten times as long as the next


@dataclass(frozen=True)
class OpenIndex:
    """An index that is open, and the paths of its files."""

    index: "Index"
    paths: Paths


class SharedIndex:
    """One index for all calls, which use it one at a time.

    It is closed KEPT_OPEN seconds after it was opened. So another process may write to it between calls, and what that
    wrote is seen.
    """

    def __init__(self, open_index: Callable[[], "Index"]) -> None:
        """`open_index` opens the index; it is called when a tool first needs it, and after each closing."""
        self._open = open_index
        self._lock = threading.Lock()
        self._now: OpenIndex | None = None
        self._closing: threading.Timer | None = None

    @contextmanager
    def use(self) -> Iterator[OpenIndex]:
        """The open index, for this thread alone. Raises StoreError where it cannot be opened."""
        with self._lock:
            if self._now is None:
                index = self._open()
                try:
                    self._now = OpenIndex(index, Paths(index.store.facet("path")))
                except BaseException:
                    index.close()
                    raise
                self._closing = threading.Timer(KEPT_OPEN, self.close)
                self._closing.daemon = True
                self._closing.start()
            yield self._now

    def close(self) -> None:
        """Close the index until it is used again; waits for the call that uses it."""
        with self._lock:
            if self._closing is not None:
                self._closing.cancel()
            if self._now is not None:
                self._now.index.close()
            self._now = self._closing = None
