"""One index of texts and pictures: is either favoured?

    python benchmarks/mixed.py PICTURES... [--model BUNDLE] [--split dev] [--draws 20]

PICTURES are captioned sets whose rows have two descriptions: the caption asks, and the item stands in the index as its
alt text or as its picture, by chance. Beside the mixed index stand one of texts alone and one of pictures alone; the
score that could be hoped for is each query's in the index of its own item's modality. Means over draws.
"""

import argparse
from pathlib import Path

import numpy as np

import unbraid
from unbraid.evaluation.geometry.captioned_pairs import read_captioned
from unbraid.evaluation.metrics import dense, rank

K = 10


def gains(queries: np.ndarray, documents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """nDCG@10 of each query, whose one relevant document has its own row, and the ten best rows [n, 10]."""
    best = rank(dense(queries, documents), len(queries), len(documents), k=K)
    place = np.argmax(best == np.arange(len(queries))[:, None], axis=1)
    found = (best == np.arange(len(queries))[:, None]).any(axis=1)
    return np.where(found, 1 / np.log2(place + 2), 0.0), best


def main() -> None:
    """Measure and print a row a set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--mode", default="retrieval")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--draws", type=int, default=20)
    arguments = parser.parse_args()
    model = unbraid.load(arguments.model)
    query_task, document_task = model.search_modes[arguments.mode]
    print(
        "| set | items | texts alone | pictures alone | hoped for | mixed | share kept | pictures in the top 10 (of the relevant) |"
    )
    print("| --- |" + " --- |" * 7)
    for path in arguments.pictures:
        captioned = read_captioned(path, split=arguments.split)
        second = dict(captioned.texts)
        rows = [(caption, second[caption], file) for caption, file in captioned.pictures if caption in second]
        queries, texts, pictures = (list(column) for column in zip(*rows, strict=True))
        q = model.encode(queries, task=query_task, on_truncate="ignore")
        t = model.encode(texts, task=document_task, on_truncate="ignore")
        p = model.encode(pictures, task=document_task)
        of_text, of_picture = gains(q, t)[0], gains(q, p)[0]
        rng = np.random.default_rng(0)
        hoped, mixed, share, relevant = [], [], [], []
        for _ in range(arguments.draws):
            drawn = rng.random(len(q)) < 0.5
            score, best = gains(q, np.where(drawn[:, None], p, t))
            hoped.append(np.where(drawn, of_picture, of_text).mean())
            mixed.append(score.mean())
            share.append(drawn[best].mean())
            relevant.append(drawn.mean())
        cells = [
            of_text.mean(),
            of_picture.mean(),
            np.mean(hoped),
            np.mean(mixed),
            np.sum(mixed) / np.sum(hoped),
        ]
        shown = " | ".join(f"{cell:.3f}" for cell in cells)
        print(
            f"| {path.name.split('.')[0]} | {len(q)} | {shown} | {np.mean(share):.3f} ({np.mean(relevant):.3f}) |"
        )


main()
