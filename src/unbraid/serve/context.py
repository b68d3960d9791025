"""What every route works with: the parts of the application, and the request it answers."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import Request

from unbraid.serve.engine.batcher import Batcher
from unbraid.serve.engine.engine import Engine
from unbraid.serve.http.metrics import Metrics
from unbraid.serve.http.request_stats import RequestStats
from unbraid.serve.limits import Limits
from unbraid.serve.settings import Settings

if TYPE_CHECKING:
    from unbraid.serve.routes.index_search import IndexSearch

INLINE = 1 << 14  # bytes of a body, or numbers of a response, that the event loop handles itself

T = TypeVar("T")


@dataclass
class Context:
    """The parts of an application; `app.state.context`."""

    engine: Engine
    settings: Settings
    index: "IndexSearch | None"
    batcher: Batcher
    metrics: Metrics
    threads: ThreadPoolExecutor  # parse large bodies and write large responses
    created: int  # Unix time, shown by /v1/models
    ready: bool = False  # what /ready answers

    @property
    def limits(self) -> Limits:
        """The bounds of requests."""
        return self.settings.limits

    async def offload(self, size: int, function: Callable[..., T], *arguments: Any) -> T:
        """`function(*arguments)`; for a large `size` in a thread, so that the event loop stays free."""
        if size < INLINE:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self.threads, function, *arguments)


def context_of(request: Request) -> Context:
    """The parts of the application that received `request`."""
    context: Context = request.app.state.context
    return context


def stats_of(request: Request) -> RequestStats:
    """The statistics of `request`, which the middleware began."""
    stats: RequestStats = request.scope["unbraid.stats"]
    return stats


def body_of(request: Request) -> bytes:
    """The body of `request`, which the middleware read within the limits."""
    body: bytes = request.scope["unbraid.body"]
    return body


@contextmanager
def client_gone(request: Request) -> Iterator["asyncio.Future[None]"]:
    """A future that is done once the client closes its connection. Use it after the body has been read."""

    async def disconnected() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    gone = asyncio.ensure_future(disconnected())
    try:
        yield gone
    finally:
        gone.cancel()
