"""Vectors of items, and of base vectors that were made before: /v1/embeddings and /v1/map."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from unbraid.serve.context import PlainRoute, served_by, trace_of
from unbraid.serve.engine.encoding import encode, items_of
from unbraid.serve.engine.engine import BASE, BundleEngine, Engine, shorten
from unbraid.serve.http.errors import ApiError
from unbraid.serve.http.openapi import takes
from unbraid.serve.http.responses import multi_vectors_answer, vectors_answer
from unbraid.serve.requests import schemas as forms
from unbraid.serve.requests.base_vectors import read_vectors

router = APIRouter(route_class=PlainRoute)


@router.post("/v1/embeddings", **takes(forms.EmbeddingsForm, forms.EmbeddingsAnswer))
async def embeddings(request: Request) -> Response:
    """Vectors of texts, code and pictures, in OpenAI's or Jina's form."""
    served, trace = served_by(request), trace_of(request)
    engine, settings = served.engine, served.settings
    with trace.phase("read"):
        form = await served.aside(
            len(trace.body), forms.read_form, forms.EmbeddingsForm, trace.body, served.limits
        )
        model, task, plain = forms.choose_task(engine, settings, form.model, form.task)
        dim = forms.check_dimensions(engine, form.dimensions)
        form_of_vectors = form.embedding_type or form.encoding_format or "float"
        multi = bool(form.return_multivector)
        if multi:
            _check_multi_vector(engine, dim, form_of_vectors)
    given = await items_of(request, form.input, plain)
    truncate = settings.truncate if form.truncate is None else form.truncate
    job, cut = await encode(request, given, task, truncate=truncate, multi=multi)
    headers = {"x-truncated-items": str(len(cut))} if cut else None
    if multi:
        size = sum(one.size for one in job.vectors)
        return await served.aside(size, multi_vectors_answer, job.vectors, model, trace.tokens, headers)
    vectors = shorten(job.vectors, dim, engine.dims)
    return await served.aside(
        vectors.size, vectors_answer, vectors, form_of_vectors, model, trace.tokens, headers
    )


@router.post("/v1/map", **takes(forms.MapForm, forms.EmbeddingsAnswer))
async def map_base(request: Request) -> Response:
    """Task vectors of stored base vectors: nothing is encoded."""
    served, trace = served_by(request), trace_of(request)
    engine, size = served.engine, len(trace.body)
    if not isinstance(engine, BundleEngine):
        raise ApiError(400, "unsupported", "a teacher has no base vectors: every task is encoded anew")
    with trace.phase("read"):
        form = await served.aside(size, forms.read_form, forms.MapForm, trace.body, served.limits)
        model, task, _ = forms.choose_task(engine, served.settings, form.model, form.task)
        trace.task = task
        dim = forms.check_dimensions(engine, form.dimensions)
        base = await served.aside(size, read_vectors, form.base, engine.dim, served.limits.items)
    with trace.phase("map"):
        mapped = base if task == BASE else await served.aside(base.size, engine.embedder.map, base, task)
    vectors = shorten(mapped, dim, engine.dims)
    return await served.aside(
        vectors.size, vectors_answer, vectors, form.encoding_format or "float", model, 0, None
    )


def _check_multi_vector(engine: Engine, dim: int | None, form_of_vectors: str) -> None:
    """Raise ApiError 400 for what does not go with return_multivector."""
    if not engine.multi_vector:
        raise ApiError(400, "unsupported", f"{engine.name} has no multi-vectors", param="return_multivector")
    if dim is not None:
        raise ApiError(400, "unsupported", "a multi-vector has no shorter form", param="dimensions")
    if form_of_vectors != "float":
        raise ApiError(400, "unsupported", "multi-vectors are sent as numbers", param="embedding_type")
