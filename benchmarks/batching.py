"""Texts a second on one thread for several token budgets, on docstrings of Python's standard library.

python benchmarks/batching.py
"""

import dataclasses
import statistics
import time

import unbraid
from unbraid.export.samples import docstrings
from unbraid.text_runtime import TextRuntime

BUDGETS = (1, 128, 512, 1024, 4096, 16384)  # 1: each text by itself
ROUNDS = 4  # the first warms up


def main() -> None:
    """Take turns over the budgets and print the median of each."""
    model = unbraid.load()
    spec = model.bundle.text["text"]
    runtime = TextRuntime(model.bundle.folder, spec, None)
    ids, _ = runtime.tokenise(docstrings())
    rates: dict[int, list[float]] = {budget: [] for budget in BUDGETS}
    for _ in range(ROUNDS):
        for budget in BUDGETS:
            sized = runtime.with_spec(dataclasses.replace(spec, batch_tokens=budget))
            start = time.perf_counter()
            sized.encode(ids, threads=1, progress=False)
            rates[budget].append(len(ids) / (time.perf_counter() - start))
    for budget, values in rates.items():
        print(f"{budget:6d} tokens a batch: {statistics.median(values[1:]):,.0f} texts/s")


main()
