"""Answers calls of other processes on an open index, each connection in a thread of its own."""

import os
import secrets
import socket
import sys
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path

from unbraid.errors import StoreError, UnbraidError
from unbraid.index.store.folder_store import FolderStore
from unbraid.index.store.wire import (
    ERRORS,
    LARGEST,
    TOKEN_FILE,
    Address,
    Connection,
    Facts,
    read_request,
    write_address,
    write_answer,
)
from unbraid.io.lock import PAUSE

MOST = 128  # connections at a time
SWITCH = 0.0005  # seconds until a thread that computes lets another one go on


class Answers:
    """Listens from construction until `close`."""

    def __init__(self, store: FolderStore, folder: Path) -> None:
        """Answer for `store`, and write where into `folder`. Raises OSError where this machine does not let it listen."""
        self._store, self._folder = store, folder
        self._token = secrets.token_bytes(32)
        self._connections: set[Connection] = set()
        self._room = threading.Semaphore(MOST)
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=MOST)
        try:
            write_address(folder, Address(self._listener.getsockname()[1], self._token))
        except BaseException:
            self._listener.close()
            raise
        _OPEN.add(self)
        threading.Thread(target=self._accept, name="index", daemon=True).start()

    def close(self) -> None:
        """Stop listening, and end every connection; their processes then look for another holder."""
        self._closed = True
        with suppress(OSError):
            (self._folder / TOKEN_FILE).unlink(missing_ok=True)
        with suppress(OSError):  # wakes the thread that accepts
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._connections):
            connection.close()

    def forget(self) -> None:
        """In a process that was forked: let go of what the first one has, which goes on there."""
        self._closed = True
        self._listener.close()
        for connection in self._connections:
            connection.let_go()

    def _accept(self) -> None:
        while not self._closed:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                if self._closed:
                    return
                time.sleep(PAUSE)  # no more files may be opened just now
                continue
            if not self._room.acquire(blocking=False):
                stream.close()
                continue
            threading.Thread(target=self._serve, args=(stream,), name="index", daemon=True).start()

    def _serve(self, stream: socket.socket) -> None:
        try:
            connection = Connection.accept(stream, self._token)
            self._connections.add(connection)
            # Python's default is 5 ms, and a search is ten calls: it would wait 50 ms while this process indexes.
            sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH))
            try:
                while not self._closed:
                    connection.send(self._answer(connection.receive()))
            finally:
                self._connections.discard(connection)
                connection.close()
        except OSError:  # the other process is gone, or a stranger
            pass
        finally:
            self._room.release()

    def _answer(self, message: bytes) -> bytes:
        try:
            name, arguments = read_request(message)
            result = getattr(self._store, name)(*arguments)
            answer = write_answer("", self._facts(), result)
            if len(answer) > LARGEST:
                raise StoreError(
                    f"the answer to {name} has {len(answer):,} bytes, too many for another process"
                )
            return answer
        except Exception as error:  # noqa: BLE001  # the other process is told
            known = [kind.__name__ for kind in type(error).__mro__ if kind.__name__ in ERRORS]
            said = str(error) if isinstance(error, UnbraidError) else f"{type(error).__name__}: {error}"
            return write_answer(known[0] if known else "StoreError", Facts(("", 0), 0), said)

    def _facts(self) -> Facts:
        return Facts(self._store.version(), self._store.size())


_OPEN: "weakref.WeakSet[Answers]" = weakref.WeakSet()


def _forget_all() -> None:
    for one in list(_OPEN):
        one.forget()


if hasattr(os, "register_at_fork"):
    # A child that lives on would keep the connections of a killed process open, and those who wait there would not notice.
    os.register_at_fork(after_in_child=_forget_all)
