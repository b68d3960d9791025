"""The gain of a mapper fitted on 500 pairs, on held-out queries, split by split.

    python benchmarks/fit_mapper.py DATA [--splits 10] [--model BUNDLE]

DATA is a folder of pair files (rows of "anchor" and "positive") and graded pairs ("a", "b", "score"). Each split takes
500 pairs to fit on and 500 queries that share no text with them; the queries search all remaining positives. Gains are
over the base vectors without a mapper, and over the best mode of the bundle, which may have seen the source in its own
training. "no modes" fits as if the bundle had no modes, as for a kind of text that no mode was made for. Seconds are
processor time of the fit without encoding.
"""

import argparse
import os
import random
import time
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[name] = "1"  # one core; read when the libraries are first used

import numpy as np

import unbraid
from unbraid.custom_mapper.cross_validation import score, split_folds
from unbraid.custom_mapper.fit_mapper import fit_encoded, start_matrices
from unbraid.custom_mapper.mapper_file import IDENTITY
from unbraid.custom_mapper.mapper_pairs import EncodedPairs, Pairs, encode_pairs
from unbraid.io.jsonl import read_rows

SOURCES = {  # file -> rows that are encoded
    "code/nl2bash": 2500,
    "code/conala.train": 2400,
    "code/concode": 2000,
    "code/py_docstrings.dev": 500,
    "text/medquad.train": 1500,
    "text/openstax_terms": 2500,
    "text/squad_sentences.part1": 2500,
    "sts/stsb.en.train": 2500,
}
FIT, QUERIES = 500, 500


def source(path: Path, most: int, *, code: bool) -> Pairs:
    """Up to `most` pairs of a file, shuffled; no two of them share a text."""
    rows = [line.row for line in read_rows(path)]
    random.Random(0).shuffle(rows)
    left, right = ("anchor", "positive") if "anchor" in rows[0] else ("a", "b")
    kept: list[dict[str, Any]] = []
    seen: set[str] = set()
    for row in rows:
        if len(kept) < most and seen.isdisjoint((row[left], row[right])):
            seen |= {row[left], row[right]}
            kept.append(row)
    positives = [unbraid.Code(row[right]) if code else row[right] for row in kept]
    grades = np.array([row["score"] for row in kept]) if "score" in kept[0] else None
    return Pairs([row[left] for row in kept], positives, [None] * len(kept), grades)


def take(data: EncodedPairs, rows: np.ndarray, documents: np.ndarray) -> EncodedPairs:
    """The pairs at `rows`; their documents come first in `documents`, which may hold more."""
    own = np.arange(len(rows))
    grades = None if data.grades is None else data.grades[rows]
    queries = data.queries[data.left[rows]]
    return EncodedPairs(
        queries, data.documents[data.right[documents]], own, own, np.full(len(rows), -1), grades
    )


def main() -> None:
    """Print a row a source and kind of start."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--model", help="a bundle; the starter if left out")
    arguments = parser.parse_args()
    model = unbraid.load(arguments.model, threads=1)
    starts = start_matrices(model)
    print(
        "| source | fitted over | no mapper | gain, mean | worst split | over the best mode, mean | worst | s |"
    )
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, most in SOURCES.items():
        pairs = source(arguments.data / f"{name}.jsonl.gz", most, code=name.startswith("code"))
        data = encode_pairs(model, pairs)
        for kind, offered in {"modes": starts, "no modes": {IDENTITY: starts[IDENTITY]}}.items():
            found = []
            for split in range(arguments.splits):
                order = np.random.default_rng(split).permutation(len(pairs))
                rows, rest = np.split(order, [min(FIT, len(order) // 2)])
                fitted = take(data, rows, rows)
                start = time.process_time()
                query, document, _ = fit_encoded(fitted, split_folds(np.arange(len(rows))), offered)
                seconds = time.process_time() - start
                asked = rest if data.grades is not None else rest[:QUERIES]
                held_out, every = take(data, asked, rest), np.arange(len(asked))
                before = {mode: score(held_out.mapped(*one), every).mean() for mode, one in offered.items()}
                after = score(held_out.mapped(query, document), every).mean()
                found.append(
                    (before[IDENTITY], after - before[IDENTITY], after - max(before.values()), seconds)
                )
            base, gain, over, seconds = zip(*found, strict=True)
            print(
                f"| {name} | {kind} | {np.mean(base):.3f} | {np.mean(gain):+.4f} | {min(gain):+.4f} "
                f"| {np.mean(over):+.4f} | {min(over):+.4f} | {np.mean(seconds):.1f} |",
                flush=True,
            )


main()
