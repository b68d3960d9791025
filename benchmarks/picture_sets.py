"""Write picture sets to score a bundle on: held-out photographs and graphics among more pictures, and new drawings.

    python benchmarks/picture_sets.py --data DATA --out DIR [--corpus 450]

Captions of dev pictures ask; the corpus is filled up to 450 with training pictures that no query asks for (trained ones
are near their own captions, so they disturb a little less than new ones would). Drawings are of seeds that no training
uses: charts, tables and pages, asked for by the caption that says most. Printed beside each set: the share of dev
pictures with a training picture at most 3 bits away (64-bit difference hash, which the rows carry).
"""

import argparse
import json
import random
import tarfile
from pathlib import Path

from unbraid.distill.drawings import draw
from unbraid.io.jsonl import read_rows
from unbraid.training.data_split import is_dev

SETS = {
    "photographs": ("image/openstax_photos", "image/openstax_photos2"),
    "graphics": ("image/openstax_graphics", "image/openstax_graphics2", "image/vega_lite"),
}
DRAWN = ("bar chart", "line chart", "scatter plot", "pie chart", "histogram", "table", "page", "code")
FIRST_SEED = 3_000_000
NEAR = 3  # bits


def write_set(data: Path, out: Path, name: str, sources: tuple[str, ...], corpus: int) -> None:
    """Write NAME.jsonl and the pictures in NAME/."""
    found = [(source, line.row) for source in sources for line in read_rows(data / f"{source}.jsonl.gz")]
    dev = [(source, row) for source, row in found if is_dev(row)]
    seen = [(source, row) for source, row in found if not is_dev(row)]
    others = random.Random(0).sample(seen, max(0, corpus - len(dev)))
    lines = []
    for source in sources:
        with tarfile.open(data / f"{source}.tar") as archive:
            for (origin, row), asked in [(one, True) for one in dev] + [(one, False) for one in others]:
                if origin != source:
                    continue
                file = f"{Path(source).name}/{row['file']}"
                path = out / name / file
                path.parent.mkdir(parents=True, exist_ok=True)
                member = archive.extractfile(row["file"])
                assert member
                path.write_bytes(member.read())
                captions = {key: row[key] for key in ("caption", "alt", "title") if asked and row.get(key)}
                lines.append({"file": file, **captions})
    (out / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    trained = [int(row["dhash"], 16) for _, row in seen if row.get("dhash")]
    hashed = [int(row["dhash"], 16) for _, row in dev if row.get("dhash")]
    near = sum(any((one ^ other).bit_count() <= NEAR for other in trained) for one in hashed)
    print(
        f"{out / name}.jsonl: {len(dev)} queries, {len(lines)} pictures; {near} of {len(hashed)} near a trained one"
    )


def write_drawings(out: Path, count: int) -> None:
    """Write drawings.jsonl and the pictures in drawings/."""
    (out / "drawings").mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(count):
        drawing = draw(FIRST_SEED + number, DRAWN[number % len(DRAWN)])
        drawing.image.save(out / "drawings" / f"{number}.png")
        lines.append({"file": f"{number}.png", "caption": drawing.captions[-1]})
    (out / "drawings.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    print(
        f"{out / 'drawings'}.jsonl: {count} queries, {count} pictures, {len({line['caption'] for line in lines})} captions"
    )


def main() -> None:
    """Write every set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--corpus", type=int, default=450)
    arguments = parser.parse_args()
    for name, sources in SETS.items():
        write_set(arguments.data, arguments.out, name, sources, arguments.corpus)
    write_drawings(arguments.out, arguments.corpus)


main()
