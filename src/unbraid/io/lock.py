"""A lock on a folder that names the process which holds it.

The operating system releases the lock when its process ends, however it ends. So the note beside it is believed only
while the lock is taken, and a stale note does no harm.
"""

import json
import os
import shlex
import socket
import sys
from pathlib import Path

from filelock import FileLock, Timeout

from unbraid.errors import StoreError

LOCK_FILE, NOTE_FILE = "open.lock", "open.json"


class FolderLock:
    """The lock on one folder, held from construction until `release`."""

    def __init__(self, folder: Path) -> None:
        """Raise StoreError that names the process which holds the folder, or says why it cannot be locked."""
        self._note = folder / NOTE_FILE
        self._lock = FileLock(folder / LOCK_FILE, thread_local=False)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise StoreError(f"{folder} is open in {_holder(self._note)}: close it there first") from None
        except OSError as error:
            raise StoreError(
                f"{folder} cannot be locked ({error.strerror or error}). An index is locked while it is open, even to "
                "search it: make the folder writable, or search a copy of it"
            ) from error
        about = {"pid": os.getpid(), "host": socket.gethostname(), "command": shlex.join(sys.orig_argv)}
        try:
            self._note.write_text(json.dumps(about))
        except OSError:  # a full disk: the lock counts, the note only helps
            pass

    def release(self) -> None:
        """Let other processes open the folder."""
        try:
            self._note.unlink(missing_ok=True)
        except OSError:
            pass
        self._lock.release()


def _holder(note: Path) -> str:
    """The process that `note` names, in words; "another process" where the note cannot be read."""
    try:
        about = json.loads(note.read_text())
        pid, host, command = int(about["pid"]), str(about["host"]), str(about["command"])
    except (OSError, ValueError, KeyError, TypeError):
        # The lock was taken just now; the note is not written yet.
        return "another process"
    if host != socket.gethostname():
        return f"process {pid} on {host} ({command})"
    if pid == os.getpid():
        return f"this process already (pid {pid})"
    try:
        running = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        command = shlex.join(part.decode("utf-8", "replace") for part in running) or command
    except OSError:  # no /proc, or a process of another container
        pass
    return f"process {pid} ({command})"
