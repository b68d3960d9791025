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
    assert under_way(tmp_path / "index") is None
