"""Recall@10 of pictures by what they show, by the words in them, and by both; and what reading the words takes.

    python benchmarks/picture_words.py [SET...] [--data DATA] [--count 100]

It draws charts (matplotlib) and screenshots (Pillow) whose words are known, and indexes them as `unbraid index` does.
A chart is asked for by a question with its product, place and years, a screenshot by four words that stand in it. With
--data also the charts of vega_lite and diagrams of openstax_graphics, asked for by their captions and alt texts. Each
set is a corpus of its own. Seconds are those of the processor.
"""

import argparse
import random
import resource
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import unbraid
from unbraid.evaluation.word_evidence import WordIndex
from unbraid.io.jsonl import read_rows

SYLLABLES = (
    "ka lo mi ren tas vol que bra sin dor fel gu hem jas nor pil rus tem wic yar zon ba cle fri".split()
)
PRODUCTS = "coffee bicycles umbrellas pianos tractors candles carpets violins helmets lanterns saddles anchors".split()
WORDS = (
    "account address archive balance battery calendar camera channel comment contact currency customer database delivery "
    "device document download editor engine export filter folder gallery history invoice keyboard language library license "
    "location manager message monitor network notice number option order package password payment permission plugin printer "
    "privacy product profile project queue receipt record region report request reset schedule screen search server service "
    "session settings shipping signature storage student subject summary support system template terminal ticket transfer "
    "update upload user version volume warning window workspace"
).split()
SETS = {"vega_lite": "caption", "openstax_graphics": "alt"}


def main() -> None:
    """Make the sets, index each, print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", help="charts, screenshots, vega_lite, openstax_graphics.")
    parser.add_argument(
        "--data", type=Path, help="A folder with image/vega_lite and image/openstax_graphics."
    )
    parser.add_argument("--count", type=int, default=100, help="Pictures of each set.")
    arguments = parser.parse_args()
    print(
        "| set | pictures | with words | visual | words, dense | words, BM25 | all mixed | core-s a picture |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        for name in arguments.sets or ["charts", "screenshots", *(SETS if arguments.data else ())]:
            if name in SETS:
                queries = captioned(arguments.data / "image" / name, made / name, arguments.count)
            else:
                queries = (charts if name == "charts" else screenshots)(made / name, arguments.count)
            print(f"| {name} | {measure(made / name, queries)} |", flush=True)


def measure(folder: Path, queries: list[tuple[str, str]]) -> str:
    """Index `folder` and ask for (file name, query): the cells of a row."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with unbraid.open_index(folder.with_suffix(".index")) as index:
        report = index.add(folder, progress=False)
        model = index.model
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        files = sorted(index.store.files())
        asked = [query for _, query in queries]
        wanted = np.array([files.index((folder / name).as_posix()) for name, _ in queries])
        encoded = model.map(model.encode(asked, side="query", progress=False), "query")
        visual, dense, texts = (
            np.full((len(asked), len(files)), -1.0, np.float32),
            np.full((len(asked), len(files)), -1.0, np.float32),
            [""] * len(files),
        )
        for entries, vectors, _ in index.store.items():
            cosines = encoded @ model.map(vectors, "document").T
            for entry, column in zip(entries, cosines.T, strict=True):
                place = files.index(entry.path)
                best = visual if entry.modality == "image" else dense
                best[:, place] = np.maximum(best[:, place], column)
                texts[place] += "\n" + entry.snippet
        count_words = WordIndex(texts)
        words = np.stack([count_words(query).bm25 for query in asked])
        hits = index.search(asked, k=10)
    found = [files[row] in [hit.path for hit in some] for row, some in zip(wanted, hits, strict=True)]
    cells = [f"{recall(scores, wanted):.3f}" for scores in (visual, dense, words)]
    counts = [str(len(files)), str(report.words_found)]
    return " | ".join(
        [*counts, *cells, f"{np.mean(found):.3f}", f"{seconds / max(1, report.words_read):.2f}"]
    )


def recall(scores: np.ndarray, wanted: np.ndarray) -> float:
    """Share of rows of `scores` [queries, pictures] whose wanted column is among the ten largest; ties count against it."""
    own = scores[np.arange(len(wanted)), wanted][:, None]
    return float(np.mean((scores >= own).sum(axis=1) <= 10))


def charts(folder: Path, count: int) -> list[tuple[str, str]]:
    """Charts of sales of a product in an invented place."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    folder.mkdir()
    rng = random.Random(0)
    queries = []
    for number in range(count):
        product, place, year = rng.choice(PRODUCTS), invented(rng), rng.randrange(1950, 2010)
        years, values = range(year, year + 6), [rng.randrange(10, 900) for _ in range(6)]
        figure, axes = pyplot.subplots(figsize=(4.48, 3.2), dpi=100)
        (axes.bar if number % 2 else axes.plot)(years, values, label=f"{product} in {place}")
        axes.set_xlabel("year")
        axes.set_ylabel(f"{product} sold, thousands", fontsize=8)
        axes.set_title(f"Sales of {product} in {place}", fontsize=10)
        axes.legend(fontsize=7)
        figure.savefig(folder / f"{number:04}.png")
        pyplot.close(figure)
        queries.append((f"{number:04}.png", f"how many {product} were sold in {place} after {year}?"))
    return queries


def screenshots(folder: Path, count: int) -> list[tuple[str, str]]:
    """Windows with a menu, a list and a paragraph, 1280 by 800, light and dark."""
    folder.mkdir()
    rng = random.Random(1)
    queries = []
    for number in range(count):
        paper, ink = rng.choice([("white", "black"), ("#1e1e1e", "#d4d4d4"), ("#f0f0f0", "#203040")])
        image = Image.new("RGB", (1280, 800), paper)
        draw, font = ImageDraw.Draw(image), ImageFont.load_default(16)
        draw.rectangle((0, 0, 1280, 40), fill="#4060a0")
        draw.text((20, 10), " ".join(word.title() for word in rng.sample(WORDS, 6)), fill="white", font=font)
        shown = [rng.sample([*WORDS, invented(rng)], 3) for _ in range(12)]
        for row, line in enumerate(shown):
            draw.text((40, 80 + 40 * row), " ".join(line), fill=ink, font=font)
            draw.text((520, 80 + 40 * row), " ".join(rng.sample(WORDS, 7)), fill=ink, font=font)
        image.save(folder / f"{number:04}.png")
        queries.append(
            (f"{number:04}.png", " ".join([*shown[rng.randrange(12)], shown[rng.randrange(12)][0]]))
        )
    return queries


def captioned(source: Path, folder: Path, count: int) -> list[tuple[str, str]]:
    """Every n-th picture of a set, with its caption's first 300 characters as the query."""
    folder.mkdir()
    key = SETS[source.name]
    rows = [line.row for line in read_rows(Path(f"{source}.jsonl.gz")) if line.row.get(key)]
    queries = []
    with tarfile.open(f"{source}.tar") as archive:
        for row in rows[:: max(1, len(rows) // count)][:count]:
            member = archive.extractfile(row["file"])
            assert member
            name = row["file"].replace("/", "_")
            (folder / name).write_bytes(member.read())
            queries.append((name, row[key][:300]))
    return queries


def invented(rng: random.Random) -> str:
    """A name that no model has seen."""
    return "".join(rng.sample(SYLLABLES, 3)).title()


if __name__ == "__main__":
    main()
