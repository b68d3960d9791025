"""The search page: / and the files that it loads, which lie in serve/page."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from unbraid.serve.http.errors import ApiError

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
# By name and read once: no path is ever made from a request, and all of them are 40 KB.
PARTS = {
    path.name: (path.read_bytes(), TYPES[path.suffix])
    for path in (Path(__file__).parent.parent / "page").iterdir()
    if path.suffix in TYPES
}
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


async def page(request: Request) -> Response:
    """The search page."""
    return _response("index.html")


async def part(request: Request) -> Response:
    """A script or the style of the page."""
    name = request.path_params["name"]
    if name not in PARTS:
        raise ApiError(404, "not_found", "the page has no such file")
    return _response(name)


def _response(name: str) -> Response:
    content, kind = PARTS[name]
    return Response(content, media_type=kind, headers=HEADERS)
