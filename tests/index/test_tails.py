import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.errors import StoreError
from unbraid.index.store import file_hashes, scan, tails
from unbraid.index.store.entry import Entry
from unbraid.index.store.file_hashes import changed_files, file_lengths
from unbraid.index.store.folder_store import FolderStore
from unbraid.index.store.meta import FORMAT, Meta, read_meta, write_meta
from unbraid.index.store.private_copy import private_copy
from unbraid.index.store.shared_store import SharedStore
from unbraid.index.store.storage import Storage
from unbraid.index.store.tails import cut_tails, long_files, restore_tails
from unbraid.index.store.verify import rewrite, verify

DIM = 4
MB = 1_000_000


def put(store: FolderStore, *names: int) -> None:
    some = [Entry(f"/{n}.md", "text", 1, 1, f"note {n}", "s", 1, 1, 0, 1) for n in names]
    store.upsert(some, np.eye(DIM, dtype=np.float32)[[n % DIM for n in names]])


def length(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed index of three chunks."""
    folder = tmp_path_factory.mktemp("made") / "index"
    with FolderStore.create(folder, Meta(FORMAT, "b1", DIM, Storage(DIM), "0")) as store:
        put(store, 0, 1, 2)
    return folder


@pytest.fixture
def index(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "index"))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=200), st.integers(0, 20_000)), max_size=4))
def test_files_are_the_same_bytes_after_their_tails_are_put_back(parts: list[tuple[bytes, int]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tails, "LEAST", 1)
        patch.setattr(tails, "BLOCK", 4096)
        path = Path(name) / "a" / "file"
        path.parent.mkdir()
        with open(path, "wb") as stream:  # holes, zeros that are written, and data
            for data, hole in parts:
                stream.write(data)
                stream.truncate(stream.seek(hole, 1))
        before = path.read_bytes()
        lengths = long_files(Path(name))
        cut_tails(Path(name), lengths)
        kept = path.stat().st_size
        assert kept <= len(before) and kept - len(before.rstrip(b"\0")) < tails.PAGE
        restore_tails(Path(name), lengths)
        assert path.read_bytes() == before


def test_a_file_of_another_length_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a" + bytes(1 << 17))
    cut_tails(tmp_path, {"file": 1 << 18, "gone": 1 << 18})
    assert (tmp_path / "file").stat().st_size == (1 << 17) + 1
    assert restore_tails(tmp_path, {"file": 5, "gone": 9}) == []


def test_a_closed_index_is_as_long_as_what_it_holds_and_is_whole(index: Path) -> None:
    assert length(index) < 2 * MB
    for round_ in range(2):
        with FolderStore.open(index) as store:
            assert store.count() == 3 + round_ and length(index) > 100 * MB
        assert length(index) < 2 * MB and changed_files(index, index / "shard") == []
        with FolderStore.open(index) as store:
            put(store, 3 + round_)
        assert length(index) < 2 * MB and changed_files(index, index / "shard") == []


def test_nothing_of_a_closed_index_stays_mapped(index: Path) -> None:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("the system does not tell what is mapped")
    with FolderStore.open(index) as store:
        assert store.count() == 3 and str(index) in maps.read_text()
    assert str(index) not in maps.read_text()


@pytest.mark.parametrize(
    "change", [lambda store: put(store, 7), FolderStore.forget_file_hashes, FolderStore.renew_file_hashes]
)
def test_files_are_whole_and_synced_before_the_hashes_go(
    index: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[FolderStore], None]
) -> None:
    done = []
    with FolderStore.open(index) as store:
        store.count()
        lengths = file_lengths(index)
        for name in ("_sync_file", "begin_writing", "remove_file_hashes"):
            whole = getattr(sys.modules[FolderStore.__module__], name)
            monkeypatch.setattr(
                f"{FolderStore.__module__}.{name}",
                lambda path, name=name, whole=whole: (done.append((name, path)), whole(path)),
            )
        change(store)
    first = next(place for place, (name, _) in enumerate(done) if name != "_sync_file")
    synced = {path.relative_to(index / "shard").as_posix() for _, path in done[:first]}
    assert synced and synced <= lengths.keys()


def test_an_index_whose_writer_was_killed_holds_what_was_written(index: Path) -> None:
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[2]); from test_tails import FolderStore, put;"
        "put(FolderStore.open(sys.argv[1]), 8, 9); os._exit(9)"
    )
    ended = subprocess.run([sys.executable, "-c", code, index, Path(__file__).parent], check=False)
    assert ended.returncode == 9 and not (index / "sealed.json").exists()
    with FolderStore.open(index) as store:
        assert store.count() == 5
        put(store, 1)
    assert length(index) < 2 * MB


@pytest.mark.parametrize("lost", ["lengths.json", "sealed.json"])
def test_a_copy_of_one_that_cannot_be_written_is_whole(index: Path, lost: str) -> None:
    (index / lost).unlink()
    with private_copy(index) as copy, FolderStore(copy, None) as store:
        put(store, 5)
        assert store.count() == 4


def test_without_hashes_nothing_is_cut(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, lengths: bool) -> str:
        raise OSError("the disk is full")

    monkeypatch.setattr("unbraid.index.store.folder_store.write_file_hashes", full)
    with pytest.warns(UserWarning, match="could not be hashed"), FolderStore.open(index) as store:
        put(store, 6)
    assert length(index) > 100 * MB


def test_hashes_that_are_deleted_by_hand_leave_the_lengths(index: Path) -> None:
    (index / "sealed.json").unlink()
    with FolderStore.open(index) as store:
        put(store, 4)
        assert store.count() == 4


# None: it is gone.
DAMAGE = [None, b"", b"{}", b'{"checksum": "0", "lengths": {}}']


def spoil(path: Path, content: bytes | None) -> None:
    path.unlink() if content is None else path.write_bytes(content)


@pytest.mark.parametrize("name", ["lengths.json", "sealed.json"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_one_of_the_two_copies_of_the_lengths_is_enough(index: Path, name: str, damage: bytes | None) -> None:
    lengths = file_lengths(index)
    spoil(index / name, damage)
    assert lengths and file_lengths(index) == lengths
    with FolderStore.open(index) as store:
        put(store, 4)
        assert store.count() == 4
    with FolderStore.open(index) as store:
        assert store.count() == 4 and changed_files(index, index / "shard") == []


@pytest.mark.parametrize(
    "lengths", [["a"], [["a", 1]], {"a": "1"}, {"a": -1}, {"a": True}, {"a": None}, 5, None]
)
def test_lengths_that_are_none_are_damaged(index: Path, lengths: object) -> None:
    (index / "sealed.json").unlink()
    file_hashes._write(index / "lengths.json", {"lengths": lengths})
    assert file_lengths(index) is None


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("other", [None, b"{}"])
def test_without_either_copy_nothing_is_written_and_nothing_forgotten(
    index: Path, damage: bytes | None, other: bytes | None
) -> None:
    spoil(index / "lengths.json", damage)
    spoil(index / "sealed.json", other)
    before = {path: path.read_bytes() for path in index.glob("*.json") if path.name != "open.json"}
    changes: list[Callable[[FolderStore], None]] = [
        lambda store: put(store, 4),
        lambda store: store.delete(["/1.md"]),
        FolderStore.compact,
        FolderStore.begin,
    ]
    for change in changes:
        with FolderStore.open(index) as store:
            with pytest.raises(StoreError, match="verify .* --repair"):
                change(store)
            assert store.count() == 3
        assert all(path.read_bytes() == content for path, content in before.items())


def test_an_index_that_lost_both_copies_is_repaired(index: Path) -> None:
    for name in ("lengths.json", "sealed.json"):
        (index / name).unlink()
    with FolderStore.open(index) as store:
        assert not verify(store).intact and rewrite(store).items == 3
    with FolderStore.open(index) as store:
        put(store, 4)
        assert store.count() == 4 and verify(store).intact


def test_while_it_is_written_an_index_says_that_nothing_is_cut(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    with FolderStore.create(folder, Meta(FORMAT, "b1", DIM, Storage(DIM), "0")) as store:
        assert file_lengths(folder) == {}
        put(store, 0)
    assert file_lengths(folder) and (folder / "sealed.json").exists()
    with FolderStore.open(folder) as store:
        put(store, 1)
        assert file_lengths(folder) == {} and not (folder / "sealed.json").exists()


def test_a_repair_that_is_cut_off_leaves_an_index_that_is_not_taken_for_whole(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    for name in ("lengths.json", "sealed.json"):
        (index / name).unlink()
    monkeypatch.setattr(scan, "write_meta", cut_off)
    with FolderStore.open(index) as store, pytest.raises(KeyboardInterrupt):
        scan.rewrite(store, "shard-2", lambda fact: None)
    with FolderStore.open(index) as store, pytest.raises(StoreError, match="verify .* --repair"):
        put(store, 4)


def test_an_index_of_the_format_before_is_written_and_not_cut(index: Path) -> None:
    with FolderStore.open(index) as store:
        store.count()
        shutil.copytree(index / "shard", index.parent / "whole")
    shutil.rmtree(index / "shard")
    (index.parent / "whole").rename(index / "shard")
    (index / "lengths.json").unlink()
    about = json.loads((index / "sealed.json").read_text())
    file_hashes._write(index / "sealed.json", {name: about[name] for name in ("items", "files")})
    write_meta(index, replace(read_meta(index), format=3))
    for round_ in range(2):
        assert changed_files(index, index / "shard") == []
        with FolderStore.open(index) as store:
            put(store, 3 + round_)
            assert store.count() == 4 + round_
        assert length(index) > 100 * MB and file_lengths(index) == {}
    assert read_meta(index).format == 3
    (index / "lengths.json").unlink()
    (index / "sealed.json").write_bytes(b"{}")
    with FolderStore.open(index) as store:
        put(store, 7)
        assert store.count() == 6


def test_an_index_of_the_format_before_that_was_cut_is_made_whole_or_refuses_writes(index: Path) -> None:
    write_meta(index, replace(read_meta(index), format=3))
    (index / "sealed.json").unlink()
    whole = (index / "lengths.json").read_bytes()
    (index / "lengths.json").write_bytes(b"{}")
    with FolderStore.open(index) as store, pytest.raises(StoreError, match="verify .* --repair"):
        put(store, 3)
    (index / "lengths.json").write_bytes(whole)
    with FolderStore.open(index) as store:
        put(store, 3)
        assert store.count() == 4
    assert length(index) > 100 * MB and changed_files(index, index / "shard") == []


@pytest.mark.parametrize("create", [FolderStore.create, SharedStore.create])
def test_a_new_index_is_refused_by_versions_that_put_nothing_back(
    tmp_path: Path, create: Callable[[Path, Meta], FolderStore | SharedStore]
) -> None:
    with create(tmp_path / "index", Meta(3, "b1", DIM, Storage(DIM), "0")) as store:
        assert store.meta.format == FORMAT > 3


def test_only_files_of_the_store_are_made_longer_or_cut(tmp_path: Path) -> None:
    (tmp_path / "edge" / "in").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    mine, long = tmp_path / "other" / "mine", tmp_path / "other" / "long"
    mine.write_bytes(b"mine")
    long.write_bytes(bytes(1 << 18))
    for name, target in (("link", mine), ("in/folder", mine.parent), ("long", long)):
        (tmp_path / "edge" / name).symlink_to(target)
    names = [str(mine), "../other/mine", "in/../../other/mine", "link", "in/folder/mine"]
    assert restore_tails(tmp_path / "edge", dict.fromkeys(names, 99)) == []
    cut_tails(tmp_path / "edge", dict.fromkeys([str(long), "../other/long", "long"], 1 << 18))
    assert mine.read_bytes() == b"mine" and long.stat().st_size == 1 << 18
    assert long_files(tmp_path / "edge") == {}
