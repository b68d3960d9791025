"""Which adapter and which prompt answer each task."""

from collections.abc import Mapping
from dataclasses import dataclass

from unbraid.errors import ItemError
from unbraid.tasks import TASKS

TASK_ADAPTERS = ("retrieval", "text-matching", "code")  # in the order of the published task_names


@dataclass(frozen=True)
class Route:
    """One way through a teacher: its adapter, and the prompt in front of an item's text."""

    name: str
    adapter: str | None  # None: the backbone as it is
    prompt: str = ""  # before a text
    code_prompt: str = ""  # before a code snippet


Routes = Mapping[str, Route]  # of each task

# The names are those of the published task enumeration; pictures have one fixed prompt instead (qwen.py).
JINA_V4: Routes = {
    "query": Route("retrieval.query", "retrieval", "Query: ", "Query: "),
    "document": Route("retrieval.passage", "retrieval", "Passage: ", "Passage: "),
    "symmetric": Route("text-matching", "text-matching", "Query: ", "Query: "),
    "code": Route("code", "code", "Query: ", "Passage: "),
}
# all-MiniLM-L6-v2 was trained without prompts, so its adapters have none either.
STARTER: Routes = {
    "query": Route("retrieval", "retrieval"),
    "document": Route("retrieval", "retrieval"),
    "symmetric": Route("text-matching", "text-matching"),
    "code": Route("code", "code"),
}
PLAIN: Routes = {task: Route("plain", None) for task in TASKS}


def route_of(routes: Routes, task: str) -> Route:
    """The route of `task`. Raises ItemError for a task that is not one of them."""
    if task not in routes:
        raise ItemError(f"unknown task {task!r}: expected one of {', '.join(routes)}")
    return routes[task]
