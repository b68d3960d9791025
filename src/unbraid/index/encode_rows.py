"""Rows on their way into a store: what to encode and what to store with it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from unbraid.index.protocol import Model, Vectors
from unbraid.index.store.entry import Entry
from unbraid.items import Item
from unbraid.runtime.routing import ENGLISH

Row: TypeAlias = tuple[Item, Entry]


def encode_rows(model: Model, rows: Sequence[Row]) -> tuple[list[Entry], Vectors]:
    """The entries of `rows` with the tier and language they were routed by, and base vectors [n, dim].

    Raises ImageError or OSError for a picture that cannot be decoded.
    """
    routes = model.route([item for item, _ in rows])
    entries = [
        replace(entry, tier=tier, text_language="" if language == ENGLISH else language)
        for (_, entry), (tier, language) in zip(rows, routes, strict=True)
    ]
    # Chunks are cut to the encoder's length: a few are a word too long, which is no reason to warn.
    return entries, model.encode([item for item, _ in rows], on_truncate="ignore", progress=False)
