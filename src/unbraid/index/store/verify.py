"""Whether an index is as it was written, and what is not; putting back what can be.

First the files that say which items there are, against their seal; then, in a child process that a damaged file may
take down, every item against its checksum.
"""

import json
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from unbraid.errors import StoreError
from unbraid.index.protocol import Model
from unbraid.index.store.file_hashes import broken_files, sealed_items
from unbraid.index.store.folder_store import Store, check_base
from unbraid.index.store.lock import hold, release
from unbraid.index.store.meta import Provenance, read_meta
from unbraid.index.store.scan import Damage, sha256_of
from unbraid.index.update import update

STALL = (
    120.0  # seconds without a word from the child: a damaged table of ids can keep the library busy for good
)
Progress = Callable[[int, int], None]  # items more, items in all


@dataclass
class Verification:
    """What was found; an index without damage is `sound`."""

    items: int = 0  # as they were written
    damaged: list[Damage] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)  # file, or "the shard", -> what is wrong with it
    missing: int = 0  # items fewer than there were when the index was last closed, beyond those in `damaged`
    sealed: bool = (
        True  # False: its last writer was killed, so lost and additional items would not be noticed
    )

    @property
    def sound(self) -> bool:
        """Whether everything is as it was written."""
        return not (self.damaged or self.broken or self.missing)


@dataclass
class Repair:
    """What became of a damaged index."""

    kept: int = 0  # items that were sound
    encoded: list[str] = field(default_factory=list)  # files encoded again from an unchanged source
    lost: list[Damage] = field(default_factory=list)  # the reason says why
    missing: int = 0  # items that were lost and that nothing names


def verify(folder: str | Path, progress: Progress | None = None) -> Verification:
    """Check every stored item of the index in `folder`, and the files that hold them.

    Raises StoreError when there is no index, it is open elsewhere, or its unbraid.json cannot be read.
    """
    found = _check_files(Path(folder))
    if found.broken:  # opening a shard of wrong tables could change it, or never end
        return found
    expected = sealed_items(Path(folder))
    found.sealed = expected is not None
    _scan(Path(folder), None, found, progress)
    if expected is not None and not found.broken:
        found.missing = max(0, expected - found.items - len(found.damaged))
    return found


def repair(
    folder: str | Path,
    model: Model,
    progress: Progress | None = None,
    provenance: Provenance | None = None,
) -> Repair:
    """Make a damaged index sound again: the sound items go into a new shard, the others are encoded once more.

    That is possible where the file they came from still has the same content; the rest is reported as lost. Raises
    StoreError when the shard cannot be read at all, or the index belongs to another model, whose `provenance` this is.
    """
    folder = Path(folder)
    meta = read_meta(folder)
    check_base(folder, meta, model.base_id, model.dim)
    expected = sealed_items(folder)
    found = Verification()
    _scan(folder, _next_shard(meta.shard), found, progress)
    if found.broken:
        reasons = "; ".join(f"{file}: {why}" for file, why in found.broken.items())
        raise StoreError(
            f"{folder} cannot be repaired ({reasons}); nothing in it was changed. Make it again: "
            "unbraid index PATH... --into ANOTHER_FOLDER"
        )
    result = Repair(kept=found.items)
    wanted: dict[str, list[Damage]] = {}
    for item in found.damaged:
        why = _not_encodable(item)
        if why:
            result.lost.append(replace(item, reason=why))
        else:
            wanted.setdefault(str(item.path), []).append(item)
    with Store.open(folder, base_id=model.base_id, dim=model.dim, provenance=provenance) as store:
        if wanted:
            update(store, model, wanted)
        states = store.files()
        for path, items in wanted.items():
            if path in states and states[path].complete:
                result.encoded.append(path)
            else:
                result.lost += [
                    replace(item, reason="its source could not be encoded again") for item in items
                ]
    if expected is not None:
        result.missing = max(0, expected - found.items - len(found.damaged))
    return result


def _check_files(folder: Path) -> Verification:
    if not folder.is_dir():
        raise StoreError(f"no index at {folder}; make one with: unbraid index PATH --into {folder}")
    meta = read_meta(folder)
    lock = hold(folder)
    try:
        changed = broken_files(folder, folder / meta.shard)
        return Verification(
            broken=dict.fromkeys(changed, "it is not as it was when the index was last closed")
        )
    finally:
        release(lock)


def _not_encodable(item: Damage) -> str | None:
    """Why a damaged item cannot be encoded again from its source; None where it can."""
    if item.path is None:
        return "nothing tells which file it came from"
    now = sha256_of(item.path)
    if now is None:
        return "the file it came from cannot be read any more"
    if item.sha256 is None:
        return "nothing tells which content of the file it came from"
    return None if now == item.sha256 else "the file it came from has changed since"


def _next_shard(name: str) -> str:
    return f"shard-{int(name.rpartition('-')[2]) + 1}" if "-" in name else "shard-2"


def _scan(folder: Path, into: str | None, found: Verification, progress: Progress | None) -> None:
    """Run the child and enter what it says in `found`; its death is one of the findings."""
    command = [sys.executable, "-m", "unbraid.index.store.scan", str(folder.absolute())]
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
        finished = _listen(lines, found, progress)
    except queue.Empty:
        found.broken["the shard"] = f"reading it did not come on for {STALL:.0f} s"
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
        name = files[0].rpartition(f"{folder.name}/")[2] if files else "the shard"
        end = f"signal {signal.Signals(-child.returncode).name}" if child.returncode < 0 else "an error"
        found.broken[name] = f"reading it ended with {end}{': ' + said[-300:] if said else ''}"


def _listen(lines: "queue.Queue[str | None]", found: Verification, progress: Progress | None) -> bool:
    """Enter what the child says; whether it came to its end."""
    total = 0
    while (line := lines.get(timeout=STALL)) is not None:
        fact: dict[str, Any] = json.loads(line)
        if "total" in fact:
            total = fact["total"]
        elif "done" in fact and progress:
            progress(fact["done"], total)
        elif "damaged" in fact:
            found.damaged.append(Damage(**fact["damaged"]))
        elif "error" in fact:
            found.broken["the shard"] = fact["error"]
            return True
        elif "items" in fact:
            found.items = fact["items"]
            return True
    return False


def _forward(stream: Any, lines: "queue.Queue[str | None]") -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)
