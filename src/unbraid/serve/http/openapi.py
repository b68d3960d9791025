"""`Endpoint`, a row of the table of routes, and the OpenAPI document made from the table."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from unbraid import __version__
from unbraid.serve.http.middleware import OPEN
from unbraid.serve.requests.schemas import ErrorResponse

ERRORS = (400, 401, 404, 405, 408, 413, 415, 421, 429, 500, 503)


@dataclass(frozen=True)
class Endpoint:
    """A documented route. The first line of the function's docstring is its summary."""

    method: str
    path: str
    function: Callable[[Request], Awaitable[Response]]
    response: type | str  # a struct, or the media type of anything but JSON
    body: type | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)  # name -> "path" or "query"

    def route(self) -> Route:
        """The route for Starlette."""
        return Route(self.path, self.function, methods=[self.method])


def openapi_document(endpoints: Sequence[Endpoint], *, needs_key: bool) -> dict[str, Any]:
    """The document of /openapi.json."""
    named = dict.fromkeys(one for endpoint in endpoints for one in (endpoint.body, endpoint.response))
    types = [ErrorResponse, *(one for one in named if isinstance(one, type))]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(types, schemas, strict=True))

    def content_of(one: type | str) -> dict[str, Any]:
        return {one: {}} if isinstance(one, str) else {"application/json": {"schema": schema_of[one]}}

    paths: dict[str, Any] = {}
    for endpoint in endpoints:
        path = endpoint.path.replace(":path}", "}")
        refused = {"description": "Refused", "content": content_of(ErrorResponse)}
        operation: dict[str, Any] = {
            "summary": (endpoint.function.__doc__ or "").partition("\n")[0],
            "operationId": endpoint.function.__name__,
            "responses": {
                "200": {"description": "OK", "content": content_of(endpoint.response)},
                **dict.fromkeys(map(str, ERRORS), refused),
            },
        }
        if endpoint.body is not None:
            operation["requestBody"] = {"required": True, "content": content_of(endpoint.body)}
        if endpoint.parameters:
            operation["parameters"] = [
                {"name": name, "in": place, "required": True, "schema": {"type": "string"}}
                for name, place in endpoint.parameters.items()
            ]
        if needs_key and path in OPEN:
            operation["security"] = []
        paths.setdefault(path, {})[endpoint.method.lower()] = operation
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "unbraid", "version": __version__},
        "paths": paths,
        "components": {"schemas": components},
    }
    if needs_key:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
    return document
