"""One space: a student's queries on an index the teacher built, and tiers that share an index.

    python benchmarks/one_space.py BUNDLE DATASET... [--teacher starter] [--limit 200]

For each data set, in its own search mode: nDCG@10 of teacher queries on teacher documents, then of each tier's queries on
the same documents; each tier on its own documents; and one tier's queries on documents that are half small's and half
nano's, drawn by a seed, with the share of the top 10 that each half takes. Retention is the mean over queries of one
system divided by that of the other.
"""

import argparse
from pathlib import Path

import numpy as np

import unbraid
from unbraid.distill.space.task_space import task_target
from unbraid.evaluation import Retrieval, read_dataset
from unbraid.evaluation.datasets.dataset import sample
from unbraid.evaluation.evaluate import retrieval_scores
from unbraid.evaluation.metrics import dense, rank
from unbraid.teacher import load as load_teacher

TIERS = ("small", "nano")


def ndcg(dataset: Retrieval, queries: np.ndarray, documents: np.ndarray) -> float:
    """nDCG@10 of task vectors."""
    return retrieval_scores(dataset, dense(queries, documents))["nDCG@10"].value


def rows_of(
    path: Path, models: dict, teacher, limit: int, mode: str | None
) -> list[tuple[str, float, float | None]]:
    """(what, nDCG@10, share of the top 10 that is small's) for one data set."""
    dataset = sample(read_dataset(path, mode=mode), limit)
    assert isinstance(dataset, Retrieval)
    queries, documents = list(dataset.queries.values()), list(dataset.documents.values())
    query_task, document_task = models["small"].search_modes[dataset.mode]
    taught = [
        task_target(teacher.encode(items, task))
        for items, task in ((queries, query_task), (documents, document_task))
    ]
    q = {tier: model.encode(queries, task=query_task, on_truncate="ignore") for tier, model in models.items()}
    d = {
        tier: model.encode(documents, task=document_task, on_truncate="ignore")
        for tier, model in models.items()
    }
    rows: list[tuple[str, float, float | None]] = [("teacher on teacher", ndcg(dataset, *taught), None)]
    rows += [(f"{tier} on teacher", ndcg(dataset, q[tier], taught[1]), None) for tier in TIERS]
    rows += [(f"{tier} on {tier}", ndcg(dataset, q[tier], d[tier]), None) for tier in TIERS]
    rows.append(("nano on small", ndcg(dataset, q["nano"], d["small"]), None))
    of_small = np.random.default_rng(0).permutation(len(documents)) < len(documents) / 2
    mixed = np.where(of_small[:, None], d["small"], d["nano"])
    for tier in TIERS:
        best = rank(dense(q[tier], mixed), len(queries), len(documents), k=10)
        rows.append(
            (f"{tier} on half small, half nano", ndcg(dataset, q[tier], mixed), float(of_small[best].mean()))
        )
    return rows


def main() -> None:
    """Measure and print a table a data set, and one of the means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("datasets", nargs="+", type=Path)
    parser.add_argument("--teacher", default="starter")
    parser.add_argument("--mode", help="search mode of the sets; by default what fits each")
    parser.add_argument("--limit", type=int, default=200)
    arguments = parser.parse_args()
    models = {tier: unbraid.load(arguments.bundle, tier=tier) for tier in TIERS}
    teacher = load_teacher(arguments.teacher)
    names = [path.name.split(".")[0] for path in arguments.datasets]
    found = [rows_of(path, models, teacher, arguments.limit, arguments.mode) for path in arguments.datasets]
    print(f"| queries on documents | {' | '.join(names)} | mean | share of small (least, most) |")
    print("| --- |" + " --- |" * (len(names) + 2))
    for column in zip(*found, strict=True):
        scores = [score for _, score, _ in column]
        shares = [share for _, _, share in column if share is not None]
        shown = f"{min(shares):.3f}, {max(shares):.3f}" if shares else ""
        cells = " | ".join(f"{score:.3f}" for score in scores)
        print(f"| {column[0][0]} | {cells} | {np.mean(scores):.3f} | {shown} |")


main()
