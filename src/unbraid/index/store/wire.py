"""How two processes on one machine talk about an index: over loopback TCP, each message a length and msgpack.

Who holds the index writes where it listens, and a random token, into `open.token`, which only its user can read. Before
anything else both sides prove by HMAC that they know the token, without sending it. So a stranger who got the port of
a process that has ended learns nothing, and is not believed.

A request is [name of a method, arguments]; an answer is [class of the error or "", version and size of the index, result or
message]. Arguments and results have the types of METHODS and are checked against them. Nothing that is read is ever
executed.
"""

import hmac
import json
import os
import secrets
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_origin
from uuid import UUID

import msgspec
import numpy as np
import qdrant_edge as edge

from unbraid.errors import DataError, ItemError, StoreError
from unbraid.index.protocol import Scores
from unbraid.index.store.edge import Points
from unbraid.index.store.entry import Entry, FileState
from unbraid.index.store.filter import Filter
from unbraid.index.store.meta import Meta
from unbraid.index.store.store import Candidates, Page, Version
from unbraid.io.atomic import replace_file

PROTOCOL = 1  # of this file: both sides have to be of one
TOKEN_FILE = "open.token"
PROOF = 32  # bytes of a nonce, and of an HMAC
LARGEST = 1 << 29  # bytes of one message: the state of two million files
BLOCK = 1 << 20  # bytes read at a time: a length that is claimed takes no memory
HANDSHAKE = 5.0  # seconds for proving who one is
PATIENCE = 60.0  # seconds for the answer to a call; UNBOUNDED may take minutes
UNBOUNDED = ("settle",)

Ids = list[UUID]
Sparse = list[edge.SparseVector]
# Methods of a store that may be called from another process: types of the arguments, type of the result.
METHODS: dict[str, tuple[Any, Any]] = {
    "version": (tuple[()], Version),
    "number_fields": (tuple[()], list[str]),
    "count": (tuple[Filter], int),
    "size": (tuple[()], int),
    "facet": (tuple[str, Filter], dict[str, int]),
    "pictures": (tuple[Ids], set[UUID]),
    "files": (tuple[Filter], dict[str, FileState]),
    "nearest": (tuple[np.ndarray, int, Filter], list[Candidates]),
    "nearest_words": (tuple[Sparse, int, Filter], list[Candidates]),
    "words_among": (tuple[Sparse, list[Ids]], list[Candidates]),
    "vectors": (tuple[Ids], np.ndarray),
    "payloads": (tuple[Ids], dict[UUID, dict[str, Any] | None]),
    "page": (tuple[Filter, UUID | None], Page),
    "read_sample": (tuple[()], np.ndarray),
    "put": (tuple[Points], None),
    "delete": (tuple[list[str]], None),
    "delete_older": (tuple[list[Entry]], None),
    "settle": (tuple[()], None),
    "copied": (tuple[()], int),
    "set_words": (tuple[dict[UUID, edge.SparseVector]], None),
    "set_meta": (tuple[Meta], None),
}
ERRORS = {kind.__name__: kind for kind in (StoreError, ItemError, DataError)}


class Facts(msgspec.Struct, frozen=True, array_like=True):
    """What every answer says of the index, so that nobody has to ask."""

    version: Version
    size: int


class FarCandidates(Candidates):
    """Candidates that came over the wire."""

    def __init__(self, ids: bytes, scores: Scores) -> None:
        """16 bytes an id, and scores [n]."""
        self._ids, self._scores = ids, scores

    def __len__(self) -> int:
        """Number of chunks."""
        return len(self._scores)

    def ids(self, some: slice = slice(None)) -> list[UUID]:
        """Ids of `some` of them."""
        places = range(len(self))[some]
        return [UUID(bytes=self._ids[16 * one : 16 * one + 16]) for one in places]

    def scores(self) -> Scores:
        """Scores [n]."""
        return self._scores


def _encode_other(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.shape, np.ascontiguousarray(value, "<f4").tobytes()
    if isinstance(value, edge.SparseVector):
        return np.asarray(value.indices, "<u4").tobytes(), np.asarray(value.values, "<f4").tobytes()
    if isinstance(value, Candidates):
        return b"".join(one.bytes for one in value.ids()), value.scores().astype("<f4").tobytes()
    raise NotImplementedError(f"{type(value)} cannot be sent")


def _decode_other(kind: Any, value: Any) -> Any:
    """The reverse of `_encode_other`. Raises ValueError for anything else than what it makes."""
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[1], bytes):
        raise ValueError("expected a pair")
    first, data = value
    if kind is np.ndarray or get_origin(kind) is np.ndarray:
        if not isinstance(first, list) or not all(isinstance(one, int) and one >= 0 for one in first):
            raise ValueError("expected a shape")
        return np.frombuffer(data, "<f4").reshape(first)
    if not isinstance(first, bytes):
        raise ValueError("expected bytes")  # noqa: TRY004  # what msgspec turns into an error of its own
    if kind is edge.SparseVector:
        indices, values = np.frombuffer(first, "<u4"), np.frombuffer(data, "<f4")
        if len(indices) != len(values):
            raise ValueError("expected as many values as indices")
        return edge.SparseVector(indices.tolist(), values.tolist())
    scores = np.frombuffer(data, "<f4")
    if kind is not Candidates or len(first) != 16 * len(scores):
        raise ValueError("expected as many ids as scores")
    return FarCandidates(first, scores)


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_encode_other, uuid_format="bytes")
_REQUEST = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])
_ANSWER = msgspec.msgpack.Decoder(tuple[str, Facts, msgspec.Raw])


def write_request(name: str, arguments: Sequence[Any]) -> bytes:
    """A call of a method."""
    return _ENCODER.encode((name, tuple(arguments)))


def read_request(message: bytes) -> tuple[str, tuple[Any, ...]]:
    """The method and the arguments of a request. Raises StoreError for anything that is not one."""
    try:
        name, arguments = _REQUEST.decode(message)
        if name not in METHODS:
            raise ValueError(f"there is no method {name[:50]!r}")
        decoded = msgspec.msgpack.decode(arguments, type=METHODS[name][0], dec_hook=_decode_other)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise StoreError(f"another process sent what is not a request: {error}") from error
    return name, decoded


def write_answer(error: str, facts: Facts, result: Any) -> bytes:
    """What a call gave, or the name and the message of the error that it raised."""
    return _ENCODER.encode((error, facts, result))


def read_answer(name: str, message: bytes) -> tuple[Facts, Any]:
    """What an answer says of the index, and the result of a call of `name`.

    Raises the error that the call raised, and StoreError for what is no answer.
    """
    try:
        kind, facts, result = _ANSWER.decode(message)
        expected = str if kind else METHODS[name][1]
        decoded = msgspec.msgpack.decode(result, type=expected, dec_hook=_decode_other)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise StoreError(f"the process that holds the index sent what is not an answer: {error}") from error
    if kind:
        raise ERRORS.get(kind, StoreError)(decoded)
    return facts, decoded


# -- connections -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Address:
    """Where the process that holds an index listens, and what it takes to be heard."""

    port: int
    token: bytes


def write_address(folder: Path, address: Address) -> None:
    """Write `open.token`, whole, for this user alone. Raises OSError."""
    unfinished = folder / f"{TOKEN_FILE}.new"
    unfinished.unlink(missing_ok=True)
    about = {"protocol": PROTOCOL, "port": address.port, "token": address.token.hex()}
    # Windows does not know such permissions: there, who may read the folder may read the token.
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        json.dump(about, stream)
    replace_file(unfinished, folder / TOKEN_FILE)


def read_address(folder: Path) -> Address | None:
    """What `open.token` says; None where there is none, or it cannot be read. Raises StoreError for another protocol."""
    try:
        about = json.loads((folder / TOKEN_FILE).read_text())
        protocol, port, token = about["protocol"], int(about["port"]), bytes.fromhex(about["token"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if protocol != PROTOCOL:
        raise StoreError(
            f"{folder} is open in a process with another version of unbraid: close it there first, or use that version"
        )
    return Address(port, token) if 0 < port < 1 << 16 else None


class Connection:
    """One end of a connection between two processes that know the token."""

    def __init__(self, stream: socket.socket) -> None:
        """Use `connect` or `accept`."""
        self._stream = stream

    @classmethod
    def connect(cls, address: Address) -> "Connection":
        """A connection to the process that listens. Raises OSError when there is none, or another one."""
        stream = socket.create_connection(("127.0.0.1", address.port), HANDSHAKE)
        return cls._prove(stream, address.token, b"client", b"server")

    @classmethod
    def accept(cls, stream: socket.socket, token: bytes) -> "Connection":
        """The other end of it. Raises OSError for a peer that does not know the token."""
        stream.settimeout(HANDSHAKE)
        return cls._prove(stream, token, b"server", b"client")

    @classmethod
    def _prove(cls, stream: socket.socket, token: bytes, own: bytes, other: bytes) -> "Connection":
        self = cls(stream)
        try:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            nonce = secrets.token_bytes(PROOF)
            stream.sendall(nonce)
            both = nonce + self._read(PROOF)
            theirs = both[PROOF:] + both[:PROOF]
            stream.sendall(hmac.digest(token, own + theirs, "sha256"))
            if not hmac.compare_digest(self._read(PROOF), hmac.digest(token, other + both, "sha256")):
                raise ConnectionError("the other process does not know the token")
            stream.settimeout(None)
        except BaseException:
            self.close()
            raise
        return self

    def send(self, message: bytes) -> None:
        """Send a message. Raises OSError when the other side is gone, StoreError for one that is too large."""
        if len(message) > LARGEST:
            raise StoreError(f"{len(message):,} bytes are too many to send to another process")
        self._stream.sendall(struct.pack("<Q", len(message)))
        self._stream.sendall(message)

    def receive(self, patience: float | None = None) -> bytes:
        """The next message. Raises OSError when the other side is gone, and TimeoutError after `patience` seconds."""
        self._stream.settimeout(patience)
        (size,) = struct.unpack("<Q", self._read(8))
        if size > LARGEST:
            raise ConnectionError(f"a message of {size:,} bytes is too large")
        return self._read(size)

    def close(self) -> None:
        """Close it, also when another thread waits for a message on it."""
        try:
            self._stream.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._stream.close()

    def let_go(self) -> None:
        """Close this process's end of a connection that another process goes on with."""
        self._stream.close()

    def _read(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = self._stream.recv(min(BLOCK, size - len(parts)))
            if not part:
                raise ConnectionError("the other process is gone")
            parts += part
        return bytes(parts)
