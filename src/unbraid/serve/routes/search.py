"""Searching the index, and thumbnails of its pictures: /v1/search and /v1/pictures."""

import base64
from collections.abc import Sequence

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from unbraid.serve.context import INLINE, body_of, client_gone, context_of, stats_of
from unbraid.serve.engine.engine import BASE, RequestItem, TextEncoder
from unbraid.serve.http.errors import ApiError
from unbraid.serve.http.responses import json_response
from unbraid.serve.requests.base_vectors import read_vectors
from unbraid.serve.requests.schemas import SearchRequest, SearchResponse, Usage, read_request
from unbraid.serve.requests.text_encoder import choose_encoder
from unbraid.serve.routes.encoding import encode_items, read_items


async def search(request: Request) -> Response:
    """The best hits of the index for a query, or for the base vector of one, in any search mode."""
    context, stats, body = context_of(request), stats_of(request), body_of(request)
    index, limits = context.index, context.limits
    if index is None:
        raise ApiError(404, "no_index", "no index is served here: start with --index DIR")
    with stats.phase("read"):
        asked = await context.offload(len(body), read_request, SearchRequest, body, limits)
        if asked.query is None and asked.base is None:
            message = "give a query, or the base vector of one as base"
            raise ApiError(400, "invalid_input", message, param="query")
        if asked.k > limits.hits:
            raise ApiError(400, "too_many_items", f"k is {asked.k}, at most {limits.hits}", param="k")
        if asked.mode not in index.modes:
            message = f"unknown mode {asked.mode[:50]!r}: expected one of {', '.join(index.modes)}"
            raise ApiError(400, "invalid_mode", message, param="mode")
        encoder = choose_encoder(
            context.engine, asked.tier, asked.query_language, "query", field="query_language"
        )
    if isinstance(asked.query, list):
        raise ApiError(400, "invalid_input", "query is a list: expected one item", param="query")
    items = [] if asked.query is None else await read_items(request, asked.query, "text")
    words = (
        None
        if asked.vectors_only
        else next((item.content for item in items if isinstance(item.content, str)), None)
    )
    if asked.base is not None:
        base = read_vectors([asked.base], context.engine.dim, 1)
    else:
        base, _ = await encode_items(request, items, BASE, truncate=True, encoder=encoder)
    own = await _own_vector(request, items, encoder)
    with stats.phase("search"), client_gone(request) as gone:
        hits = await index.search(base, own, words, asked, gone=gone, most_seconds=limits.queue_seconds)
    sent_base = base64.b64encode(base.tobytes()).decode()
    usage = Usage(stats.tokens, stats.tokens)
    return json_response(SearchResponse(asked.mode, hits, sent_base, asked.base is None, usage))


async def _own_vector(
    request: Request, items: Sequence[RequestItem], encoder: TextEncoder
) -> np.ndarray | None:
    """The query as the tier of many languages encodes it, where the index holds texts of that tier and none was named."""
    index = context_of(request).index
    tier = index.own_tier if index else None
    if tier is None or encoder.tier or not items:
        return None
    vector, _ = await encode_items(
        request, items, BASE, truncate=True, encoder=TextEncoder(tier, None, "query")
    )
    return vector


async def indexed_picture(request: Request) -> Response:
    """A picture of the index, at most 512 pixels wide or high; no other file is ever read."""
    context, path = context_of(request), request.query_params.get("path")
    if context.index is None or path is None:
        raise ApiError(404, "not_found", "give ?path= of a picture in the index")
    content = await context.offload(INLINE, context.index.thumbnail, path)  # always in a thread
    return Response(content, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})
