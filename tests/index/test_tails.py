import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.index.store import tails
from unbraid.index.store.entry import Entry
from unbraid.index.store.file_hashes import changed_files, file_lengths
from unbraid.index.store.folder_store import FolderStore
from unbraid.index.store.meta import FORMAT, Meta
from unbraid.index.store.private_copy import private_copy
from unbraid.index.store.storage import Storage
from unbraid.index.store.tails import cut_tails, long_files, restore_tails

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


def test_files_are_whole_and_synced_before_the_hashes_go(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    with FolderStore.open(index) as store:
        store.count()
        lengths = file_lengths(index)
        for name in ("_sync_file", "remove_file_hashes"):
            whole = getattr(sys.modules[FolderStore.__module__], name)
            monkeypatch.setattr(
                f"{FolderStore.__module__}.{name}",
                lambda path, name=name, whole=whole: (done.append((name, path)), whole(path)),
            )
        put(store, 7)
    first = done.index(("remove_file_hashes", index))
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


def test_a_copy_of_one_that_cannot_be_written_is_whole(index: Path) -> None:
    with private_copy(index) as copy, FolderStore(copy, None) as store:
        put(store, 5)
        assert store.count() == 4


def test_without_hashes_nothing_is_cut(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> str:
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


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"checksum": "0", "lengths": {}}'])
def test_lengths_that_are_damaged_are_none_and_the_files_are_told(index: Path, damage: bytes) -> None:
    (index / "lengths.json").write_bytes(damage)
    assert file_lengths(index) == {} and changed_files(index, index / "shard")
