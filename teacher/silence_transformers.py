"""Loading with transformers, without what it prints: its reports are judged here and become errors."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Without the loading bar and the report of keys, which are judged here."""
    from transformers.utils import logging as said

    level, bar = said.get_verbosity(), said.is_progress_bar_enabled()
    said.set_verbosity(logging.CRITICAL)
    said.disable_progress_bar()
    try:
        yield
    finally:
        said.set_verbosity(level)
        if bar:
            said.enable_progress_bar()
