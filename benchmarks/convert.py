"""What a converted index finds beside one that was encoded again: `unbraid index convert`, measured on labelled queries.

    python benchmarks/convert.py DATA --old BUNDLE [--new BUNDLE] [--index 1500] [--queries 400] [--pool 700]

Each source gives an index of documents, queries that one of them answers, and further documents as pairs. The new
bundle's queries search the documents converted and encoded again, in the source's own mode: recall@10 of both, their
ratio (the goal is .95), that of nDCG@10, and the share of the ten results that both have. Three moves: the old bundle to the
new one, and between the new one's tiers, both ways. Then fewer pairs, and pairs of one source alone (the worst case: every
other source is foreign to the fit). "by itself" is what the old encoder's own queries find in its own index: what its
vectors do not hold, no converter gives back. The documents of the fit are in no index.
"""

import argparse
import gzip
import json
import random
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import unbraid
from unbraid.index.transfer.base_converter import Quality, convert, fit_converter
from unbraid.items import Item
from unbraid.runtime.preprocess import decode

SETS = {
    "squad": ("text", ("text/squad_sentences.part1.jsonl.gz", "text/squad_sentences.part2.jsonl.gz")),
    "terms": ("text", ("text/openstax_terms.jsonl.gz", "text/openstax_terms2.jsonl.gz")),
    "medquad": ("text", ("text/medquad.train.jsonl.gz",)),
    "conala": ("code", ("code/conala.train.jsonl.gz",)),
    "shell": ("code", ("code/nl2bash.jsonl.gz", "code/tldr_cmd.jsonl.gz")),
    "csn": ("code", ("code/csn_cloze6.jsonl.gz",)),
    "py_docstrings": ("code", ("code/py_docstrings.train.jsonl.gz",)),
}
PICTURES = {"photos": "image/openstax_photos2", "graphics": "image/openstax_graphics2"}
PAIRS = 2_000


@dataclass(frozen=True)
class Source:
    """One kind of document: its index, its queries (query i is answered by document i), its pairs."""

    kind: str
    index: list[Item]
    queries: list[str]
    pool: list[Item]


@dataclass(frozen=True)
class Encoded:
    """Base vectors of a source by one encoder."""

    index: np.ndarray
    queries: np.ndarray
    pool: np.ndarray


def rows(path: Path) -> Iterator[dict]:
    """Rows of a gzip file of JSON lines."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def text_source(data: Path, kind: str, files: Sequence[str], sizes: tuple[int, int, int]) -> Source:
    """Documents and queries of pair files, in a seeded order; no document twice."""
    pairs = [row for file in files for row in rows(data / file)]
    random.Random(0).shuffle(pairs)
    queries: dict[str, str] = {}
    for row in pairs:
        queries.setdefault(row["positive"], row["anchor"])
    index, asked, pool = sizes
    documents = [unbraid.Code(text) if kind == "code" else text for text in queries][: index + pool]
    return Source(kind, documents[:index], list(queries.values())[: min(asked, index)], documents[index:])


def picture_source(data: Path, name: str) -> Source:
    """500 pictures and their captions, and as many for the fit."""
    found = list(rows(data / f"{name}.jsonl.gz"))[:1000]
    with tarfile.open(data / f"{name}.tar") as tar:
        files = [tar.extractfile(row["file"]) for row in found]
        pictures: list[Item] = [decode(file.read()) for file in files if file]
    captions = [row.get("caption") or row["alt"] for row in found]
    return Source("image", pictures[:500], captions[:500], pictures[500:])


def encode(model: unbraid.Embedder, source: Source) -> Encoded:
    """Base vectors of everything in a source."""
    parts = [
        model.encode(items, on_truncate="ignore") for items in (source.index, source.queries, source.pool)
    ]
    return Encoded(*parts)


@dataclass(frozen=True)
class Scores:
    """Of one index under labelled queries; `best` int [queries, 10] are the documents found."""

    recall: float
    ndcg: float
    best: np.ndarray


def search(model: unbraid.Embedder, kind: str, queries: np.ndarray, documents: np.ndarray) -> Scores:
    """recall@10 and nDCG@10 of base vectors in the mode that fits the kind; document i answers query i."""
    query_task, document_task = model.search_modes["code" if kind == "code" else "retrieval"]
    scores = model.map(queries, query_task) @ model.map(documents, document_task).T
    best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    hit = best == np.arange(len(queries))[:, None]
    gain = hit / np.log2(np.arange(2, 12))
    return Scores(float(hit.any(axis=1).mean()), float(gain.sum(axis=1).mean()), best)


def fit(
    old: dict[str, Encoded], new: dict[str, Encoded], sources: dict[str, Source], names: list[str], count: int
) -> tuple[np.ndarray, dict[str, Quality]]:
    """A converter from at most `count` pairs of the named sources, and what it says of itself."""
    kinds = np.concatenate([[sources[name].kind] * len(new[name].pool) for name in names])
    order = np.random.default_rng(0).permutation(len(kinds))[:count]
    matrix, _, quality = fit_converter(
        np.concatenate([old[name].pool for name in names])[order],
        np.concatenate([new[name].pool for name in names])[order],
        list(kinds[order]),
    )
    return matrix, quality


def main() -> None:
    """Encode, fit, search and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--old", required=True)
    parser.add_argument("--new")
    parser.add_argument("--index", type=int, default=1500)
    parser.add_argument("--queries", type=int, default=400)
    parser.add_argument("--pool", type=int, default=700)
    arguments = parser.parse_args()
    sizes = (arguments.index, arguments.queries, arguments.pool)
    sources = {name: text_source(arguments.data, kind, files, sizes) for name, (kind, files) in SETS.items()}
    sources |= {name: picture_source(arguments.data, file) for name, file in PICTURES.items()}
    models = {
        "old": unbraid.load(arguments.old),
        "small": unbraid.load(arguments.new),
        "nano": unbraid.load(arguments.new, tier="nano"),
    }
    vectors = {
        tier: {name: encode(model, source) for name, source in sources.items()}
        for tier, model in models.items()
    }
    texts = list(SETS)
    for start, end in (("old", "small"), ("nano", "small"), ("small", "nano")):
        # Both tiers have one image tower: nothing to convert.
        table(models, vectors, sources, start, end, list(sources) if start == "old" else texts)
    few_pairs(models, vectors, sources, texts)
    one_source(models, vectors, sources, texts)


def table(models, vectors, sources, start: str, end: str, names: list[str]) -> None:
    """A row for each source: converted beside encoded again."""
    old, new = vectors[start], vectors[end]
    matrix, quality = fit(old, new, sources, names, PAIRS)
    print(f"\n{models[start].name} {start} -> {models[end].name} {end}, {PAIRS:,} pairs of all sources")
    print("| source | again, recall@10 | converted | ratio | nDCG@10 ratio | same ten | cosine | by itself |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in names:
        kind = sources[name].kind
        again = search(models[end], kind, new[name].queries, new[name].index)
        converted = convert(matrix, old[name].index)
        moved = search(models[end], kind, new[name].queries, converted)
        own = search(models[start], kind, old[name].queries, old[name].index)
        cosine = np.einsum("nd,nd->n", converted, new[name].index).mean()
        print(
            f"| {name} | {again.recall:.3f} | {moved.recall:.3f} | {moved.recall / again.recall:.3f} "
            f"| {moved.ndcg / again.ndcg:.3f} | {same(again, moved):.3f} | {cosine:.3f} | {own.recall:.3f} |"
        )
    for kind, found in quality.items():
        print(
            f"said of {kind}: cosine {found.cosine:.3f}, ten nearest {found.recall:.3f}, nearest {found.nearest:.3f}"
        )


def same(left: Scores, right: Scores) -> float:
    """Share of the ten results of each query that both have."""
    return float((left.best[:, :, None] == right.best[:, None, :]).any(axis=2).mean())


def ratios(models, vectors, sources, matrix: np.ndarray, names: list[str]) -> tuple[float, float, float]:
    """Of old -> small over the named sources: mean ratio of recall@10, the worst, mean share of the same ten."""
    old, new, model = vectors["old"], vectors["small"], models["small"]
    found = []
    for name in names:
        again = search(model, sources[name].kind, new[name].queries, new[name].index)
        moved = search(model, sources[name].kind, new[name].queries, convert(matrix, old[name].index))
        found.append((again.recall, moved.recall, same(again, moved)))
    again_mean, moved_mean, same_mean = np.mean(found, axis=0)
    return moved_mean / again_mean, min(moved / again for again, moved, _ in found), same_mean


def few_pairs(models, vectors, sources, texts: list[str]) -> None:
    """How many pairs it takes."""
    print("\nold -> small by the number of pairs, texts and code")
    print("| pairs | ratio of recall@10, mean | worst source | same ten | said: nearest |")
    print("| ---: | ---: | ---: | ---: | --- |")
    for count in (100, 200, 500, 1000, PAIRS):
        matrix, quality = fit(vectors["old"], vectors["small"], sources, texts, count)
        said = ", ".join(f"{kind} {found.nearest:.3f}" for kind, found in quality.items())
        mean, worst, share = ratios(models, vectors, sources, matrix, texts)
        print(f"| {count:,} | {mean:.3f} | {worst:.3f} | {share:.3f} | {said} |")


def one_source(models, vectors, sources, texts: list[str]) -> None:
    """Pairs of one source, an index of all the others."""
    print("\nold -> small, all pairs of one source, the other sources' indexes")
    print("| pairs | number | ratio of recall@10, mean | worst source | same ten |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name in texts:
        matrix, _ = fit(vectors["old"], vectors["small"], sources, [name], PAIRS)
        others = [other for other in texts if other != name]
        mean, worst, share = ratios(models, vectors, sources, matrix, others)
        print(f"| {name} | {len(sources[name].pool):,} | {mean:.3f} | {worst:.3f} | {share:.3f} |")


main()
