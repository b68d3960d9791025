"""Searching the index: /v1/search."""

import base64
from collections.abc import Sequence

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from unbraid.errors import ItemError
from unbraid.items import Code
from unbraid.mix import check_weights, joined_words, mix_vectors, shared_weights
from unbraid.runtime.routing import query_side
from unbraid.serve.context import body_of, client_gone, context_of, stats_of
from unbraid.serve.engine.engine import BASE, RequestItem, TextEncoder
from unbraid.serve.http.errors import ApiError
from unbraid.serve.http.responses import json_response
from unbraid.serve.requests.base_vectors import read_vectors
from unbraid.serve.requests.schemas import SearchRequest, SearchResponse, Usage, read_request
from unbraid.serve.requests.text_encoder import choose_encoder
from unbraid.serve.routes.encoding import encode_items, read_items


async def search(request: Request) -> Response:
    """The best hits of the index for a query of one item or several, or for the base vector of one, in any search mode."""
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
        if asked.own is not None and asked.base is None:
            raise ApiError(400, "invalid_input", "own goes with the base of the same answer", param="own")
        side = query_side(index.modes[asked.mode])
        encoder = choose_encoder(
            context.engine, asked.tier, asked.query_language, side, field="query_language"
        )
    items = [] if asked.query is None else await read_items(request, asked.query, "text")
    weights = _weights(asked, items)
    words = None if asked.vectors_only else joined_words([item.content for item in items], weights)
    if asked.base is not None:
        base = read_vectors([asked.base], context.engine.dim, 1)
    else:
        base = await _encode(request, asked, items, weights, encoder)
    if asked.own is not None:
        own: np.ndarray | None = read_vectors([asked.own], context.engine.dim, 1, field="own")
    else:
        own = await _own_vector(request, asked, items, weights, encoder)
    with stats.phase("search"), client_gone(request) as gone:
        hits = await index.search(base, own, words, _text(items), asked, gone=gone, limits=limits)
    usage = Usage(stats.tokens, stats.tokens)
    sent_own = None if own is None else _sent(own)
    return json_response(SearchResponse(asked.mode, hits, _sent(base), asked.base is None, usage, sent_own))


def _text(items: Sequence[RequestItem]) -> str | None:
    """The query itself where it is one text or code, which a second look is possible for."""
    if len(items) != 1 or not isinstance(items[0].content, str):
        return None
    return Code(items[0].content) if items[0].kind == "code" else items[0].content


def _sent(vector: np.ndarray) -> str:
    return base64.b64encode(vector.tobytes()).decode()


def _weights(asked: SearchRequest, items: Sequence[RequestItem]) -> Sequence[float]:
    """The weight of each item of a query. Raises ApiError 400 for weights that do not fit, and for token ids."""
    if any(isinstance(item.content, list) for item in items):
        raise ApiError(
            400, "invalid_input", "query holds token ids: expected texts or pictures", param="query"
        )
    if asked.weights is None:
        return shared_weights([item.kind == "image" for item in items])
    if not isinstance(asked.query, list):
        message = "weights go with a query that is a list, one for each item"
        raise ApiError(400, "invalid_input", message, param="weights")
    try:
        return check_weights(asked.weights, len(items))
    except ItemError as error:
        raise _refused_weights(error) from error


def _refused_weights(error: ItemError) -> ApiError:
    return ApiError(400, "invalid_input", str(error), param="weights")


async def _encode(
    request: Request,
    asked: SearchRequest,
    items: Sequence[RequestItem],
    weights: Sequence[float],
    encoder: TextEncoder,
) -> np.ndarray:
    """The base vector [1, dim] of a query. Raises ApiError 400 where the items of one cancel out."""
    base, _ = await encode_items(request, items, BASE, truncate=True, encoder=encoder)
    if not isinstance(asked.query, list):
        return base
    try:
        return mix_vectors(base, weights)[None]
    except ItemError as error:
        raise _refused_weights(error) from error


async def _own_vector(
    request: Request,
    asked: SearchRequest,
    items: Sequence[RequestItem],
    weights: Sequence[float],
    encoder: TextEncoder,
) -> np.ndarray | None:
    """The query as the tier of many languages encodes it, where the index holds texts of that tier and none was named."""
    index = context_of(request).index
    if index is None or encoder.tier or not items or (tier := await index.own_tier()) is None:
        return None
    return await _encode(request, asked, items, weights, TextEncoder(tier, None, encoder.side))
