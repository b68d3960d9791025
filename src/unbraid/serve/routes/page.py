"""The search page: / and the files that it loads, which lie in serve/page."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from unbraid.serve.http.errors import ApiError

FOLDER = Path(__file__).parent.parent / "page"
TYPES = {".css": "text/css", ".js": "text/javascript"}
# By name, so that no path is ever made from a request.
PARTS = {path.name: path for path in FOLDER.iterdir() if path.suffix in TYPES}
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


async def page(request: Request) -> Response:
    """The search page."""
    return FileResponse(FOLDER / "index.html", media_type="text/html", headers=HEADERS)


async def part(request: Request) -> Response:
    """A script or the style of the page."""
    path = PARTS.get(request.path_params["name"])
    if path is None:
        raise ApiError(404, "not_found", "the page has no such file")
    return FileResponse(path, media_type=TYPES[path.suffix], headers=HEADERS)
