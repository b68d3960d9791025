"""`create_app`: the application, put together. Follow a request: guard.py, routes_*.py, encoding.py, batcher.py, answers.py."""

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from unbraid import __version__
from unbraid.serve.context import Served, trace_of
from unbraid.serve.engine.batcher import Batcher
from unbraid.serve.engine.engine import Engine
from unbraid.serve.http.errors import ApiError, of_status
from unbraid.serve.http.limits import InFlight
from unbraid.serve.http.metrics import Metrics
from unbraid.serve.http.middleware import Guard
from unbraid.serve.http.openapi import KeyedApp, errors
from unbraid.serve.http.telemetry import TELEMETRY
from unbraid.serve.routes import about as routes_about
from unbraid.serve.routes import embeddings as routes_embeddings
from unbraid.serve.routes import search as routes_search
from unbraid.serve.settings import Settings
from unbraid.serve.warm import warm

if TYPE_CHECKING:  # loads Qdrant Edge, which most servers do without
    from unbraid.serve.routes.index_search import Index


def create_app(engine: Engine, settings: Settings | None = None, index: "Index | None" = None) -> FastAPI:
    """The application; `app.state.served` is what its routes work with, `app.state.ready` what /ready says."""
    settings = settings or Settings()
    batcher = Batcher(engine, settings.limits)
    metrics = Metrics(batcher)
    readers = ThreadPoolExecutor(2, thread_name_prefix="read")  # so at most two large bodies at once
    app = (KeyedApp if settings.keys else FastAPI)(
        title="unbraid",
        version=__version__,
        lifespan=_lifespan,
        docs_url=None,  # their pages load scripts from another host
        redoc_url=None,
        redirect_slashes=False,
        telemetry=TELEMETRY,
        responses=errors(400, 401, 404, 405, 408, 413, 415, 421, 429, 500, 503),
    )
    app.state.served = Served(engine, settings, index, batcher, metrics, readers, int(time.time()))
    app.state.ready = False
    for routes in (routes_embeddings, routes_search, routes_about):
        app.include_router(routes.router)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ApiError, _api_error)
    app.add_middleware(Guard, settings=settings, metrics=metrics, in_flight=InFlight())
    if settings.origins:  # outside of the guard: a browser asks without a key first
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-request-id"],
            expose_headers=["server-timing", "x-request-id", "x-truncated-items", "retry-after"],
        )
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    served: Served = app.state.served
    served.batcher.start()
    await asyncio.to_thread(warm, served.engine)
    app.state.ready = True
    yield
    app.state.ready = False
    served.batcher.close(ApiError(503, "shutting_down", "the server is shutting down", retry_after=1))
    await asyncio.to_thread(served.batcher.join)
    served.readers.shutdown()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    refusal = of_status(error.status_code, None if error.detail is None else str(error.detail))
    trace_of(request).code = refusal.code
    return refusal.response(dict(error.headers or {}))


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    trace_of(request).code = error.code
    return error.response()
