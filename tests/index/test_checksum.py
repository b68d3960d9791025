from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.index.store.checksum import FIELD, checksum, damage, to_entry, to_payload
from unbraid.index.store.entry import Entry, point_id

ENTRY = Entry("/ä.md", "text", 1, 2, "snippet", "s1", 10, 1_764_000_000_123_456_789, 3, 4)
VECTOR = np.linspace(-1, 1, 8, dtype=np.float32)
ID = point_id(ENTRY.path, ENTRY.sha256, ENTRY.chunk)


def test_what_was_written_is_sound() -> None:
    payload = to_payload(ENTRY, VECTOR)
    assert damage(ID, payload, VECTOR) is None
    assert to_entry(payload) == ENTRY


def test_a_checksum_does_not_change_between_versions_of_unbraid() -> None:
    assert to_payload(ENTRY, VECTOR)[FIELD] == "eebf23fdb07ca0d8"


@given(byte=st.integers(0, 31), bit=st.integers(0, 7))
def test_any_bit_of_the_vector_counts(byte: int, bit: int) -> None:
    stored = bytearray(VECTOR.tobytes())
    stored[byte] ^= 1 << bit
    assert damage(ID, to_payload(ENTRY, VECTOR), np.frombuffer(bytes(stored), np.float32))


@pytest.mark.parametrize("name", list(to_payload(ENTRY, VECTOR)))
def test_every_field_of_the_payload_counts(name: str) -> None:
    payload = to_payload(ENTRY, VECTOR)
    changed = {**payload, name: payload[name] + 1 if isinstance(payload[name], int) else f"{payload[name]}x"}
    assert damage(ID, changed, VECTOR) == "its vector or payload is not what was written"
    left_out = {key: value for key, value in payload.items() if key != name}
    assert damage(ID, left_out, VECTOR)


def test_an_item_under_another_id_is_damaged() -> None:
    other = point_id("/other.md", "s1", 3)
    assert damage(other, to_payload(ENTRY, VECTOR), VECTOR) == "it lies under the id of another item"


def test_no_payload_is_damage() -> None:
    assert damage(ID, None, VECTOR) == damage(ID, {}, VECTOR) == "its payload has no checksum"


def test_the_order_of_the_fields_does_not_count() -> None:
    payload = to_payload(ENTRY, VECTOR)
    assert checksum(dict(reversed(payload.items())), VECTOR) == payload[FIELD]


def test_the_order_of_fields_does_not_count() -> None:
    one = to_payload(replace(ENTRY, fields={"a": 1, "b": "x"}), VECTOR)
    assert damage(ID, {**one, "fields": {"b": "x", "a": "1"}}, VECTOR) is None
    assert damage(ID, {**one, "fields": {"b": "x", "a": 1}}, VECTOR) is not None
