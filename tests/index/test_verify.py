import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as edge

from unbraid.errors import StoreError
from unbraid.index.add import add_files
from unbraid.index.roots import plan
from unbraid.index.store import verify as verify_module
from unbraid.index.store.bm25 import query_words
from unbraid.index.store.checksum import FIELD
from unbraid.index.store.entry import point_id
from unbraid.index.store.file_hashes import FILE as HASHES
from unbraid.index.store.file_hashes import changed_files, hashed_items, write_file_hashes
from unbraid.index.store.folder_store import FolderStore
from unbraid.index.store.meta import META_FILE, read_meta
from unbraid.index.store.scan import Damage, scan
from unbraid.index.store.verify import Repair, Verification, run_scan
from unbraid.loading import open_index

DIM = 8
BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "index_durability.py"


def verify(index: Path, on_progress: Any = None) -> Verification:
    with open_index(index) as opened:
        return opened.verify(on_progress=on_progress)


def repair(index: Path, model: Any) -> Repair:
    with open_index(index, model=model) as opened:
        return opened.repair()


def open_store(index: Path) -> FolderStore:
    store = FolderStore.open(index)
    assert store is not None
    return store


@pytest.fixture
def model(tiny_model: Any) -> Any:
    return tiny_model(DIM)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = Path(os.path.realpath(tmp_path)) / "root"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.md").write_text(f"about {name}")
    (folder / "long.md").write_text("\n\n".join(f"part {n} " + "word " * 198 for n in range(3)))
    return folder


@pytest.fixture
def index(root: Path, model: Any) -> Path:
    folder = root.parent / "index"
    with open_index(folder, model=model) as opened:
        opened.add(root)
    model.batches.clear()
    return folder


def spoil(index: Path, file: Path, number: int = 0, **fields: Any) -> None:
    """Change an item's payload behind unbraid's back, or its vector when no field is given; hashed as if undamaged."""
    with open_store(index) as store:
        state = store.files()[file.as_posix()]
    identity = point_id(file.as_posix(), state.sha256, number)
    shard = edge.EdgeShard.load(str(index / "shard"))
    if fields:
        shard.update(edge.UpdateOperation.set_payload([identity], fields))
    else:
        shard.update(edge.UpdateOperation.update_vectors([edge.PointVectors(identity, [9.0] * DIM)]))
    shard.flush()
    items = shard.count(edge.CountRequest(exact=True))
    shard.close()
    edge.EdgeShard.load(str(index / "shard")).close()
    write_file_hashes(index, index / "shard", items)


def findings(index: Path) -> tuple[int, list[Damage]]:
    """What `scan` tells, in this process."""
    told: list[dict[str, Any]] = []
    with open_store(index) as store:
        sound = scan(store, told.append)
    return sound, [Damage(**fact["damaged"]) for fact in told if "damaged" in fact]


# -- hashes of files ----------------------------------------------------------------------------------------


def test_an_index_that_got_no_item_is_whole(tmp_path: Path, model: Any) -> None:
    (tmp_path / "empty").mkdir()
    with open_index(tmp_path / "index", model=model) as index:
        index.add(tmp_path / "empty", progress=False)
    assert verify(tmp_path / "index") == Verification(items=0)


def test_a_closed_index_has_hashes_and_an_open_one_that_was_written_has_none(index: Path, root: Path) -> None:
    assert hashed_items(index) == 5
    with open_store(index) as store:
        assert (index / HASHES).exists()
        store.delete([(root / "a.md").as_posix()])
        assert not (index / HASHES).exists()
    assert hashed_items(index) == 4
    assert changed_files(index, index / "shard") == []


def test_opening_and_reading_leaves_the_hashes_right(index: Path) -> None:
    for _ in range(2):
        with open_store(index) as store:
            assert store.count() == 5
        assert changed_files(index, index / "shard") == []


def test_an_index_whose_lengths_are_lost_is_repaired_and_can_be_written(
    index: Path, model: Any, root: Path
) -> None:
    (index / "lengths.json").unlink()
    (index / HASHES).write_bytes(b"{}")
    found = verify(index)
    assert list(found.broken) == ["lengths.json"]
    assert repair(index, model) == Repair(kept=5)
    assert verify(index).intact
    (root / "c.md").write_text("about c")
    with open_index(index, model=model) as opened:
        assert opened.add(root).added == 1
    assert verify(index) == Verification(items=6)


def test_a_changed_table_is_named_and_the_shard_not_opened(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = next(index.rglob("mutable_id_tracker.mappings"))
    data = bytearray(table.read_bytes())
    data[5] ^= 1
    table.write_bytes(data)
    monkeypatch.setattr(verify_module, "run_scan", lambda *_: pytest.fail("opened"))
    found = verify(index)
    assert list(found.broken) == [table.relative_to(index).as_posix()]
    assert not found.intact


def test_damaged_hashes_or_a_damaged_meta_file_is_an_error_that_names_it(index: Path) -> None:
    text = (index / HASHES).read_text()
    (index / HASHES).write_text(text.replace('"items": 5', '"items": 6'))
    with pytest.raises(StoreError, match=f"{HASHES} is damaged"):
        verify(index)
    (index / HASHES).write_text(text)
    (index / META_FILE).write_text((index / META_FILE).read_text().replace("fake", "fate"))
    with pytest.raises(StoreError, match=META_FILE):
        verify(index)


# -- items -------------------------------------------------------------------------------------------------


def test_a_damaged_vector_is_named_by_path_lines_and_chunk(index: Path, root: Path) -> None:
    spoil(index, root / "long.md", 1)
    sound, (damage,) = findings(index)
    assert sound == 4
    assert (damage.path, damage.first_line, damage.last_line, damage.chunk) == (
        (root / "long.md").as_posix(),
        3,
        3,
        1,
    )


def test_a_damaged_payload_is_named_although_it_lies(index: Path, root: Path) -> None:
    spoil(index, root / "long.md", 2, chunk=1, path="/elsewhere.md")
    spoil(index, root / "a.md", sha256="0")
    named = {(damage.path, damage.first_line, damage.chunk) for damage in findings(index)[1]}
    assert named == {((root / "long.md").as_posix(), 5, 2), ((root / "a.md").as_posix(), 1, 0)}


def test_an_item_that_nothing_names_is_told_by_its_id(index: Path, root: Path) -> None:
    spoil(index, root / "a.md", path="/elsewhere.md")
    (root / "a.md").unlink()
    ((damage),) = findings(index)[1]
    assert damage.path in (None, "/elsewhere.md") and damage.id


def test_a_search_leaves_a_damaged_chunk_out_and_warns(index: Path, root: Path) -> None:
    spoil(index, root / "a.md", snippet="changed")
    says = "1 chunks of .* were left out, damaged"
    with open_store(index) as store:
        (found,) = store.nearest(np.ones((1, DIM), np.float32), 9)
        with pytest.warns(UserWarning, match=says):
            entries = store.entries(found.ids(), store.vectors(found.ids()))
    assert len(entries) == 5 and entries.count(None) == 1


def test_a_damaged_chunk_is_not_copied_to_a_new_path(index: Path, model: Any, root: Path) -> None:
    spoil(index, root / "a.md")
    (root / "a.md").rename(root / "z.md")
    with open_store(index) as store:
        report = add_files(store, model, plan([root], [], {}, {}, None), store.files(), progress=False)
    assert (report.moved, report.added, report.deleted) == (0, 1, 1)
    assert model.encoded == ["about a"]
    assert findings(index) == (5, [])


# -- verify and repair, with their child -------------------------------------------------------------------


def test_verify_and_repair_of_what_can_be_encoded_again_and_what_cannot(
    index: Path, model: Any, root: Path
) -> None:
    assert verify(index) == Verification(items=5)
    spoil(index, root / "a.md")
    spoil(index, root / "b.md", snippet="x")
    spoil(index, root / "long.md", 1)
    (root / "b.md").write_text("other words")
    done: list[int] = []
    found = verify(index, lambda more, total: done.append(more))
    assert (found.items, len(found.damaged), found.intact, sum(done)) == (2, 3, False, 5)
    result = repair(index, model)
    assert result.kept == 2
    assert sorted(result.encoded) == [(root / name).as_posix() for name in ("a.md", "long.md")]
    (lost,) = result.lost
    assert (lost.path, lost.reason) == ((root / "b.md").as_posix(), "the file it came from has changed since")
    assert len(model.encoded) == 4  # a.md, and the three chunks of long.md
    assert read_meta(index).shard == "shard-2"
    assert sorted(path.name for path in index.glob("shard*")) == ["shard-2"]
    assert verify(index) == Verification(items=4)


@pytest.mark.parametrize("name", ["mutable_id_tracker.mappings", "open-1"])
def test_a_broken_table_or_log_is_repaired_by_what_can_still_be_read(
    index: Path, model: Any, root: Path, name: str
) -> None:
    path = next(index.rglob(name))
    data = bytearray(path.read_bytes())
    data[10 if "id" in name else 400] ^= 1
    path.write_bytes(data)
    assert list(verify(index).broken) == [path.relative_to(index).as_posix()]
    result = repair(index, model)
    assert verify(index).intact
    with open_store(index) as store:  # whatever was lost comes back from the files
        add_files(store, model, plan([root], [], {}, {}, None), {}, progress=False)
        assert (store.count(), len(store.files())) == (5, 3)
    assert result.kept + len(result.lost) + result.missing + len(result.encoded) >= 5


def test_damaged_words_are_a_broken_file_and_are_counted_again(index: Path, model: Any) -> None:
    (page,) = index.glob("shard/segments/*/vector_storage-words/store/page_0.dat")
    with open_store(index) as store:
        (before,) = store.nearest_words([query_words("about parts")], 9)
    assert len(before) >= 3
    data = bytearray(page.read_bytes())
    place = next(n for n, byte in enumerate(data) if byte)
    data[place + 9] ^= 0x55
    page.write_bytes(data)
    assert [Path(name).name for name in verify(index).broken] == ["page_0.dat"]
    assert repair(index, model).kept == 5
    assert verify(index).intact
    with open_store(index) as store:
        (found,) = store.nearest_words([query_words("about parts")], 9)
        assert set(found.ids()) == set(before.ids())


def test_a_repair_that_was_cut_off_leaves_the_old_shard(index: Path) -> None:
    (index / "shard-2.new").mkdir()
    (index / "shard-3").mkdir()
    with open_store(index) as store:
        assert store.count() == 5
    assert [path.name for path in index.glob("shard*")] == ["shard"]


def test_a_repair_with_another_base_is_refused(index: Path, model: Any) -> None:
    model.base_id = "other"
    with pytest.raises(StoreError, match="holds vectors of base fake"):
        repair(index, model)


def test_an_index_without_hashes_gets_them_when_all_is_well(index: Path) -> None:
    (index / HASHES).unlink()  # as after kill -9
    assert verify(index) == Verification(items=5, hashed=False)
    assert hashed_items(index) == 5


def test_verify_of_an_index_that_is_open_is_refused(index: Path) -> None:
    with open_store(index), pytest.raises(StoreError, match="is open in this process already"):
        verify(index)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "reading it ended with signal SIGSEGV"),
        (
            "raise SystemExit('panicked at /x/index/shard/segments/1/page_0.dat')",
            "reading it ended with an error",
        ),
        ("import time; time.sleep(60)", "made no progress for 1 s"),
    ],
)
def test_a_child_that_dies_or_hangs_is_a_finding(
    index: Path, monkeypatch: pytest.MonkeyPatch, code: str, says: str
) -> None:
    real = subprocess.Popen
    monkeypatch.setattr(verify_module, "STALL", 1.0)
    monkeypatch.setattr(
        verify_module.subprocess,
        "Popen",
        lambda command, **options: real([command[0], "-c", code], **options),
    )
    found = Verification()
    with open_store(index) as store:
        run_scan(store, None, found, None)
    ((file, reason),) = found.broken.items()
    assert says in reason
    assert file == ("shard/segments/1/page_0.dat" if "page_0" in code else "the Edge store")


# -- what a write does when it cannot ----------------------------------------------------------------------


def test_a_full_disk_is_told_before_anything_is_written(
    index: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 2_000_000})
    with open_store(index) as store:
        monkeypatch.setattr("unbraid.index.store.edge.shutil.disk_usage", lambda folder: usage)
        with pytest.raises(
            StoreError, match="has 2.0 MB left and this write may need .*: nothing of it was written"
        ):
            store.delete([(root / "a.md").as_posix()])
        assert store.count() == 5
    monkeypatch.undo()
    assert hashed_items(index) == 5
    assert changed_files(index, index / "shard") == []


def test_files_that_may_not_grow_are_an_error_and_nothing_acknowledged_is_lost(index: Path) -> None:
    code = (
        "import resource, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from unbraid.errors import StoreError\n"
        "from unbraid.index.store.folder_store import FolderStore\n"
        "from unbraid.index.store.entry import Entry\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        f"store = FolderStore.open(Path({str(index)!r}))\n"
        "try:\n"
        "    for n in range(10_000):\n"
        "        entry = Entry(f'/{n}', 'text', 1, 1, 'x' * 4000, 's', 1, 1, 0, 1)\n"
        f"        store.upsert([entry] * 500, np.ones((500, {DIM}), np.float32))\n"
        "        print(n, flush=True)\n"
        "except StoreError as error:\n"
        "    print('said', error, flush=True)\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    lines = child.stdout.splitlines()
    assert lines and (lines[-1].startswith("said") or child.returncode == -signal.SIGXFSZ), child.stderr
    acknowledged = sum(line.isdigit() for line in lines)
    with open_store(index) as store:
        assert store.count() >= 5 + acknowledged
    assert verify(index).intact


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the benchmark forks")
def test_kill_9_and_flipped_bits_lose_nothing_unnoticed(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARK), "--cycles", "2", "--flips", "6", "--folder", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_hashes_do_not_depend_on_holes(index: Path, tmp_path: Path) -> None:
    for path in (index / "shard").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes())  # holes become zeros
    assert changed_files(index, index / "shard") == []
    assert json.loads((index / HASHES).read_text())["items"] == 5


def test_the_checksum_is_part_of_the_payload(index: Path) -> None:
    with open_store(index) as store:
        ((_, payloads, _),) = store.records()
    assert all(len(payload[FIELD]) == 16 for payload in payloads)
