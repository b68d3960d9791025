"""Running the application under uvicorn: sockets, signals, logs."""

import asyncio
import errno
import gc
import logging
import os
import signal
import socket
import sys
from datetime import UTC, datetime
from types import FrameType

import msgspec
import uvicorn
from starlette.applications import Starlette

from unbraid.errors import DataError
from unbraid.serve.context import Context

SWITCH = 0.0002  # seconds a thread keeps the interpreter while another waits; Python's 5 ms are ten requests
YOUNG = 20_000  # new objects before a garbage collection; a request in progress has about 80


class Server(uvicorn.Server):
    """uvicorn, but SIGTERM first turns /ready false, then closes the sockets, then fails what is left."""

    def __init__(self, app: Starlette, *, host: str, port: int, socket: str | None = None) -> None:
        """Serve `app` on `host` and `port`, or on a Unix `socket`."""
        self.context: Context = app.state.context
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                uds=socket,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # nothing here uses the client's address
                ws="none",
                # Not uvloop where another package brings it: it gains nothing (docs/experiments.md).
                loop="asyncio",
                lifespan="on",
                timeout_keep_alive=30,
                # One second more than requests have, for their 503.
                timeout_graceful_shutdown=int(self.context.limits.drain_seconds) + 1,
            )
        )
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does, then tune Python's garbage collector and thread switching for a server."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        # A collection of the 80,000 objects of the start takes 50 ms, in which nothing is answered. Collections of
        # young objects took a fourteenth of the event loop's time at 32 clients.
        gc.freeze()
        gc.set_threshold(YOUNG)
        # After every run of a graph a worker waits for the interpreter, which the event loop holds.
        sys.setswitchinterval(SWITCH)
        if self.started and is_watched():
            sys.stderr.write(f"{self.address()}  (Ctrl-C stops)\n")

    def address(self) -> str:
        """Where a person finds the server, once it has started: one line."""
        what = "Search page" if self.context.index is not None else "Serving; see /docs"
        if self.config.uds:
            return f"{what}: socket {self.config.uds}"
        port = self.servers[0].sockets[0].getsockname()[1]
        host = {"0.0.0.0": "localhost", "::": "localhost"}.get(self.config.host, self.config.host)
        return f"{what}: http://{f'[{host}]' if ':' in host else host}:{port}/"

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first SIGTERM. SIGINT, or a second signal, stops at once; requests in progress are answered."""
        first, self.context.ready = self.context.ready, False
        if self._loop is None or sig != signal.SIGTERM or not first:
            super().handle_exit(sig, frame)
            return
        self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        loop, limits = asyncio.get_running_loop(), self.context.limits
        logging.getLogger("unbraid.serve").info("draining")
        # Not uvicorn's `handle_exit`: it raises the signal again at the end, and the index would stay open.
        loop.call_later(limits.drain_notice, setattr, self, "should_exit", True)
        loop.call_later(limits.drain_notice + limits.drain_seconds, self.context.batcher.close)


def check_sockets() -> None:
    """Raise DataError where the system does not let asyncio listen on a Unix socket."""
    if sys.platform == "win32":
        raise DataError("--socket: there are no Unix sockets on Windows: use --host and --port")


def check_address(host: str, port: int) -> None:
    """Raise DataError, in one sentence, where nothing can listen on `host` and `port`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            if os.name == "posix":  # Windows would let two programs listen
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        why = (
            "is used by another program"
            if error.errno == errno.EADDRINUSE
            else f"cannot be used ({error.strerror})"
        )
        raise DataError(f"port {port} of {host} {why}: choose another --port") from None


class JsonLines(logging.Formatter):
    """A log record as one JSON object: time, level, message, and the facts of a request."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        about = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "about", {}),
        }
        if record.exc_info:
            about["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(about, enc_hook=str).decode()


def is_watched() -> bool:
    """Whether a person reads standard error."""
    return sys.stderr.isatty()


def log_to_stderr() -> None:
    """Log to standard error, one JSON object a line, or only warnings, as text, where a person watches; uvicorn too."""
    watched = is_watched()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s") if watched else JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING if watched else logging.INFO)
    logging.captureWarnings(True)
