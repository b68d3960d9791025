"""nDCG@10 where one mapper serves queries and documents, as in `llm similar`, beside the two that were made for them.

python benchmarks/one_mapper.py SET... [--limit 300]
"""

import argparse
from pathlib import Path

import numpy as np

import unbraid
from unbraid.evaluation import Retrieval, read_dataset
from unbraid.evaluation.datasets.dataset import sample
from unbraid.evaluation.evaluate import retrieval_scores
from unbraid.evaluation.metrics import dense

PAIRS = (("query", "document"), ("document", "document"), ("query", "query"), ("symmetric", "symmetric"))


def first(dataset: Retrieval, limit: int) -> Retrieval:
    """`limit` queries, and their documents alone."""
    few = sample(dataset, limit)
    wanted = {document for query in few.queries for document in few.qrels[query]}
    kept = {name: item for name, item in few.documents.items() if name in wanted}
    return Retrieval(
        few.name, few.queries, kept, few.qrels, few.query_modality, few.document_modality, few.mode
    )


def main() -> None:
    """Print a row for each set, and the mean."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--limit", type=int, default=300)
    arguments = parser.parse_args()
    model = unbraid.load(threads=1)
    rows = []
    print("| set | " + " | ".join("/".join(pair) for pair in PAIRS) + " |\n| --- |" + " ---: |" * len(PAIRS))
    for path in arguments.sets:
        dataset = first(read_dataset(path, mode="retrieval"), arguments.limit)
        queries = model.encode(list(dataset.queries.values()), side="query", on_truncate="ignore")
        documents = model.encode(list(dataset.documents.values()), side="document", on_truncate="ignore")
        rows.append(
            [
                retrieval_scores(dataset, dense(model.map(queries, a), model.map(documents, b)))[
                    "nDCG@10"
                ].value
                for a, b in PAIRS
            ]
        )
        print(f"| {dataset.name} | " + " | ".join(f"{score:.3f}" for score in rows[-1]) + " |", flush=True)
    print("| mean | " + " | ".join(f"{score:.3f}" for score in np.mean(rows, axis=0)) + " |")


main()
