"""An index that follows the disk: what is looked at after a change, and a watcher that is told by the system."""

import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import unbraid
from unbraid.errors import DataError, StoreError
from unbraid.index.add import Report
from unbraid.index.index import Index
from unbraid.index.watch import Links, _batches, is_passed_over, outermost, places_of, watch
from unbraid.io.lock import WRITE, FolderLock


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return Path(os.path.realpath(tmp_path))


@pytest.fixture
def index(place: Path, model: Any) -> Iterator[Index]:
    with unbraid.open_index(place / "ix", model=model) as opened:
        yield opened


def write(path: Path, text: str = "some words") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def held(index: Index) -> dict[str, list[tuple[Any, ...]]]:
    """What an index holds, with its vectors, by path."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for entries, rows, _ in index.store.items():
        for entry, row in zip(entries, rows, strict=True):
            found.setdefault(entry.path, []).append((entry.chunk, entry.snippet, entry.sha256, row.tolist()))
    return {path: sorted(chunks) for path, chunks in found.items()}


# -- some places -------------------------------------------------------------------------------------------


def test_only_what_lies_at_the_places_is_looked_at(index: Index, place: Path, model: Any) -> None:
    for name in ("a.md", "b.md", "sub/c.md"):
        write(place / "r" / name, name)
    index.add(place / "r")
    model.batches.clear()
    write(place / "r/a.md", "new")
    write(place / "r/b.md", "new too")
    report = index.refresh_places([place / "r/a.md"])
    assert (report.changed, report.unchanged, report.deleted) == (1, 0, 0) and model.encoded == ["new"]
    shutil.rmtree(place / "r/sub")
    assert index.refresh_places([place / "r/sub"]).deleted == 1
    assert index.roots()[0].files == 2


def test_a_renamed_file_keeps_its_vectors(index: Index, place: Path, model: Any) -> None:
    write(place / "r/a.md", "words of a")
    write(place / "r/d/b.md", "words of b")
    index.add(place / "r")
    model.batches.clear()
    (place / "r/a.md").rename(place / "r/z.md")
    (place / "r/d").rename(place / "r/e")
    report = index.refresh_places([place / "r" / name for name in ("a.md", "z.md", "d", "e")])
    assert (report.moved, report.deleted, model.encoded) == (2, 0, [])
    assert sorted(held(index)) == [str(place / "r/e/b.md"), str(place / "r/z.md")]


def test_what_the_rules_pass_over_becomes_no_root(index: Index, place: Path) -> None:
    write(place / "r/a.md")
    write(place / "r/.gitignore", "*.log\n")
    index.add(place / "r")
    for name in (".a.md.swp", "x.log", "node_modules/p.md"):
        write(place / "r" / name)
    report = index.refresh_places(
        [place / "r" / name for name in (".a.md.swp", "x.log", "node_modules/p.md")]
    )
    assert report.added == 0 and [root.path for root in index.roots()] == [str(place / "r")]


@pytest.mark.parametrize("empty", [False, True])
def test_nothing_leaves_a_root_that_may_not_be_mounted(index: Index, place: Path, empty: bool) -> None:
    write(place / "r/a.md")
    index.add(place / "r")
    shutil.rmtree(place / "r")
    if empty:
        (place / "r").mkdir()
    assert index.refresh_places([place / "r", place / "r/a.md"]).deleted == 0
    assert len(held(index)) == 1 and index.changed_places() == []


def test_many_places_are_refreshed_at_once(
    index: Index, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unbraid.index.refresh_places.FEW", 2)
    write(place / "r/kept.md")
    index.add(place / "r")
    files = [write(place / f"r/{number}.md", f"{number}") for number in range(5)]
    assert index.refresh_places(files).added == 5
    assert index.roots()[0].files == 6


def test_what_has_changed_is_found_without_reading(index: Index, place: Path) -> None:
    for name in ("a.md", "b.md", "c.md"):
        write(place / "r" / name)
    index.add(place / "r")
    assert index.changed_places() == []
    write(place / "r/a.md", "longer words")
    (place / "r/b.md").unlink()
    write(place / "r/d.md")
    write(place / "r/.hidden.md")
    assert sorted(path.name for path in index.changed_places()) == ["a.md", "b.md", "d.md"]


NAMES = st.sampled_from(
    ["a.md", "b.py", "d", "d/c.md", "e/f.md", ".gitignore", "d/.gitignore", "link.md", "e"]
)
OPERATIONS = st.one_of(
    st.tuples(st.just("write"), NAMES, st.sampled_from(["one", "two words", "*.md\n", "d\n", ""])),
    st.tuples(st.just("rename"), NAMES, NAMES),
    st.tuples(st.just("delete"), NAMES, st.just("")),
    st.tuples(st.just("link"), NAMES, NAMES),
)


def apply(root: Path, operation: tuple[str, str, str]) -> list[Path]:
    """Do one operation, where it can be done; the paths that a system tells of."""
    kind, name, other = operation
    path, target = root / name, root / other
    try:
        if kind == "write":
            path.parent.mkdir(exist_ok=True)
            path.write_text(other)
            path = Path(os.path.realpath(path))  # a write through a link is told where it leads
        elif kind == "rename":
            target.parent.mkdir(exist_ok=True)
            path.rename(target)
            return [path, target, target.parent]
        elif kind == "delete" and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif kind == "delete":
            path.unlink()
        elif kind == "link":
            path.symlink_to(target)
    except OSError:
        return []
    return [path, path.parent] if path.parent != root else [path]


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@example(
    batches=[
        [("write", "a.md", "one"), ("write", "d/c.md", "one"), ("link", "b.py", "a.md")],
        [("rename", "b.py", "a.md")],
    ]
)
@given(batches=st.lists(st.lists(OPERATIONS, min_size=1, max_size=5), min_size=1, max_size=4))
def test_after_any_changes_the_index_is_as_a_fresh_one(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_model: Callable[[], Any],
    batches: list[list[tuple[str, str, str]]],
) -> None:
    place = Path(os.path.realpath(tmp_path_factory.mktemp("any")))
    write(place / "r/keep.txt")
    links = Links()
    with unbraid.open_index(place / "ix", model=tiny_model()) as index:
        index.add(place / "r")
        for operations in batches:
            changed = {path for operation in operations for path in apply(place / "r", operation)}
            places = outermost(places_of(changed | links.to(changed)))
            index.refresh_places(places, on_skip=links.note_skipped)
            links.note(places)
        found = held(index)
        with unbraid.open_index(place / "fresh", model=tiny_model()) as fresh:
            fresh.add(place / "r")
            assert found == held(fresh)


def test_a_file_that_was_left_out_counts_as_changed_only_when_it_has_changed(
    index: Index, place: Path
) -> None:
    for name in ("a.md", "all.zip"):
        write(place / "r" / name)
    past = time.time_ns() - 60 * 10**9
    os.utime(place / "r/all.zip", ns=(past, past))
    index.add(place / "r")
    assert [one.path.name for one in index.refresh().skipped] == ["all.zip"]
    assert index.changed_places() == []
    write(place / "r/all.zip", "other words")
    later = time.time_ns() + 60 * 10**9
    os.utime(place / "r/all.zip", ns=(later, later))
    assert [path.name for path in index.changed_places()] == ["all.zip"]


@pytest.mark.parametrize(("left", "gone"), [(5, 0), (8, 4)])
def test_what_may_not_be_mounted_does_not_count_as_gone(
    index: Index, place: Path, left: int, gone: int
) -> None:
    for number in range(12):
        write(place / "r" / f"{number}.md", str(number))
    index.add(place / "r")
    for number in range(left, 12):
        (place / "r" / f"{number}.md").unlink()
    assert len(index.changed_places()) == gone


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/r/a.md", False),
        ("/r/node_modules/x.js", True),
        ("/r/.git", False),
        ("/r/.git/info/exclude", False),
        ("/r/.git/index", True),
        ("/node_modules/lib/a.js", False),
        ("/node_modules/lib/node_modules/b.js", True),
    ],
)
def test_folders_that_no_walk_enters_are_passed_over_below_the_root_alone(path: str, expected: bool) -> None:
    assert is_passed_over(Path(path), [Path("/r"), Path("/node_modules/lib")]) == expected


# -- which places ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ("/r/a.md", "/r/a.md"),
        ("/r/d/.gitignore", "/r/d"),
        ("/r/.unbraidignore", "/r"),
        ("/r/.git", "/r"),
        ("/r/.git/info/exclude", "/r"),
        ("/r/venv/pyvenv.cfg", "/r/venv"),
    ],
)
def test_a_file_of_rules_stands_for_its_folder(changed: str, place: str) -> None:
    assert places_of([Path(changed)]) == {Path(place)}


def test_what_lies_in_another_place_is_looked_at_once() -> None:
    given = [Path(path) for path in ("/r/d/x", "/r/d", "/r/d2", "/r/d/y/z", "/r/d")]
    assert outermost(given) == [Path("/r/d"), Path("/r/d2")]
    assert outermost([]) == []


def test_a_change_where_a_link_leads_is_one_of_the_link(place: Path) -> None:
    target = write(place / "t/a.md")
    (place / "link.md").symlink_to(target)
    (place / "broken.md").symlink_to(place / "none.md")
    links = Links()
    assert links.to({target}) == set()
    links.note([place / "link.md", place / "broken.md", target])
    assert links.to({target}) == links.to({place / "t"}) == {place / "link.md"}
    assert links.to({place / "none.md"}) == {place / "broken.md"}


# -- the watcher -------------------------------------------------------------------------------------------


@contextmanager
def watching(index: Index) -> Iterator["queue.Queue[Report | StoreError]"]:
    """What a watcher in another thread tells, its first look at everything done."""
    told: queue.Queue[Report | StoreError] = queue.Queue()
    stop = threading.Event()
    thread = threading.Thread(target=watch, args=(index, told.put, stop))
    thread.start()
    try:
        assert isinstance(told.get(timeout=60), Report)
        yield told
    finally:
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


def wait_until(told: "queue.Queue[Report | StoreError]", index: Index, names: set[str]) -> None:
    """Take what is told until the index holds these files; fails after a minute without a word."""
    while {Path(path).name for path in index.store.files()} != names:
        told.get(timeout=60)


def test_a_watcher_follows_what_is_written_moved_and_deleted(index: Index, place: Path, model: Any) -> None:
    write(place / "r/a.md", "words of a")
    index.add(place / "r")
    with watching(index) as told:
        write(place / "r/b.md", "words of b")
        wait_until(told, index, {"a.md", "b.md"})
        model.batches.clear()
        (place / "r/b.md").rename(place / "r/c.md")
        wait_until(told, index, {"a.md", "c.md"})
        assert model.encoded == []
        write(place / "r/new/deep/d.md")
        wait_until(told, index, {"a.md", "c.md", "d.md"})
        shutil.rmtree(place / "r/new")
        (place / "r/a.md").unlink()
        wait_until(told, index, {"c.md"})
        for number in range(50):
            write(place / f"r/n{number}.md", f"{number}")
        wait_until(told, index, {"c.md", *(f"n{number}.md" for number in range(50))})


def test_a_root_that_is_a_file_and_one_that_is_replaced_are_followed(index: Index, place: Path) -> None:
    write(place / "one.md", "first")
    write(place / "r/a.md")
    index.add([place / "one.md", place / "r"])
    with watching(index) as told:
        write(place / "new.md", "another text").rename(place / "one.md")  # as editors save
        while [one.snippet for one in index.entries(place / "one.md")] != ["another text"]:
            told.get(timeout=60)
        (place / "r").rename(place / "old")
        write(place / "other/b.md")
        (place / "other").rename(place / "r")
        wait_until(told, index, {"one.md", "b.md"})
        write(place / "r/c.md")
        wait_until(told, index, {"one.md", "b.md", "c.md"})


def test_an_index_in_its_own_root_does_not_wake_itself(place: Path, model: Any) -> None:
    write(place / "r/a.md")
    with unbraid.open_index(place / "r/ix", model=model) as index:
        index.add(place / "r")
        stop = threading.Event()
        batches = _batches([place / "r"], place / "r/ix", stop)
        next(batches)
        index.refresh()
        write(place / "r/b.md")
        seen: set[Path] = set()
        while place / "r/b.md" not in seen:
            seen |= next(batches)
        assert not any(path.name.endswith(".json") or "ix" in path.parts for path in seen)
        stop.set()


def test_a_batch_waits_for_another_writer_and_is_not_lost(
    index: Index, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unbraid.index.store.shared_store.WRITERS", 0.0)
    write(place / "r/a.md")
    index.add(place / "r")
    with watching(index) as told:
        lock = FolderLock(place / "ix", WRITE)
        write(place / "r/b.md")
        refused = told.get(timeout=60)
        assert isinstance(refused, StoreError) and "is being written by" in str(refused)
        lock.release()
        wait_until(told, index, {"a.md", "b.md"})


def test_too_few_watches_are_explained(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*paths: Path, **options: Any) -> Iterator[Any]:
        raise OSError("OS file watch limit reached")
        yield

    monkeypatch.setattr("watchfiles.watch", refuse)
    with pytest.raises(DataError, match=r"cannot be watched .*limit reached.* fs.inotify.max_user_watches"):
        next(_batches([place], None, threading.Event()))


def test_an_index_without_roots_cannot_be_watched(index: Index, place: Path) -> None:
    write(place / "r/a.md")
    index.add(place / "r")
    index.remove_root(place / "r")
    with pytest.raises(StoreError, match="has no roots to refresh yet"):
        watch(index, lambda told: None, threading.Event())


def test_watching_needs_its_extra(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unbraid.errors.find_spec", lambda name: None)
    with pytest.raises(unbraid.MissingExtraError, match=r"pip install 'unbraid\[watch\]'"):
        watch(index, lambda told: None, threading.Event())


def test_vectors_of_a_watched_index_can_be_searched(index: Index, place: Path) -> None:
    write(place / "r/a.md", "red house")
    index.add(place / "r")
    with watching(index) as told:
        write(place / "r/b.md", "blue boat")
        wait_until(told, index, {"a.md", "b.md"})
        assert Path(index.search("blue boat")[0].path).name == "b.md"


def test_a_watcher_of_an_index_that_is_gone_ends(index: Index, place: Path) -> None:
    write(place / "r/a.md")
    index.add(place / "r")
    told: queue.Queue[Report | StoreError] = queue.Queue()
    ended: list[Exception] = []

    def run() -> None:
        try:
            watch(index, told.put, threading.Event())
        except StoreError as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    told.get(timeout=60)
    (place / "ix").rename(place / "elsewhere")
    write(place / "r/b.md")
    thread.join(60)
    (place / "elsewhere").rename(place / "ix")
    assert "is gone" in str(ended[0])


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is a POSIX signal here")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_command_and_searches_go_on_meanwhile(place: Path, sent: signal.Signals) -> None:
    write(place / "r/a.md", "a red house in the hills")
    command = [sys.executable, "-m", "unbraid", "watch", str(place / "r"), "--into", str(place / "ix")]
    with subprocess.Popen(
        [*command, "--tier", "nano"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout and child.stderr
        assert "nothing to do" in child.stdout.readline()
        with unbraid.open_index(place / "ix", read_only=True) as index:
            write(place / "r/b.md", "a blue boat on the sea")
            assert "1 added" in child.stdout.readline()
            assert len(index.store.files()) == 2
            child.send_signal(sent)
            assert child.wait(60) == 0
            assert len(index.store.files()) == 2
        assert "up to date" in child.stderr.read()


def test_equal_vectors_are_what_held_compares(index: Index, place: Path) -> None:
    write(place / "r/a.md", "x")
    index.add(place / "r")
    ((chunk,),) = held(index).values()
    assert np.asarray(chunk[3]).shape == (16,)
