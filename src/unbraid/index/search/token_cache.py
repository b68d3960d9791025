"""token_vectors.sqlite in the folder of an index: what heads read of passages, packed, so that each is encoded once.

Only a cache. A row is found by the passage's content and by the head that made it, so it never goes stale; it may be missing,
and the file may be deleted at any time. A damaged row counts as missing and a damaged file is made anew. Where the file cannot
be read or written just now, nothing is read or kept, and that is no error. Each call opens the file, as other processes may
use it, replace it or delete it in between.
"""

import hashlib
import os
import stat
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

FILE = "token_vectors.sqlite"
FORMAT = 1  # of packed vectors; a row of another counts as damaged, so it is made anew
# Of a stored passage. One with more tokens than fit is pooled: 112 vectors of 64 numbers, or 52 of 128 beside a base vector of 512.
# Nine such rows fill a page of the file.
MOST_BYTES = 3_584
KEY = 16  # bytes of a passage's key, and of a head's
# Seconds until a file that another process writes counts as missing, and until nothing is kept.
PATIENCE = {"ro": 0.02, "rw": 0.2, "rwc": 0.2}
MOST_KEPT = 4_096  # passages in memory where there is no folder: 16 MB at most
_ASKED = 500  # keys of one question
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR")  # the last: its table is another one
_TABLE = "CREATE TABLE tokens (key BLOB PRIMARY KEY, packed BLOB NOT NULL)"
# All that a file of ours has: what another program put in beside it, such as a trigger, might do something of its own.
_SCHEMA = {("table", "tokens", _TABLE), ("index", "sqlite_autoindex_tokens_1", None)}


def content_key(text: str, modality: str) -> bytes:
    """The key of a passage: its text, and whether it is text or code."""
    return hashlib.blake2b(f"{modality}\0{text}".encode("utf-8", "surrogatepass"), digest_size=KEY).digest()


class TokenCache:
    """Packed token vectors by key, in a folder, or in memory where there is none."""

    def __init__(self, folder: Path | None) -> None:
        """Use the file in `folder`, made by the first `write`."""
        self.path = None if folder is None else folder / FILE
        self._kept: dict[bytes, bytes] = {}
        self._turn = Lock()  # for several threads in memory

    def read(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """What is stored under those of `keys` that are there."""
        if self.path is None:
            with self._turn:
                return {key: self._kept[key] for key in keys if key in self._kept}
        found: dict[bytes, bytes] = {}
        if not self.path.exists():
            return found
        with suppress(_Refused), _opened(self.path, "ro") as file:
            for start in range(0, len(keys), _ASKED):
                some = keys[start : start + _ASKED]
                marks = ",".join("?" * len(some))
                for key, stored in file.execute(
                    f"SELECT key, packed FROM tokens WHERE length(packed) <= ? AND key IN ({marks})",
                    (MOST_BYTES + 4, *some),
                ):
                    if (packed := _checked(key, stored)) is not None:
                        found[key] = packed
        return found

    def write(self, packed: Mapping[bytes, bytes]) -> None:
        """Store `packed` by key, as far as that is possible now."""
        if not packed:
            return
        if self.path is None:
            with self._turn:
                self._kept |= packed
                for key in list(self._kept)[: max(0, len(self._kept) - MOST_KEPT)]:
                    del self._kept[key]
            return
        rows = [(key, _check(key, one) + one) for key, one in packed.items()]
        self._change(
            lambda file: file.executemany("INSERT OR REPLACE INTO tokens VALUES (?, ?)", rows), self.path
        )

    def held(self, keys: Sequence[bytes]) -> set[bytes]:
        """Those of `keys` that something is stored under; it is not read."""
        if self.path is None or not self.path.exists():
            return set(self.read(keys))
        found: set[bytes] = set()
        with suppress(_Refused), _opened(self.path, "ro") as file:
            for start in range(0, len(keys), _ASKED):
                some = keys[start : start + _ASKED]
                marks = ",".join("?" * len(some))
                found.update(
                    key for (key,) in file.execute(f"SELECT key FROM tokens WHERE key IN ({marks})", some)
                )
        return found

    def mark(self) -> int:
        """The number that `set_mark` gave the file; 0 in a new one."""
        if self.path is not None and self.path.exists():
            with suppress(_Refused), _opened(self.path, "ro") as file:
                return int(file.execute("PRAGMA user_version").fetchone()[0])
        return 0

    def set_mark(self, mark: int) -> bool:
        """Give the file a number of 31 bits, which goes with it; False where it cannot be written."""
        return self.path is not None and self._change(
            lambda file: file.execute(f"PRAGMA user_version = {mark:d}"), self.path
        )

    def _change(self, change: "Callable[[sqlite3.Connection], object]", path: Path) -> bool:
        """Change the file, made where there is none or a damaged one; False where it cannot be written now."""
        for _ in range(2):  # again where a damaged file was in the way
            try:
                with _opened(path, "rwc") as file, file:
                    change(file)
                return True
            except _Refused as refused:
                if not refused.damaged:
                    return False
                self.remove()
        return False

    def keep(self, keys: Collection[bytes]) -> int:
        """Drop what is stored under none of `keys`, and give its room back; returns how many rows went."""
        if self.path is None or not self.path.exists():
            return 0
        with suppress(_Refused), _opened(self.path, "rw") as file:
            with file:
                gone = [(key,) for (key,) in file.execute("SELECT key FROM tokens") if key not in keys]
                file.executemany("DELETE FROM tokens WHERE key = ?", gone)
            file.execute("VACUUM")
            return len(gone)
        return 0

    def drop(self, contents: Collection[bytes]) -> None:
        """Forget the passages of these `content_key`s."""
        if self.path is None:
            wanted = set(contents)
            with self._turn:
                self._kept = {key: one for key, one in self._kept.items() if key[:KEY] not in wanted}
        elif contents and self.path.exists():
            ranges = [(one, one + b"\xff" * (KEY + 1)) for one in contents]
            try:
                with _opened(self.path, "rw") as file, file:
                    file.executemany("DELETE FROM tokens WHERE key >= ? AND key < ?", ranges)
            except _Refused:  # then all of it goes: what was deleted must not stay
                self.remove()

    def bytes(self) -> int:
        """What the file takes; 0 where there is none."""
        try:
            return 0 if self.path is None else self.path.stat().st_size
        except OSError:
            return 0

    def remove(self) -> None:
        """Delete the file."""
        if self.path is not None:
            # The journal first: one of another file would be rolled back into a new one.
            for path in (self.path.with_name(f"{FILE}-journal"), self.path):
                with suppress(OSError):
                    path.unlink(missing_ok=True)


class _Refused(Exception):
    """SQLite has refused: the file is `damaged`, or cannot be had just now."""

    def __init__(self, damaged: bool) -> None:
        super().__init__(damaged)
        self.damaged = damaged


@contextmanager
def _opened(path: Path, mode: str) -> "Iterator[sqlite3.Connection]":
    """The database, for one call. Raises _Refused."""
    import sqlite3  # takes some milliseconds, which a search without a second look need not wait for

    place = f"{path.absolute().as_uri()}?mode={mode}"
    try:
        # A link would lead elsewhere, a pipe would wait for ever.
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise _Refused(damaged=True)
    except FileNotFoundError:
        pass  # made now
    except OSError as error:
        raise _Refused(damaged=False) from error
    try:
        with closing(sqlite3.connect(place, timeout=PATIENCE[mode], uri=True)) as file:
            file.execute("PRAGMA trusted_schema = OFF")
            if mode != "ro":
                # Rows of 3 KB leave less of a large page empty.
                file.execute("PRAGMA page_size = 32768")
                # Without waiting for the disk: a row that a power cut damages counts as missing.
                file.execute("PRAGMA synchronous = OFF")
                # What is deleted is overwritten: it says something of a text that may be meant to be gone.
                file.execute("PRAGMA secure_delete = ON")
            found = set(file.execute("SELECT type, name, sql FROM sqlite_master LIMIT 3"))
            if mode == "rwc" and not found:
                file.execute(_TABLE.replace("TABLE", "TABLE IF NOT EXISTS", 1))
            elif found != _SCHEMA:
                raise _Refused(damaged=True)
            yield file
    except sqlite3.Error as error:
        raise _Refused(getattr(error, "sqlite_errorname", "").startswith(_DAMAGED)) from error


def _check(key: bytes, packed: bytes) -> bytes:
    return zlib.crc32(packed, zlib.crc32(key, FORMAT)).to_bytes(4, "little")


def _checked(key: object, stored: object) -> bytes | None:
    """What `write` stored; None for anything else."""
    if not isinstance(key, bytes) or not isinstance(stored, bytes) or len(stored) < 4:
        return None
    packed = stored[4:]
    return packed if stored[:4] == _check(key, packed) else None
