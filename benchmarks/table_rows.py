"""How a table is best cut: questions on single rows of a made table, by the vector alone.

python benchmarks/table_rows.py                            # a minute on one core
"""

import random

import numpy as np

import unbraid
from unbraid.index.files.chunk import Chunk, Lines, Section, cut_sections, limit_of
from unbraid.index.files.read import read_text_chunks

NAMES = ["product", "colour", "material", "warehouse", "price", "availability"]
VALUES = (
    "clock mirror kettle lamp chair table sofa bicycle tent backpack kayak guitar violin printer monitor keyboard blender oven",
    "red green blue black white yellow brown grey purple orange",
    "steel wood plastic glass leather cotton bamboo aluminium",
    "Oslo Lima Kyoto Cairo Quito Boston Delhi Berlin Perth Nairobi",
)
ROWS, QUESTIONS = 400, 100


def main() -> None:
    """Print, for each way of cutting, the chunks and the share of questions whose row is in the first 1, 3 and 10."""
    rng = random.Random(1)
    found: dict[tuple[str, ...], list[str]] = {}
    while len(found) < ROWS:
        key = tuple(rng.choice(some.split()) for some in VALUES)
        found[key] = [*key, str(rng.randint(5, 900)), rng.choice(["in stock", "sold out", "on order"])]
    rows = list(found.values())
    lines = [",".join(row) for row in [NAMES, *rows]]
    asked = rng.sample(range(ROWS), QUESTIONS)
    questions = [
        f"{rng.choice(NAMES[4:])} of the {colour} {product} of {material} in {town}"
        for product, colour, material, town, *_ in (rows[place] for place in asked)
    ]
    for tier in ("nano", "base"):
        model = unbraid.load(tier=tier)
        source = Lines(lines, limit=limit_of(model))
        ways: dict[str, list[Chunk]] = {
            "as many lines as fit": cut_sections(source, [Section(0, len(lines))]),
            "the same behind the names": cut_sections(source, [Section(1, len(lines), (", ".join(NAMES),))]),
            "a row each, with names": read_text_chunks("\n".join(lines), ".csv", source.limit),
        }
        queries = model.encode(questions, task="query")
        for way, chunks in ways.items():
            documents = model.encode([chunk.encoded for chunk in chunks], task="document")
            ranked = (-(queries @ documents.T)).argsort(axis=1)
            held = [
                [
                    (chunks[one].first_line or 0) <= place + 2 <= (chunks[one].last_line or 0)
                    for one in order[:10]
                ]
                for place, order in zip(asked, ranked, strict=True)
            ]
            shares = " ".join(f"{np.mean([any(some[:k]) for some in held]):.2f}" for k in (1, 3, 10))
            print(f"{tier}  {way:26s}  {len(chunks):4d} chunks  {shares}")


if __name__ == "__main__":
    main()
