"""How a picture and words weigh in one query, and whether what is not wanted goes.

    python benchmarks/mix_queries.py PHOTOS.jsonl.gz [--bundle BUNDLE]

Photographs (rows with file and alt, beside a .tar): a picture is mixed with the description of another one, and both are
looked for. Drawings: a picture of one kind is mixed with the name of another, and the first ten hits are counted by kind;
then "a chart" or "a diagram" is searched without one of its kinds, given as a picture or by its name.
"""

import argparse
import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

import unbraid
from unbraid.distill.drawings import KINDS, draw
from unbraid.io.jsonl import read_rows
from unbraid.mix import mix_vectors

SHARES = (0, 0.3, 0.5, 0.6, 0.7, 0.8, 1)  # of the words
NOTS = (0, 0.1, 0.2, 0.3, 0.5, 1)
WANTED = {
    "a chart": ("bar chart", "line chart", "scatter plot", "pie chart", "histogram"),
    "a diagram": ("flow diagram", "tree diagram", "network graph"),
}
FIRST_SEED = 4_000_000
OF_A_KIND = 20
PHOTOGRAPHS = 450


def first_ten(model: unbraid.Embedder, base: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """Rows [n, 10] of the documents that are nearest to base vectors [n, dim]."""
    found: np.ndarray = np.argsort(-(model.map(base, "query") @ documents.T), axis=1)[:, :10]
    return found


def mix_all(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """Each row of `one` with the row of `other`, which has `share`."""
    return np.stack(
        [mix_vectors(np.stack(pair), [1 - share, share]) for pair in zip(one, other, strict=True)]
    )


def photographs(model: unbraid.Embedder, path: Path) -> None:
    """Print how often each side is among the first ten."""
    rows = [line.row for line in read_rows(path) if len(line.row.get("alt") or "") > 25][:PHOTOGRAPHS]
    pictures = []
    with tarfile.open(path.with_name(path.name.split(".")[0] + ".tar")) as archive:
        for row in rows:
            member = archive.extractfile(row["file"])
            assert member
            pictures.append(Image.open(io.BytesIO(member.read())).convert("RGB"))
    base = model.encode(pictures)
    texts = model.encode([row["alt"] for row in rows], side="query", on_truncate="ignore")
    documents = model.map(base, "document")
    other = np.random.default_rng(0).permutation(len(rows))
    print(f"{len(rows)} photographs: share of the words, picture and words' picture in the first ten")
    for share in SHARES:
        top = first_ten(model, mix_all(base, texts[other], share), documents)
        own, said = (top == np.arange(len(rows))[:, None]).any(1), (top == other[:, None]).any(1)
        print(f"  {share:.1f}  {own.mean():.3f}  {said.mean():.3f}  both {(own & said).mean():.3f}")
    top = first_ten(model, mix_all(base, base[other], 0.5), documents)
    own, said = (top == np.arange(len(rows))[:, None]).any(1), (top == other[:, None]).any(1)
    print(f"  two pictures  {own.mean():.3f}  {said.mean():.3f}  both {(own & said).mean():.3f}")


def drawings(model: unbraid.Embedder) -> None:
    """Print what kinds the first ten are of."""
    numbers = [(kind, 100 * row + seed) for row, kind in enumerate(KINDS) for seed in range(OF_A_KIND + 1)]
    base = model.encode([draw(FIRST_SEED + seed, kind).image for kind, seed in numbers])
    asking = np.arange(len(numbers)) % (OF_A_KIND + 1) == OF_A_KIND
    pictures, documents = base[asking], model.map(base[~asking], "document")
    kinds = np.repeat(np.array(KINDS), OF_A_KIND)
    names = model.encode([f"a {kind}" for kind in KINDS], side="query")
    pairs = [(a, b) for a in range(len(KINDS)) for b in range(len(KINDS)) if a != b]
    print(f"{len(kinds)} drawings: share of the words, first ten of the picture's kind, of the words' kind")
    for share in SHARES:
        asked = mix_all(pictures[[a for a, _ in pairs]], names[[b for _, b in pairs]], share)
        found = kinds[first_ten(model, asked, documents)]
        own = found == np.array([KINDS[a] for a, _ in pairs])[:, None]
        said = found == np.array([KINDS[b] for _, b in pairs])[:, None]
        print(
            f"  {share:.1f}  {own.mean():.3f}  {said.mean():.3f}  both {(own.any(1) & said.any(1)).mean():.3f}"
        )
    print("not wanted: its weight, first ten of that kind, of the wanted ones")
    wanted = model.encode(list(WANTED), side="query")
    for weight in NOTS:
        for form, vectors in (("picture", pictures), ("words", names)):
            asked = [
                (group, kind, mix_vectors(np.stack([wanted[row], vectors[KINDS.index(kind)]]), [1, -weight]))
                for row, group in enumerate(WANTED.values())
                for kind in group
            ]
            found = kinds[first_ten(model, np.stack([vector for *_, vector in asked]), documents)]
            gone = np.mean([(row == kind).mean() for row, (_, kind, _) in zip(found, asked, strict=True)])
            kept = np.mean(
                [np.isin(row, group).mean() for row, (group, *_) in zip(found, asked, strict=True)]
            )
            print(f"  -{weight:.1f} as {form:7s}  {gone:.3f}  {kept:.3f}")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--bundle")
    arguments = parser.parse_args()
    model = unbraid.load(arguments.bundle)
    photographs(model, arguments.photos)
    drawings(model)


if __name__ == "__main__":
    main()
