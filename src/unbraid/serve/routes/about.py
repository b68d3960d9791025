"""What is served, how it does, and the page: /v1/models, /health, /ready, /metrics and /."""

from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, Response

from unbraid.serve.context import PlainRoute, Served, served_by
from unbraid.serve.http.errors import ApiError
from unbraid.serve.http.metrics import CONTENT_TYPE
from unbraid.serve.http.openapi import parameter
from unbraid.serve.http.responses import json_answer
from unbraid.serve.requests import schemas as forms

PAGE = Path(__file__).with_name("page.html")
PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}

router = APIRouter(route_class=PlainRoute)


@router.get("/v1/models", responses={200: {"model": forms.ModelsAnswer}})
async def models(request: Request) -> Response:
    """The model, and its name under each task for clients that cannot send `task`."""
    served = served_by(request)
    engine = served.engine
    first = {
        **_about(served, engine.name),
        "tasks": engine.tasks,
        "default_task": engine.default_task,
        "modalities": engine.modalities,
        "dimensions": engine.dims,
        "multi_vector": engine.multi_vector,
        "index": served.index is not None,
        **engine.about,
    }
    others = [*served.settings.aliases, *(f"{engine.name}:{task}" for task in engine.tasks)]
    return json_answer({"object": "list", "data": [first, *(_about(served, name) for name in others)]})


@router.get(
    "/v1/models/{name:path}",
    responses={200: {"model": forms.ModelAnswer}},
    openapi_extra=parameter("name", "path"),
)
async def model(request: Request) -> Response:
    """One model."""
    served = served_by(request)
    name, _, _ = forms.choose_task(served.engine, served.settings, request.path_params["name"], None)
    return json_answer(_about(served, name))


@router.get("/health", responses={200: {"model": forms.Health}})
async def health(request: Request) -> Response:
    """200 while the process answers."""
    return json_answer({"status": "ok"})


@router.get("/ready", responses={200: {"model": forms.Health}})
async def ready(request: Request) -> Response:
    """200 while requests should be sent here: after warming up, until shutting down begins."""
    if not request.app.state.ready:
        raise ApiError(503, "not_ready", "warming up or shutting down")
    return json_answer({"status": "ready"})


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def show_metrics(request: Request) -> Response:
    """Counters for Prometheus."""
    return Response(served_by(request).metrics.text(), media_type=CONTENT_TYPE)


@router.get("/", include_in_schema=False)
async def page(request: Request) -> Response:
    """The search page."""
    return FileResponse(PAGE, media_type="text/html", headers=PAGE_HEADERS)


def _about(served: Served, name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": served.created, "owned_by": "unbraid"}
