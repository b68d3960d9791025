"""Facts about this machine, and how fast each precision of each graph runs on it."""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

import numpy as np
from PIL import Image

from unbraid.bundle import graph_name
from unbraid.embedder import Embedder
from unbraid.runtime.cpu import instruction_sets, processor, usable_cores
from unbraid.runtime.image import ImageRuntime
from unbraid.runtime.onnx_session import open_graph, run_graph
from unbraid.runtime.text import TextRuntime

PACKAGES = ("unbraid", "numpy", "onnxruntime", "tokenizers", "pillow", "qdrant-edge-py")
_INSTRUCTIONS = (
    "avx",
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_int8",
    "asimd",
    "asimddp",
)
_REPEATS = 3  # interleaved; the best counts, since other programs can only slow a run down


@dataclass(frozen=True)
class Speed:
    """How fast one graph runs here on one core."""

    graph: str
    precision: str
    items_per_s: dict[str, float]  # kind of item -> items a second


def machine() -> dict[str, str]:
    """Processor, cores, instruction sets and versions, as text."""
    known = [name for name in _INSTRUCTIONS if name in instruction_sets()]
    return {
        "processor": processor(),
        "cores": f"{usable_cores()} usable of {os.cpu_count()}",
        "instruction sets": ", ".join(known) or "not known on this system",
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        **{name: version(name) for name in PACKAGES},
    }


def speeds(model: Embedder) -> list[Speed]:
    """Items a second on one core for every precision of every encoder of `model` in its tiers, interleaved."""
    jobs: dict[tuple[str, str, str], tuple[int, Callable[[], object]]] = {}
    rng = np.random.default_rng(0)
    bundle = model.bundle
    texts = {tier: bundle.tiers[tier]["text"] for tier in model.tiers if "text" in bundle.tiers[tier]}
    for tier, spec in texts.items():  # code runs the same graphs
        name = graph_name(tier, "text")
        for precision in spec.graphs:
            text = TextRuntime(bundle.folder, spec, precision)
            for count, tokens in ((32, min(32, spec.max_tokens)), (8, spec.max_tokens)):
                ids = rng.integers(1, text.tokenizer.get_vocab_size(), (count, tokens)).tolist()
                jobs[name, precision, f"{tokens} tokens"] = (
                    count,
                    partial(text.encode, ids, threads=1, progress=False),
                )
    if bundle.image:
        pictures = [Image.fromarray(rng.integers(0, 255, (300, 400, 3), dtype=np.uint8))] * 8
        for precision in bundle.image.graphs:
            image = ImageRuntime(bundle.folder, bundle.image, precision)
            jobs["image", precision, "400x300 pixels"] = (
                8,
                partial(image.encode, pictures, threads=1, progress=False),
            )
    for task, mapper in bundle.mappers.items():
        inputs = {"base": rng.standard_normal((512, bundle.dim)).astype(np.float32)}
        for precision, file in mapper.graphs.items():
            session = open_graph(bundle.folder / file)
            jobs[f"{task} mapper", precision, "512 vectors"] = (
                512,
                partial(run_graph, session, "task_vector", inputs),
            )
    best = dict.fromkeys(jobs, float("inf"))
    for _ in range(_REPEATS + 1):  # the first round warms up
        for key, (_, job) in jobs.items():
            start = time.perf_counter()
            job()
            best[key] = min(best[key], time.perf_counter() - start)
    found: dict[tuple[str, str], dict[str, float]] = {}
    for (graph, precision, kind), seconds in best.items():
        found.setdefault((graph, precision), {})[kind] = jobs[graph, precision, kind][0] / seconds
    return [Speed(graph, precision, rates) for (graph, precision), rates in found.items()]


def fastest(found: list[Speed], graph: str) -> str:
    """The precision of `graph` to run here: fp32, unless another one is faster on every kind of item.

    Without fp32 in the bundle it is the precision that is fastest on the shortest items.
    """
    rates = {speed.precision: speed.items_per_s for speed in found if speed.graph == graph}
    exact = rates.get("fp32")
    if exact:
        rates = {
            precision: own
            for precision, own in rates.items()
            if precision == "fp32" or all(own[kind] > exact[kind] for kind in exact)
        }
    return max(rates, key=lambda precision: next(iter(rates[precision].values())))
