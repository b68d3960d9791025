"""The forgetting matrix: each search mode of a bundle on the sets of each task.

    python benchmarks/forgetting.py [BUNDLE] --retrieval SET... --code SET... --symmetric SET... [--tier nano] [--limit 200]

A column is a task (mean over its sets: nDCG@10, Spearman for symmetric), a row the mode that its sets are searched in;
the mode that was made for a column should win it. "none" is the base vectors themselves.
"""

import argparse
from pathlib import Path

import numpy as np

import unbraid
from unbraid.bundle import SMALL
from unbraid.evaluation import evaluate, read_dataset

TASKS = ("retrieval", "symmetric", "code")
HEADLINE = ("nDCG@10", "Spearman")


def scores_by_mode(model: unbraid.Embedder, path: Path, task: str, limit: int) -> dict[str, float]:
    """The headline score of every mode, and of none, on one set."""
    dataset = read_dataset(path, mode=None if task == "symmetric" else task)
    limit = limit if task != "symmetric" else len(dataset.a)
    rows = evaluate(model, dataset, mode=task, every_mode=True, limit=limit, baselines=False)
    return {
        row.mode or "none": next(row.scores[name].value for name in HEADLINE if name in row.scores)
        for row in rows
    }


def main() -> None:
    """Measure and print the matrix, and by how much each mode wins its own column."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", nargs="?")
    for task in TASKS:
        parser.add_argument(f"--{task}", nargs="+", type=Path, required=True)
    parser.add_argument("--tier", default=SMALL)
    parser.add_argument("--limit", type=int, default=200)
    arguments = parser.parse_args()
    model = unbraid.load(arguments.bundle, tier=arguments.tier)
    means: dict[str, dict[str, float]] = {}
    for task in TASKS:
        paths = getattr(arguments, task)
        found = [scores_by_mode(model, path, task, arguments.limit) for path in paths]
        means[task] = {mode: float(np.mean([one[mode] for one in found])) for mode in found[0]}
    print(f"| mode | {' | '.join(f'{task}, {len(getattr(arguments, task))} sets' for task in TASKS)} |")
    print("| --- |" + " --- |" * len(TASKS))
    for mode in (*TASKS, "none"):
        print(f"| {mode} | {' | '.join(f'{means[task][mode]:.3f}' for task in TASKS)} |")
    margins = [
        means[task][task] - max(means[task][other] for other in TASKS if other != task) for task in TASKS
    ]
    print(f"| own mode minus the best other | {' | '.join(f'{margin:+.3f}' for margin in margins)} |")


main()
