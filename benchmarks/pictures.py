"""Pictures found by what they show alone: photographs, figures and charts of whole unseen files, and new drawings.

    python benchmarks/pictures.py [BUNDLE] --data DATA [--corpus 450]

Queries are the alt text of a picture (what is to be seen), and apart from that its caption (what it is about). A file with
fewer than 450 pictures is filled up with others of its kind that no query asks for. WORDS are searched among the
photographs too: right is each picture whose alt text or caption has the word. Drawings have seeds that no training uses,
and the caption asks that says most. Prints Recall@10 of base vectors and of those of the mode retrieval.
"""

import argparse
import io
import random
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import unbraid
from unbraid.distill.drawings import draw
from unbraid.evaluation.tables import markdown_table
from unbraid.io.jsonl import read_rows

# Name of the set, the file that asks, files that fill up.
SETS = (
    ("photographs", "image/openstax_photos3", ()),
    ("figures", "image/openstax_graphics3", ("image/openstax_graphics", "image/openstax_graphics2")),
)
FIELDS = ("alt", "caption")
WORDS = (
    *("butterfly", "skull", "map", "bridge", "dog", "horse", "car", "train", "ship", "tree"),
    *(
        "statue",
        "flag",
        "factory",
        "newspaper",
        "cartoon",
        "cannon",
        "wheelchair",
        "baby",
        "painting",
        "portrait",
    ),
)
DRAWN = ("bar chart", "line chart", "scatter plot", "pie chart", "histogram", "table", "page", "code")
FIRST_SEED = 3_000_000
SHORTEST = 12  # characters of a query


@dataclass(frozen=True)
class PictureSet:
    """Queries, the rows of the pictures that are right for each, and the pictures."""

    name: str
    queries: list[str]
    right: list[set[int]]
    pictures: list[Image.Image]


def read_pictures(data: Path, name: str) -> list[tuple[dict[str, Any], Image.Image]]:
    """The rows of a file with their pictures."""
    with tarfile.open(data / f"{name}.tar") as archive:
        found = []
        for line in read_rows(data / f"{name}.jsonl.gz"):
            member = archive.extractfile(line.row["file"])
            assert member
            found.append((line.row, Image.open(io.BytesIO(member.read())).convert("RGB")))
        return found


def picture_sets(data: Path, corpus: int) -> Iterator[PictureSet]:
    """Every set, with at least `corpus` pictures."""
    for name, asking, filling in SETS:
        found = read_pictures(data, asking)
        rows, pictures = [row for row, _ in found], [picture for _, picture in found]
        rest = [picture for other in filling for _, picture in read_pictures(data, other)]
        pictures += random.Random(0).sample(rest, max(0, min(len(rest), corpus - len(pictures))))
        for field in FIELDS:
            asked = [(str(row.get(field) or ""), number) for number, row in enumerate(rows)]
            asked = [(text, number) for text, number in asked if len(text) >= SHORTEST]
            yield PictureSet(
                f"{name} by {field}", [text for text, _ in asked], [{number} for _, number in asked], pictures
            )
        if name == "photographs":
            texts = [f"{row.get('alt')} {row.get('caption')}".lower() for row in rows]
            right = [
                {number for number, text in enumerate(texts) if re.search(rf"\b{word}s?\b", text)}
                for word in WORDS
            ]
            yield PictureSet(f"{name} by one word, any right one", list(WORDS), right, pictures)
    drawings = [draw(FIRST_SEED + number, DRAWN[number % len(DRAWN)]) for number in range(corpus)]
    captions, images = [one.captions[-1] for one in drawings], [one.image for one in drawings]
    yield PictureSet("drawings", captions, [{number} for number in range(corpus)], images)
    for place, kind in enumerate(DRAWN):
        own = range(place, corpus, len(DRAWN))
        yield PictureSet(f"drawings: {kind}", [captions[row] for row in own], [{row} for row in own], images)


def recall(queries: np.ndarray, pictures: np.ndarray, right: Sequence[set[int]]) -> float:
    """Share of the queries with a right picture among their ten nearest."""
    best = np.argsort(-(queries @ pictures.T), axis=1)[:, :10]
    return float(
        np.mean([not wanted.isdisjoint(row.tolist()) for row, wanted in zip(best, right, strict=True)])
    )


def main() -> None:
    """Encode, score, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", nargs="?")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--corpus", type=int, default=450)
    given = parser.parse_args()
    model = unbraid.load(given.bundle)
    query_task, document_task = model.search_modes["retrieval"]
    rows = []
    encoded: dict[int, np.ndarray] = {}  # sets may share their pictures
    for one in picture_sets(given.data, given.corpus):
        key = id(one.pictures)
        if key not in encoded:
            encoded = {key: model.encode(one.pictures, progress=False)}
        queries = model.encode(one.queries, side="query", on_truncate="ignore", progress=False)
        pictures = encoded[key]
        plain = recall(queries, pictures, one.right)
        mapped = recall(model.map(queries, query_task), model.map(pictures, document_task), one.right)
        rows.append([one.name, str(len(one.queries)), str(len(pictures)), f"{plain:.3f}", f"{mapped:.3f}"])
    head = [f"{model.name}, Recall@10", "queries", "pictures", "no mapper", "retrieval"]
    print(markdown_table([head, *rows], numbers_from=1))


if __name__ == "__main__":
    main()
