"""One checksum an item, over its vector and its payload, stored in the payload itself.

The store returns a flipped bit without an error, so what it returns is checked here. BLAKE2b, cut to 64 bits, and not a
CRC: docs/decisions.md says why, and what it costs.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from unbraid.index.protocol import Vectors
from unbraid.index.store.entry import ADDED, Entry, point_id, read_values, stored_values

FIELD = "checksum"
BYTES = 8


def checksum(payload: Mapping[str, Any], vector: Vectors) -> str:
    """Hex digest of a base vector [dim] and every field of `payload` but the checksum itself."""
    parts = []
    for name in sorted(payload):
        if name != FIELD:
            value = payload[name]
            if isinstance(value, Mapping):  # a store may give names back in another order
                value = sorted(value.items())
            text, kind = (value, "=") if isinstance(value, str) else (repr(value), ":")
            # With its length, so that no two payloads give the same text.
            parts.append(f"{name}{kind}{len(text)} {text}")
    digest = hashlib.blake2b(np.asarray(vector, "<f4").tobytes(), digest_size=BYTES)
    digest.update("".join(parts).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def to_payload(entry: Entry, vector: Vectors, numbers: Collection[str] = ()) -> dict[str, Any]:
    """The payload that `entry` is stored as beside `vector` [dim]; `numbers` as in `stored_values`."""
    fields = {name: value for name, value in vars(entry).items() if value or name not in ADDED}
    fields["fields"] = stored_values(entry.fields, numbers)
    return {**fields, FIELD: checksum(fields, vector)}


def to_entry(payload: Mapping[str, Any]) -> Entry:
    """The entry that `to_payload` made `payload` of. Raises TypeError or KeyError for other fields."""
    values = {name: value for name, value in payload.items() if name != FIELD}
    return Entry(**{**values, "fields": read_values(values["fields"])})


def checked_entry(payload: Mapping[str, Any] | None, vector: Vectors) -> Entry | None:
    """The entry of a payload that is stored beside `vector` [dim]; None where it is damaged, or there is none."""
    if payload is None or damage(None, payload, vector) is not None:
        return None
    return to_entry(payload)


def damage(identity: object, payload: Mapping[str, Any] | None, vector: Vectors) -> str | None:
    """What is wrong with a stored item, None if it is as it was written.

    `identity` is the id it was found under; None leaves it unchecked, which halves the time.
    """
    if not payload or FIELD not in payload:
        return "its payload has no checksum"
    if payload[FIELD] != checksum(payload, vector):
        return "its vector or payload is not what was written"
    if identity is not None and str(identity) != identity_of(payload):
        return "it lies under the id of another item"
    return None


def identity_of(payload: Mapping[str, Any]) -> str | None:
    """The id that an item with this payload has to have; None when the payload does not say."""
    try:
        return str(point_id(payload["path"], payload["sha256"], payload["chunk"]))
    except (KeyError, TypeError):
        return None
