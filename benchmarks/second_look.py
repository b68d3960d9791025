"""What the second look costs and what it gains.

    python benchmarks/second_look.py speed [--bundle DIR] [--tier small]
    python benchmarks/second_look.py quality DATA [--bundle DIR] [--tier base] [--by TIER] [--first 50] [--cache DIR] [--queries N]

`speed`: an index of 300 passages of 120 words, on one core; the time to fill it with and without token vectors; medians of
searches that look at the first 50 with stored tokens, with tokens encoded now by the tier of the passages, and without a second
look, one after the other; and the bytes stored for a passage. Where other
programs run, the time that was computed says more than the time that passed. `quality`: the
sets that no head was trained on, read as benchmarks/hybrid.py reads them, each ranked by the hybrid and by the hybrid with a
second look of several weights (`look` of a tier in a recipe): nDCG@10, and the mean change and the worst of the sets of
other sources than the training's (UNSEEN), and of other rows or books of its sources (RELATED). Tokens are those that an index
stores, or those of the tier --by. Vectors and tokens are kept in --cache.
"""

import argparse
import gzip
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import unbraid
from unbraid.evaluation.word_evidence import WordIndex
from unbraid.index.search.document_tokens import Head, Passage, head_of, read_passages, stored_by
from unbraid.index.search.relevance import Scale, relevance_of
from unbraid.index.search.second_look import gains, query_head, query_tokens
from unbraid.index.search.token_cache import FILE, TokenCache, content_key
from unbraid.items import Code

sys.path.insert(0, str(Path(__file__).parent))
import hybrid

PASSAGES, WORDS, FIRST, ROUNDS = 300, 120, 50, 9
UNSEEN = {  # as hybrid.FILES
    "package_docs held": (2000, "text/package_docs_held_out"),
    "packages held": (2000, "code/packages_held_out"),
    "csn": (2000, "code/csn_cloze6"),
    "mbpp": (3000, "code/mbpp"),
    "concode": (3000, "code/concode"),
    "py_docstrings": (3000, "code/py_docstrings.dev"),
    "conala": (2000, "code/conala.train"),
}
RELATED = {
    "medquad.dev": (3000, "text/medquad.dev"),
    "squad.part2": (2000, "text/squad_sentences.part2"),
    "terms2": (2000, "text/openstax_terms2"),
    "passages2": (2000, "text/openstax_passages2"),
}
# Of late interaction and of the reading tier's base vectors; without the second they only count where the tiers are two.
WEIGHTS = ((5, 0), (7, 0), (10, 0), (5, 8), (7, 5), (7, 8), (7, 12), (10, 8), (10, 12))
QUERY = "how is the probability of a result computed from its words"


def passages() -> list[str]:
    """Texts of 120 words, of this repository's documentation."""
    files = sorted((Path(__file__).parent.parent / "docs").glob("*.md"))
    words = " ".join(path.read_text(encoding="utf-8") for path in files).split()
    starts = range(0, PASSAGES * WORDS, WORDS)
    return [" ".join(words[start : start + WORDS]) for start in starts]


def speed(bundle: Path | None, tier: str | None) -> None:
    """Print the times and sizes."""
    model = unbraid.load(bundle, tier=tier, threads=1)
    own = query_head(model, QUERY)
    reader = stored_by(model)
    if own is None or (head := query_head(model, QUERY, reader)) is None:
        raise SystemExit(
            f"{model.name} has no multi-vectors in tier {tier or model.tier}: give --tier or --bundle"
        )
    with tempfile.TemporaryDirectory() as place:
        notes = Path(place, "notes")
        notes.mkdir()
        for number, text in enumerate(passages()):
            (notes / f"{number}.txt").write_text(text, encoding="utf-8")
        filled = {}
        model.token_vectors([QUERY], tier=head.tier, progress=False)  # opens its graph
        for name, multi_vector in (("first", False), ("without", False), ("index", True)):
            with unbraid.open_index(Path(place, name), model=model) as index:
                start = time.perf_counter()
                index.add(notes, multi_vector=multi_vector, progress=False)
                filled[name] = time.perf_counter() - start
        with unbraid.open_index(Path(place, "index"), model=model) as index:
            cache = TokenCache(Path(place, "index"))
            entries = [one for some, _, _ in index.store.items() for one in some]
            some, now = (
                [one for entry in entries if (one := Passage.of(model, entry, by)) is not None][:FIRST]
                for by in (reader, None)
            )
            stored = len(read_passages(model, some, cache))

            def look(passages: Sequence[Passage], of: TokenCache, by: Head) -> Callable[[], Any]:
                query = query_tokens(model, QUERY, by)

                def once() -> Any:
                    found = zip(passages, read_passages(model, passages, of), strict=True)
                    read = [(one.tier != by.tier, each) for one, each in found if each is not None]
                    second = np.asarray([other for other, _ in read])
                    return gains(query, [each for _, each in read], second, by.look, by.whole)

                return once

            ways: dict[str, Callable[[], Any]] = {
                "query's base vector": lambda: model.encode([QUERY], side="query", progress=False),
                "query's tokens": lambda: query_tokens(model, QUERY, head),
                f"{stored} passages' base vectors": lambda: model.encode(
                    [one.item for one in now], tier=own.tier, on_truncate="ignore", progress=False
                ),
                f"{stored} passages, stored tokens": look(some, cache, head),
                f"{stored} passages, encoded now": lambda: look(now, TokenCache(None), own)(),
                "search without": lambda: index.search(QUERY, rerank="off"),
                "search with, stored tokens": lambda: index.search(QUERY, rerank="on"),
            }
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
            for _ in range(ROUNDS):
                for name, way in ways.items():
                    start, computed = time.perf_counter(), time.process_time()
                    way()
                    times[name].append((time.perf_counter() - start, time.process_time() - computed))
            print(
                f"{model.name}, tier {own.tier}, tokens of {head.tier}, {head.dim} numbers each, one thread; medians of {ROUNDS}: "
                "passed, computed"
            )
            for name, found in times.items():
                passed, computed = (median(one) * 1000 for one in zip(*found, strict=True))
                print(f"{name:32} {passed:8.1f} {computed:8.1f} ms")
            size = Path(place, "index", FILE).stat().st_size
            print(f"{'stored a passage':32} {size / len(entries):8,.0f} bytes ({len(entries)} chunks)")
            print(f"filled without and with tokens: {filled['without']:.1f} and {filled['index']:.1f} s")


def looked(
    model: Any,
    one: hybrid.Set,
    odds: Sequence[hybrid.Scores],
    document: Head,
    first: int,
    cache: TokenCache,
    by: str | None,
    tier: str | None,
) -> dict[tuple[float, float], hybrid.Scores]:
    """By weight the log odds [q, n] of every document after a second look at the `first` of each query."""
    kind = "code" if one.code else "text"
    items = [Code(text) if one.code else text for text in one.documents]
    tiers = [route.tier for route in model.route(items, side="document", tier=tier)]
    wanted = [
        Passage(item, document, content_key(str(item), kind) + document.key, by_tier)
        for item, by_tier in zip(items, tiers, strict=True)
    ]
    heads = [query_head(model, text, by) for text in one.queries]
    after = {weight: np.stack(odds).astype(np.float64) for weight in WEIGHTS}
    for row, head in enumerate(heads):
        if head is None or (head.tier, head.space) != (document.tier, document.space):
            continue  # as in a search: a text in another language
        tokens = query_tokens(model, one.queries[row], head)
        leading = np.argsort(-odds[row], kind="stable")[:first]
        found = read_passages(model, [wanted[place] for place in leading], cache)
        told = [n for n, each in enumerate(found) if each is not None and len(each.tokens)]
        read = [each for each in found if each is not None and len(each.tokens)]
        second = np.asarray([wanted[leading[n]].tier != document.tier for n in told])
        for (look, whole), changed in after.items():
            changed[row, leading[told]] += gains(tokens, read, second, look, whole)
    return after


def quality(arguments: argparse.Namespace) -> None:
    """Print the table."""
    vectors = hybrid.Vectors(arguments.tier or "starter", arguments.cache, arguments.bundle)
    model = vectors.model()
    relevance = relevance_of(model)
    cache = TokenCache(arguments.cache)
    changed_by: dict[str, list[list[float]]] = {}
    by = arguments.by or stored_by(model)
    print(f"{'set':20} {'docs':>6} {'hybrid':>7}", *(f"{look:>3g}+{whole:<3g}" for look, whole in WEIGHTS))
    hybrid.FILES |= UNSEEN | RELATED
    sets = [hybrid.read(arguments.data, name) for name in (*UNSEEN, *RELATED)]
    for one in (*filter(None, sets), *english_questions(arguments.data)):
        one = hybrid.pool(one, [one]) if arguments.queries is None else first_of(one, arguments.queries)
        document = head_of(model, by or model.tier, "code" if one.code else "text")
        if document is None:
            raise SystemExit(
                f"{model.name} has no multi-vectors in tier {by or model.tier}: give --tier, --by or --bundle"
            )
        dense = vectors(one.queries, one.code, "query") @ vectors(one.documents, one.code, "document").T
        index = WordIndex(one.documents)
        odds = [
            index.log_odds(query, Scale.of(row, relevance)(row), relevance)
            for query, row in zip(one.queries, dense, strict=True)
        ]
        before = hybrid.ndcg(np.stack(odds), one.gold)
        found = looked(model, one, odds, document, arguments.first, cache, by, arguments.tier)
        after = [hybrid.ndcg(scores.astype(np.float32), one.gold) for scores in found.values()]
        kind = f"{'related' if one.name in RELATED else 'unseen'} {'code' if one.code else 'text'}"
        changed_by.setdefault(kind, []).append([value - before for value in after])
        print(
            f"{one.name:20} {len(one.documents):6} {before:7.3f}",
            *(f"{value:7.3f}" for value in after),
            flush=True,
        )
    for kind, found in changed_by.items():
        some = np.asarray(found) * 100
        print(f"{kind:20} {'mean':>14}", *(f"{value:+7.2f}" for value in some.mean(axis=0)))
        print(f"{'':20} {'worst':>14}", *(f"{value:+7.2f}" for value in some.min(axis=0)))


def english_questions(data: Path) -> Iterator[hybrid.Set]:
    """Questions of AfriQA in English, each with its paragraph of Wikipedia; nothing where the file is not there."""
    path = data / "text" / "qa_afriqa.jsonl.gz"
    if not path.exists():
        return
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row.get("lang", "en") in ("en", "eng")]
    random.Random(1).shuffle(rows)
    pairs = {row["translated_question"]: row["positive"] for row in rows if row.get("translated_question")}
    documents = list(dict.fromkeys(pairs.values()))[:2000]
    place = {document: row for row, document in enumerate(documents)}
    asked = [(query, place[document]) for query, document in pairs.items() if document in place][:200]
    yield hybrid.Set(
        "afriqa", False, [query for query, _ in asked], documents, np.asarray([gold for _, gold in asked])
    )


def first_of(one: hybrid.Set, queries: int) -> hybrid.Set:
    """The set with its first queries only."""
    return hybrid.Set(one.name, one.code, one.queries[:queries], one.documents, one.gold[:queries])


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = parser.add_subparsers(dest="part", required=True)
    for name in ("speed", "quality"):
        part = parts.add_parser(name)
        part.add_argument("--bundle", type=Path, help="instead of the starter")
        part.add_argument("--tier")
        if name == "quality":
            part.add_argument("data", type=Path)
            part.add_argument("--by", help="tier whose tokens are compared")
            part.add_argument("--first", type=int, default=FIRST)
            part.add_argument("--cache", type=Path, default=Path("runs/second_look"))
            part.add_argument("--queries", type=int, help="of each set; by default 200")
    arguments = parser.parse_args()
    if arguments.part == "speed":
        speed(arguments.bundle, arguments.tier)
    else:
        quality(arguments)


if __name__ == "__main__":
    main()
