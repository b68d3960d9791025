"""Fit the map from cosines and words to the probability of relevance, which a search ranks and scores by.

    python benchmarks/fit_relevance.py DATA [--bundle FOLDER] [--tier TIER] [--cache DIR] [--write]

DATA is a folder of pair files as for benchmarks/hybrid.py. Of each set it takes 600 documents, 150 of their queries, 40 words
that at most six of the documents hold (right is each document with the word), and 40 queries of another set, to which
nothing is relevant. The weights of words and cosines make the right documents likely among the candidates of a query
(softmax), then a scale and a constant make that a probability (logistic). The table shows each set ranked by a map that was
fitted without it and without the sets of its source: nDCG@10 of cosines and of the map, how many rare words come first, and
at last how probable hits are that are right and those of queries without an answer. --write puts the map of all sets into the
bundle's bundle.json. Some 12,000 texts are encoded, once for a --cache.
"""

import argparse
import json
import os
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from hybrid import FILES, Set, Vectors, read
from numpy.typing import NDArray

from unbraid.bundle import MANIFEST, STARTER, manifest_hash
from unbraid.evaluation.word_evidence import LIMIT, WordIndex
from unbraid.index.search.relevance import FEATURES, FLOOR, Relevance, Scale, features
from unbraid.io.atomic import write_atomic

Floats = NDArray[np.float64]

DOCUMENTS, QUERIES, RARE, FOREIGN = 600, 150, 40, 40
FEW = 6  # documents that hold a rare word
NEAR = 60  # candidates by cosine, beside those by words
# The sets are of about one size, so its weight is not to be found here. Among 100,000 chunks the largest z of chance is 1.2
# more than among 600, which weighs as much as five units of the logarithm.
SIZE = -0.4
WEIGHT = {"gold": 1.0, "rare": 0.3, "foreign": 0.5}
SOURCES = (  # sets of one source
    {"terms", "terms2", "passages", "passages2"},
    {"medquad.train", "medquad.dev"},
    {"py_stdlib", "py_docstrings", "csn", "packages", "package_docs"},
    {"nl2bash", "tldr"},
)
RIDGE = 2.0
# Words weigh as much as fits best, or by the first of these shares of it with which no set falls BEHIND its cosines by more.
SHARES, BEHIND = (1.0, 0.85, 0.7, 0.6, 0.5, 0.42, 0.35), 0.003
# A single rare word shall lead: its weight is the first of these multiples of what fits that allows the same.
LEADS = (8.0, 6.0, 4.0, 3.0, 2.0, 1.5, 1.0)


@dataclass(frozen=True)
class Asked:
    """A query and its candidates: features [n, f], z [n] and which are right [n]."""

    kind: str
    x: Floats
    z: Floats
    right: NDArray[np.bool_]


def smaller(one: Set) -> Set:
    """A set of fewer documents and queries."""
    return Set(one.name, one.code, one.queries[:QUERIES], one.documents[:DOCUMENTS], one.gold[:QUERIES])


def rare_words(documents: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Some words of four letters or more that at most FEW documents hold, and those documents."""
    holding: dict[str, list[int]] = {}
    for row, text in enumerate(documents):
        for word in set(re.findall(r"(?<!\w)[a-z]\w{3,}(?!\w)", text.lower())):
            holding.setdefault(word, []).append(row)
    few = sorted((word, rows) for word, rows in holding.items() if len(rows) <= FEW)
    return random.Random(0).sample(few, min(RARE, len(few)))


def asked_of(one: Set, other: Set, vectors: Vectors, usual: Relevance) -> Iterator[Asked]:
    """Every query of a set with its candidates; the queries of `other` have no answer here."""
    documents = vectors(one.documents, one.code, "document")
    words = WordIndex(one.documents)
    rare = rare_words(one.documents)
    kinds = {
        "gold": [(text, [int(row)]) for text, row in zip(one.queries, one.gold, strict=True)],
        "rare": rare,
        "foreign": [(text, []) for text in other.queries[-FOREIGN:]],
    }
    for kind, queries in kinds.items():
        for (text, gold), query in zip(
            queries, vectors([text for text, _ in queries], one.code, "query"), strict=True
        ):
            cosines, found = documents @ query, words(text)
            z = Scale.of(cosines, usual)(cosines)
            by_words = np.flatnonzero(found.bm25)
            chosen = np.unique(
                np.concatenate(
                    [
                        np.argsort(-z)[:NEAR],
                        by_words[np.argsort(-found.bm25[by_words])[:LIMIT]],
                        np.flatnonzero(found.rare),
                    ]
                )
            )
            x = features(found.evidence(z))[chosen]
            yield Asked(kind, x, z[chosen], np.isin(chosen, gold))


def fit_order(asked: Sequence[Asked], free: Sequence[int]) -> Floats:
    """Weights [f] of the `free` features, by Newton steps on the softmax loss of the right candidates of each query."""
    some = [one for one in asked if one.right.any()]
    x = np.concatenate([one.x for one in some])[:, free]
    size = x.std(axis=0)
    x = x / size
    starts = np.cumsum([0, *(len(one.z) for one in some[:-1])])
    query = np.repeat(np.arange(len(some)), [len(one.z) for one in some])
    right = np.concatenate([one.right / one.right.sum() for one in some])
    weight = np.asarray([WEIGHT[one.kind] for one in some])

    def loss(b: Floats) -> tuple[float, Floats]:
        s = x @ b
        most = np.maximum.reduceat(s, starts)
        e = np.exp(s - most[query])
        total = np.add.reduceat(e, starts)
        value = (weight * (np.log(total) + most)).sum() - (weight[query] * right * s).sum()
        return float(value + RIDGE / 2 * b @ b), e / total[query]

    b = np.zeros(len(free))
    value, p = loss(b)
    for _ in range(30):
        gradient = x.T @ (weight[query] * (p - right)) + RIDGE * b
        mean = np.add.reduceat(x * p[:, None], starts)
        hessian = (x * (weight[query] * p)[:, None]).T @ x - (mean * weight[:, None]).T @ mean
        step = np.linalg.solve(hessian + RIDGE * np.eye(len(free)), gradient)
        share = 1.0
        while (after := loss(b - share * step))[0] > value and share > 1e-3:
            share /= 2
        done = value - after[0] < 1e-5 * abs(value)
        b, (value, p) = b - share * step, after
        if done:
            break
    weights = np.zeros(len(FEATURES))
    weights[list(free)] = b / size
    return weights


def fit_logistic(x: Floats, right: NDArray[np.bool_], weight: Floats) -> Floats:
    """Weights [f] of the features x [n, f], by Newton steps on the logistic loss."""
    b = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(x @ b, -30, 30)))
        hessian = (x * (weight * p * (1 - p))[:, None]).T @ x + 1e-6 * np.eye(len(b))
        step = np.linalg.solve(hessian, x.T @ (weight * (p - right)))
        b -= step * min(1.0, 3 / max(np.abs(step).max(), 1e-9))
        if np.abs(step).max() < 1e-4:
            break
    return b


def first_harmless(
    order: Floats, names: Sequence[str], factors: Sequence[float], sets: Mapping[str, Sequence[Asked]]
) -> Floats:
    """The weights with those of `names` times the first of `factors` with which no set falls BEHIND its cosines."""
    gold = {name: [one for one in some if one.kind == "gold"] for name, some in sets.items()}
    rows = [FEATURES.index(name) for name in names]
    for factor in factors:
        changed = order.copy()
        changed[rows] *= factor
        lost = [
            np.mean([ndcg(one.z, one) - ndcg(one.x @ changed, one) for one in some]) for some in gold.values()
        ]
        if max(lost) <= BEHIND:
            break
    return changed


def fit(sets: Mapping[str, Sequence[Asked]], mean: float, spread: float) -> Relevance:
    """The map of the queries of these sets."""
    asked = [one for some in sets.values() for one in some]
    constant = (FEATURES.index("one"), FEATURES.index("size"))
    order = fit_order(asked, [row for row in range(len(FEATURES)) if row not in constant])
    order = first_harmless(order, ("words", "words_z", "named"), SHARES, sets)
    order = first_harmless(order, ("single",), LEADS, sets)
    x = np.concatenate([one.x for one in asked])
    right = np.concatenate([one.right for one in asked])
    weight = np.concatenate([np.full(len(one.z), WEIGHT[one.kind]) for one in asked])
    ones, size = x[:, constant[0]], x[:, constant[1]]
    scale, shift = fit_logistic(np.stack([x @ order, ones], axis=1), right, weight)
    words = scale * order
    words[constant[0]], words[constant[1]] = shift - SIZE * size.mean(), SIZE
    natural = np.concatenate([np.full(len(one.z), one.kind != "rare") for one in asked])
    z = np.concatenate([one.z for one in asked])
    per_z, one = fit_logistic(np.stack([z, ones], axis=1)[natural], right[natural], weight[natural])
    return Relevance(
        tuple(round(float(value), 3) for value in words),
        tuple(round(float(value), 3) for value in (one - SIZE * size.mean(), per_z, SIZE)),
        round(mean, 4),
        round(spread, 4),
    )


def ndcg(scores: Floats, one: Asked) -> float:
    """nDCG@10 of the best right document; equal scores share their mean rank."""
    if not one.right.any():
        return 0.0
    own = scores[one.right].max()
    rank = (scores[~one.right] > own).sum() + (scores[~one.right] == own).sum() / 2
    return float(1 / np.log2(rank + 2)) if rank < 10 else 0.0


def main() -> None:
    """Fit, print the table, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--bundle", type=Path, help="instead of the starter")
    parser.add_argument("--tier", default="starter", help="nano: a quick look")
    parser.add_argument("--cache", type=Path, default=Path("runs/relevance"))
    parser.add_argument("--write", action="store_true", help="put the map into bundle.json")
    arguments = parser.parse_args()
    vectors = Vectors(arguments.tier, arguments.cache, arguments.bundle)
    sets = [smaller(one) for name in FILES if (one := read(arguments.data, name)) is not None]
    cosines = [
        vectors(one.documents, one.code, "document") @ vectors(one.queries, one.code, "query").T
        for one in sets
    ]
    mean = float(np.mean([some.mean() for some in cosines]))
    spread = float(np.mean([some.std(axis=0).mean() for some in cosines]))
    usual = Relevance((), (), mean, spread)
    asked = {
        one.name: list(asked_of(one, sets[(row + 5) % len(sets)], vectors, usual))
        for row, one in enumerate(sets)
    }
    print(f"{'set':15} {'cosines':>8} {'map':>6} {'rare first':>10} {'right':>7} {'no answer':>9}")
    means = []
    for name, queries in asked.items():
        related = next((source for source in SOURCES if name in source), {name})
        rest = {other: some for other, some in asked.items() if other not in related}
        held_out = fit(rest, mean, spread)
        odds = [one.x @ np.asarray(held_out.words) for one in queries]
        best = np.asarray([1 / (1 + np.exp(-some.max())) for some in odds])
        kinds = np.asarray([one.kind for one in queries])
        gold, rare = np.flatnonzero(kinds == "gold"), np.flatnonzero(kinds == "rare")
        row = [
            np.mean([ndcg(queries[n].z, queries[n]) for n in gold]),
            np.mean([ndcg(odds[n], queries[n]) for n in gold]),
        ]
        first = np.mean([ndcg(odds[n], queries[n]) == 1 for n in rare]) if len(rare) else np.nan
        means.append(row)
        print(
            f"{name:15} {row[0]:8.3f} {row[1]:6.3f} {first:10.2f} {np.median(best[gold]):7.3f} "
            f"{np.median(best[kinds == 'foreign']):9.3f}  {(best[gold] < FLOOR).mean():.2f} of those with, "
            f"{(best[kinds == 'foreign'] < FLOOR).mean():.2f} of those without an answer are below {FLOOR}",
            flush=True,
        )
    print(f"{'mean':15} {np.mean(means, axis=0)[0]:8.3f} {np.mean(means, axis=0)[1]:6.3f}")
    fitted = fit(asked, mean, spread)
    print(json.dumps(asdict(fitted)))
    if arguments.write:
        manifest = (arguments.bundle or STARTER) / MANIFEST
        about = json.loads(manifest.read_bytes())
        # How cosines of pictures count is found by benchmarks/mixed.py, what a second look counts by second_look.py.
        known = about.get("relevance", {})
        about["relevance"] = {
            **asdict(fitted),
            "picture": known.get("picture", (1.0, 0.0)),
            **{key: known[key] for key in ("look", "look_share") if key in known},
        }
        about["sha256"] = manifest_hash(about)
        write_atomic(manifest, json.dumps(about, indent=1).encode())
        print(f"written to {manifest}")


if __name__ == "__main__":
    main()
