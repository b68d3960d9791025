"""`create_app`: the application, and its routes."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import orjson
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import FileResponse, Response

from unbraid import __version__
from unbraid.errors import ItemError, UnbraidError
from unbraid.serve import forms
from unbraid.serve.batcher import Batcher, Job
from unbraid.serve.engine import BASE, TEXTS, BundleEngine, Engine, Given, shorten
from unbraid.serve.errors import ApiError, of_status
from unbraid.serve.guard import Guard
from unbraid.serve.limits import InFlight
from unbraid.serve.metrics import CONTENT_TYPE, Metrics
from unbraid.serve.settings import Settings
from unbraid.serve.trace import Trace

if TYPE_CHECKING:  # loads Qdrant Edge, which most servers do without
    from unbraid.serve.searching import Index

PAGE = Path(__file__).with_name("page.html")
INLINE = 1 << 14  # bytes of a body, or numbers of an answer, that the event loop deals with itself

T = TypeVar("T")


def create_app(engine: Engine, settings: Settings | None = None, index: "Index | None" = None) -> FastAPI:
    """The application; `app.state.batcher` is its queue, `app.state.ready` is what /ready says."""
    settings = settings or Settings()
    limits = settings.limits
    batcher = Batcher(engine, limits)
    metrics = Metrics(batcher)
    readers = ThreadPoolExecutor(
        2, thread_name_prefix="read"
    )  # so at most two large bodies are taken apart at once
    created = int(time.time())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        await asyncio.to_thread(_warm, engine)
        app.state.ready = True
        yield
        app.state.ready = False
        batcher.close(ApiError(503, "shutting_down", "the server is shutting down", retry_after=1))
        await asyncio.to_thread(batcher.join)
        readers.shutdown()

    app = FastAPI(
        title="unbraid",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # their pages load scripts from another host
        redoc_url=None,
        redirect_slashes=False,
        responses=_errors(400, 401, 404, 405, 408, 413, 415, 421, 429, 500, 503),
    )
    app.state.batcher, app.state.metrics, app.state.ready = batcher, metrics, False
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ApiError, _api_error)

    async def aside(size: int, function: Callable[..., T], *arguments: Any) -> T:
        """`function(*arguments)`; in another thread when `size` is large, so that others are answered meanwhile."""
        if size < INLINE:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(readers, function, *arguments)

    async def items_of(value: object, plain: str, trace: Trace) -> list[Given]:
        """The items of an input, remote pictures fetched."""
        items = await aside(len(trace.body), forms.read_input, value, plain, engine, limits)
        given = [item for item in items if isinstance(item, Given)]
        if len(given) == len(items):
            return given
        if not settings.remote_pictures:
            raise ApiError(
                400,
                "remote_pictures_off",
                "pictures are not fetched from other hosts here: send a data URL, or start with --remote-pictures",
                param="input",
            )
        from unbraid.serve.remote import fetch_pictures

        with trace.phase("fetch"):
            return await fetch_pictures(items, limits)

    async def encode(
        request: Request, given: Sequence[Given], task: str, *, truncate: bool, multi: bool = False
    ) -> tuple[Job, list[int]]:
        """The finished job of `given`, and the positions of the texts that were cut."""
        trace: Trace = request.scope["unbraid"]
        with trace.phase("read"):
            try:
                entries, cut = await aside(len(trace.body), engine.read, given, task)
            except ItemError as error:
                raise ApiError(400, "invalid_input", str(error), param="input") from error
            if cut and not truncate:
                raise ApiError(
                    400,
                    "INPUT_TOKEN_LIMIT_EXCEEDED",  # Jina's name
                    f"item {cut[0]} is longer than the model reads at once: split it, or send truncate: true",
                    param="input",
                )
            if (cost := sum(entry.cost for entry in entries)) > limits.tokens:
                raise forms.too_many_tokens(cost, limits)
        trace.items, trace.tokens = len(entries), sum(entry.tokens for entry in entries)
        gone = asyncio.ensure_future(_disconnected(request))
        started = time.perf_counter()
        try:
            job = await batcher.run(entries, multi=multi, gone=gone)
        except ItemError as error:
            raise ApiError(400, "invalid_input", str(error), param="input") from error
        finally:
            gone.cancel()
        trace.phases["queue"] = (job.started or started) - job.arrived
        trace.phases["encode"] = time.perf_counter() - (job.started or started)
        return job, cut

    @app.post("/v1/embeddings", **_route(forms.EmbeddingsForm, forms.EmbeddingsAnswer))
    async def embeddings(request: Request) -> Response:
        """Vectors of texts, code and pictures, in OpenAI's or Jina's form."""
        trace: Trace = request.scope["unbraid"]
        with trace.phase("read"):
            form = await aside(len(trace.body), forms.read_form, forms.EmbeddingsForm, trace.body, limits)
            model, task, plain = forms.choose_task(engine, settings, form.model, form.task)
            dim = forms.check_dimensions(engine, form.dimensions)
            multi = bool(form.return_multivector)
            if multi and not engine.multi_vector:
                raise ApiError(
                    400, "unsupported", f"{engine.name} has no multi-vectors", param="return_multivector"
                )
            if multi and dim is not None:
                raise ApiError(400, "unsupported", "a multi-vector has no shorter form", param="dimensions")
            form_of_vectors = form.embedding_type or form.encoding_format or "float"
            if multi and form_of_vectors != "float":
                raise ApiError(
                    400, "unsupported", "multi-vectors are sent as numbers", param="embedding_type"
                )
        given = await items_of(form.input, plain, trace)
        truncate = settings.truncate if form.truncate is None else form.truncate
        job, cut = await encode(request, given, task, truncate=truncate, multi=multi)
        headers = {"x-truncated-items": str(len(cut))} if cut else None
        if multi:
            data = [
                {"object": "embeddings", "index": n, "embeddings": one} for n, one in enumerate(job.vectors)
            ]
            size = sum(one.size for one in job.vectors)
            return await aside(size, _answer, data, model, trace.tokens, headers)
        vectors = shorten(job.vectors, dim, engine.dims)
        return await aside(vectors.size, _embeddings, vectors, form_of_vectors, model, trace.tokens, headers)

    @app.post("/v1/map", **_route(forms.MapForm, forms.EmbeddingsAnswer))
    async def map_base(request: Request) -> Response:
        """Task vectors of stored base vectors: nothing is encoded."""
        trace: Trace = request.scope["unbraid"]
        if not isinstance(engine, BundleEngine):
            raise ApiError(400, "unsupported", "a teacher has no base vectors: every task is encoded anew")
        with trace.phase("read"):
            form = await aside(len(trace.body), forms.read_form, forms.MapForm, trace.body, limits)
            model, task, _ = forms.choose_task(engine, settings, form.model, form.task)
            dim = forms.check_dimensions(engine, form.dimensions)
            base = await aside(len(trace.body), read_vectors, form.base, engine.dim, limits.items)
        with trace.phase("map"):
            mapped = base if task == BASE else await aside(base.size, engine.embedder.map, base, task)
        vectors = shorten(mapped, dim, engine.dims)
        return await aside(
            vectors.size, _embeddings, vectors, form.encoding_format or "float", model, 0, None
        )

    @app.post("/v1/search", **_route(forms.SearchForm, forms.SearchAnswer))
    async def search(request: Request) -> Response:
        """The best of the index for a query, or for the base vector of one, under any search mode."""
        trace: Trace = request.scope["unbraid"]
        if index is None:
            raise ApiError(404, "no_index", "no index is served here: start with --index DIR")
        with trace.phase("read"):
            form = await aside(len(trace.body), forms.read_form, forms.SearchForm, trace.body, limits)
            if (form.query is None) == (form.base is None):
                raise ApiError(400, "invalid_input", "give either query or base", param="query")
            if form.k > limits.hits:
                raise ApiError(400, "too_many_items", f"k is {form.k}, at most {limits.hits}", param="k")
            index.check_mode(form.mode)
        if form.base is not None:
            base, text = read_vectors([form.base], engine.dim, 1)[0], None
        else:
            if isinstance(form.query, list):
                raise ApiError(400, "invalid_input", "query is a list: expected one item", param="query")
            given = await items_of(form.query, "text", trace)
            text = given[0].content if isinstance(given[0].content, str) else None
            job, _ = await encode(request, given, BASE, truncate=True)
            base = job.vectors[0]
        with trace.phase("search"):
            try:
                hits = await index.search(base, text, form)
            except (UnbraidError, ValueError) as error:  # a filter that means nothing, or a broken index
                status, code = (
                    (400, "invalid_input") if isinstance(error, ValueError) else (500, "index_failed")
                )
                raise ApiError(status, code, str(error)) from error
        answer = {
            "object": "list",
            "mode": form.mode,
            "data": hits,
            "base": base64.b64encode(base.tobytes()).decode(),
            "encoded": form.base is None,
            "usage": {"prompt_tokens": trace.tokens, "total_tokens": trace.tokens},
        }
        return _json(answer)

    @app.get(
        "/v1/pictures",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}},
        openapi_extra=_parameter("path", "query"),
    )
    async def indexed_picture(request: Request) -> Response:
        """A picture of the index, at most 512 pixels wide or high; no other file is ever read."""
        path = request.query_params.get("path")
        if index is None or path is None:
            raise ApiError(404, "not_found", "give ?path= of a picture in the index")
        content = await asyncio.get_running_loop().run_in_executor(readers, index.picture, path)
        return Response(content, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})

    def about(name: str) -> dict[str, object]:
        return {"id": name, "object": "model", "created": created, "owned_by": "unbraid"}

    @app.get("/v1/models", responses={200: {"model": forms.ModelsAnswer}})
    async def models() -> Response:
        """The model, and its name under each task for clients that cannot send `task`."""
        names = [engine.name, *settings.aliases]
        first = {
            **about(engine.name),
            "tasks": engine.tasks,
            "default_task": engine.default_task,
            "modalities": engine.modalities,
            "dimensions": engine.dims,
            "multi_vector": engine.multi_vector,
            "index": index is not None,
            **engine.about,
        }
        others = [*names[1:], *(f"{engine.name}:{task}" for task in engine.tasks)]
        return _json({"object": "list", "data": [first, *map(about, others)]})

    @app.get(
        "/v1/models/{name:path}",
        responses={200: {"model": forms.ModelAnswer}},
        openapi_extra=_parameter("name", "path"),
    )
    async def model(request: Request) -> Response:
        """One model."""
        return _json(about(forms.choose_task(engine, settings, request.path_params["name"], None)[0]))

    @app.get("/health", responses={200: {"model": forms.Health}})
    async def health() -> Response:
        """200 while the process answers."""
        return _json({"status": "ok"})

    @app.get("/ready", responses={200: {"model": forms.Health}})
    async def ready() -> Response:
        """200 while requests should be sent here: after warming up, until shutting down begins."""
        if not app.state.ready:
            raise ApiError(503, "not_ready", "warming up or shutting down")
        return _json({"status": "ready"})

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def show_metrics() -> Response:
        """Counters for Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        """The search page."""
        return FileResponse(PAGE, media_type="text/html", headers=_PAGE_HEADERS)

    app.add_middleware(Guard, settings=settings, metrics=metrics, in_flight=InFlight())
    if settings.origins:  # outside of the guard: a browser asks without a key first
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-request-id"],
            expose_headers=["server-timing", "x-request-id", "x-truncated-items", "retry-after"],
        )
    if settings.keys:
        _document_keys(app)
    return app


_PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def read_vectors(value: object, dim: int, most: int) -> np.ndarray:
    """float32 [n, dim] of lists of numbers or base64 strings. Raises ApiError 400."""

    def refuse(why: str) -> ApiError:
        return ApiError(
            400, "invalid_base", f"{why}: expected up to {most:,} base vectors of {dim} numbers", param="base"
        )

    if not isinstance(value, list) or not value or len(value) > most:
        raise refuse("base is no list of vectors, an empty or a longer one")
    rows = np.empty((len(value), dim), dtype=np.float32)
    for row, one in enumerate(value):
        try:
            if isinstance(one, str):
                vector = np.frombuffer(base64.b64decode(one, validate=True), dtype="<f4")
            elif isinstance(one, list) and all(type(number) in (int, float) for number in one):
                vector = np.array(one, dtype=np.float64)
            else:
                raise refuse(f"vector {row} is neither a list of numbers nor base64")
        except (ValueError, OverflowError) as error:
            raise refuse(f"vector {row} cannot be read ({error})") from error
        if vector.shape != (dim,):
            raise refuse(f"vector {row} has {vector.size} numbers")
        if not (np.abs(vector) < 1e18).all() or not vector.any():  # squares have to fit into float32 too
            raise refuse(f"vector {row} holds nothing but zeros, or a number that is not finite or over 1e18")
        rows[row] = vector
    return rows


def _embeddings(
    vectors: np.ndarray, form: str, model: str, tokens: int, headers: dict[str, str] | None
) -> Response:
    """The answer with float32 vectors [n, dim] as numbers, base64, or bits."""
    shown: Sequence[object]
    if form == "base64":
        shown = [base64.b64encode(row.tobytes()).decode() for row in vectors.astype("<f4", copy=False)]
    elif form in ("binary", "ubinary"):
        bits = np.packbits(vectors > 0, axis=1)
        # Jina's signed form is the byte minus 128, not its two's complement.
        shown = [row.tolist() for row in (bits if form == "ubinary" else bits.astype(np.int16) - 128)]
    else:
        shown = list(np.ascontiguousarray(vectors))
    data = [{"object": "embedding", "index": n, "embedding": one} for n, one in enumerate(shown)]
    return _answer(data, model, tokens, headers)


def _answer(
    data: list[dict[str, object]], model: str, tokens: int, headers: dict[str, str] | None
) -> Response:
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _json({"object": "list", "data": data, "model": model, "usage": usage}, headers)


def _json(value: object, headers: dict[str, str] | None = None) -> Response:
    return Response(
        orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json", headers=headers
    )


async def _disconnected(request: Request) -> None:
    """Return when the client has closed its connection; the body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _warm(engine: Engine) -> None:
    """Encode one text and one picture, so that the first request finds every graph open."""
    given = [Given(kind, "unbraid") for kind in TEXTS if kind in engine.modalities]
    for task in engine.tasks:
        engine.encode(engine.read(given, task)[0], False)
    if "image" in engine.modalities:
        from io import BytesIO

        from PIL import Image

        white = BytesIO()
        Image.new("RGB", (64, 64), "white").save(white, "PNG")
        picture = Given("image", white.getvalue(), (64, 64))
        engine.encode(engine.read([picture], engine.default_task)[0], False)


def _route(form: type[forms.Form], answer: type) -> dict[str, Any]:
    """The documentation of a route whose body is read by hand: FastAPI would read it without our limits."""
    schema = form.model_json_schema()
    return {
        "openapi_extra": {
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}
        },
        "responses": {200: {"model": answer}},
    }


def _parameter(name: str, place: str) -> dict[str, Any]:
    """The documentation of a parameter that is read by hand; FastAPI's own brings its form of errors."""
    return {"parameters": [{"name": name, "in": place, "required": True, "schema": {"type": "string"}}]}


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": forms.ErrorAnswer} for status in statuses}


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    refusal = of_status(error.status_code, None if error.detail is None else str(error.detail))
    request.scope["unbraid"].code = refusal.code
    return refusal.response(dict(error.headers or {}))


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    request.scope["unbraid"].code = error.code
    return error.response()


def _document_keys(app: FastAPI) -> None:
    """Say in the OpenAPI document that a key is needed."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        document = plain()
        document.setdefault("components", {})["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer"}
        }
        document["security"] = [{"key": []}]
        for path in ("/health", "/ready"):
            document["paths"][path]["get"]["security"] = []
        return document

    app.openapi = openapi  # type: ignore[method-assign]
