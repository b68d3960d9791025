"""What a search finds whose answer is known by construction, in an index of what is on any machine.

    python benchmarks/search_quality.py [--index FOLDER] [--seed 1] [--vectors-only] [--misses]

It indexes modules of the standard library and, as Markdown, the documentation that comes with Python and the README of
each installed package, and some pictures; --index keeps that index for the next run. It prints, for each kind of query, how
many have a right hit first, in the first ten, and MRR@10:

- rare: a word that at most 6 chunks hold; right is a hit that shows it
- definition: the name of a function or class; right is a hit with the line that defines it
- docstring: the first sentence of a function's docstring; right is a hit with that function
- heading: a heading of a document; right is a hit of that section
- file name: the words of a file's name; right is a hit of the file
- picture: the name of a picture; right is the picture
- nothing: a question about something else; right is no hit

The queries of --seed 0 steered weights of the ranking. Another seed draws among the others; kinds of which none are left
are not shown.
"""

import argparse
import ast
import json
import os
import random
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from PIL import Image

import unbraid
from unbraid.index import Hit, Index
from unbraid.index.search.relevance import FLOOR

QUERIES = 60
RARE = 6  # chunks that hold a rare word, at most
PACKAGES = (
    "asyncio",
    "concurrent",
    "email",
    "http",
    "importlib",
    "json",
    "logging",
    "multiprocessing",
    "unittest",
)
READMES, README_BYTES = 40, 20_000  # of installed packages, the first by name
PICTURES = ("stonehenge", "red_kettle", "Golden Gate Bridge", "tractor-repair", "IMG_2041", "DSC00017")
FOREIGN = (
    "bicycle chain oil",
    "how long to boil an egg",
    "symptoms of measles in toddlers",
    "best hiking trails in the Dolomites",
    "who won the 1974 world cup final",
    "recipe for sourdough rye bread",
    "when to prune apple trees",
    "mortgage interest rates for first-time buyers",
    "causes of the French Revolution",
    "how do bees make honey",
    "treatment of a sprained ankle",
    "piano sonata in C sharp minor",
    "population of Reykjavik",
    "removing red wine stains from a carpet",
    "rules of offside in football",
    "how deep is the Mariana Trench",
    "wedding dress alterations",
    "migration of arctic terns",
    "paint colours for a north-facing bedroom",
    "is oat milk good for babies",
)
OTHER_FOREIGN = (
    "how to knit a cable stitch",
    "side effects of ibuprofen",
    "capital gains tax on inherited property",
    "training plan for a first marathon",
    "life cycle of a salmon",
    "who painted the Sistine Chapel ceiling",
    "best time to plant garlic",
    "changing a flat tyre on a motorway",
    "Viking burial customs",
    "how to calm a crying newborn",
    "difference between merino and cashmere wool",
    "castling rules in chess",
    "ferry from Naples to Capri",
    "how volcanoes form islands",
    "cast of a midsummer night's dream",
    "vaccinations for a puppy",
    "grilled mackerel with fennel",
    "average rainfall in the Atacama desert",
    "stretching exercises for lower back pain",
    "history of the Ottoman navy",
)


@dataclass(frozen=True)
class Query:
    """A query and what a right hit is; None where no hit is right."""

    text: str
    right: Callable[[Hit], bool] | None


def write_corpus(folder: Path) -> None:
    """Copy the modules, write the documents as Markdown and draw the pictures."""
    library = Path(ast.__file__).parent
    for package in PACKAGES:
        for source in sorted((library / package).glob("*.py")):
            target = folder / "lib" / package / source.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    docs = folder / "docs"
    docs.mkdir()
    from pydoc_data.topics import topics

    for name, text in topics.items():
        lines = [re.sub(r"^\*{4,}$", "", line) for line in text.splitlines()]
        (docs / f"{name}.md").write_text("# " + "\n".join(lines).lstrip(), encoding="utf-8")
    packages = folder / "packages"
    packages.mkdir()
    described = {one.name: one.metadata.get_payload() for one in metadata.distributions()}
    for name in sorted(name for name, about in described.items() if len(str(about)) > 500)[:READMES]:
        (packages / f"{name}.md").write_text(str(described[name])[:README_BYTES], encoding="utf-8")
    pictures = folder / "pictures"
    pictures.mkdir()
    noise = np.random.default_rng(0)
    for name in PICTURES:
        pixels = np.kron(noise.integers(0, 255, (4, 4, 3)), np.ones((24, 24, 1))).astype(np.uint8)
        Image.fromarray(pixels).save(pictures / f"{name}.jpg")


def shows(word: str) -> Callable[[Hit], bool]:
    """Whether a hit's snippet holds `word`, case aside."""
    whole = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)
    return lambda hit: bool(whole.search(hit.snippet))


def within(path: Path, line: int) -> Callable[[Hit], bool]:
    """Whether a hit holds `line` of the file at `path`."""
    place = path.as_posix()
    return lambda hit: hit.path == place and (hit.first_line or 0) <= line <= (hit.last_line or 0)


def of_file(path: Path) -> Callable[[Hit], bool]:
    """Whether a hit is of the file at `path`."""
    place = path.as_posix()
    return lambda hit: hit.path == place


def rare_words(index: Index) -> list[Query]:
    """Words of four letters or more that at most RARE chunks hold."""
    holding: Counter[str] = Counter()
    for entries, _, _ in index.store.items():
        for entry in entries:
            holding.update(
                {word.lower() for word in re.findall(r"(?<!\w)[A-Za-z]\w{3,}(?!\w)", entry.snippet)}
            )
    words = sorted(word for word, count in holding.items() if count <= RARE)
    return [Query(word, shows(word)) for word in words]


def definitions(folder: Path) -> Iterator[tuple[str, str, Path, int]]:
    """Name, docstring, file and line of every function and class whose name is defined once."""
    found: list[tuple[str, str, Path, int]] = []
    for path in sorted((folder / "lib").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.append((node.name, ast.get_docstring(node) or "", path, node.lineno))
    once = Counter(name for name, *_ in found)
    return (one for one in found if once[one[0]] == 1 and not one[0].startswith("__"))


def headings(folder: Path) -> Iterator[Query]:
    """Headings of documents that no other document has, of two words or more."""
    found: list[tuple[str, Path, int]] = []
    for path in sorted(folder.rglob("*.md")):
        fenced = False
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            fenced ^= line.startswith("```")
            if not fenced and re.match(r"#{1,4} \w[\w ,-]+$", line) and len(line.split()) > 2:
                found.append((line.lstrip("# "), path, number))
    once = Counter(title.lower() for title, *_ in found)
    return (Query(title, within(path, line)) for title, path, line in found if once[title.lower()] == 1)


def file_names(folder: Path) -> Iterator[Query]:
    """File names of two words or more, as words."""
    for path in sorted([*(folder / "lib").rglob("*.py"), *(folder / "packages").glob("*.md")]):
        words = re.findall(r"[A-Za-z0-9]+", path.stem)
        if len(words) > 1:
            yield Query(" ".join(words), of_file(path))


def queries_of(folder: Path, index: Index, seed: int) -> dict[str, list[Query]]:
    """Queries by kind, at most QUERIES drawn of each; those of seed 0 are in no other seed."""
    known = list(definitions(folder))
    kinds = {
        "rare": rare_words(index),
        "definition": [Query(name, within(path, line)) for name, _, path, line in known],
        "docstring": [
            Query(first, within(path, line))
            for _, docstring, path, line in known
            if len((first := docstring.split("\n\n")[0].split(". ")[0]).split()) > 4 and len(first) < 200
        ],
        "heading": list(headings(folder)),
        "file name": list(file_names(folder)),
        "picture": [
            Query(name, of_file(folder / "pictures" / f"{name}.jpg"))
            for name in PICTURES
            if not re.search(r"\d", name)
        ],
        "nothing": [Query(text, None) for text in FOREIGN],
    }
    first = _draw(kinds, 0)
    if seed == 0:
        return first
    taken = {one.text for some in first.values() for one in some}
    others = {kind: [one for one in some if one.text not in taken] for kind, some in kinds.items()}
    others["nothing"] = [Query(text, None) for text in OTHER_FOREIGN]
    return {kind: some for kind, some in _draw(others, seed).items() if some}


def _draw(kinds: dict[str, list[Query]], seed: int) -> dict[str, list[Query]]:
    draw = random.Random(seed)
    return {kind: draw.sample(some, min(QUERIES, len(some))) for kind, some in kinds.items()}


def rank_of(query: Query, hits: list[Hit]) -> int | None:
    """Rank of the first right hit, from 1; None without one. Where nothing is right, 1 for no hit."""
    if query.right is None:
        return None if hits else 1
    return next((hit.rank for hit in hits if query.right(hit)), None)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--index", type=Path, help="where the corpus and its index are kept")
    parser.add_argument("--seed", type=int, default=0, help="which queries are drawn")
    parser.add_argument("--vectors-only", action="store_true")
    parser.add_argument("--misses", action="store_true", help="show the queries without a right hit")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        kept = arguments.index or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        corpus = kept.resolve() / "corpus"
        if not corpus.exists():
            corpus.mkdir(parents=True)
            write_corpus(corpus)
        index = stack.enter_context(unbraid.open_index(kept / "index"))
        index.add(corpus)
        print(f"{index.count():,} chunks of {index.stats().files} files")
        print(f"{'':12} {'queries':>7} {'first':>6} {'in ten':>6} {'MRR':>6}")
        for kind, queries in queries_of(corpus, index, arguments.seed).items():
            found = index.search([one.text for one in queries], vectors_only=arguments.vectors_only)
            if kind == "nothing":  # as the command line does
                found = [hits if hits and hits[0].score >= FLOOR else [] for hits in found]
            ranks = [rank_of(query, hits) for query, hits in zip(queries, found, strict=True)]
            first, ten = sum(rank == 1 for rank in ranks), sum(rank is not None for rank in ranks)
            mrr = sum(1 / rank for rank in ranks if rank) / len(ranks)
            print(f"{kind:12} {len(queries):7} {first:6} {ten:6} {mrr:6.3f}")
            if arguments.misses:
                print(
                    "   ", json.dumps([q.text for q, rank in zip(queries, ranks, strict=True) if rank != 1])
                )


if __name__ == "__main__":
    main()
