"""Write the held-out parts of the training files as BEIR folders, for `unbraid evaluate`.

    python benchmarks/dev_sets.py --data DATA --out DIR [--corpus 4000]

Queries are rows that training never saw (the same rule as src/unbraid/training/data_split.py); the corpus holds their positives and,
as distractors, other positives of the same file, up to 4,000 (a slow model is scored on fewer). Mappers are chosen
on the same rows, so these sets flatter them a little. Two sets come from sources that training never read at all: functions of py_docstrings, and
the docstrings of installed packages (summary line -> the rest). Score the code-* sets with `--mode code`.
"""

import argparse
import ast
import inspect
import json
import random
from importlib.util import find_spec
from pathlib import Path

from unbraid.io.jsonl import read_rows
from unbraid.training.data_split import is_dev

QUERIES = 500
FILES = {
    "squad": ("text/squad_sentences.part1.jsonl.gz", "text/squad_sentences.part2.jsonl.gz"),
    "terms": ("text/openstax_terms.jsonl.gz", "text/openstax_terms2.jsonl.gz"),
    "code-py_stdlib": ("code/py_stdlib.jsonl.gz",),
    "code-csn": ("code/csn_cloze6.jsonl.gz",),
    "code-conala": ("code/conala.train.jsonl.gz",),
    "code-shell": ("code/nl2bash.jsonl.gz", "code/tldr_cmd.jsonl.gz"),
}
PACKAGES = ("scipy", "sklearn")


def write_set(folder: Path, queries: list[tuple[str, str]], distractors: list[str], corpus: int) -> None:
    """Write (query, positive) pairs and more documents, `corpus` in all, as a BEIR folder."""
    texts = list(dict.fromkeys([*(document for _, document in queries), *distractors]))[
        : max(corpus, len(queries))
    ]
    number = {text: f"d{place}" for place, text in enumerate(texts)}
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    with open(folder / "corpus.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"_id": number[text], "title": "", "text": text}) + "\n" for text in texts)
    with open(folder / "queries.jsonl", "w", encoding="utf-8") as file:
        file.writelines(
            json.dumps({"_id": f"q{place}", "text": query}) + "\n" for place, (query, _) in enumerate(queries)
        )
    with open(folder / "qrels" / "test.tsv", "w", encoding="utf-8") as file:
        file.write("query-id\tcorpus-id\tscore\n")
        file.writelines(f"q{place}\t{number[document]}\t1\n" for place, (_, document) in enumerate(queries))
    print(f"{folder}: {len(queries)} queries, {len(texts)} documents")


def package_docstrings(names: tuple[str, ...]) -> list[tuple[str, str]]:
    """(summary line, the rest) of the docstrings of installed packages, of 80 characters and more."""
    pairs: dict[str, str] = {}
    for name in names:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            continue
        for path in sorted(Path(spec.origin).parent.rglob("*.py")):
            if "tests" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.FunctionDef | ast.ClassDef):
                    continue
                summary, _, rest = inspect.cleandoc(ast.get_docstring(node) or "").partition("\n\n")
                if len(rest) >= 80 and 20 <= len(summary) <= 200:
                    pairs.setdefault(" ".join(summary.split()), rest)
    return list(pairs.items())


def main() -> None:
    """Write every set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--corpus", type=int, default=4000)
    arguments = parser.parse_args()
    rng = random.Random(0)
    for name, files in FILES.items():
        pairs = [line.row for file in files for line in read_rows(arguments.data / file)]
        held_out = [(row["anchor"], row["positive"]) for row in pairs if is_dev(row)]
        others = [row["positive"] for row in pairs if not is_dev(row)]
        write_set(
            arguments.out / name,
            rng.sample(held_out, min(QUERIES, len(held_out))),
            rng.sample(others, min(arguments.corpus, len(others))),
            arguments.corpus,
        )
    unseen = [
        (line.text("anchor"), line.text("positive"))
        for line in read_rows(arguments.data / "code/py_docstrings.dev.jsonl.gz")
    ]
    write_set(arguments.out / "code-py_docstrings", unseen, [], arguments.corpus)
    documented = package_docstrings(PACKAGES)
    rng.shuffle(documented)
    write_set(
        arguments.out / "package-docs",
        documented[:QUERIES],
        [rest for _, rest in documented[QUERIES:]],
        arguments.corpus,
    )


main()
