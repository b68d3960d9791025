"""What the routes work with, and the kind of route they are."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from unbraid.serve.engine.batcher import Batcher
from unbraid.serve.engine.engine import Engine
from unbraid.serve.http.limits import Limits
from unbraid.serve.http.metrics import Metrics
from unbraid.serve.http.request_stats import Trace
from unbraid.serve.settings import Settings

if TYPE_CHECKING:  # loads Qdrant Edge, which most servers do without
    from unbraid.serve.routes.index_search import Index

INLINE = 1 << 14  # bytes of a body, or numbers of an answer, that the event loop deals with itself

T = TypeVar("T")


@dataclass(frozen=True)
class Served:
    """An application's parts; its routes find them by `served_by`."""

    engine: Engine
    settings: Settings
    index: "Index | None"
    batcher: Batcher
    metrics: Metrics
    readers: ThreadPoolExecutor  # large bodies are taken apart, and large answers written, in here
    created: int  # Unix time, as /v1/models tells it

    @property
    def limits(self) -> Limits:
        """The bounds of requests."""
        return self.settings.limits

    async def aside(self, size: int, function: Callable[..., T], *arguments: Any) -> T:
        """`function(*arguments)`; in another thread when `size` is large, so that others are answered meanwhile."""
        if size < INLINE:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self.readers, function, *arguments)


def served_by(request: Request) -> Served:
    """The parts of the application that was asked."""
    served: Served = request.app.state.served
    return served


def trace_of(request: Request) -> Trace:
    """What the guard began to note of the request."""
    trace: Trace = request.scope["unbraid"]
    return trace


@contextmanager
def client_gone(request: Request) -> Iterator["asyncio.Future[None]"]:
    """What is done once the client has closed its connection; the body has been read."""
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        yield gone
    finally:
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class PlainRoute(APIRoute):
    """A route that is its function: FastAPI documents it, and nothing is read or checked around it.

    Bodies are read by hand, within our limits, so what FastAPI does for parameters would be for nothing.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The function: a request in, its answer out."""
        return self.endpoint
