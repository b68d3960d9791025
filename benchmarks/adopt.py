"""Adopt models and compare each bundle with the model's own library: time, parity, int8, speed, retrieval.

python benchmarks/adopt.py FOLDER... [--pairs FILE.jsonl.gz] [--pooling MODE]

Texts are docstrings. Both sides run with `--threads` threads; their runs alternate and the median of the ratios counts,
so that other work on the machine meets both. Retrieval is nDCG@10 of the rows of FILE, each anchor's positive among all
positives.
"""

import argparse
import gzip
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import unbraid
from unbraid.adopt import adopt
from unbraid.adopt.read_model import read_model
from unbraid.export.parity_samples import docstrings

ROUNDS = 5


def main() -> None:
    """Print one row a model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--pooling")
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--limit", type=int, default=500)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(
        "| model | dim | adopt, s (CPU s) | fp32 difference | int8 agreement | int8 / library | fp32 / library | nDCG@10 library, fp32, int8 |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for folder in given.folders:
        with tempfile.TemporaryDirectory() as place:
            print(row(folder, Path(place) / "bundle", given), flush=True)


def row(folder: Path, out: Path, given: argparse.Namespace) -> str:
    """The line of one model."""
    start, used = time.perf_counter(), time.process_time()
    made = adopt(folder, out, pooling=given.pooling, exact_prompts=has_query_prompt(folder, given.pooling))
    seconds, cpu = time.perf_counter() - start, time.process_time() - used
    original = read_model(folder, pooling=given.pooling).text
    assert original is not None
    prompts = original.prompts
    forms = list(unbraid.load(out).bundle.text["text"].graphs)
    bundles = {one: unbraid.load(out, precision=one, threads=given.threads) for one in forms}

    def library(texts: list[str], task: str) -> np.ndarray:
        return original.original(texts, prompts.get(task))

    systems: dict[str, Callable[[list[str], str], np.ndarray]] = {"library": library}
    systems |= {name: encoder(bundle) for name, bundle in bundles.items()}
    texts = [text[:1000] for text in docstrings()[:: max(1, len(docstrings()) // given.texts)]]
    taken: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(ROUNDS + 1):  # the first opens the graphs
        for name, encode in systems.items():
            begin = time.perf_counter()
            encode(texts, "document")
            taken[name].append(time.perf_counter() - begin)
    ratios = {name: np.median(np.array(taken["library"][1:]) / np.array(taken[name][1:])) for name in forms}
    scores = (
        {name: f"{ndcg(encode, given.pairs, given.limit):.4f}" for name, encode in systems.items()}
        if given.pairs
        else {}
    )
    parity = max(one.largest_difference for one in made.parities if ".fp32." in one.graph)
    agreement = made.text.agreement
    cells = [
        folder.name,
        str(made.dim),
        f"{seconds:.0f} ({cpu:.0f})",
        f"{parity:.1e}",
        "not offered" if agreement is None else f"{agreement:.3f}",
        f"{ratios['int8']:.2f}" if "int8" in ratios else "",
        f"{ratios['fp32']:.2f}",
        ", ".join(scores.get(name, "") for name in ("library", "fp32", "int8")).strip(", "),
    ]
    return f"| {' | '.join(cells)} |"


def has_query_prompt(folder: Path, pooling: str | None) -> bool:
    """Whether queries have a prompt of their own, which the comparison is to read as the library does."""
    text = read_model(folder, pooling=pooling).text
    assert text is not None
    return text.prompts.get("query", "") != text.prompts.get("document", "") and bool(
        text.prompts.get("query")
    )


def encoder(bundle: unbraid.Embedder) -> Callable[[list[str], str], np.ndarray]:
    """Vectors of texts on one side of a search."""
    sides: dict[str, Any] = {"query": "query", "document": "document"}
    return lambda texts, task: bundle.encode(
        texts, task=task, side=sides[task], on_truncate="ignore", progress=False
    )


def ndcg(encode: Callable[[list[str], str], np.ndarray], pairs: Path, limit: int) -> float:
    """nDCG@10 where each anchor has one right document among all."""
    with gzip.open(pairs, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line, _ in zip(file, range(limit), strict=False)]
    documents = list(dict.fromkeys(one["positive"] for one in rows))
    place = {text: number for number, text in enumerate(documents)}
    scores = encode([one["anchor"] for one in rows], "query") @ encode(documents, "document").T
    right = scores[np.arange(len(rows)), [place[one["positive"]] for one in rows]]
    ranks = (scores > right[:, None]).sum(1)
    return float(np.where(ranks < 10, 1 / np.log2(ranks + 2), 0).mean())


main()
