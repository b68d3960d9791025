"""The model, task and dimensions that a request asks for."""

from collections.abc import Mapping

from unbraid.items import Modality
from unbraid.serve.engine.engine import Engine
from unbraid.serve.http.errors import ApiError
from unbraid.serve.settings import Settings

# Jina's names of tasks -> (ours, the modality of plain strings where the name tells it).
JINA_TASKS: Mapping[str, tuple[str, Modality | None]] = {
    "retrieval": ("query", None),
    "retrieval.query": ("query", None),
    "retrieval.passage": ("document", None),
    "text-matching": ("symmetric", None),
    "code.query": ("code", None),
    "code.passage": ("code", "code"),
}


def choose_task(
    engine: Engine, settings: Settings, model: str | None, task: str | None, dimensions: int | None = None
) -> tuple[str, str, Modality]:
    """(model, task, modality of plain strings); the task stands in `task` or in the model's name, as `model:task`.

    Raises ApiError 404 for another model, 400 for another task or number of dimensions.
    """
    names = (engine.name, *settings.aliases)
    if model is not None and model not in names:
        name, _, suffix = model.rpartition(":")
        if name not in names:
            raise ApiError(
                404,
                "model_not_found",
                f"the model {model[:100]!r} is not served here: expected {', '.join(names)}, or one of them with :task; "
                "the server's --alias NAME adds a name",
                param="model",
            )
        if task is not None and task != suffix:
            message = f"the model says {suffix[:50]!r}, task {task[:50]!r}"
            raise ApiError(400, "invalid_task", message, param="task")
        task = suffix
    wanted, kind = JINA_TASKS.get(task or "", (task, None))
    wanted = wanted or engine.default_task
    if wanted not in engine.tasks:
        known = ", ".join((*engine.tasks, *JINA_TASKS))
        message = f"unknown task {wanted[:50]!r}: expected one of {known}"
        raise ApiError(400, "invalid_task", message, param="task")
    if dimensions is not None and dimensions not in engine.dims:
        message = f"dimensions is {dimensions}: expected one of {', '.join(map(str, engine.dims))}"
        raise ApiError(400, "invalid_dimensions", message, param="dimensions")
    return model or engine.name, wanted, kind or "text"
