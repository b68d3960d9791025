"""Find what is damaged in an index.

First the files that list the items are checked against their hashes. Then a child process, which a damaged file may
kill, checks every item against its checksum.
"""

import json
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from unbraid.index.store.file_hashes import LENGTHS, changed_files, hashed_items
from unbraid.index.store.folder_store import FolderStore
from unbraid.index.store.meta import read_meta
from unbraid.index.store.scan import Damage

# Seconds without a word from the child: a damaged table of ids can keep the library busy for ever.
STALL = 120.0
# Called with the number of further items that are done, and the number of all.
Tell = Callable[[int, int], None]


@dataclass
class Repair:
    """What became of a damaged index."""

    kept: int = 0  # items that were undamaged
    encoded: list[str] = field(default_factory=list)  # files encoded again from an unchanged source
    lost: list[Damage] = field(default_factory=list)  # the reason says why
    missing: int = 0  # items that were lost and that nothing names


@dataclass
class Verification:
    """The findings; an index without damage is `intact`."""

    items: int = 0  # as they were written
    damaged: list[Damage] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)  # file, or "the Edge store" -> its fault
    missing: int = 0  # items fewer than there were when the index was last closed, beyond those in `damaged`
    # False: the last writer was killed, so lost and additional items would not be noticed.
    hashed: bool = True
    repair: Repair | None = None  # where one was asked for and needed

    @property
    def intact(self) -> bool:
        """Whether everything is as it was written."""
        return not (self.damaged or self.broken or self.missing)


def verify(store: FolderStore, on_progress: Tell | None = None) -> Verification:
    """Check every stored item of an index, and the files that hold them.

    Raises StoreError when the file of hashes is damaged.
    """
    with store.unloaded():
        if store.lengths_lost():
            why = "it is damaged or lost, and so are the lengths in sealed.json: nothing says how long the files have to be"
            return Verification(broken={LENGTHS: why}, hashed=False)
        changed = changed_files(store.folder, store.folder / store.meta.shard)
        if changed:  # opening an Edge store of wrong tables could change it, or never end
            return Verification(
                broken=dict.fromkeys(changed, "it is not as it was when the index was last closed")
            )
        expected = hashed_items(store.folder)
        found = Verification(hashed=expected is not None)
        run_scan(store, None, found, on_progress)
    if expected is not None and not found.broken:
        found.missing = max(0, expected - found.items - len(found.damaged))
    return found


def rewrite(store: FolderStore, on_progress: Tell | None = None) -> Verification:
    """Put the undamaged items into a new Edge store, which takes the old one's place; tells what was damaged.

    Where the Edge store cannot be read at all (`broken`), nothing is changed.
    """
    with store.unloaded():
        expected = None if store.lengths_lost() else hashed_items(store.folder)
        number = store.meta.shard.rpartition("-")[2] if "-" in store.meta.shard else "1"
        found = Verification(hashed=expected is not None)
        run_scan(store, f"shard-{int(number) + 1}", found, on_progress)
        store.meta = read_meta(store.folder)
    if expected is not None and not found.broken:
        found.missing = max(0, expected - found.items - len(found.damaged))
    return found


def run_scan(store: FolderStore, into: str | None, found: Verification, on_progress: Tell | None) -> None:
    """Run the child (scan.py) and enter what it says in `found`; its death is one of the findings."""
    command = [sys.executable, "-m", "unbraid.index.store.scan", str(store.folder.absolute())]
    child = subprocess.Popen(
        command + (["--into", into] if into else []),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    lines: queue.Queue[str | None] = queue.Queue()
    errors: list[str] = []
    assert child.stdout and child.stderr
    threads = [
        threading.Thread(target=_forward, args=(child.stdout, lines), daemon=True),
        threading.Thread(target=lambda stream=child.stderr: errors.append(stream.read()), daemon=True),
    ]
    for thread in threads:
        thread.start()
    finished = False
    try:
        finished = _listen(lines, found, on_progress)
    except queue.Empty:
        found.broken["the Edge store"] = f"reading it made no progress for {STALL:.0f} s"
        return
    finally:  # also after Ctrl-C: a child must not go on writing
        if child.poll() is None and not finished:
            child.kill()
        child.wait()
        for thread in threads:
            thread.join()
        child.stdout.close()
        child.stderr.close()
    if not finished:
        said = " ".join("".join(errors).split())
        files = re.findall(r"[\w./-]*segments/[\w./-]+", said)
        name = files[0].rpartition(f"{store.folder.name}/")[2] if files else "the Edge store"
        end = f"signal {signal.Signals(-child.returncode).name}" if child.returncode < 0 else "an error"
        found.broken[name] = f"reading it ended with {end}{': ' + said[-300:] if said else ''}"


def _listen(lines: "queue.Queue[str | None]", found: Verification, on_progress: Tell | None) -> bool:
    """Enter what the child says; returns whether it finished."""
    total = 0
    while (line := lines.get(timeout=STALL)) is not None:
        fact: dict[str, Any] = json.loads(line)
        if "total" in fact:
            total = fact["total"]
        elif "done" in fact and on_progress:
            on_progress(fact["done"], total)
        elif "damaged" in fact:
            found.damaged.append(Damage(**fact["damaged"]))
        elif "error" in fact:
            found.broken["the Edge store"] = fact["error"]
            return True
        elif "items" in fact:
            found.items = fact["items"]
            return True
    return False


def _forward(stream: Any, lines: "queue.Queue[str | None]") -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)
