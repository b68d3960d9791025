"""A lock on a folder that names the process which holds it.

The operating system releases the lock when its process ends, however it ends. So the note beside it is believed only
while the lock is taken, and a stale note does no harm.
"""

import json
import os
import shlex
import socket
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from unbraid.errors import StoreError

OPEN, WRITE = "open", "write"  # names of the two locks of an index; each is a file .lock and a note .json
PAUSE = 0.02  # seconds between two tries


class FolderHeld(StoreError):
    """Another process, or this one, holds the lock."""


class FolderUnwritable(StoreError):
    """The lock's file cannot be made or opened for writing."""


class FolderLock:
    """One of the locks on a folder, held from construction until `release`."""

    def __init__(self, folder: Path, name: str = OPEN, *, patience: float = 0.0) -> None:
        """Wait `patience` seconds for it. Raises FolderHeld that names the process which holds it, FolderUnwritable."""
        self._note = folder / f"{name}.json"
        self._lock = FileLock(folder / f"{name}.lock", thread_local=False)
        deadline = time.monotonic() + patience
        while True:
            try:
                self._lock.acquire(timeout=0)
                break
            except Timeout:
                if time.monotonic() >= deadline:
                    who = holder_of(folder, name)
                    if name == WRITE:
                        raise FolderHeld(
                            f"{folder} is being written by {who}: run again when it is done"
                        ) from None
                    raise FolderHeld(f"{folder} is open in {who}: close it there first") from None
                time.sleep(PAUSE)
            except OSError as error:
                raise FolderUnwritable(
                    f"{folder} cannot be locked ({error.strerror or error}), and so not be written"
                ) from error
        about = Holder(os.getpid(), socket.gethostname(), shlex.join(sys.orig_argv), time.time())
        try:
            self._note.write_text(json.dumps(asdict(about)))
        except OSError:  # a full disk: the lock counts, the note only helps
            pass

    def release(self) -> None:
        """Let others have it."""
        try:
            self._note.unlink(missing_ok=True)
        except OSError:
            pass
        self._lock.release()


@dataclass(frozen=True)
class Holder:
    """The process that a note names."""

    pid: int
    host: str
    command: str
    since: float  # seconds since 1970; a container gives its process the same pid each time

    @property
    def is_elsewhere(self) -> bool:
        """Whether it runs on another machine, or in another container."""
        return self.host != socket.gethostname()

    def __str__(self) -> str:
        """The process in words."""
        if self.is_elsewhere:
            return f"process {self.pid} on {self.host} ({self.command})"
        if self.pid == os.getpid():
            return f"this process already (pid {self.pid})"
        command = self.command
        try:
            running = Path(f"/proc/{self.pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            command = shlex.join(part.decode("utf-8", "replace") for part in running) or command
        except OSError:  # no /proc, or a process of another container
            pass
        return f"process {self.pid} ({command})"


def read_holder(folder: Path, name: str = OPEN) -> Holder | None:
    """The process that the note of a lock names; None where it cannot be read."""
    try:
        about = json.loads((folder / f"{name}.json").read_text())
        # Earlier versions wrote no `since`.
        return Holder(
            int(about["pid"]), str(about["host"]), str(about["command"]), float(about.get("since", 0))
        )
    except (OSError, ValueError, KeyError, TypeError):
        # The lock was taken just now; the note is not written yet.
        return None


def is_held(folder: Path, name: str = OPEN) -> bool:
    """Whether a process holds a lock now. Where this user cannot try it, its note is believed."""
    path = folder / f"{name}.lock"
    try:
        with FileLock(path, thread_local=False).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        pass
    try:  # this user may not write it: a shared lock needs no more than reading
        import fcntl

        handle = os.open(path, os.O_RDONLY)
    except (ImportError, OSError):
        return read_holder(folder, name) is not None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return read_holder(folder, name) is not None
    finally:
        os.close(handle)


def holder_of(folder: Path, name: str = OPEN) -> str:
    """The process that holds a lock, in words; "another process" where its note cannot be read."""
    return str(read_holder(folder, name) or "another process")
