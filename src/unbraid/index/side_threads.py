"""Threads beside the one that encodes: one reads ahead of it, one writes behind it.

Encoding leaves the interpreter to others most of the time, and a write waits for the disk. So the three overlap.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

# Seconds until a thread that computes lets another one go on. A thread that encodes comes back to Python each 3 ms, and would
# then wait for Python's default, 5 ms, as long as another one reads or counts words.
TURN = 0.0005

T = TypeVar("T")
P = ParamSpec("P")


@contextmanager
def taking_turns() -> Iterator[None]:
    """A block in which no thread that computes makes the others wait for longer than TURN."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, TURN))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def ahead(steps: Callable[[threading.Event], Iterator[T]]) -> Iterator[Iterator[T]]:
    """A block with what `steps` yields; a thread makes the next one while the caller uses the one before.

    An error of `steps` is raised to the caller. The block sets the event that `steps` was given when it ends, and waits for
    the thread.
    """
    stop = threading.Event()
    made = steps(stop)

    def each() -> Iterator[T]:
        coming = pool.submit(next, made, None)
        while (one := coming.result()) is not None:
            coming = pool.submit(next, made, None)
            yield one

    with ThreadPoolExecutor(1, thread_name_prefix="read") as pool:
        try:
            yield each()
        finally:
            stop.set()


@contextmanager
def behind(work: Callable[P, None]) -> Iterator[Callable[P, None]]:
    """A block with a function that has a thread call `work` with what it is given, and returns meanwhile.

    It first waits for the call before, and raises its error; the end of the block waits for the last. A block that ends with
    an error waits too.
    """
    last: Future[None] | None = None

    def give(*given: P.args, **named: P.kwargs) -> None:
        nonlocal last
        if last is not None:
            last.result()
        last = pool.submit(work, *given, **named)

    with ThreadPoolExecutor(1, thread_name_prefix="write") as pool:
        yield give
        if last is not None:
            last.result()
