import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.errors import StoreError
from unbraid.index.store import file_table, folder_store
from unbraid.index.store.entry import Entry, FileState
from unbraid.index.store.file_table import read_file_table, write_file_table
from unbraid.index.store.folder_store import FolderStore
from unbraid.index.store.meta import FORMAT, Meta
from unbraid.index.store.storage import Storage

DIM = 4
STATE = FileState(
    "abc", 10, 1_764_000_000_123_456_789, 2, {"year": 2024, "team": ["a", "b"]}, "year", "scans", 2
)


def put(store: FolderStore, path: str, sha: str = "s", chunks: int = 1) -> None:
    one = Entry(path, "text", 1, 1, "note", sha, 1, 1, 0, chunks, fields={"year": 2024, "team": ["a"]})
    store.upsert([replace(one, chunk=n) for n in range(chunks)], np.ones((chunks, DIM), np.float32) / 2)


@pytest.fixture(autouse=True)
def tabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_store, "TABLED", 2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed index of three files in four chunks, with a table."""
    folder = tmp_path_factory.mktemp("made") / "index"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder_store, "TABLED", 2)
        with FolderStore.create(folder, Meta(FORMAT, "b1", DIM, Storage(DIM), "0")) as store:
            for path, chunks in (("/a.md", 1), ("/b.md", 2), ("/c.md", 1)):
                put(store, path, chunks=chunks)
    return folder


@pytest.fixture
def index(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "index"))


def told(store: FolderStore) -> dict[str, FileState]:
    """`store.files()`, which has to be what the chunks say."""
    found = store.files()
    assert found == store._read_files(None)
    return found


def test_files_are_told_without_opening_the_edge_store(index: Path) -> None:
    with FolderStore.open(index) as store:
        found = store.files()
        store.delete([])
        store.settle()
        assert store._edge is None
        assert found == told(store) and found["/b.md"].points == 2
    assert (index / "sealed.json").exists()


def test_what_is_written_since_is_told_too_and_is_in_the_next_table(index: Path) -> None:
    with FolderStore.open(index) as store:
        put(store, "/a.md", "other")
        assert told(store)["/a.md"].versions == 2
        store.delete_older([Entry("/a.md", "text", 1, 1, "note", "other", 1, 1, 0, 1)])
        store.delete(["/b.md"])
        put(store, "/d.md")
        found = told(store)
        assert found.keys() == {"/a.md", "/c.md", "/d.md"} and found["/a.md"].sha256 == "other"
    with FolderStore.open(index) as store:
        assert store.files() == found and store._edge is None


def test_a_table_of_before_is_not_used(index: Path) -> None:
    before = (index / file_table.FILE).read_bytes()
    with FolderStore.open(index) as store:
        put(store, "/d.md")
    (index / file_table.FILE).write_bytes(before)
    with FolderStore.open(index) as store:
        assert len(told(store)) == 4


@pytest.mark.parametrize("missing", ["sealed.json", file_table.FILE])
def test_without_hashes_or_table_the_chunks_are_asked(index: Path, missing: str) -> None:
    (index / missing).unlink()
    with FolderStore.open(index) as store:
        assert len(store.files()) == 3 and store._edge is not None


def test_where_many_were_touched_all_chunks_are_asked(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_store, "TOUCHED", 0)
    with FolderStore.open(index) as store:
        put(store, "/d.md")
        assert store._from_table() is None and len(told(store)) == 4


def test_paths_are_noted_up_to_some_and_the_next_table_has_them_all(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_store, "TOUCHED", 2)
    with FolderStore.open(index) as store:
        store.delete([f"/{n}.md" for n in range(9)])
        assert store._touched is None and len(told(store)) == 3
        put(store, "/d.md")
    with FolderStore.open(index) as store:
        assert len(store.files()) == 4 and store._edge is None


@pytest.mark.parametrize("unloads", [1, 2])
def test_what_is_closed_in_the_midst_of_a_write_is_told_as_the_chunks_say(
    index: Path, monkeypatch: pytest.MonkeyPatch, unloads: int
) -> None:
    with FolderStore.open(index) as store:
        steps = iter(range(9))

        def give_way() -> None:
            # As verify does in another thread; then a third thread may write before the first goes on.
            if next(steps) == 0:
                store.unload()
                if unloads == 2:
                    put(store, "/z.md")

        monkeypatch.setattr(store, "give_way", give_way)
        store.delete(["/a.md", "/b.md", "/c.md"])
        assert told(store).keys() == ({"/z.md"} if unloads == 2 else set())
        put(store, "/d.md", chunks=2)
    with FolderStore.open(index) as store:
        assert "/d.md" in told(store)


def test_the_table_of_another_process_counts_after_it(index: Path) -> None:
    with FolderStore.open(index) as store:
        put(store, "/d.md")
        with store.unloaded(), FolderStore(index, None) as other:
            other.delete(["/a.md"])
        assert store._from_table() is not None and told(store).keys() == {"/b.md", "/c.md", "/d.md"}


@pytest.mark.parametrize("begin", [FolderStore.begin, FolderStore.renew_file_hashes])
def test_what_is_begun_forgets_the_hashes_before_it_is_written(
    index: Path, begin: Callable[[FolderStore], None]
) -> None:
    with FolderStore.open(index) as store:
        begin(store)
        assert not (index / "sealed.json").exists()
        store.delete(["/a.md"])
        told(store)
    with FolderStore.open(index) as store:
        assert len(told(store)) == 2


def test_an_index_that_is_made_again_and_killed_is_told_as_the_chunks_say(index: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from unbraid.index.store.meta import read_meta;"
        "from unbraid.index.store.shared_store import SharedStore; folder = Path(sys.argv[1]);"
        "SharedStore.create(folder, read_meta(folder)).delete(['/a.md']); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, index], check=False).returncode == 9
    with FolderStore.open(index) as store:
        assert told(store).keys() == {"/b.md", "/c.md"}


def test_a_small_index_has_no_table(index: Path) -> None:
    with FolderStore.open(index) as store:
        store.delete(["/b.md", "/c.md"])
    assert not (index / file_table.FILE).exists()


def test_an_index_of_which_a_payload_cannot_be_read_is_closed_as_before(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(filter: object) -> None:
        raise StoreError("damaged")

    with FolderStore.open(index) as store:
        put(store, "/d.md")
        monkeypatch.setattr(store, "_read_files", broken)
    assert (index / "sealed.json").exists() and not (index / file_table.FILE).exists()


def test_any_writes_in_any_openings_are_told_as_the_chunks_say(index: Path) -> None:
    draw = random.Random(0)
    for _ in range(3):
        with FolderStore.open(index) as store:
            for _ in range(draw.randrange(6)):
                path = f"/{draw.randrange(6)}.md"
                if draw.random() < 0.4:
                    store.delete([path])
                else:
                    put(store, path, str(draw.randrange(2)), draw.randrange(1, 4))
            told(store)
            if draw.random() < 0.5:
                store.unload()
                told(store)


def test_a_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    states = {"/a.md": STATE, "/ü\n.md": replace(STATE, fields={}, versions=2)}
    write_file_table(tmp_path, "seal", states)
    assert read_file_table(tmp_path, "seal") == states
    assert read_file_table(tmp_path, "sea") is None and read_file_table(tmp_path / "none", "seal") is None


@given(st.data())
def test_a_damaged_table_is_none(data: st.DataObject) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        write_file_table(Path(name), "seal", {"/a.md": STATE})
        path = Path(name) / file_table.FILE
        content = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            content[place] ^= data.draw(st.integers(1, 255))
        else:
            del content[place:]
        path.write_bytes(content)
        assert read_file_table(Path(name), "seal") is None
