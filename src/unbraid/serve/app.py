"""`create_app`, and the table of all routes.

A request passes http/middleware.py, its function of routes/ and, to be encoded, routes/encoding.py and engine/batcher.py.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware as Layer
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from unbraid.serve.context import Context
from unbraid.serve.engine.batcher import Batcher
from unbraid.serve.engine.engine import Engine, warm
from unbraid.serve.http import telemetry
from unbraid.serve.http.docs_page import docs_page
from unbraid.serve.http.metrics import Metrics
from unbraid.serve.http.middleware import Middleware
from unbraid.serve.http.openapi import Endpoint, openapi_document
from unbraid.serve.requests import schemas
from unbraid.serve.routes import about, page
from unbraid.serve.routes.browse import facets, indexed_file, indexed_picture, status
from unbraid.serve.routes.embeddings import embeddings, map_base
from unbraid.serve.routes.search import search
from unbraid.serve.settings import Settings

if TYPE_CHECKING:
    from unbraid.serve.routes.index_search import IndexSearch

ENDPOINTS = (
    Endpoint("POST", "/v1/embeddings", embeddings, schemas.EmbeddingsResponse, schemas.EmbeddingsRequest),
    Endpoint("POST", "/v1/map", map_base, schemas.EmbeddingsResponse, schemas.MapRequest),
    Endpoint("POST", "/v1/search", search, schemas.SearchResponse, schemas.SearchRequest),
    Endpoint("POST", "/v1/facets", facets, schemas.FacetsResponse, schemas.FacetsRequest),
    Endpoint("GET", "/v1/status", status, schemas.Status),
    Endpoint("GET", "/v1/pictures", indexed_picture, "image/jpeg", parameters={"path": "query"}),
    Endpoint("GET", "/v1/files", indexed_file, "*/*", parameters={"path": "query"}),
    Endpoint("GET", "/v1/models", about.models, schemas.ModelsResponse),
    Endpoint("GET", "/v1/models/{name:path}", about.model, schemas.Model, parameters={"name": "path"}),
    Endpoint("GET", "/health", about.health, schemas.Health),
    Endpoint("GET", "/ready", about.ready, schemas.Health),
    Endpoint("GET", "/metrics", about.metrics, "text/plain"),
)


def create_app(
    engine: Engine, settings: Settings | None = None, index: "IndexSearch | None" = None
) -> Starlette:
    """The application; `app.state.context` holds what its routes work with."""
    settings = settings or Settings()
    batcher = Batcher(engine, settings.limits)
    metrics = Metrics(batcher)
    threads = ThreadPoolExecutor(2, thread_name_prefix="read")  # so at most two large bodies at a time
    layers = [Layer(Middleware, settings=settings, metrics=metrics)]
    if settings.origins:  # outside of the key check: a browser first asks without a key
        cors = Layer(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-request-id"],
            expose_headers=["server-timing", "x-request-id", "x-truncated-items", "retry-after"],
        )
        layers.insert(0, cors)
    described = openapi_document(ENDPOINTS, needs_key=bool(settings.keys))
    document, readable = msgspec.json.encode(described), docs_page(described)

    async def openapi(request: Request) -> Response:
        return Response(document, media_type="application/json")

    async def docs(request: Request) -> Response:
        return HTMLResponse(readable, headers=page.HEADERS)

    app = Starlette(
        routes=[
            *(endpoint.route() for endpoint in ENDPOINTS),
            Route("/openapi.json", openapi),
            Route("/docs", docs),
            Route("/", page.page),
            Route("/page/{name}", page.part),
        ],
        middleware=layers,
        exception_handlers={HTTPException: _raise},
        lifespan=_lifespan,
    )
    app.router.redirect_slashes = False
    app.state.context = Context(engine, settings, index, batcher, metrics, threads, int(time.time()))
    return app


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    context: Context = app.state.context
    send_spans = telemetry.configure()
    context.batcher.start()
    await asyncio.to_thread(warm, context.engine)
    context.ready = True
    yield
    context.ready = False
    context.batcher.close()
    await asyncio.to_thread(context.batcher.join)
    context.threads.shutdown()
    await asyncio.to_thread(send_spans)


def _raise(request: Request, error: Exception) -> Response:
    """Leave 404 and 405 of the routing to the middleware, which answers every error."""
    raise error
