"""Keeps a served index in line with the disk, in a thread of the server."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from unbraid.errors import StoreError, UnbraidError

if TYPE_CHECKING:
    from unbraid.index import Index, Report

logger = logging.getLogger("unbraid.serve")


@contextmanager
def watching(index: "Index") -> Iterator[None]:
    """A block in which `index` follows the changes in its roots; what it does is logged."""
    from unbraid.index.watch import watch

    stop = threading.Event()

    def tell(found: "Report | StoreError") -> None:
        if isinstance(found, StoreError):
            logger.warning("the index is not refreshed yet: %s", found)
            return
        for doubt in found.doubts:
            logger.warning("%s; nothing of it was deleted from the index", doubt)
        logger.info(
            "index: %d added, %d changed, %d moved, %d gone",
            found.added,
            found.changed,
            found.moved,
            found.deleted,
        )

    def run() -> None:
        try:
            watch(index, tell, stop)
        except UnbraidError as error:
            logger.error("the index is no longer refreshed: %s", error)

    thread = threading.Thread(target=run, name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
