"""An index that many processes use at a time: what `kill -9` loses, how long a search takes while files are indexed, and
whether a watched index is the same as a fresh one.

    python benchmarks/index_living.py killed [--rounds 50] [--seed 0]
    python benchmarks/index_living.py watched [--operations 1000] [--seed 0]
    python benchmarks/index_living.py searched FOLDER [--tier small] [--searches 100]

Killed: one process writes and notes what was acknowledged, two search, one watches a folder that changes; in each round
one of the four is killed at a random time, half of the times the one that holds the index. Then the index is compared with
what was acknowledged. Watched: random writes, renames, deletions, changes of rights, links and moves of folders against a
watcher; then its index is compared with a fresh one, vector by vector. Searched: the p95 of a search in a process of its
own, alone and while the files of FOLDER are indexed by another. Exits with 1 when a measure is not met. POSIX.
"""

import argparse
import hashlib
import json
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import unbraid
from unbraid.index.store.entry import Entry
from unbraid.index.store.shared_store import SharedStore
from unbraid.io.lock import read_holder

FILES = 40  # paths that the writer chooses from
TIER = "nano"
WORDS = "river stone cloud engine ticket garden winter signal copper ladder market violin".split()


def spawn(role: str, *arguments: str) -> subprocess.Popen[str]:
    """This file in another process, as one of the roles at its end."""
    command = [sys.executable, str(Path(__file__)), role, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


# -- killed ------------------------------------------------------------------------------------------------


def entries_of(path: str, content: str, chunks: int) -> list[Entry]:
    """The chunks of a file that does not exist."""
    text = f"{path} {content} " * 10
    return [Entry(path, "text", n + 1, n + 1, text, content, len(text), 1, n, chunks) for n in range(chunks)]


def vectors_of(content: str, chunks: int, dim: int) -> np.ndarray:
    """Base vectors that follow from the content, so that whoever reads them knows what they have to be."""
    seed = int.from_bytes(hashlib.sha256(content.encode()).digest()[:8], "little")
    rows = np.random.default_rng(seed).standard_normal((chunks, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def open_shared(folder: Path) -> SharedStore:
    """The index that all work on."""
    store = SharedStore.open(folder)
    assert store is not None
    return store


def write(folder: str, seed: str) -> None:
    """A line on standard input is a change to make; answered when it is acknowledged."""
    with open_shared(Path(folder)) as store:
        print("ready", flush=True)
        for line in sys.stdin:
            change = json.loads(line)
            if change["kind"] == "put":
                entries = entries_of(change["path"], change["content"], change["chunks"])
                store.upsert(entries, vectors_of(change["content"], len(entries), store.meta.dim))
                store.delete_older(entries[:1])
            else:
                store.delete([change["path"]])
            print("done", flush=True)


def search(folder: str, seed: str) -> None:
    """Search for ever; a line for each search: its seconds, or the error."""
    model = unbraid.load(tier=TIER)
    rng = random.Random(int(seed))
    with unbraid.open_index(folder, model=model, read_only=True) as index:
        print("ready", flush=True)
        while True:
            start = time.perf_counter()
            try:
                index.search(" ".join(rng.choices(WORDS, k=3)))
                print(f"{time.perf_counter() - start:.4f}", flush=True)
            except unbraid.StoreError as error:
                print(f"error {error}", flush=True)


def lines_of(process: subprocess.Popen[str]) -> "queue.Queue[str]":
    """What a process prints, as it comes."""
    told: queue.Queue[str] = queue.Queue()
    assert process.stdout is not None

    def read() -> None:
        for line in process.stdout or ():
            told.put(line.strip())

    threading.Thread(target=read, daemon=True).start()
    return told


class Cast:
    """The four processes; one that was killed is started again."""

    def __init__(self, folder: Path, notes: Path) -> None:
        """On the index in `folder`; the watcher watches `notes`."""
        self.folder, self.notes = folder, notes
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.told: dict[str, queue.Queue[str]] = {}
        self.errors: list[str] = []
        self.slowest = 0.0
        self.searches = 0

    def start(self) -> None:
        """Start those that do not run, and wait until they do."""
        for number, name in enumerate(("writer", "searcher", "searcher too", "watcher")):
            if name in self.processes:
                continue
            if name == "watcher":
                command = [
                    "-m",
                    "unbraid",
                    "watch",
                    str(self.notes),
                    "--into",
                    str(self.folder),
                    "--tier",
                    TIER,
                ]
                process = subprocess.Popen(
                    [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
                )
            else:
                process = spawn("write" if name == "writer" else "search", str(self.folder), str(number))
            self.processes[name], self.told[name] = process, lines_of(process)
            self.told[name].get(timeout=120)

    def kill(self, name: str) -> None:
        """End one at once."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def holder(self) -> str | None:
        """Which of them holds the index."""
        about = read_holder(self.folder)
        return next((name for name, one in self.processes.items() if about and one.pid == about.pid), None)

    def note_searches(self) -> None:
        """Count what the searchers told; a search that failed is an error."""
        for name in ("searcher", "searcher too"):
            told = self.told[name]
            while not told.empty():
                line = told.get()
                if line.startswith("error"):
                    self.errors.append(line)
                elif line != "ready":
                    self.searches += 1
                    self.slowest = max(self.slowest, float(line))

    def check_alive(self) -> None:
        """One that ended without having been killed is an error."""
        for name, process in list(self.processes.items()):
            if process.poll() is not None:
                self.errors.append(f"{name} ended with {process.returncode}")
                del self.processes[name]


def killed(rounds: int, seed: int) -> bool:
    """The rounds, and a table of what was lost."""
    rng = random.Random(seed)
    wrong = Counter(lost=0, doubled=0, damaged=0, returned=0, **{"watched files missing": 0})
    kills: Counter[str] = Counter()
    acknowledged = 0
    with tempfile.TemporaryDirectory() as place:
        folder, notes = Path(place) / "ix", Path(place) / "notes"
        notes.mkdir()
        (notes / "first.md").write_text("a first note")
        dim = unbraid.load(tier=TIER).dim
        with unbraid.open_index(folder, model=unbraid.load(tier=TIER)) as index:
            index.add(notes)
        held: dict[str, tuple[str, int]] = {}
        unsure: set[str] = set()  # files that were being changed when the writer was killed
        cast = Cast(folder, notes)
        try:
            for _ in range(rounds):
                cast.start()
                victim = cast.holder() if rng.random() < 0.5 else None
                victim = victim or rng.choice(sorted(cast.processes))
                timer = threading.Timer(rng.uniform(0, 1.0), cast.kill, [victim])
                timer.start()
                kills[victim] += 1
                for _ in range(12):
                    path, content = f"/files/{rng.randrange(FILES)}.md", f"{rng.random()}"
                    change = {
                        "kind": "put",
                        "path": path,
                        "content": content,
                        "chunks": rng.choice((1, 3, 40)),
                    }
                    if rng.random() < 0.2 and held:
                        change = {"kind": "delete", "path": rng.choice(sorted(held))}
                    (notes / f"n{rng.randrange(FILES)}.md").write_text(" ".join(rng.choices(WORDS, k=8)))
                    if not ask(cast, change):
                        unsure.add(str(change["path"]))
                        held.pop(str(change["path"]), None)
                        break
                    acknowledged += 1
                    unsure.discard(str(change["path"]))
                    if change["kind"] == "put":
                        held[path] = (content, int(change["chunks"]))
                    else:
                        held.pop(str(change["path"]))
                timer.join()
                cast.check_alive()
                cast.note_searches()
                with open_shared(folder) as store:
                    wrong.update(compare(store, held, unsure, dim))
            cast.start()
            wrong["watched files missing"] += missing_notes(folder, notes)
            cast.note_searches()
        finally:
            for name in list(cast.processes):
                cast.kill(name)
        with unbraid.open_index(folder) as index:
            intact = index.verify().intact
    print(f"| {rounds} rounds of kill -9, one writer, two searchers, one watcher | |\n| --- | ---: |")
    print(f"| killed | {', '.join(f'{name} {count}' for name, count in kills.items())} |")
    print(f"| acknowledged changes | {acknowledged} |")
    for name, count in wrong.items():
        print(f"| {name} | {count} |")
    print(f"| searches, of them failed | {cast.searches}, {len(cast.errors)} |")
    print(f"| slowest search, s | {cast.slowest:.2f} |")
    print(f"| intact by verify | {intact} |")
    for error in cast.errors[:5]:
        print(error)
    return intact and not cast.errors and not sum(wrong.values())


def ask(cast: Cast, change: dict[str, Any]) -> bool:
    """Have the writer make a change; False when it was killed before it was acknowledged."""
    process = cast.processes.get("writer")
    if process is None or process.stdin is None:
        return False
    try:
        process.stdin.write(json.dumps(change) + "\n")
        process.stdin.flush()
    except OSError:
        return False
    while True:
        try:
            return cast.told["writer"].get(timeout=0.2) == "done"
        except queue.Empty:
            if process.poll() is not None:
                try:
                    return cast.told["writer"].get(timeout=0.5) == "done"
                except queue.Empty:
                    return False


def compare(store: SharedStore, held: dict[str, tuple[str, int]], unsure: set[str], dim: int) -> Counter[str]:
    """Counts of what is wrong, given what was acknowledged and which files may or may not have been changed."""
    wrong: Counter[str] = Counter()
    for path in {path for path in store.files() if path.startswith("/files/")} | {*held}:
        if path in unsure:
            continue
        entries, vectors = store.file(path)
        content, chunks = held.get(path, ("", 0))
        kept = [entry.chunk for entry in entries if entry.sha256 == content]
        wrong["lost"] += chunks - len(set(kept))
        wrong["doubled"] += len(kept) - len(set(kept))
        wrong["returned"] += len(entries) - len(kept)
        for entry, vector in zip(entries, vectors, strict=True):
            expected = vectors_of(entry.sha256, entry.chunks, dim)[entry.chunk]
            wrong["damaged"] += not np.array_equal(vector, expected)
    return wrong


def missing_notes(folder: Path, notes: Path) -> int:
    """Watched files whose content is not in the index 20 s after the last change."""
    deadline = time.monotonic() + 20
    with open_shared(folder) as store:
        while True:
            states = store.files()
            missing = 0
            for path in notes.iterdir():
                state = states.get(str(path))
                missing += state is None or state.sha256 != hashlib.sha256(path.read_bytes()).hexdigest()
            if not missing or time.monotonic() > deadline:
                return missing
            time.sleep(0.5)


# -- watched -----------------------------------------------------------------------------------------------


def watched(operations: int, seed: int) -> bool:
    """Random operations against a watcher; then the index against a fresh one."""
    rng = random.Random(seed)
    done: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(os.path.realpath(temporary))
        root = place / "root"
        for number in range(30):
            change_one(root, "write", rng, number)
        command = ["-m", "unbraid", "watch", str(root), "--into", str(place / "ix"), "--tier", TIER]
        process = subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True)
        told = lines_of(process)
        told.get(timeout=120)
        for number in range(operations):
            kinds = ("write", "rename", "delete", "chmod", "link", "move folder", "rules", "move root")
            kind = rng.choices(kinds, (50, 15, 15, 5, 5, 5, 2, 0.3))[0]
            change_one(root, kind, rng, number)
            done[kind] += 1
            if rng.random() < 0.05:
                time.sleep(rng.uniform(0, 0.5))
        wait_for_quiet(told)
        with unbraid.open_index(place / "ix", read_only=True) as index:
            found = content_of(index)
        process.terminate()
        process.wait(60)
        with unbraid.open_index(place / "fresh", model=unbraid.load(tier=TIER)) as fresh:
            fresh.add(root)
            expected = content_of(fresh)
    apart = sorted(path for path in {*found, *expected} if not same(found.get(path), expected.get(path)))
    print(f"| {operations} random operations against a watcher | |\n| --- | ---: |")
    print(f"| operations | {', '.join(f'{count} {kind}' for kind, count in done.items())} |")
    print(f"| files in a fresh index, in the watched one | {len(expected)}, {len(found)} |")
    print(f"| files that differ after 5 s of quiet | {len(apart)} |")
    for path in apart[:5]:
        print(path, "missing" if path not in found else "left over" if path not in expected else "differs")
    return not apart


def wait_for_quiet(told: "queue.Queue[str]", seconds: float = 5) -> None:
    """Until nothing was told for so long."""
    while True:
        try:
            told.get(timeout=seconds)
        except queue.Empty:
            return


def change_one(root: Path, kind: str, rng: random.Random, number: int) -> None:
    """One operation on a random file."""

    def some() -> Path:
        parts = [f"d{rng.randrange(4)}" for _ in range(rng.randrange(3))]
        return root.joinpath(*parts, f"f{rng.randrange(25)}{rng.choice(('.md', '.py', '.txt'))}")

    path = some()
    try:
        if kind == "write":
            path.parent.mkdir(parents=True, exist_ok=True)
            text = f"{number} " + " ".join(rng.choices(WORDS, k=rng.choice((3, 30, 600))))
            if rng.random() < 0.5:  # as editors save
                unfinished = path.with_name(f".{path.name}.tmp")
                unfinished.write_text(text)
                unfinished.rename(path)
            else:
                path.write_text(text)
        elif kind == "rename":
            rng.choice(sorted(one for one in root.rglob("f*") if one.is_file())).rename(path)
        elif kind == "delete":
            rng.choice(sorted(one for one in root.rglob("f*") if not one.is_dir())).unlink()
        elif kind == "chmod":
            rng.choice(sorted(one for one in root.rglob("f*") if one.is_file())).chmod(
                rng.choice((0o600, 0o644))
            )
        elif kind == "link":
            path.symlink_to(some())
        elif kind == "move folder":
            folders = sorted(one for one in root.rglob("d*") if one.is_dir())
            target = path.parent / f"d{rng.randrange(4)}"
            rng.choice(folders).rename(target)
        elif kind == "rules":
            (path.parent / ".gitignore").write_text(rng.choice(("*.txt\n", "d1/\n", "f1*\n!f11.md\n", "")))
        elif kind == "move root":
            root.rename(root.with_name("elsewhere"))
            time.sleep(0.3)
            root.with_name("elsewhere").rename(root)
    except (OSError, IndexError):  # there is no such file, or one in the way
        pass


def content_of(index: Any) -> dict[str, list[tuple[Any, ...]]]:
    """What an index holds, by path: chunk, text, hash and vector."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for entries, rows, _ in index.store.items():
        for entry, row in zip(entries, rows, strict=True):
            found.setdefault(entry.path, []).append((entry.chunk, entry.snippet, entry.sha256, row))
    return {path: sorted(chunks, key=lambda one: one[0]) for path, chunks in found.items()}


def same(one: list[tuple[Any, ...]] | None, other: list[tuple[Any, ...]] | None) -> bool:
    """Whether two files have the same chunks; of int8 encoders a vector differs in a few bits from batch to batch."""
    if one is None or other is None or len(one) != len(other):
        return False
    return all(
        mine[:3] == theirs[:3] and float(mine[3] @ theirs[3]) > 0.999
        for mine, theirs in zip(one, other, strict=True)
    )


# -- searched ----------------------------------------------------------------------------------------------


@contextmanager
def indexing(folder: Path, into: Path, tier: str) -> Iterator[subprocess.Popen[str]]:
    """A process that indexes `folder`; killed at the end of the block."""
    command = ["-m", "unbraid", "index", str(folder), "--into", str(into), "--tier", tier]
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def searched(folder: Path, tier: str, searches: int) -> bool:
    """The p95 of a search from a process of its own: alone, asking another that does nothing, and one that indexes."""
    rows: dict[str, list[float]] = {}
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        half = place / "half"
        for path in files[: len(files) // 8]:
            target = half / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        model = unbraid.load(tier=tier)
        with unbraid.open_index(place / "ix", model=model) as index:
            index.add(half, progress=False)
            rows["alone"] = times(index, searches)
            with unbraid.open_index(place / "ix", model=model, read_only=True) as far:
                rows["asking another that does nothing"] = times(far, searches)
            with indexing(folder, place / "another", tier):
                wait_for(place / "another/write.json")
                rows["alone, while another index is filled"] = times(index, searches)
        with indexing(folder, place / "ix", tier) as process:
            wait_for(place / "ix/write.json")
            with unbraid.open_index(place / "ix", model=model, read_only=True) as index:
                first = index.count()
                rows["asking another that indexes"] = times(index, searches)
                added = index.count() - first
                still = process.poll() is None
    print(
        f"| search, tier {tier}, {first:,} chunks, {added:,} added meanwhile | p50, ms | p95, ms |\n| --- | ---: | ---: |"
    )
    p95 = {}
    for name, seconds in rows.items():
        middle, p95[name] = np.percentile(seconds, [50, 95]) * 1000
        print(f"| {name} | {middle:.1f} | {p95[name]:.1f} |")
    ratio = p95["asking another that indexes"] / p95["alone"]
    print(f"| p95 while indexing by p95 alone | | {ratio:.2f} |")
    if not still:
        print("the indexing ended before the searches did: give a larger FOLDER")
    return ratio <= 3 and still


def wait_for(file: Path) -> None:
    """Until a file is there."""
    while not file.exists():
        time.sleep(0.05)


def times(index: Any, searches: int) -> list[float]:
    """Seconds of each of some searches, some time apart, after a first one that opens everything."""
    rng = random.Random(1)
    found = []
    index.search("a first one")
    for _ in range(searches):
        start = time.perf_counter()
        index.search(" ".join(rng.choices(WORDS, k=3)))
        found.append(time.perf_counter() - start)
        time.sleep(rng.uniform(0, 0.1))
    return found


def main() -> None:
    """One of the three measures; exit with 1 when it is not met."""
    if len(sys.argv) > 1 and sys.argv[1] in ("write", "search"):
        {"write": write, "search": search}[sys.argv[1]](*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    which = parser.add_subparsers(dest="measure", required=True)
    one = which.add_parser("killed")
    one.add_argument("--rounds", type=int, default=50)
    one.add_argument("--seed", type=int, default=0)
    one = which.add_parser("watched")
    one.add_argument("--operations", type=int, default=1000)
    one.add_argument("--seed", type=int, default=0)
    one = which.add_parser("searched")
    one.add_argument("folder", type=Path)
    one.add_argument("--tier", default="small")
    one.add_argument("--searches", type=int, default=100)
    given = parser.parse_args()
    if given.measure == "killed":
        right = killed(given.rounds, given.seed)
    elif given.measure == "watched":
        right = watched(given.operations, given.seed)
    else:
        right = searched(given.folder, given.tier, given.searches)
    sys.exit(not right)


if __name__ == "__main__":
    main()
