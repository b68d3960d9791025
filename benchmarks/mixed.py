"""One index of texts and pictures: is either favoured?

    python benchmarks/mixed.py PICTURES... [--texts DATA] [--model BUNDLE] [--split dev] [--draws 20] [--grid]

PICTURES are captioned sets whose rows have two descriptions. First table: the caption asks, and the item stands in the index
as its alt text or as its picture, by chance. Beside the mixed index stand one of texts alone and one of pictures alone; the
score that could be hoped for is each query's in the index of its own item's modality. Means over draws. With --texts, a
second part: all pictures of a set among 400 documents of each of TEXTS, pair files of DATA, and what is kept of the nDCG@10
that their queries have among the documents alone, and captions among the pictures alone.

A picture's cosine counts as the bundle says (`picture` of its map to relevance). --grid tries other lines in its place.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hybrid import read
from numpy.typing import NDArray

import unbraid
from unbraid.evaluation.geometry.captioned_pairs import read_captioned
from unbraid.evaluation.tables import markdown_table
from unbraid.index.search.relevance import relevance_of
from unbraid.items import Code

K, QUERIES, OTHERS = 10, 100, 300
TEXTS = ("medquad.dev", "passages2", "terms2", "tldr")
SLOPES, CONSTANTS = (1.0, 1.1, 1.15, 1.2, 1.3), (-0.03, -0.02, -0.015, -0.01, 0.0)  # at a cosine of USUAL
USUAL = 0.1
Line = tuple[float, float]
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Captioned:
    """Task vectors [n, dim] of captions, other descriptions and pictures; row i of each is of one picture."""

    name: str
    captions: Vectors
    texts: Vectors
    pictures: Vectors


@dataclass(frozen=True)
class Texts:
    """Task vectors of queries [n, dim] and of documents [m, dim]; document i is right for query i."""

    name: str
    queries: Vectors
    documents: Vectors


def gains(scores: Vectors) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """nDCG@10 of each query of scores [n, m], whose one right document has its own row, and the ten best rows [n, 10]."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    found = best == np.arange(len(scores))[:, None]
    return np.where(found.any(axis=1), 1 / np.log2(found.argmax(axis=1) + 2), 0.0), best


def captioned_sets(
    model: Any, paths: Sequence[Path], split: str | None, tasks: tuple[str, str]
) -> Iterator[Captioned]:
    """The sets of captioned pictures, encoded."""
    for path in paths:
        captioned = read_captioned(path, split=split)
        second = dict(captioned.texts)
        rows = [(caption, second[caption], file) for caption, file in captioned.pictures if caption in second]
        captions, texts, pictures = (list(column) for column in zip(*rows, strict=True))
        yield Captioned(
            path.name.split(".")[0],
            model.encode(captions, task=tasks[0], on_truncate="ignore", progress=False),
            model.encode(texts, task=tasks[1], on_truncate="ignore", progress=False),
            model.encode(pictures, task=tasks[1], progress=False),
        )


def text_sets(model: Any, data: Path, tasks: tuple[str, str]) -> Iterator[Texts]:
    """A sample of the pairs of each of TEXTS, encoded."""
    for name in TEXTS:
        one = read(data, name)
        assert one is not None, f"{data} has no pairs {name}"
        asked = random.Random(0).sample(range(len(one.queries)), QUERIES)
        right = [int(one.gold[row]) for row in asked]
        rest = sorted(set(range(len(one.documents))) - set(right))
        chosen = right + random.Random(0).sample(rest, min(len(rest), OTHERS))
        kind = Code if one.code else str
        yield Texts(
            name,
            model.encode(
                [one.queries[row] for row in asked], task=tasks[0], on_truncate="ignore", progress=False
            ),
            model.encode(
                [kind(one.documents[row]) for row in chosen],
                task=tasks[1],
                on_truncate="ignore",
                progress=False,
            ),
        )


def by_chance(one: Captioned, line: Line, draws: int) -> list[float]:
    """What is kept of the score to hope for, and pictures' share of the ten best, less their share of the right ones.

    Before them nDCG@10 of texts alone and of pictures alone.
    """
    by_text, by_picture = one.captions @ one.texts.T, one.captions @ one.pictures.T
    counted = line[0] * by_picture + line[1]
    of_text, of_picture = gains(by_text)[0], gains(by_picture)[0]
    rng = np.random.default_rng(0)
    hoped, mixed, share = [], [], []
    for _ in range(draws):
        drawn = rng.random(len(by_text)) < 0.5
        score, best = gains(np.where(drawn, counted, by_text))
        hoped.append(np.where(drawn, of_picture, of_text).mean())
        mixed.append(score.mean())
        share.append(drawn[best].mean() - drawn.mean())
    return [
        float(of_text.mean()),
        float(of_picture.mean()),
        float(np.sum(mixed) / np.sum(hoped)),
        float(np.mean(share)),
    ]


def among(one: Captioned, texts: Sequence[Texts], line: Line) -> tuple[float, float]:
    """Shares of nDCG@10 that queries of the texts and that captions keep in one index of all texts and the pictures."""
    documents = np.concatenate([some.documents for some in texts])
    firsts = np.cumsum([0, *(len(some.documents) for some in texts[:-1])])
    right = np.concatenate(
        [first + np.arange(len(some.queries)) for first, some in zip(firsts, texts, strict=True)]
    )

    def score(queries: Vectors) -> tuple[Vectors, Vectors]:
        return queries @ documents.T, line[0] * (queries @ one.pictures.T) + line[1]

    by_text, by_picture = score(np.concatenate([some.queries for some in texts]))
    own = np.take_along_axis(by_text, right[:, None], axis=1)
    alone, beside = (by_text > own).sum(axis=1), (by_picture > own).sum(axis=1)
    caption_text, caption_picture = score(one.captions)
    shown = np.diagonal(caption_picture)[:, None]
    picture_alone, text_beside = (caption_picture > shown).sum(axis=1), (caption_text > shown).sum(axis=1)

    def kept(before: NDArray[np.intp], more: NDArray[np.intp]) -> float:
        def mean(places: NDArray[np.intp]) -> float:
            return float(np.where(places < K, 1 / np.log2(places + 2), 0.0).mean())

        return mean(before + more) / mean(before)

    return kept(alone, beside), kept(picture_alone, text_beside)


def main() -> None:
    """Measure and print a row a set."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--texts", type=Path, metavar="DATA")
    parser.add_argument("--model")
    parser.add_argument("--mode", default="retrieval")
    parser.add_argument("--split", default="dev", help='"" for all rows of a file without splits')
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--grid", action="store_true")
    arguments = parser.parse_args()
    model = unbraid.load(arguments.model)
    tasks = model.search_modes[arguments.mode]
    sets = list(captioned_sets(model, arguments.pictures, arguments.split or None, tasks))
    texts = list(text_sets(model, arguments.texts, tasks)) if arguments.texts else []
    line = relevance_of(model).picture
    if arguments.grid:
        rows = []
        for slope in SLOPES:
            for constant in CONSTANTS:
                tried = slope, USUAL * (1 - slope) + constant
                found = [by_chance(one, tried, arguments.draws) for one in sets]
                kept = [among(one, texts, tried) for one in sets] if texts else [(0.0, 0.0)]
                shares = [share for *_, share in found]
                rows.append(
                    [
                        f"{slope} {tried[1]:+.3f}",
                        f"{min(shares):+.3f} {max(shares):+.3f}",
                        f"{np.mean([one[2] for one in found]):.3f}",
                        f"{np.mean(kept, axis=0)[0]:.3f}",
                        f"{np.mean(kept, axis=0)[1]:.3f}",
                    ]
                )
        head = ["line", "share of pictures too large by", "kept by chance", "kept by texts", "by captions"]
        print(markdown_table([head, *rows], numbers_from=1))
        return
    rows = []
    for one in sets:
        for name, tried in (("as it is", (1.0, 0.0)), ("counted", line)):
            cells = [
                f"{cell:+.3f}" if n == 3 else f"{cell:.3f}"
                for n, cell in enumerate(by_chance(one, tried, arguments.draws))
            ]
            kept = [f"{cell:.3f}" for cell in among(one, texts, tried)] if texts else []
            rows.append([one.name, str(len(one.captions)), name, *cells, *kept])
    head = [
        "set",
        "pictures",
        "cosine",
        "texts alone",
        "pictures alone",
        "kept by chance",
        "share of pictures too large by",
    ]
    print(
        markdown_table(
            [head + (["kept by texts", "kept by captions"] if texts else []), *rows], numbers_from=1
        )
    )


main()
