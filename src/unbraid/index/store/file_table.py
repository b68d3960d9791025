"""files.table: what an index holds of each file, so that a run over files that have not changed need not open the Edge store.

It is a copy of what the chunks say, made when an index that was written to is closed, and believed only beside the file hashes
that it was made with (file_hashes.py): these are gone before the first write, and another write has other hashes. A table
that is stale, damaged or missing is not used, and the next close after a write makes it anew.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from unbraid.index.store.entry import FileState
from unbraid.io.atomic import write_atomic

FILE = "files.table"
FORMAT = b"unbraid file table 1\n"
DIGEST = 16  # bytes
_STATES = msgspec.msgpack.Decoder(dict[str, FileState])


def write_file_table(folder: Path, seal: str, states: Mapping[str, FileState]) -> None:
    """Write the states of files by path, whole or not at all; `seal` names the hashes that they are of. Raises OSError."""
    body = seal.encode() + b"\n" + msgspec.msgpack.encode(states)
    write_atomic(folder / FILE, FORMAT + hashlib.blake2b(body, digest_size=DIGEST).digest() + body)


def remove_file_table(folder: Path) -> None:
    """Remove it where there is one. Raises OSError."""
    (folder / FILE).unlink(missing_ok=True)


def read_file_table(folder: Path, seal: str) -> dict[str, FileState] | None:
    """The states that were written with `seal`; None where there are none, or they are damaged."""
    try:
        content = memoryview((folder / FILE).read_bytes())
    except OSError:
        return None
    start = len(FORMAT)
    digest, body = content[start : start + DIGEST], content[start + DIGEST :]
    mark = seal.encode() + b"\n"
    if content[:start] != FORMAT or body[: len(mark)] != mark:
        return None
    if hashlib.blake2b(body, digest_size=DIGEST).digest() != digest:
        return None
    try:
        return _STATES.decode(body[len(mark) :])
    except msgspec.MsgspecError:  # of a version with other states
        return None
