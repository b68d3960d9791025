"""The members of a joined teacher: what each is called, where its weights are, how it reads a text."""

from collections.abc import Mapping
from dataclasses import dataclass

from unbraid.teacher.inputs import Pooling
from unbraid.teacher.routes import PLAIN, Route, Routes


@dataclass(frozen=True)
class MemberSpec:
    """One pre-trained encoder and everything that decides its vectors."""

    name: str
    hub_id: str
    revision: str  # commit on the hub
    dim: int
    max_tokens: int
    routes: Routes  # the prompts of each task
    english: bool  # reads English alone: of a text in another language it gets the English side
    splits_code: bool  # puts a space at the humps of camelCase names before code is cut into pieces
    weight: float  # length of its block in the joined vector, before normalizing
    licence: str
    pooling: Pooling = "mean"


# multilingual-e5 was trained with two prefixes: "query: " and "passage: ", and "query: " on both sides for similarity.
# The code task is the query route for words and the passage route for code, so two stored vectors answer four tasks.
E5_ROUTES: Routes = {
    "query": Route("query", None, "query: ", "query: "),
    "document": Route("passage", None, "passage: ", "passage: "),
    "symmetric": Route("query", None, "query: ", "query: "),
    "code": Route("code", None, "query: ", "passage: "),
}

E5 = MemberSpec(
    name="e5",
    hub_id="intfloat/multilingual-e5-small",
    revision="614241f622f53c4eeff9890bdc4f31cfecc418b3",
    dim=384,
    max_tokens=512,
    routes=E5_ROUTES,
    english=False,
    splits_code=False,
    weight=1.0,
    licence="MIT",
)
MPNET = MemberSpec(
    name="mpnet",
    hub_id="sentence-transformers/all-mpnet-base-v2",
    revision="e8c3b32edf5434bc2275fc9bab85f82640a19130",
    dim=768,
    max_tokens=384,
    routes=PLAIN,
    english=True,
    splits_code=True,
    weight=1.0,
    licence="Apache-2.0",
)
MINILM = MemberSpec(
    name="minilm",
    hub_id="sentence-transformers/all-MiniLM-L6-v2",
    revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
    dim=384,
    max_tokens=256,
    routes=PLAIN,
    english=True,
    splits_code=True,
    weight=0.5,
    licence="Apache-2.0",
)
MEMBERS: Mapping[str, MemberSpec] = {spec.name: spec for spec in (E5, MPNET, MINILM)}


def stored_routes(routes: Routes) -> dict[str, str]:
    """The routes whose vectors a label store needs, each with a task that asks for it: together they hold every prompt.

    A route is left out when its prompt for texts and its prompt for code are both prompts of other routes.
    """
    kept: dict[str, tuple[str, Route]] = {}
    for task, route in routes.items():
        held = [other for _, other in kept.values() if other.adapter == route.adapter]
        known_text = any(other.prompt == route.prompt for other in held)
        known_code = any(other.code_prompt == route.code_prompt for other in held)
        if not (known_text and known_code):
            kept.setdefault(route.name, (task, route))
    return {name: task for name, (task, _) in kept.items()}


def stored_route_of(routes: Routes, task: str, modality: str) -> str:
    """The stored route whose vector answers `task` for an item of `modality`, "text" or "code"."""
    asked = routes[task]
    for name, other_task in stored_routes(routes).items():
        other = routes[other_task]
        same = other.code_prompt == asked.code_prompt if modality == "code" else other.prompt == asked.prompt
        if same and other.adapter == asked.adapter:
            return name
    raise AssertionError(f"{task}: no stored route has its prompt")  # stored_routes keeps one for each
