"""Who holds an index: a lock on a small file that names the process.

The operating system drops the lock when its process ends, however it ends; so a note is only believed while the lock
is taken, and a stale one is never.
"""

import json
import os
import shlex
import socket
import sys
from pathlib import Path
from typing import Any

from unbraid.errors import StoreError

try:
    import fcntl
except ImportError:  # Windows: the store's own lock still refuses a second process, without a name
    fcntl = None  # type: ignore[assignment]

FILE = "open.lock"


def hold(folder: Path) -> int:
    """Take the index in `folder` for this process; give what is returned to `release`.

    Raises StoreError that names the process which holds it, or says why the folder cannot be written.
    """
    try:
        handle = os.open(folder / FILE, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be written ({error.strerror}), and whoever opens an index, even to search it, has to lock "
            "it: make the folder writable, or search a copy of it"
        ) from error
    if fcntl is None:
        return handle
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note = os.pread(handle, 4096, 0)
        os.close(handle)
        raise StoreError(f"{folder} is open in {_holder(note)}: close it there first") from None
    except OSError:  # a file system without locks: the store's own lock has to do
        return handle
    note = json.dumps(
        {"pid": os.getpid(), "host": socket.gethostname(), "command": shlex.join(sys.orig_argv)}
    ).encode()
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, note, 0)
    except OSError:  # a full disk: the lock counts, the note only helps
        pass
    return handle


def release(handle: int) -> None:
    """Let other processes open the index."""
    if fcntl is not None:
        try:
            os.ftruncate(handle, 0)
        except OSError:
            pass
    os.close(handle)


def _holder(note: bytes) -> str:
    """The process that a note names, as far as it can be believed."""
    try:
        about: dict[str, Any] = json.loads(note)
        pid, host, command = int(about["pid"]), str(about["host"]), str(about["command"])
    except (ValueError, KeyError, TypeError):  # it took the lock this very moment, and has not written yet
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
