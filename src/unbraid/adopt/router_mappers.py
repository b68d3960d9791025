"""Mappers that a model of sentence-transformers carries: `unbraid export-st` writes them, as a router that comes last."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from unbraid.tasks import TASKS


def without_mappers(model: Any) -> tuple[Any, Mapping[str, np.ndarray]]:
    """The model up to its base vectors, and by task the matrix [dim, dim] that its last module applies to them.

    Where the last module is no router of linear layers after vectors of unit length, the model as it is, and no matrix.
    """
    *first, last = model
    if not first or type(last).__name__ != "Router" or last.route_mappings or not _unit_length(first[-1]):
        return model, {}
    routes = last.sub_modules
    matrices = {task: _matrix(list(routes[task])) for task in TASKS if task in routes}
    if not {"query", "document"} <= matrices.keys() or any(one is None for one in matrices.values()):
        return model, {}
    from sentence_transformers import SentenceTransformer

    base = SentenceTransformer(
        modules=first,
        device="cpu",
        prompts=model.prompts,
        default_prompt_name=model.default_prompt_name,
        similarity_fn_name=model.similarity_fn_name,
    )
    return base.eval(), {task: one for task, one in matrices.items() if one is not None and one.size}


def _unit_length(module: Any) -> bool:
    if type(module).__name__ == "Router":
        return all(_unit_length(route[-1]) for route in module.sub_modules.values())
    return type(module).__name__ == "Normalize"


def _matrix(modules: Sequence[nn.Module]) -> np.ndarray | None:
    """W of modules that give normalize(W b): empty where they give b itself, None where they are others."""
    kinds = [type(one).__name__ for one in modules]
    if kinds == ["Normalize"]:
        return np.empty((0, 0), np.float32)
    if kinds != ["Dense", "Normalize"]:
        return None
    dense: Any = modules[0]
    plain = isinstance(dense.activation_function, nn.Identity) and not dense.bias and not dense.use_residual
    if not plain or dense.in_features != dense.out_features:
        return None
    found: np.ndarray = dense.linear.weight.detach().numpy()
    return found
