"""Milliseconds of one core that choosing the part of each hit that is shown takes, for ten hits of 1,000 characters.

python benchmarks/best_part.py          # processor time, so a busy machine does not matter much; some seconds
"""

import time
from pathlib import Path

import unbraid
from unbraid.index.search.best_part import PartVectors, best_parts, parts_of, quick_nearness
from unbraid.index.store.bm25 import word_terms

QUERY = "why are vectors stored as float32 and not rounded"
HITS, CHARACTERS, REPEATS = 10, 1_000, 8


def main() -> None:
    """Print one line for each way of choosing, and the time of the first choice, which opens the nano tier."""
    model = unbraid.load(threads=1)
    text = (Path(__file__).parent.parent / "docs" / "decisions.md").read_text()
    step = len(text) // HITS
    snippets = [text[start : start + CHARACTERS] for start in range(0, HITS * step, step)]
    query_task, document_task = model.search_modes["retrieval"]
    query = model.encode([QUERY], task=query_task)[0]
    kept: PartVectors = {}
    nearness, terms = quick_nearness(model, document_task, query, kept), word_terms(QUERY)
    print(f"{sum(len(list(parts_of(snippet))) for snippet in snippets)} parts")
    ways = {
        "first": (frozenset[str](), nearness),
        "by vectors": (frozenset[str](), nearness),
        "by words, then vectors": (terms, nearness),
        "by words": (terms, None),
    }
    for name, (words, near) in ways.items():
        best = float("inf")
        for _ in range(1 if name == "first" else REPEATS):
            kept.clear()
            start = time.process_time()
            best_parts(snippets, words, near, [True] * len(snippets))
            best = min(best, time.process_time() - start)
        print(f"{name:24s}{1000 * best:6.2f} ms")


if __name__ == "__main__":
    main()
