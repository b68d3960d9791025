"""What an index of base vectors costs, beside numpy over stored task vectors and beside encoding for each task again.

    python benchmarks/index.py DATA [--items 100000] [--large 1000000] [--rounds 5] [--folder DIR] [--threads 2]

DATA holds JSON-lines files (../README.md, "Data"): their texts, then the sentences of these, are encoded by the nano
tier, whose vectors are real and cheap; queries are encoded by the small one. Printed: indexing files against encoding
the same chunks; search of --items chunks with candidates as they are by default, each mode against stored task vectors; and of
--large chunks with candidates from copies in int8 and in binary, in a fresh process each. Times are medians, with the
worst tenth in brackets.
"""

import argparse
import hashlib
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

import unbraid
from unbraid.index import Entry, Index, Storage
from unbraid.index.files.chunk import limit_of
from unbraid.index.files.read import read_chunks
from unbraid.index.search.folding import folding_for
from unbraid.index.search.merge_adjacent import merge_adjacent
from unbraid.index.search.search import BLOCK
from unbraid.index.store.folder_store import FolderStore
from unbraid.index.store.meta import meta_of_model
from unbraid.io.jsonl import read_rows

TEXTS = ("anchor", "positive", "text", "title", "caption", "alt", "query", "a", "b")
SENTENCE = re.compile(r"(?<=[.!?])\s+|\n\s*\n")
GROUP, PER_FILE, PER_FOLDER = 5_000, 10, 1_000
QUERIES = 200
K = 10


def texts(data: Path, count: int) -> list[str]:
    """`count` different texts of DATA in a fixed order: whole ones first, then sentences."""
    files = sorted(data.glob("**/*.jsonl.gz"))
    whole = dict.fromkeys(
        value
        for file in files
        for row in (line.row for line in read_rows(file))
        for name in TEXTS
        if isinstance(value := row.get(name), str)
    )
    found = list(whole)
    random.Random(0).shuffle(found)
    if len(found) < count:
        parts = dict.fromkeys(part for text in found for part in SENTENCE.split(text) if len(part) > 20)
        found += [part for part in parts if part not in whole]
    if len(found) < count:
        raise SystemExit(f"{data} holds {len(found):,} texts, {count:,} are asked for")
    return found[:count]


def questions(found: Sequence[str]) -> list[str]:
    """Some of the texts that are as short as what people ask."""
    return random.Random(1).sample([text for text in found if 15 <= len(text) <= 100], QUERIES)


def spread(seconds: Sequence[float]) -> str:
    """Median and 90th percentile in ms."""
    return f"{statistics.median(seconds) * 1e3:.1f} ({np.quantile(seconds, 0.9) * 1e3:.1f})"


def size(folder: Path) -> float:
    """MB that a folder takes on the disk."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()) / 1e6


def fingerprint(folder: Path) -> str:
    """Hash of every file of an index but its lock, which names whoever has it open; without the zeros at the end of each."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("open."))
    return hashlib.sha256(
        b"".join(hashlib.sha256(path.read_bytes().rstrip(b"\0")).digest() for path in files)
    ).hexdigest()


def build(
    folder: Path, model: unbraid.Embedder, found: Sequence[str], storage: Storage
) -> tuple[float, float]:
    """Make an index of texts; seconds to encode and to write."""
    encoding, begin = 0.0, time.perf_counter()
    with FolderStore.create(folder, meta_of_model(model, storage)) as store:
        for start in range(0, len(found), GROUP):
            part = found[start : start + GROUP]
            moment = time.perf_counter()
            vectors = model.encode(part, on_truncate="ignore", progress=False)
            encoding += time.perf_counter() - moment
            store.upsert(list(entries(part, start)), vectors)
        store.settle()
    return encoding, time.perf_counter() - begin - encoding


def entries(part: Sequence[str], start: int) -> Iterator[Entry]:
    """Entries of texts as if ten of them were a file, and a thousand a folder."""
    for row, text in enumerate(part, start=start):
        path = f"/corpus/{row // PER_FOLDER}/{row // PER_FILE}.md"
        yield Entry(path, "text", 1, 1, text, "s", 1, 1, row % PER_FILE, PER_FILE, "markdown")


def ask(
    index: Index, queries: Sequence[str], *, path: Sequence[str] = (), vectors_only: bool = True
) -> list[float]:
    """Seconds of each query, encoding included."""
    taken = []
    for query in queries:
        moment = time.perf_counter()
        index.search(query, k=K, path=path, vectors_only=vectors_only)
        taken.append(time.perf_counter() - moment)
    return taken


def switch(folder: Path, model: unbraid.Embedder, asked: Sequence[str], base: np.ndarray, count: int) -> None:
    """Every mode of one stored index: the same ten as over stored task vectors, and what the switch adds."""
    queries = model.encode(asked, progress=False)
    corpus = list(entries([""] * count, 0))
    before = fingerprint(folder)
    print(
        f"\n{count:,} items, {size(folder):,.0f} MB, candidates auto | ten best as over task vectors | query, ms | numpy over task vectors, ms"
    )
    with unbraid.open_index(folder, model=model, read_only=True) as index:
        for mode, (query_task, document_task) in model.search_modes.items():
            documents = model.map(base, document_task)
            mapped = model.map(queries, query_task)
            kept, ours, plain = [], [], []
            for one, query in zip(queries, mapped, strict=True):
                moment = time.perf_counter()
                scores = documents @ query
                best = np.argpartition(-scores, 5 * K)[: 5 * K]
                plain.append(time.perf_counter() - moment)
                moment = time.perf_counter()
                (hits,) = index.search_vectors(one[None], mode=mode, k=K)
                ours.append(time.perf_counter() - moment)
                best = best[np.argsort(-scores[best])]
                results = merge_adjacent([corpus[row] for row in best], K)  # adjacent chunks are one result
                tenth = (
                    min(scores[best[result[0]]] for result in results) - 1e-5
                )  # equal scores may change places
                kept.append(np.mean([hit.cosine >= tenth for hit in hits]))
            print(f"  {mode} | {np.mean(kept):.4%} | {spread(ours)} | {spread(plain)}")
        folding = folding_for({}, index.store, model, "query", "document", BLOCK)
        folded, scored = [], []
        for one in queries:  # what a mode costs beyond asking for the query as it is
            moment = time.perf_counter()
            folding(model.map(one[None], "query"))
            folded.append(time.perf_counter() - moment)
            (near,) = index.store.nearest(one[None], BLOCK)
            rows_ = index.store.vectors(near.ids())
            moment = time.perf_counter()
            model.map(rows_, "document") @ one
            scored.append(time.perf_counter() - moment)
        print(
            f"  a mode adds {spread(folded)} ms to map and fold a query, {spread(scored)} to score {BLOCK} candidates "
            f"exactly; no byte of the index rewritten: {fingerprint(folder) == before}"
        )
        whole, folder_only = ask(index, asked), ask(index, asked, path=["/corpus/7"])
        print(
            f"  query with its encoding {spread(whole)} ms, hybrid {spread(ask(index, asked, vectors_only=False))} ms, filtered by folder {spread(folder_only)} ms, its encoding alone "
            f"{spread(encoded(model, asked))} ms"
        )


def encoded(model: unbraid.Embedder, queries: Sequence[str]) -> list[float]:
    """Seconds to encode each query."""
    taken = []
    for query in queries:
        moment = time.perf_counter()
        model.encode([query], progress=False)
        taken.append(time.perf_counter() - moment)
    return taken


def again(model: unbraid.Embedder, sample: Sequence[str], count: int) -> None:
    """What encoding the corpus for another task would cost, from a sample."""
    moment = time.perf_counter()
    model.encode(sample, task="document", on_truncate="ignore", progress=False)
    rate = len(sample) / (time.perf_counter() - moment)
    print(
        f"encoding {count:,} items again: {count / rate:.0f} s (extrapolated from {len(sample):,}, {rate:.0f}/s)"
    )


def indexing(model: unbraid.Embedder, found: Sequence[str], place: Path, rounds: int) -> None:
    """Files through `Index.add` against their chunks through `encode` alone, in turns."""
    root = place / "files"
    root.mkdir()
    for number in range(0, len(found), PER_FILE):
        body = "\n\n".join(
            f"# Part {row}\n\n{text}" for row, text in enumerate(found[number : number + PER_FILE])
        )
        (root / f"{number}.md").write_text(body, encoding="utf-8", errors="replace")
    chunks = [
        part.encoded
        for path in sorted(root.iterdir())
        for part in read_chunks(path.read_bytes(), ".md", limit_of(model))
    ]
    shares = []
    for round_ in range(rounds):
        moment = time.perf_counter()
        model.encode(chunks, on_truncate="ignore", progress=False)
        alone = time.perf_counter() - moment
        folder = place / f"indexed-{round_}"
        moment = time.perf_counter()
        with unbraid.open_index(folder, model=model) as index:
            report = index.add(root, progress=False)
        shares.append(alone / (time.perf_counter() - moment))
        assert report.chunks == len(chunks)
    print(
        f"indexing {len(chunks):,} chunks: {statistics.median(shares):.2f} of encode's own rate "
        f"(worst of {rounds}: {min(shares):.2f}), {len(chunks) / alone:.0f}/s"
    )


def large(folder: Path, storage: Storage, place: Path, data: Path, count: int, threads: int) -> None:
    """One large index in processes of their own: built, then searched, with memory."""
    for part in ("build", "search"):
        command = [sys.executable, __file__, str(data), "--part", part, "--folder", str(folder)]
        options = ["--large", str(count), "--threads", str(threads), "--storage", json.dumps(vars(storage))]
        subprocess.run([*command, *options], check=True)


def part(name: str, folder: Path, storage: Storage, data: Path, count: int, threads: int) -> None:
    """What `large` runs."""
    nano, small = unbraid.load(tier="nano", threads=threads), unbraid.load(threads=threads)
    corpus = texts(data, count)
    vectors = folder.parent / f"{count}.npy"
    if name == "build":
        encoding, writing = build(folder, nano, corpus, storage)
        print(
            f"\n{count:,} items, {storage.numbers}, candidates {storage.candidates}: encoded in {encoding:.0f} s, written "
            f"in {writing:.0f} s, {size(folder):,.0f} MB on the disk"
        )
        return
    asked = questions(corpus)
    if not vectors.exists():
        np.save(vectors, nano.encode(corpus, on_truncate="ignore", progress=False))
    queries = small.encode(asked, on_truncate="ignore", progress=False)
    mapped = small.map(queries, "query")
    exact = exact_tenth(np.load(vectors, mmap_mode="r"), small, mapped)
    before = resident()
    moment = time.perf_counter()
    with unbraid.open_index(folder, model=small, read_only=True) as index:
        index.count()
        opened = time.perf_counter() - moment
        kept = [found(index, query, tenth) for query, tenth in zip(queries, exact, strict=True)]
        taken = ask(index, asked)
        filtered = ask(index, asked, path=["/corpus/7"])
        print(
            f"  opened in {opened:.1f} s, recall@10 {np.mean(kept):.4f}, query with its encoding {spread(taken)} ms, "
            f"filtered by folder {spread(filtered)} ms, {resident() - before:,.0f} MB of memory more, of which the "
            f"system can take back {resident(shared=True):,.0f} MB of mapped files"
        )


def exact_tenth(base: np.ndarray, model: unbraid.Embedder, mapped: np.ndarray) -> list[float]:
    """The tenth best cosine of each query in the task space over all of `base`, block by block."""
    best = np.full((len(mapped), K), -1, np.float32)
    for start in range(0, len(base), 50_000):
        scores = mapped @ model.map(np.asarray(base[start : start + 50_000]), "document").T
        best = -np.sort(-np.concatenate([best, scores], axis=1), axis=1)[:, :K]
    return [float(row[-1]) for row in best]


def found(index: Index, query: np.ndarray, tenth: float) -> float:
    """Share of the ten best that a search finds; vectors are stored in float16, and adjacent chunks are one result."""
    (hits,) = index.search_vectors(query[None], k=K)
    return float(
        np.mean([hit.cosine >= tenth - 2e-4 for hit in hits])
    )  # float16 moves a cosine by 1e-4 at most


def resident(shared: bool = False) -> float:
    """MB of memory this process holds; those of mapped files alone."""
    return (
        int(Path("/proc/self/statm").read_text().split()[2 if shared else 1])
        * os.sysconf("SC_PAGE_SIZE")
        / 1e6
    )


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--large", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--storage", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        storage = Storage(**json.loads(given.storage))
        part(given.part, given.folder, storage, given.data, given.large, given.threads)
        return
    small = unbraid.load(threads=given.threads)
    nano = unbraid.load(tier="nano", threads=given.threads)
    with tempfile.TemporaryDirectory(dir=given.folder) as temporary:
        place = Path(temporary)
        found = texts(given.data, given.items)
        indexing(small, found[:3_000], place, given.rounds)
        again(small, found[:2_000], given.items)
        build(place / "index", nano, found, Storage(nano.dim))
        asked = questions(found)
        base = nano.encode(found, on_truncate="ignore", progress=False)
        switch(place / "index", small, asked, base, given.items)
        for candidates in ("exact", "int8", "binary") if given.large else ():
            storage = Storage(nano.dim, "float16", candidates)
            large(place / f"large-{candidates}", storage, place, given.data, given.large, given.threads)


if __name__ == "__main__":
    main()
