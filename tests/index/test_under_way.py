import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from unbraid.index import under_way as under_way_module
from unbraid.index.under_way import FEW, FILE, UnderWay, telling, under_way
from unbraid.io.lock import WRITE, FolderLock


@pytest.fixture
def lock(tmp_path: Path) -> Any:
    held = FolderLock(tmp_path, WRITE)
    yield held
    held.release()


def test_a_run_tells_how_far_it_is(tmp_path: Path, lock: FolderLock, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [50.0]
    monkeypatch.setattr(under_way_module.time, "monotonic", lambda: now[0])
    with telling(tmp_path, "indexing", "files", 200) as tell:
        assert under_way(tmp_path) == UnderWay("indexing", "files", 0, 200, 0.0)
        now[0] += 0.5
        tell(10)  # too soon after the note before
        assert under_way(tmp_path) == UnderWay("indexing", "files", 0, 200, 0.0)
        now[0] += 3.5
        tell(30)
        found = under_way(tmp_path)
        assert found == UnderWay("indexing", "files", 40, 200, 4.0)
        assert (found.rate, found.seconds_left) == (10.0, 16.0)
    assert under_way(tmp_path) is None and not (tmp_path / FILE).exists()


def test_it_is_told_in_one_line() -> None:
    assert str(UnderWay("indexing", "files", 1000, 4000, 10.0)) == (
        "indexing: 1,000 of 4,000 files, 100.0/s, 0:00:30 left"
    )
    # Before the first one is done there is no rate.
    assert str(UnderWay("reading words", "pictures", 0, 10, 3.0)) == "reading words: 0 of 10 pictures"


def test_a_run_that_fails_takes_its_note_back(tmp_path: Path, lock: FolderLock) -> None:
    with pytest.raises(ValueError, match="broken"), telling(tmp_path, "indexing", "files", FEW):
        raise ValueError("broken")
    assert not (tmp_path / FILE).exists()


def test_a_short_run_and_one_without_a_folder_write_nothing(tmp_path: Path) -> None:
    with (
        telling(tmp_path, "indexing", "files", FEW - 1) as tell,
        telling(None, "indexing", "files", 100) as other,
    ):
        tell(1)
        other(1)
        assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    with telling(tmp_path / "gone", "indexing", "files", 100) as tell:
        tell(50)


def test_the_note_of_a_killed_process_is_not_believed(tmp_path: Path) -> None:
    with telling(tmp_path, "indexing", "files", 100):
        assert under_way(tmp_path) is None


def test_the_note_of_a_killed_process_is_not_that_of_the_next_one(tmp_path: Path, lock: FolderLock) -> None:
    with telling(tmp_path, "indexing", "files", 100):
        left = (tmp_path / FILE).read_bytes()
        assert under_way(tmp_path) is not None
    lock.release()
    (tmp_path / FILE).write_bytes(left)
    again = FolderLock(tmp_path, WRITE)  # even by a process of the same pid, as containers have
    with telling(tmp_path, "indexing", "files", FEW - 1):
        assert under_way(tmp_path) is None
    again.release()


def test_two_threads_may_count(
    tmp_path: Path, model: Any, open_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unbraid.index import add as add_module
    from unbraid.index.roots import Plan

    counted, inside = [], []

    @contextmanager
    def slow(*given: Any, **named: Any) -> Iterator[Any]:
        def tell(count: int) -> None:
            inside.append(count)
            time.sleep(0.01)
            counted.append(len(inside))
            inside.pop()

        yield tell

    monkeypatch.setattr(add_module, "telling", slow)
    together = threading.Barrier(2)

    def call(done: Any) -> None:
        together.wait(10)
        done(1)

    with open_store(tmp_path / "index") as store:
        run = add_module._Run(store, model, Plan([], [], []), {}, None)
    with run._counting("indexing", "files", 100, False) as done:
        threads = [threading.Thread(target=call, args=(done,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert counted == [1, 1]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"what": 1}', b"\xff\xfe"])
def test_a_broken_note_is_none(tmp_path: Path, lock: FolderLock, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert under_way(tmp_path) is None


def test_adding_many_files_can_be_followed(
    tmp_path: Path, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import unbraid
    from unbraid.index import add as add_module

    monkeypatch.setattr(add_module, "GROUP", 20)
    monkeypatch.setattr(under_way_module, "EVERY", 0.0)
    root = tmp_path / "files"
    root.mkdir()
    for number in range(50):
        (root / f"{number}.md").write_text(f"about {number}")
    seen = []
    model.fail = lambda items: seen.append(under_way(tmp_path / "index"))
    with unbraid.open_index(tmp_path / "index", model=model) as index:
        assert index.add(root, progress=False).added == 50
    assert [one.total for one in seen] == [50, 50, 50]
    assert seen[0].done == 0 and {one.done for one in seen} <= {0, 20, 40}
    # The third group is encoded when the first one is written.
    assert seen[2].done > 0
    assert under_way(tmp_path / "index") is None
