"""Messages between the processes of one index: what is sent comes back, and nothing else is believed."""

import socket
import struct
import threading
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.errors import StoreError
from unbraid.index.store import wire
from unbraid.index.store.edge import prepare_points
from unbraid.index.store.entry import Entry
from unbraid.index.store.filter import ANYTHING, Condition, Filter
from unbraid.index.store.meta import FORMAT, Meta
from unbraid.index.store.shared_store import SharedStore
from unbraid.index.store.storage import Storage
from unbraid.index.store.store import Page
from unbraid.index.store.wire import (
    METHODS,
    Connection,
    Facts,
    read_answer,
    read_request,
    write_answer,
    write_request,
)

ID = UUID(int=5)
FACTS = Facts(("name", 3), 7)
ENTRY = Entry(
    "/ä.md", "text", 1, None, "s\0\n", "sha", 1, 1 << 60, 0, 1, fields={"a": 1, "b": ["x"], "c": "d"}
)
ROWS = np.array([[1, -0.0], [np.nan, 1e38]], np.float32)
REQUESTS: list[tuple[str, tuple[Any, ...]]] = [
    ("version", ()),
    ("count", (Filter("text", ("/a",), ("*.md",), ("python",), (Condition("y", ">=", 2),), "t", "u"),)),
    ("facet", ("path", ANYTHING)),
    ("vectors", ([ID],)),
    ("page", (ANYTHING, None)),
    ("page", (ANYTHING, ID)),
    ("delete", (["/a", "/b"],)),
    ("delete_older", ([ENTRY],)),
    ("set_meta", (Meta(FORMAT, "b", 2, Storage(2), "0"),)),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: one[0])
def test_a_request_comes_back_as_it_was_sent(request_: tuple[str, tuple[Any, ...]]) -> None:
    assert read_request(write_request(*request_)) == request_


def test_points_to_write_come_back_as_they_were_sent() -> None:
    points = prepare_points([ENTRY, ENTRY], np.nan_to_num(ROWS), Storage(2))
    (back,) = read_request(write_request("put", (points,)))[1]
    assert (back.ids, back.payloads, back.fields, back.room) == (
        points.ids,
        points.payloads,
        points.fields,
        points.room,
    )
    np.testing.assert_array_equal(back.vectors, points.vectors)
    assert [(one.indices, one.values) for one in back.words] == [
        (one.indices, one.values) for one in points.words
    ]


def test_vectors_keep_every_bit() -> None:
    (rows, limit, _) = read_request(write_request("nearest", (ROWS, 3, ANYTHING)))[1]
    assert rows.tobytes() == ROWS.tobytes() and rows.shape == (2, 2) and limit == 3
    facts, rows = read_answer("vectors", write_answer("", FACTS, ROWS))
    assert rows.tobytes() == ROWS.tobytes() and facts == FACTS
    _, page = read_answer("page", write_answer("", FACTS, Page([ID], [{"a": {"b": 1}}], ROWS[:1], None)))
    assert (page.ids, page.payloads, page.following) == ([ID], [{"a": {"b": 1}}], None)


def test_every_method_is_one_of_a_shared_index() -> None:
    here = {*METHODS} - {"put", "number_fields"}  # these two are parts of `upsert`
    assert {name for name in here if not hasattr(SharedStore, name)} == set()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(message: bytes) -> None:
    try:
        name, _ = read_request(message)
    except StoreError:
        return
    assert name in METHODS


@given(st.sampled_from([write_request(*one) for one in REQUESTS]), st.data())
def test_a_mutated_request_is_a_request_or_refused(message: bytes, data: st.DataObject) -> None:
    changed = bytearray(message)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        name, _ = read_request(bytes(changed[: data.draw(st.integers(0, len(changed)))]))
    except (StoreError, ValueError):  # a Filter refuses its own values with ItemError, a ValueError
        return
    assert name in METHODS


@pytest.mark.parametrize(
    "wrong",
    [
        ("close", ()),
        ("__init__", ()),
        ("count", ()),
        ("count", (1, 2)),
        ("vectors", ("x",)),
        ("nearest", ([[2, 2], b"123"], 3, {})),
        ("nearest", ([[2, -2], b"1234"], 3, {})),
        ("nearest_words", ([[b"1234", b"12345678"]], 3, {})),
    ],
)
def test_a_wrong_method_or_wrong_arguments_are_refused(wrong: tuple[str, tuple[Any, ...]]) -> None:
    with pytest.raises(StoreError, match="sent what is not a request"):
        read_request(msgspec.msgpack.encode(wrong))


@given(st.binary(max_size=100), st.sampled_from(sorted(METHODS)))
def test_any_bytes_are_an_answer_or_refused(message: bytes, name: str) -> None:
    try:
        read_answer(name, message)
    except (StoreError, ValueError):
        pass


def test_an_unknown_error_is_one_of_the_store() -> None:
    with pytest.raises(StoreError, match="boom"):
        read_answer("size", write_answer("SystemExit", FACTS, "boom"))


def pair(token: bytes, other: bytes) -> tuple[Any, Any]:
    """What both ends of a connection get, or the error of each."""
    found: list[Any] = [None, None]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = wire.Address(listener.getsockname()[1], token)

        def accept() -> None:
            try:
                found[1] = Connection.accept(listener.accept()[0], other)
            except OSError as error:
                found[1] = error

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            found[0] = Connection.connect(address)
        except OSError as error:
            found[0] = error
        thread.join()
    return found[0], found[1]


def test_both_sides_prove_the_token() -> None:
    client, server = pair(b"t" * 32, b"t" * 32)
    client.send(b"hello")
    assert server.receive(5) == b"hello"
    server.close()
    with pytest.raises(OSError, match="gone|reset"):
        client.receive(5)
    client.close()
    assert all(isinstance(one, OSError) for one in pair(b"t" * 32, b"u" * 32))


def test_a_message_that_claims_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    client, server = pair(b"t", b"t")
    client._stream.sendall(struct.pack("<Q", 1 << 40))
    with pytest.raises(ConnectionError, match="too large"):
        server.receive(5)
    monkeypatch.setattr(wire, "LARGEST", 3)
    with pytest.raises(StoreError, match="4 bytes are too many"):
        client.send(b"1234")
    client.close()
    server.close()
