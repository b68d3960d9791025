"""Size and speed of a bundle beside the starter, on this machine."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unbraid.embedder import Embedder
from unbraid.export.parity_samples import docstrings
from unbraid.loading import load

TEXTS, CHARACTERS, ROUNDS = 32, 400, 3


@dataclass(frozen=True)
class Speed:
    """Bytes of a bundle, and texts that its documents' encoder reads in a second."""

    bundle: str
    size: int
    texts: float


def compare_speed(folder: Path) -> list[Speed]:
    """The bundle in `folder`, in each precision that it has, and the starter; interleaved, one thread each."""
    own = load(folder, threads=1)
    models = [load(folder, threads=1, precision=one) for one in own.bundle.text["text"].graphs]
    names = [f"{own.bundle.name} {one}" for one in own.bundle.text["text"].graphs]
    models.append(load(threads=1, language="en"))
    texts = [one[:CHARACTERS] for one in docstrings()[:: max(1, len(docstrings()) // TEXTS)]]
    taken: list[list[float]] = [[] for _ in models]
    for _ in range(ROUNDS + 1):  # the first opens the graphs
        for seconds, model in zip(taken, models, strict=True):
            start = time.perf_counter()
            model.encode(texts, on_truncate="ignore", progress=False)
            seconds.append(time.perf_counter() - start)
    return [
        Speed(name, _bytes(model), len(texts) / float(np.median(seconds[1:])))
        for name, model, seconds in zip(
            [*names, f"the starter's tier {models[-1].tier}"], models, taken, strict=True
        )
    ]


def _bytes(model: Embedder) -> int:
    """Bytes of the graphs and tokenizers that English texts need."""
    spec = model.bundle.tiers[model.tier]["text"]
    graphs = [
        kinds.get(model.precision or "", next(iter(kinds.values())))
        for kinds in (spec.graphs, spec.token_graphs)
        if kinds
    ]
    return sum(model.bundle.sizes[file] for file in (*graphs, spec.tokenizer))
