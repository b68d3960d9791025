"""Searching the index, and its pictures: /v1/search and /v1/pictures."""

import asyncio
import base64

from fastapi import APIRouter, Request
from starlette.responses import Response

from unbraid.errors import UnbraidError
from unbraid.serve.context import PlainRoute, client_gone, served_by, trace_of
from unbraid.serve.engine.encoding import encode, items_of
from unbraid.serve.engine.engine import BASE
from unbraid.serve.http.errors import ApiError
from unbraid.serve.http.openapi import parameter, takes
from unbraid.serve.http.responses import json_answer
from unbraid.serve.requests import schemas as forms
from unbraid.serve.requests.base_vectors import read_vectors

router = APIRouter(route_class=PlainRoute)


@router.post("/v1/search", **takes(forms.SearchForm, forms.SearchAnswer))
async def search(request: Request) -> Response:
    """The best of the index for a query, or for the base vector of one, under any search mode."""
    served, trace = served_by(request), trace_of(request)
    index, limits = served.index, served.limits
    if index is None:
        raise ApiError(404, "no_index", "no index is served here: start with --index DIR")
    with trace.phase("read"):
        form = await served.aside(len(trace.body), forms.read_form, forms.SearchForm, trace.body, limits)
        if (form.query is None) == (form.base is None) and not (form.query is not None and form.hybrid):
            raise ApiError(
                400, "invalid_input", "give either query or base, both in a hybrid search", param="query"
            )
        if form.k > limits.hits:
            raise ApiError(400, "too_many_items", f"k is {form.k}, at most {limits.hits}", param="k")
        index.check_mode(form.mode)
    if isinstance(form.query, list):
        raise ApiError(400, "invalid_input", "query is a list: expected one item", param="query")
    given = [] if form.query is None else await items_of(request, form.query, "text")
    text = next((one.content for one in given if isinstance(one.content, str)), None)
    if form.base is not None:
        base = read_vectors([form.base], served.engine.dim, 1)[0]
    else:
        job, _ = await encode(request, given, BASE, truncate=True)
        base = job.vectors[0]
    with trace.phase("search"), client_gone(request) as gone:
        try:
            hits = await index.search(base, text, form, gone=gone, patience=limits.queue_seconds)
        except UnbraidError as error:  # a broken index
            raise ApiError(500, "index_failed", str(error)) from error
    return json_answer(
        {
            "object": "list",
            "mode": form.mode,
            "data": hits,
            "base": base64.b64encode(base.tobytes()).decode(),
            "encoded": form.base is None,
            "usage": {"prompt_tokens": trace.tokens, "total_tokens": trace.tokens},
        }
    )


@router.get(
    "/v1/pictures",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}},
    openapi_extra=parameter("path", "query"),
)
async def indexed_picture(request: Request) -> Response:
    """A picture of the index, at most 512 pixels wide or high; no other file is ever read."""
    served = served_by(request)
    path = request.query_params.get("path")
    if served.index is None or path is None:
        raise ApiError(404, "not_found", "give ?path= of a picture in the index")
    content = await asyncio.get_running_loop().run_in_executor(served.readers, served.index.picture, path)
    return Response(content, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})
