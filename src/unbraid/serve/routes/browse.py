"""What the index holds: /v1/status, /v1/facets, thumbnails (/v1/pictures) and whole files (/v1/files)."""

from pathlib import PurePosixPath
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from unbraid.serve.context import INLINE, Context, body_of, context_of
from unbraid.serve.http.errors import ApiError
from unbraid.serve.http.responses import json_response
from unbraid.serve.requests.schemas import FacetsRequest, read_request
from unbraid.serve.routes.index_search import IndexSearch

# What a browser shows and what cannot run a script there. Any other file is text, or saved.
SHOWN = {
    **{f".{kind}": f"image/{kind}" for kind in ("png", "jpeg", "gif", "webp", "avif", "bmp")},
    ".jpg": "image/jpeg",
    ".pdf": "application/pdf",
}


async def status(request: Request) -> Response:
    """How much the index holds now."""
    context = context_of(request)
    index = _index(context)
    return json_response(await index.run(lambda: index.status(context.limits.hits)))


async def facets(request: Request) -> Response:
    """Folders and languages that a search can be narrowed to, with the number of chunks in each."""
    context, body = context_of(request), body_of(request)
    index = _index(context)
    asked = read_request(FacetsRequest, body, context.limits)
    return json_response(await index.run(lambda: index.facets(asked)))


async def indexed_picture(request: Request) -> Response:
    """A picture of the index, at most 512 pixels wide or high; no other file is ever read."""
    context, path = context_of(request), _path(request)
    content = await context.offload(INLINE, _index(context).thumbnail, path)  # always in a thread
    return Response(content, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})


async def indexed_file(request: Request) -> Response:
    """A file of the index as it was indexed; no other file is ever read."""
    context, path = context_of(request), _path(request)
    content = await context.offload(INLINE, _index(context).file, path)
    kind = SHOWN.get(PurePosixPath(path).suffix.lower()) or _text_kind(content)
    headers = {"cache-control": "private, no-cache"}
    if kind != "application/pdf":  # a browser's own viewer of PDFs does not start in a sandbox
        headers["content-security-policy"] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    name = quote(PurePosixPath(path).name)
    place = "attachment" if kind == "application/octet-stream" else "inline"
    headers["content-disposition"] = f"{place}; filename*=UTF-8''{name}"
    return Response(content, media_type=kind, headers=headers)


def _text_kind(content: bytes) -> str:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "text/plain; charset=utf-8"


def _index(context: Context) -> IndexSearch:
    if context.index is None:
        raise ApiError(404, "no_index", "no index is served here: start with --index DIR")
    return context.index


def _path(request: Request) -> str:
    path = request.query_params.get("path")
    if path is None:
        raise ApiError(404, "not_found", "give ?path= of a file in the index")
    return path
