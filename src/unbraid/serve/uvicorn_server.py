"""Serving the application until it is told to stop: sockets, signals, logs."""

import asyncio
import gc
import logging
import signal
import socket
import sys
from datetime import UTC, datetime
from types import FrameType

import orjson
import uvicorn
from fastapi import FastAPI

from unbraid.serve.http.errors import ApiError
from unbraid.serve.http.limits import Limits

SWITCH = 0.0002  # seconds that a thread keeps the interpreter while another wants it; Python's 5 ms are ten requests
YOUNG = 20_000  # new objects before garbage is looked for; a request has some 80 while it is on its way


class Server(uvicorn.Server):
    """uvicorn, but SIGTERM first turns /ready false, then stops taking connections, then gives up what is left."""

    def __init__(
        self, app: FastAPI, limits: Limits, *, host: str, port: int, socket: str | None = None
    ) -> None:
        """Serve `app` on `host` and `port`, or on a Unix `socket`."""
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                uds=socket,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # nothing here asks where a request came from
                ws="none",
                lifespan="on",
                timeout_keep_alive=30,
                # One second more than what waits is given, for the answers that say so.
                timeout_graceful_shutdown=int(limits.drain_seconds) + 1,
            )
        )
        self.app, self.limits = app, limits
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's; then the interpreter is set up for a server: less to look through for garbage, quicker turns."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        # Python's collector takes 50 ms for the 80,000 objects of the start, in which nothing is answered, and for the
        # young ones, together with those, a fourteenth of the event loop's time at 32 clients.
        gc.freeze()
        gc.set_threshold(YOUNG)
        # After every run of a graph a worker has to get the interpreter back from the event loop.
        sys.setswitchinterval(SWITCH)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A first SIGTERM drains; SIGINT, or a second signal, stops at once, but for what is being answered."""
        first = self.app.state.ready
        self.app.state.ready = False
        if self._loop is None or sig != signal.SIGTERM or not first:
            super().handle_exit(sig, frame)
            return
        self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        loop, limits = asyncio.get_running_loop(), self.limits
        logging.getLogger("unbraid.serve").info("draining")
        late = ApiError(503, "shutting_down", "the server is shutting down", retry_after=1)
        loop.call_later(limits.drain_notice, self._stop)
        loop.call_later(limits.drain_notice + limits.drain_seconds, self.app.state.served.batcher.close, late)

    def _stop(self) -> None:
        """Without uvicorn's `handle_exit`, which raises the signal again at the end: the index would not be closed."""
        self.should_exit = True


class JsonLines(logging.Formatter):
    """A log record as one JSON object: time, level, message, and what the record says about a request."""

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
        return orjson.dumps(about, option=orjson.OPT_UTC_Z, default=str).decode()


def log_to_stderr() -> None:
    """Send everything from here and from uvicorn to standard error, a JSON object a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
