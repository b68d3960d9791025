"""Lets what can wait give way to searches: indexing takes the processor and the interpreter that they need."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

# Seconds after a call of a search in which its next one is expected: a search is some seven calls, and computes in between.
NEXT_CALL = 0.03
STEP = 0.002  # seconds between two looks
SHARE = 3.0  # of the time that a thread has worked, it gives way for so many times as much at most
MOST = 0.3  # seconds that it gives way at a time


class Demand:
    """Knows whether a search is under way. Several threads may use it."""

    def __init__(self) -> None:
        """None is."""
        self._callers: set[int] = set()  # threads
        self._until = 0.0
        self._thread = threading.local()

    @contextmanager
    def search(self) -> Iterator[None]:
        """A block that is one call of a search."""
        caller = threading.get_ident()
        self._callers.add(caller)
        try:
            yield
        finally:
            self._callers.discard(caller)
            self._until = time.monotonic() + NEXT_CALL

    def begin(self) -> None:
        """Count as work of this thread only what comes after: before it waited, for the store say."""
        self._thread.worked_from = time.monotonic()

    def give_way(self) -> None:
        """Return when no search is under way; soon enough that this thread gets on while searches come without a pause.

        Work is what lies between two calls of a thread, or between `begin` and a call.
        """
        now = time.monotonic()
        deadline = now + min(MOST, SHARE * (now - getattr(self._thread, "worked_from", now)))
        while now < deadline and (self._callers or now < self._until):
            time.sleep(min(STEP, deadline - now))
            now = time.monotonic()
        self._thread.worked_from = now
