"""The served models, health and metrics: /v1/models, /health, /ready and /metrics."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from unbraid.serve.context import context_of
from unbraid.serve.http.errors import ApiError
from unbraid.serve.http.metrics import CONTENT_TYPE
from unbraid.serve.http.responses import json_response
from unbraid.serve.requests.model_name import choose_task
from unbraid.serve.requests.schemas import Health, Model


async def models(request: Request) -> Response:
    """The model, and its name under each task for clients that cannot send `task`."""
    context = context_of(request)
    engine = context.engine
    first = {
        **msgspec.to_builtins(Model(engine.name, context.created)),
        "tasks": engine.tasks,
        "default_task": engine.default_task,
        "modalities": engine.modalities,
        "dimensions": engine.dims,
        "multi_vector": engine.multi_vector,
        "index": context.index is not None,
        **engine.about,
    }
    names = [*context.settings.aliases, *(f"{engine.name}:{task}" for task in engine.tasks)]
    others = [Model(name, context.created) for name in names]
    return json_response({"object": "list", "data": [first, *others]})


async def model(request: Request) -> Response:
    """One model."""
    context = context_of(request)
    name, _, _ = choose_task(context.engine, context.settings, request.path_params["name"], None)
    return json_response(Model(name, context.created))


async def health(request: Request) -> Response:
    """200 while the process answers."""
    return json_response(Health("ok"))


async def ready(request: Request) -> Response:
    """200 from the end of warming up until shutting down begins: send requests only then."""
    if not context_of(request).ready:
        raise ApiError(503, "not_ready", "warming up or shutting down")
    return json_response(Health("ready"))


async def metrics(request: Request) -> Response:
    """Counters for Prometheus."""
    return Response(context_of(request).metrics.text(), media_type=CONTENT_TYPE)
