"""What an index survives: `kill -9` at random times, flipped bits, a full disk.

    python benchmarks/index_durability.py [--cycles 50] [--flips 200] [--seed 0] [--folder DIR]

Killed: a child adds, replaces, moves and deletes files and compacts, writing down what was acknowledged; it is killed
after a random time, and a fresh process compares the index with that. Flipped: one random bit of a copy of an index,
half of them in vectors and payloads by byte, half in the other files by file; what a flip changes is found by reading
every item with the library alone. The full disk is a small ext4 in a file, which only root can mount. Exits with 1 when anything was lost or missed. POSIX.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unbraid.errors import StoreError
from unbraid.index.store.edge import DENSE
from unbraid.index.store.entry import Entry
from unbraid.index.store.file_hashes import COVERED_BY_ITEMS
from unbraid.index.store.folder_store import FolderStore
from unbraid.index.store.meta import FORMAT, Meta
from unbraid.index.store.storage import Storage
from unbraid.loading import open_index

DIM = 64
FILES = 60  # paths that the child chooses from
Held = dict[str, tuple[str, int]]  # path -> (content, chunks)


def entries_of(path: str, content: str, chunks: int) -> list[Entry]:
    """The chunks of a file that does not exist."""
    text = f"{path} {content} " * 20
    return [Entry(path, "text", n + 1, n + 1, text, content, len(text), 1, n, chunks) for n in range(chunks)]


def vectors_of(content: str, chunks: int) -> np.ndarray:
    """Base vectors that follow from the content, so that whoever reads them knows what they have to be."""
    seed = int.from_bytes(hashlib.sha256(content.encode()).digest()[:8], "little")
    return np.random.default_rng(seed).standard_normal((chunks, DIM)).astype(np.float32)


def open_store(folder: Path) -> FolderStore:
    """The index that everything here works on."""
    meta = Meta(FORMAT, "durability", DIM, Storage(DIM), "0")
    return FolderStore.open(folder) or FolderStore.create(folder, meta)


def is_intact(folder: Path) -> bool:
    """What verify says; it reads the items in a process of its own."""
    with open_index(folder) as index:
        return index.verify().intact


def in_child(work: Callable[[], Any], seconds: float | None = None) -> Any:
    """What `work` returns in a forked process, or how that ended: this process never loads an Edge store itself."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = json.dumps(work())
        except BaseException as error:  # noqa: BLE001  # the library's panics too
            answer = json.dumps({"error": f"{type(error).__name__}: {error}"})
        os.write(write, len(answer).to_bytes(8, "little"))
        with os.fdopen(write, "w") as stream:
            stream.write(answer)
        os._exit(0)
    os.close(write)
    if seconds is not None:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, seconds)
    with os.fdopen(read, "rb") as stream:
        answer = stream.read()
    signal.setitimer(signal.ITIMER_REAL, 0)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return {"error": f"ended by {signal.Signals(os.WTERMSIG(status)).name}"}
    return json.loads(answer[8:])


# -- killed ------------------------------------------------------------------------------------------------


def work(folder: Path, log: int, held: Held, rng: random.Random) -> None:
    """Change the index for ever; each operation is written down before it starts and when it is acknowledged."""
    with open_store(folder) as store:
        while True:
            path, content = f"/files/{rng.randrange(FILES)}.md", f"{rng.random()}"
            kind = rng.choices(("put", "move", "delete", "compact"), (6, 2, 2, 1))[0]
            change: dict[str, Any] = {"kind": kind}
            if kind == "put":
                change |= {"path": path, "content": content, "chunks": rng.choice((1, 2, 5, 40, 250))}
            elif kind != "compact" and held:
                change |= {"old": rng.choice(sorted(held)), "path": f"/moved/{content}.md"}
            elif kind != "compact":
                continue
            tell(log, {"begun": change})
            if kind == "put":
                entries = entries_of(path, content, change["chunks"])
                store.upsert(entries, vectors_of(content, change["chunks"]))
                store.delete_older(entries[:1])
            elif kind == "move":
                entries, vectors = store.file(change["old"])
                store.upsert([replace(entry, path=change["path"]) for entry in entries], vectors)
                store.delete([change["old"]])
            elif kind == "delete":
                store.delete([change["old"]])
            else:
                store.compact()
            tell(log, {"acknowledged": change})
            apply(held, change)


def tell(log: int, fact: dict[str, Any]) -> None:
    """One line, in one write."""
    os.write(log, (json.dumps(fact) + "\n").encode())


def apply(held: Held, change: dict[str, Any]) -> None:
    """What the index holds after a change."""
    if change["kind"] == "put":
        held[change["path"]] = (change["content"], change["chunks"])
    elif change["kind"] == "move":
        held[change["path"]] = held.pop(change["old"])
    elif change["kind"] == "delete":
        held.pop(change["old"])


def compare(folder: Path, held: Held, begun: dict[str, Any] | None) -> dict[str, Any]:
    """Counts of what is wrong, given what was acknowledged and what may or may not have happened.

    The result also has the index's state, from which the next cycle goes on.
    """
    found: dict[str, list[Entry]] = {}
    wrong = Counter(lost=0, doubled=0, torn=0, damaged=0, returned=0)
    with open_store(folder) as store:
        identities = store.identities()
        wrong["doubled"] += len(identities) - len(set(identities)) + abs(store.count() - len(set(identities)))
        for path in store.files():
            entries, vectors = store.file(path)
            found[path] = entries
            for entry, vector in zip(entries, vectors, strict=True):
                wrong["damaged"] += not np.array_equal(
                    vector, vectors_of(entry.sha256, entry.chunks)[entry.chunk]
                )
        wrong["damaged"] += len(identities) - sum(map(len, found.values()))
    unsure = {begun.get("path"), begun.get("old")} if begun else set()
    for path, (content, chunks) in held.items():
        kept = [entry for entry in found.get(path, []) if entry.sha256 == content]
        if path not in unsure:
            wrong["lost"] += chunks - len(kept)
            wrong["returned"] += len(found.get(path, [])) - len(kept)
    wrong["returned"] += sum(len(found[path]) for path in found if path not in held and path not in unsure)
    for path in unsure - {None}:  # each content is there with all its chunks or with none
        for content in {entry.sha256 for entry in found.get(path, [])}:
            entries = [entry for entry in found[path] if entry.sha256 == content]
            wrong["torn"] += len({entry.chunk for entry in entries}) != entries[0].chunks
    if begun and begun["kind"] == "put" and begun["path"] in held:  # the old content, or the new one, or both
        wrong["lost"] += not found.get(begun["path"])
    if begun and begun["kind"] == "move":
        wrong["lost"] += not (found.get(begun["path"]) or found.get(begun["old"]))
    with open_store(folder) as store:  # as the next `unbraid index` would: finish what was cut off
        for path in unsure - {None}:
            if len({entry.sha256 for entry in found.get(path, [])}) > 1:
                store.delete([path])
                found.pop(path)
    state = {path: (entries[0].sha256, entries[0].chunks) for path, entries in found.items()}
    return {"wrong": dict(wrong), "state": state, "items": len(identities)}


def kill_cycles(folder: Path, cycles: int, rng: random.Random) -> dict[str, int]:
    """Kill the child `cycles` times; sums of what went wrong, and of what was done."""
    index, log_file = folder / "killed", folder / "log"
    held: Held = {}
    total: Counter[str] = Counter(cycles=cycles, lost=0, doubled=0, torn=0, damaged=0, returned=0, unopened=0)
    for _ in range(cycles):
        log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        seed = rng.random()
        pid = os.fork()
        if pid == 0:
            try:
                work(index, log, dict(held), random.Random(seed))
            except BaseException:  # noqa: BLE001  # this process must not go on as its parent
                traceback.print_exc()
            os._exit(3)
        started = rng.random() < 0.2  # one time in five it may die while it opens the index
        while not started:
            time.sleep(0.02)
            started = log_file.stat().st_size > 0
        time.sleep(rng.uniform(0, 3))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        os.close(log)
        if not os.WIFSIGNALED(status):
            sys.exit("the child failed by itself")
        facts = [json.loads(line) for line in log_file.read_text().splitlines()]
        begun = None
        for fact in facts:
            begun = fact.get("begun")
            if "acknowledged" in fact:
                apply(held, fact["acknowledged"])
                total[f"acknowledged {fact['acknowledged']['kind']}"] += 1
        if begun:
            total[f"killed in {begun['kind']}"] += 1
        result = in_child(partial(compare, index, held, begun))
        if "error" in result:
            total["unopened"] += 1
            print(result["error"])
            break
        total.update(result["wrong"])
        total["items at the end"] = result["items"]
        held = {path: (content, chunks) for path, (content, chunks) in result["state"].items()}
    total["intact by verify"] = int(is_intact(index))
    return dict(total)


# -- flipped -----------------------------------------------------------------------------------------------


def everything(folder: Path) -> dict[str, str]:
    """Hash of every stored item by id, as the library alone reads it."""
    import qdrant_edge as edge

    loaded = edge.EdgeShard.load(str(folder / "shard"))
    records, _ = loaded.scroll(edge.ScrollRequest(limit=1 << 30, with_payload=True, with_vector=[DENSE]))
    items = {}
    for record in records:
        text = json.dumps([np.asarray(record.vector, np.float32).tolist(), record.payload], sort_keys=True)
        items[str(record.id)] = hashlib.sha256(text.encode()).hexdigest()
    loaded.close()
    return items


def flips(folder: Path, count: int, rng: random.Random) -> dict[str, Counter[str]]:
    """Flip `count` bits, each in a fresh copy; by kind of file, how many changed an item, and what verify found."""
    index, copy, second = folder / "whole", folder / "flipped", folder / "flipped-too"
    in_child(lambda: fill(index))
    before = in_child(lambda: everything(index))
    places = [path for path in sorted(index.rglob("*")) if path.is_file() and written(path)]
    data = [path for path in places if any(part in path.as_posix() for part in COVERED_BY_ITEMS)]
    rest = [path for path in places if path not in data]
    table: dict[str, Counter[str]] = {}
    for number in range(count):
        path = rng.choices(data, [written(one) for one in data])[0] if number % 2 else rng.choice(rest)
        name = path.relative_to(index)
        copy_tree(index, copy)
        flip(copy / name, rng.randrange(written(path)), rng.randrange(8))
        copy_tree(copy, second)  # opening one changes it
        row = table.setdefault(kind_of(name), Counter())
        row["flips"] += 1
        found = False
        try:
            found = not is_intact(copy)
        except StoreError as error:  # unbraid.json and sealed.json themselves
            found = path.name in str(error)
        except BaseException:  # noqa: BLE001  # what is looked for
            traceback.print_exc()
            row["verify crashed"] += 1
        now = in_child(lambda: everything(second), seconds=60)
        unreadable = "error" in now
        changed = unreadable or now != before
        row["unreadable"] += unreadable
        row["changed items"] += changed and not unreadable
        row["found by verify"] += found
        row["missed"] += changed and not found
        if changed and not found:
            print(f"missed: {name}: {now if unreadable else 'items differ'}")
    return table


def fill(index: Path) -> None:
    """An index with some deleted and replaced items."""
    with open_store(index) as store:
        for number in range(120):
            content = f"content {number}"
            entries = entries_of(f"/files/{number % 90}.md", content, 1 + number % 7)
            store.upsert(entries, vectors_of(content, len(entries)))
            store.delete_older(entries[:1])
        store.delete([f"/files/{number}.md" for number in range(50, 60)])


def copy_tree(source: Path, target: Path) -> None:
    """A copy that keeps holes as holes."""
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", "--sparse=always", source, target], check=True)


def written(path: Path) -> int:
    """Bytes of a file up to the last that is not zero."""
    return len(path.read_bytes().rstrip(b"\0"))


def flip(path: Path, place: int, bit: int) -> None:
    """Turn one bit of a file over."""
    with open(path, "r+b") as stream:
        stream.seek(place)
        (byte,) = stream.read(1)
        stream.seek(place)
        stream.write(bytes([byte ^ (1 << bit)]))


def kind_of(name: Path) -> str:
    """What a file of an index is for."""
    text = name.as_posix()
    kinds = {
        "/vectors/chunk_": "vectors",
        "payload_storage/page_": "payloads",
        "payload_storage": "where payloads lie",
        "id_tracker": "table of ids",
        "payload_index": "indexes of payload fields",
        "wal/": "write-ahead log",
    }
    return next((kind for part, kind in kinds.items() if part in text), "the rest")


# -- full ----------------------------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A disk of 40 MB in a file; None where it cannot be mounted.

    Not a file system in memory: there, reading a hole takes a page, and loading an Edge store 64 MB.
    """
    folder.mkdir()
    image = folder.with_suffix(".ext4")
    with open(image, "wb") as stream:
        stream.truncate(40 * 1024**2)
    commands = (["mkfs.ext4", "-q", "-m", "0", image], ["mount", "-o", "loop", image, folder])
    if not all(
        shutil.which(command[0]) and not subprocess.run(command, check=False).returncode
        for command in commands
    ):
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def write_until_full(index: Path) -> dict[str, Any]:
    """Acknowledged items until the disk is full, and what was said then."""
    done = 0
    with open_store(index) as store:
        try:
            while True:
                store.upsert(entries_of(f"/{done}.md", f"{done}", 200), vectors_of(f"{done}", 200))
                done += 1
        except StoreError as error:
            return {"items": done * 200, "said": str(error)}


def try_open(index: Path) -> dict[str, Any]:
    """Number of items, or what opening says."""
    try:
        with open_store(index) as store:
            return {"items": store.count()}
    except StoreError as error:
        return {"said": str(error)}


def other_trouble(folder: Path) -> dict[str, tuple[bool, str]]:
    """A full disk: (whether it was right, what was said). Other processes and disks are those of index_living.py and tests."""
    rows = {}
    with small_disk(folder / "disk") as disk:
        if disk is None:
            return {"disk full": (True, "not tried: it takes root to mount a small disk")}
        full = in_child(lambda: write_until_full(disk / "index"))
        after = in_child(lambda: try_open(disk / "index"))
        right = full.get("items") == after.get("items") and "MB left" in full.get("said", "")
        rows["disk full"] = right and is_intact(disk / "index"), full.get("said", str(full))
    return rows


def main() -> None:
    """Print three tables; exit with 1 when a measure is not met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--flips", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder if left out")
    given = parser.parse_args()
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory(dir=given.folder) as place:
        folder = Path(place)
        killed = kill_cycles(folder, given.cycles, rng)
        print("| kill -9 | |\n| --- | ---: |")
        for name, value in killed.items():
            print(f"| {name} | {value} |")
        table = flips(folder, given.flips, rng)
        columns = ("flips", "changed items", "unreadable", "found by verify", "missed", "verify crashed")
        print(f"\n| one bit flipped in | {' | '.join(columns)} |\n| --- |{' ---: |' * len(columns)}")
        table["all"] = sum(table.values(), Counter())
        for name, row in table.items():
            print(f"| {name} | {' | '.join(str(row[column]) for column in columns)} |")
        trouble = other_trouble(folder)
        print("\n| | right | said |\n| --- | --- | --- |")
        for name, (right, said) in trouble.items():
            print(f"| {name} | {'yes' if right else 'NO'} | {said} |")
    bad = sum(killed[name] for name in ("lost", "doubled", "torn", "damaged", "returned", "unopened"))
    bad += table["all"]["missed"] + table["all"]["verify crashed"] + (not killed["intact by verify"])
    sys.exit(1 if bad or not all(right for right, _ in trouble.values()) else 0)


if __name__ == "__main__":
    main()
