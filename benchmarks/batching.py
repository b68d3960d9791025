"""Texts a second on one thread for several token budgets, and how other texts of a batch change an int8 vector.

    python benchmarks/batching.py

The texts are docstrings of Python's standard library and their first sentences.
"""

import dataclasses
import statistics
import time

import numpy as np

import unbraid
from unbraid.export.parity_samples import docstrings
from unbraid.runtime.text import TextRuntime

BUDGETS = (1, 128, 512, 4096)  # 1: each text by itself
ROUNDS = 6  # the first warms up


def main() -> None:
    """Run the budgets in turns; print each median rate beside one text a run, and the cosines to its vectors."""
    model = unbraid.load()
    spec = model.bundle.text["text"]
    runtime = TextRuntime(model.bundle.folder, spec, None)
    whole = list(docstrings())
    for name, texts in (
        ("first sentences", [text.partition(". ")[0] for text in whole]),
        ("docstrings", whole),
    ):
        ids, _ = runtime.tokenize(texts)
        print(f"{name}: {len(ids)} texts of {statistics.mean(map(len, ids)):.0f} tokens")
        rates: dict[int, list[float]] = {budget: [] for budget in BUDGETS}
        vectors: dict[int, np.ndarray] = {}
        for _ in range(ROUNDS):
            for budget in BUDGETS:
                sized = runtime.with_spec(dataclasses.replace(spec, batch_tokens=budget))
                start = time.process_time()
                vectors[budget] = sized.encode(ids, threads=1, progress=False)
                rates[budget].append(len(ids) / (time.process_time() - start))
        for budget in BUDGETS:
            ratios = [one / alone for one, alone in zip(rates[budget], rates[1], strict=True)][1:]
            cosines = (vectors[budget] * vectors[1]).sum(1)
            print(
                f"{budget:6d} tokens a batch: {statistics.median(rates[budget][1:]):,.0f} texts/s,"
                f" {statistics.median(ratios):.2f} of one text a run; cosine to it {cosines.mean():.4f},"
                f" least {cosines.min():.4f}"
            )


main()
