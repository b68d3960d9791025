"""Vectors of items, and task vectors of stored base vectors: /v1/embeddings and /v1/map."""

from starlette.requests import Request
from starlette.responses import Response

from unbraid.serve.context import body_of, context_of, stats_of
from unbraid.serve.engine.bundle_engine import BundleEngine
from unbraid.serve.engine.engine import BASE
from unbraid.serve.http.errors import ApiError
from unbraid.serve.http.responses import embeddings_response
from unbraid.serve.requests.base_vectors import read_vectors
from unbraid.serve.requests.model_name import choose_task
from unbraid.serve.requests.schemas import EmbeddingsRequest, MapRequest, read_request
from unbraid.serve.requests.text_encoder import choose_encoder
from unbraid.serve.routes.encoding import encode_items, read_items
from unbraid.vectors import truncate


async def embeddings(request: Request) -> Response:
    """Vectors of texts, code and pictures, in OpenAI's or Jina's form."""
    context, stats, body = context_of(request), stats_of(request), body_of(request)
    engine, settings = context.engine, context.settings
    with stats.phase("read"):
        asked = await context.offload(len(body), read_request, EmbeddingsRequest, body, context.limits)
        model, task, plain = choose_task(engine, settings, asked.model, asked.task, asked.dimensions)
        encoder = choose_encoder(engine, asked.tier, asked.language)
        encoding = asked.embedding_type or asked.encoding_type or asked.encoding_format or "float"
        if asked.normalized is False:
            raise ApiError(400, "literal_error", "normalized: expected true", param="normalized")
        if asked.late_chunking:
            raise ApiError(400, "literal_error", "late_chunking: expected false", param="late_chunking")
        multi = bool(asked.return_multivector)
        if multi:
            for field, is_wrong, why in (
                (
                    "return_multivector",
                    not engine.multi_vector,
                    f"no tier of {engine.name} has multi-vectors",
                ),
                ("dimensions", asked.dimensions is not None, "a multi-vector has no shorter form"),
                ("embedding_type", encoding != "float", "multi-vectors are sent as numbers"),
            ):
                if is_wrong:
                    raise ApiError(400, "unsupported", why, param=field)
            encoding = "multi"
    items = await read_items(request, asked.input, plain)
    may_cut = settings.truncate if asked.truncate is None else asked.truncate
    vectors, cut = await encode_items(request, items, task, truncate=may_cut, multi=multi, encoder=encoder)
    headers = {"x-truncated-items": str(len(cut))} if cut else None
    if asked.dimensions is not None:
        vectors = truncate(vectors, asked.dimensions, engine.dims)
    size = sum(one.size for one in vectors)
    return await context.offload(size, embeddings_response, vectors, encoding, model, stats.tokens, headers)


async def map_base(request: Request) -> Response:
    """Task vectors of stored base vectors; nothing is encoded."""
    context, stats, body = context_of(request), stats_of(request), body_of(request)
    engine, size = context.engine, len(body)
    if not isinstance(engine, BundleEngine):
        raise ApiError(400, "unsupported", "a teacher has no base vectors: every task is encoded anew")
    with stats.phase("read"):
        asked = await context.offload(size, read_request, MapRequest, body, context.limits)
        model, task, _ = choose_task(engine, context.settings, asked.model, asked.task, asked.dimensions)
        stats.task = task
        vectors = await context.offload(size, read_vectors, asked.base, engine.dim, context.limits.items)
    with stats.phase("map"):
        if task != BASE:
            vectors = await context.offload(vectors.size, engine.embedder.map, vectors, task)
        if asked.dimensions is not None:
            vectors = truncate(vectors, asked.dimensions, engine.dims)
    encoding = asked.encoding_format or "float"
    return await context.offload(vectors.size, embeddings_response, vectors, encoding, model, 0)
