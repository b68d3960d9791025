"""Which prompt of a model is which task of ours."""

from collections.abc import Mapping
from pathlib import Path

from unbraid.errors import AdoptError
from unbraid.tasks import TASKS

# Task -> names, in small letters, under which models keep the prompt for it; the first that a model has counts.
NAMES = {
    "query": ("query", "search_query", "retrieval.query", "retrieval-query", "s2p_query", "web_search_query"),
    "document": (
        "document",
        "passage",
        "corpus",
        "search_document",
        "retrieval.passage",
        "retrieval-document",
    ),
    "symmetric": ("symmetric", "sts", "similarity", "text-matching", "s2s_query", "semantic-similarity"),
    "code": ("code", "instructioncode"),
}


def task_prompts(
    path: Path, prompts: Mapping[str, str], default: str | None, chosen: Mapping[str, str]
) -> dict[str, str]:
    """Task -> prompt, from a model's `prompts` by name, which the file at `path` holds; empty ones are left out.

    `chosen` says by task which name to take, and then the names that it leaves out are no fault. `default` is the name
    of the prompt that the model puts before a text without a task, which is ours for symmetric. Raises AdoptError for a
    name that no task knows.
    """
    for task, name in chosen.items():
        if task not in TASKS or name not in prompts:
            raise AdoptError(
                f"--prompt {task}={name}: expected one of the tasks {', '.join(TASKS)} and one of the prompts "
                f"{', '.join(map(repr, prompts))} of {path}"
            )
    found = {task: prompts[name] for task, name in chosen.items()}
    lower = {name.lower(): text for name, text in prompts.items()}
    known = {name for names in NAMES.values() for name in names}
    if not chosen and (
        unknown := sorted(name for name in prompts if name.lower() not in known and name != default)
    ):
        raise AdoptError(
            f"{path}: the prompts {', '.join(map(repr, unknown))} belong to no task that a bundle has. Known names: "
            + "; ".join(f"{task}: {', '.join(names)}" for task, names in NAMES.items())
            + ". Say which to use, such as --prompt query=NAME --prompt document=NAME; the others are left out"
        )
    for task, names in NAMES.items():
        for name in names:
            if name in lower:
                found.setdefault(task, lower[name])
    if default is not None and default in prompts:
        found.setdefault("symmetric", prompts[default])
    return {task: found[task] for task in TASKS if found.get(task)}
