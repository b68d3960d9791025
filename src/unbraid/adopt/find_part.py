"""Where a graph stops giving what its model gives: the tokenizer, the modules as they were read, or one layer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unbraid.adopt.models import TextModel
from unbraid.export.parity import FP32_LIMIT

PARTED = 1e-3  # of the size of a layer's output


def find_part(text: TextModel, prompt: str, graph: Path, sample: Sequence[str], expected: np.ndarray) -> str:
    """One sentence: the part of `text` after which vectors differ from those `expected` for `sample`.

    `graph` is the float32 graph that was exported without fusion.
    """
    ids = [one.ids for one in text.tokenizer.encode_batch([prompt + one for one in sample])]
    for given, one in zip(sample, ids, strict=True):
        if text.original_ids is not None and (theirs := list(text.original_ids(given))) != one:
            place = next((n for n, (a, b) in enumerate(zip(one, theirs, strict=False)) if a != b), len(one))
            return (
                f"tokenizer.json: the tokenizer gives other tokens than the model's own library, from token {place} of "
                f"{given[:60]!r}: {one[place : place + 3]} and {theirs[place : place + 3]}"
            )
    found = np.concatenate([_run(text.encoder, one) for one in ids])
    differs = np.abs(found - expected).max(1)
    worst = int(differs.argmax())
    if not differs[worst] <= FP32_LIMIT:
        return (
            f"the modules, as they were read, differ from the model's own library by {differs[worst]:.2g} for "
            f"{sample[worst][:60]!r} (limit {FP32_LIMIT})"
        )
    for one in sorted(ids, key=len, reverse=True)[:4]:
        if layer := parted_layer(text.encoder, graph, one):
            return f"the graph parts from the model at {layer} (limit {FP32_LIMIT})"
    return f"the graph differs from the model by more than {FP32_LIMIT}, in no single layer"


def parted_layer(encoder: nn.Module, graph: Path, ids: Sequence[int]) -> str | None:
    """The first module of `encoder`, with its class, whose output for the token `ids` differs in the graph; or None.

    The exporter names the nodes of a graph by the module that they come from; the last of them gives its output.
    """
    import onnx

    from unbraid.runtime.onnx_session import open_graph

    seen = _outputs(encoder, ids)
    model = onnx.load(graph)
    last: dict[str, str] = {}
    for node in model.graph.node:
        parts = [part for part in node.name.split("/")[1:-1] if part]
        for length in range(1, len(parts) + 1):
            last[_key(".".join(parts[:length]))] = node.output[0]
    wanted = {name: last[_key(name)] for name in seen if _key(name) in last}
    given = {one.name for one in model.graph.output}
    names = dict.fromkeys(wanted.values())
    model.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in given
    )
    probe = graph.with_name(f"probe.{graph.name}")
    onnx.save(model, probe)
    try:
        inputs = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), dtype=np.int64)}
        session = open_graph(probe)
        takes = {one.name for one in session.get_inputs()}
        values = session.run(list(names), {name: one for name, one in inputs.items() if name in takes})
    finally:
        probe.unlink()
    found = dict(zip(names, values, strict=True))
    modules = dict(encoder.named_modules())
    for name, expected in seen.items():
        value = found.get(wanted.get(name, ""))
        if value is None or value.shape != expected.shape:
            continue
        size = float(np.sqrt(np.square(expected).mean())) or 1.0
        if not np.abs(value - expected).max() <= PARTED * size:
            return f"{name} ({type(modules[name]).__name__})"
    return None


def _outputs(encoder: nn.Module, ids: Sequence[int]) -> dict[str, np.ndarray]:
    """What each module of `encoder` gives for the token `ids`, inner ones first, by name."""
    seen: dict[str, np.ndarray] = {}

    def record(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, dict) and isinstance(output.get("sentence_embedding"), Tensor):
                output = output["sentence_embedding"]
            if isinstance(output, Tensor) and output.is_floating_point():
                seen[name] = output.numpy()

        return hook

    handles = [one.register_forward_hook(record(name)) for name, one in encoder.named_modules() if name]
    try:
        _run(encoder, ids)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _run(encoder: nn.Module, ids: Sequence[int]) -> np.ndarray:
    with torch.inference_mode():
        given = torch.tensor([list(ids)])
        vectors: np.ndarray = encoder(given, torch.ones_like(given)).numpy()
    return vectors


def _key(name: str) -> str:
    """A module's name without wrappers that are called by other means than as modules, which the exporter leaves out."""
    return ".".join(part for part in name.split(".") if part != "model")
