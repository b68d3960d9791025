"""What mixing BM25 into the dense search gains, set by set: nDCG@10 of five ways to rank the same documents.

    python benchmarks/hybrid.py DATA [--cache DIR] [--encoder starter|nano|minilm] [--pooled]

DATA is a folder of pair files (rows of "anchor" and "positive"); `unbraid train pairs --out DATA` adds the two of installed
packages. 400 anchors of each file are searched among up to 3,000 of its positives; with --pooled, 200 among those of
all files of the kind, some 20,000. `mixed` is what a search ranks by, with the map of the bundle; benchmarks/fit_relevance.py
fits that and reports each set by a map that was fitted without its source. RRF is 1 / (61 + rank from 0) of either, `half` z-score
of the cosine + 0.5 * z-score of BM25. Vectors are kept in --cache.
"""

import argparse
import gzip
import hashlib
import json
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

import unbraid
from unbraid.evaluation.baselines import minilm
from unbraid.evaluation.word_evidence import WordIndex
from unbraid.index.search.relevance import Scale, relevance_of
from unbraid.items import Code

Scores = NDArray[np.float32]

CHOSEN_ON = {"squad", "terms", "medquad.train", "passages", "py_stdlib", "nl2bash", "csn"}
FILES = {  # name -> files and the documents of them that are used
    "squad": (3000, "text/squad_sentences.part1", "text/squad_sentences.part2"),
    "terms": (3000, "text/openstax_terms"),
    "medquad.train": (2000, "text/medquad.train"),
    "passages": (3000, "text/openstax_passages"),
    "py_stdlib": (3000, "code/py_stdlib"),
    "nl2bash": (3000, "code/nl2bash"),
    "csn": (3000, "code/csn_cloze6"),
    "terms2": (3000, "text/openstax_terms2"),
    "medquad.dev": (3000, "text/medquad.dev"),
    "passages2": (3000, "text/openstax_passages2"),
    "package_docs": (2000, "text/package_docs"),
    "conala": (3000, "code/conala.train"),
    "mbpp": (3000, "code/mbpp"),
    "concode": (3000, "code/concode"),
    "py_docstrings": (3000, "code/py_docstrings.dev"),
    "tldr": (3000, "code/tldr_cmd"),
    "packages": (2000, "code/packages"),
}
QUERIES, POOLED_QUERIES = 400, 200
SYSTEMS = ("dense", "BM25", "RRF", "half", "mixed")


@dataclass(frozen=True)
class Set:
    """Queries of one file; query i belongs to document `gold[i]`."""

    name: str
    code: bool
    queries: list[str]
    documents: list[str]
    gold: NDArray[np.intp]


def read(data: Path, name: str) -> Set | None:
    """The set of this name, None where its file is not there; no two of its pairs share a text."""
    most, *files = FILES[name]
    if not all((data / f"{file}.jsonl.gz").exists() for file in files):
        return None
    pairs: list[tuple[str, str]] = []
    seen: tuple[set[str], set[str]] = (set(), set())
    for file in files:
        with gzip.open(data / f"{file}.jsonl.gz", "rt", encoding="utf-8") as lines:
            for row in map(json.loads, lines):  # a passage is sought by its heading path
                pair = (row["anchor"], row["positive"]) if "anchor" in row else (row["title"], row["text"])
                if all(text.strip() and text not in known for text, known in zip(pair, seen, strict=True)):
                    pairs.append(pair)
                    seen[0].add(pair[0])
                    seen[1].add(pair[1])
    random.Random(1).shuffle(pairs)
    documents = [document for _, document in pairs[:most]]
    queries = [query for query, _ in pairs[: min(QUERIES, most)]]
    return Set(name, files[0].startswith("code/"), queries, documents, np.arange(len(queries)))


def pool(one: Set, others: Sequence[Set]) -> Set:
    """`one` with fewer queries, and the documents of its kind among its own."""
    documents = dict.fromkeys([*one.documents, *(text for other in others for text in other.documents)])
    n = min(POOLED_QUERIES, len(one.queries))
    return Set(one.name, one.code, one.queries[:n], list(documents), one.gold[:n])


class Vectors:
    """Vectors of texts by an encoder, each text encoded once and kept in a folder."""

    def __init__(self, encoder: str, cache: Path, bundle: Path | None = None) -> None:
        """Use `cache` as that folder. `encoder` is minilm, or a tier of a bundle, the starter by default."""
        self.encoder, self.cache, self.bundle = encoder, cache, bundle
        cache.mkdir(parents=True, exist_ok=True)

    def __call__(self, texts: Sequence[str], code: bool, task: str) -> Scores:
        """Unit vectors float32 [n, D]."""
        made_by = [self.encoder, str(self.bundle.resolve())] if self.bundle else [self.encoder]
        key = hashlib.sha1(json.dumps([*made_by, code, task, *texts]).encode()).hexdigest()
        path = self.cache / f"{key[:20]}.npy"
        if not path.exists():
            np.save(path, self._encode(texts, code, task))
        return np.asarray(np.load(path))

    def model(self) -> Any:
        """The embedder, or None for minilm."""
        if self.encoder == "minilm":
            return None
        return unbraid.load(self.bundle, tier=None if self.encoder == "starter" else self.encoder)

    def _encode(self, texts: Sequence[str], code: bool, task: str) -> Scores:
        if self.encoder == "minilm":
            return minilm().encode(texts)
        model = self.model()
        items = [Code(text) for text in texts] if code and task == "document" else list(texts)
        return model.map(model.encode(items, on_truncate="ignore"), "code" if code else task)


def ndcg(scores: Scores, gold: NDArray[np.intp]) -> float:
    """Mean nDCG@10 where one document is relevant; equal scores share their mean rank."""
    own = scores[np.arange(len(gold)), gold][:, None]
    rank = (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2
    return float(np.where(rank < 10, 1 / np.log2(rank + 2), 0).mean())


def standardized(scores: Scores) -> Scores:
    """Zero mean and unit variance a row; zeros where a row is constant."""
    spread = scores.std(axis=1, keepdims=True)
    return (scores - scores.mean(axis=1, keepdims=True)) / np.where(spread > 1e-9, spread, 1)


def reciprocal_rank(scores: Scores) -> Scores:
    """1 / (60 + rank), 0 for a score of 0: BM25 does not find such a document."""
    rank = (-scores).argsort(axis=1, kind="stable").argsort(axis=1)
    return np.where(scores != 0, 1 / (61 + rank), 0)


def row(one: Set, vectors: Vectors, parts: Sequence[Set]) -> list[float]:
    """nDCG@10 of each of SYSTEMS; the documents of `one` are those of `parts`, which are encoded set by set."""
    known: dict[str, Scores] = {}
    for part in parts:
        known.update(zip(part.documents, vectors(part.documents, part.code, "document"), strict=True))
    full = next(part for part in parts if part.name == one.name)
    queries = vectors(full.queries, one.code, "query")[: len(one.queries)]
    dense = queries @ np.stack([known[text] for text in one.documents]).T
    index = WordIndex(one.documents)
    found = [index(query) for query in one.queries]
    words = np.stack([each.bm25 for each in found])
    relevance = relevance_of(vectors.model())
    ranked = [
        index.log_odds(query, Scale.of(row, relevance)(row), relevance)
        for query, row in zip(one.queries, dense, strict=True)
    ]
    ways = (
        dense,
        words,
        reciprocal_rank(dense) + reciprocal_rank(words),
        standardized(dense) + 0.5 * standardized(words),
        np.stack(ranked),
    )
    return [ndcg(np.asarray(way), one.gold) for way in ways]


def print_means(name: str, rows: list[list[float]]) -> None:
    """Means over sets, and how far each way falls behind the better of dense and BM25 where that is worst."""
    scores = np.asarray(rows)
    behind = (scores - scores[:, :2].max(axis=1, keepdims=True)).min(axis=0)
    print(f"{name:20} {'mean':>6}", *(f"{value:7.3f}" for value in scores.mean(axis=0)))
    print(f"{'':20} {'worst':>6}", *(f"{value:+7.3f}" for value in behind))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("runs/hybrid"))
    parser.add_argument("--encoder", choices=("starter", "nano", "minilm"), default="starter")
    parser.add_argument("--bundle", type=Path, help="instead of the starter")
    parser.add_argument("--pooled", action="store_true")
    arguments = parser.parse_args()
    vectors = Vectors(arguments.encoder, arguments.cache, arguments.bundle)
    sets = [one for name in FILES if (one := read(arguments.data, name)) is not None]
    rows: dict[str, list[float]] = {}
    print(f"{'set':20} {'docs':>6}", *(f"{name:>7}" for name in SYSTEMS))
    for one in sets:
        parts = [other for other in sets if other.code == one.code] if arguments.pooled else [one]
        searched = pool(one, parts) if arguments.pooled else one
        rows[one.name] = row(searched, vectors, parts)
        print(
            f"{one.name + (' *' if one.name in CHOSEN_ON else ''):20} {len(searched.documents):6}",
            *(f"{value:7.3f}" for value in rows[one.name]),
            flush=True,
        )
    for kind, code in (("text", False), ("code", True)):
        for chosen in (True, False):
            of = [rows[one.name] for one in sets if one.code == code and (one.name in CHOSEN_ON) == chosen]
            if of:
                print_means(f"{kind}{' *' if chosen else ''}", of)


if __name__ == "__main__":
    main()
