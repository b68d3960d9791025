"""Roots: kept with their settings, refreshed, moved, removed, and never emptied by a disk that is not mounted."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import unbraid
from unbraid.errors import DataError, StoreError
from unbraid.index.index import Index
from unbraid.index.roots import Nearest


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return Path(os.path.realpath(tmp_path))


@pytest.fixture
def notes(place: Path) -> Path:
    for number in range(12):
        write(place / f"notes/{'sub/' * (number % 2)}n{number}.md", f"note {number}")
    return place / "notes"


@pytest.fixture
def index(place: Path, model: Any) -> Iterator[Index]:
    with unbraid.open_index(place / "ix", model=model) as opened:
        yield opened


def write(path: Path, text: str = "some words") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def paths(index: Index) -> list[str]:
    return sorted(Path(path).name for path in index.store.files())


def test_a_root_is_kept_with_its_settings_and_refreshed_by_them(
    index: Index, place: Path, model: Any
) -> None:
    for name in ("a.md", "b.log", ".c.md", "long.md"):
        write(place / "r" / name, "x " * (200 if name == "long.md" else 2))
    index.add(place / "r", exclude=["*.log"], hidden=True, max_size=100, fields={"team": "x"})
    assert paths(index) == [".c.md", "a.md"]
    (root,) = index.roots()
    assert (root.path, root.exclude, root.hidden, root.max_size) == (str(place / "r"), ("*.log",), True, 100)
    assert (root.fields, root.files) == ({"team": "x"}, 2) and root.refreshed
    index.close()

    write(place / "r/d.log")
    write(place / "r/e.md")
    with unbraid.open_index(place / "ix", model=model) as again:
        report = again.refresh()
        assert (report.added, report.unchanged) == (1, 2) and paths(again) == [".c.md", "a.md", "e.md"]
        assert {state.fields["team"] for state in again.store.files().values()} == {"x"}


def test_settings_that_are_not_given_stay_and_fields_are_added(index: Index, notes: Path) -> None:
    index.add(notes, exclude=["n1*"], fields={"a": 1, "b": "x"})
    index.add(notes, hidden=True, fields={"b": "", "c": "y"})
    (root,) = index.roots()
    assert (root.exclude, root.hidden, root.fields) == (("n1*",), True, {"a": 1, "c": "y"})
    assert all(state.fields == {"a": 1, "c": "y"} for state in index.store.files().values())
    index.add(notes, exclude=[""])
    assert index.roots()[0].exclude == () and len(paths(index)) == 12


def test_a_path_in_a_root_is_refreshed_by_the_rules_of_the_root(index: Index, notes: Path) -> None:
    index.add(notes, exclude=["*.log"])
    write(notes / "sub/new.md")
    write(notes / "sub/new.log")
    write(notes / "elsewhere.md")
    (notes / "sub/n1.md").unlink()
    report = index.add(notes / "sub")
    assert (report.added, report.deleted) == (1, 1)
    assert [root.path for root in index.roots()] == [str(notes)]
    shutil.rmtree(notes / "sub")
    assert index.refresh(notes / "sub").deleted == 6
    assert index.refresh([notes / "elsewhere.md"]).added == 1


def test_what_a_root_would_not_take_becomes_a_root_that_a_refresh_keeps(index: Index, notes: Path) -> None:
    write(notes / ".private/diary.md")
    write(notes / "n.log")
    index.add(notes, exclude=["*.log"])
    index.add([notes / ".private", notes / "n.log"])
    assert [Path(root.path).name for root in index.roots()] == ["notes", ".private", "n.log"]
    before = paths(index)
    assert index.refresh().deleted == 0 and index.add(notes).deleted == 0
    assert paths(index) == before and {"diary.md", "n.log"} < set(before)


def test_settings_of_its_own_make_a_root_in_a_root(index: Index, notes: Path) -> None:
    index.add(notes, exclude=["n3*"])
    index.add(notes / "sub", fields={"team": "x"})
    outer, inner = index.roots()
    assert (outer.files, inner.files, inner.exclude) == (6, 5, ("n3*",))
    write(notes / "sub/new.md")
    index.refresh()
    assert {state.fields.get("team") for path, state in index.store.files().items() if "/sub/" in path} == {
        "x"
    }


def test_an_outer_root_takes_over_an_inner_one_of_the_same_settings(index: Index, notes: Path) -> None:
    index.add(notes / "sub")
    assert index.add(notes).unchanged == 6
    assert [root.path for root in index.roots()] == [str(notes)]


@pytest.mark.parametrize("loss", ["missing", "empty", "most"])
def test_a_disk_that_is_not_mounted_deletes_nothing(index: Index, notes: Path, loss: str) -> None:
    index.add(notes)
    if loss == "most":
        for number in range(7):
            next(notes.rglob(f"n{number}.md")).unlink()
    else:
        shutil.rmtree(notes)
    if loss == "empty":
        notes.mkdir()
    for report in (index.refresh(), index.add(notes)):
        (doubt,) = report.doubts
        assert loss in doubt.reason and (doubt.root, doubt.files) == (str(notes), 12)
        assert report.deleted == 0 and len(paths(index)) == 12
    report = index.refresh(prune=True)
    assert (report.doubts, report.deleted) == ([], 7 if loss == "most" else 12)
    assert len(index.roots()) == (loss != "missing")


def test_a_root_that_lost_half_or_a_small_one_that_lost_more_needs_no_word(index: Index, notes: Path) -> None:
    write(notes.parent / "few/a.md")
    write(notes.parent / "few/b.md")
    write(notes.parent / "few/c.md")
    index.add([notes, notes.parent / "few"])
    for number in range(6):
        next(notes.rglob(f"n{number}.md")).unlink()
    for name in "ab":
        (notes.parent / f"few/{name}.md").unlink()
    report = index.refresh()
    assert (report.doubts, report.deleted) == ([], 8)


def test_one_missing_root_does_not_keep_the_others_old(index: Index, notes: Path) -> None:
    other = write(notes.parent / "other/a.md").parent
    index.add([notes, other])
    shutil.rmtree(other)
    write(notes / "new.md", "new")
    report = index.refresh()
    assert report.added == 1 and [doubt.root for doubt in report.doubts] == [str(other)]


def test_what_was_moved_inside_a_root_or_is_left_out_now_is_no_loss(index: Index, notes: Path) -> None:
    index.add(notes)
    (notes / "deep").mkdir()
    for path in list(notes.glob("n*.md")) + list((notes / "sub").iterdir()):
        path.rename(notes / "deep" / path.name)
    report = index.refresh()
    assert (report.doubts, report.moved, report.deleted) == ([], 12, 0)
    report = index.add(notes, exclude=["*.md"])
    assert (report.doubts, report.deleted) == ([], 12)


def test_a_renamed_root_takes_the_place_of_the_old_without_encoding(
    index: Index, notes: Path, model: Any
) -> None:
    index.add(notes, exclude=["*.log"])
    index.add(notes / "sub", fields={"team": "x"})
    encoded = len(model.encoded)
    new = notes.rename(notes.with_name("papers"))
    write(new / "n0.md", "changed")
    report = index.add(new)
    assert (report.moved, report.deleted, report.doubts) == (11, 1, [])
    assert len(model.encoded) == encoded + 1
    assert all(path.startswith(f"{new}/") for path in index.store.files())
    assert [(root.path, root.exclude) for root in index.roots()] == [
        *((str(new), ("*.log",)), (str(new / "sub"), ("*.log",)))
    ]
    assert index.roots()[1].fields == {"team": "x"}


def test_a_move_that_was_cut_off_is_finished_by_the_next_run(
    index: Index, notes: Path, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    index.add(notes)
    encoded = len(model.encoded)
    new = notes.rename(notes.with_name("papers"))
    with monkeypatch.context() as patch:
        patch.setattr(index.store, "upsert", stop)
        assert index.add(new).interrupted
    assert index.refresh().moved == 12 and len(model.encoded) == encoded
    assert all(path.startswith(f"{new}/") for path in index.store.files())
    write(notes / "n0.md", "note 0")  # the old name is a folder again, and nothing holds that against it
    index.add(notes)
    index.refresh(new)
    assert len(paths(index)) == 13


def test_another_folder_does_not_take_the_place_of_a_missing_root(index: Index, notes: Path) -> None:
    index.add(notes)
    shutil.rmtree(notes)
    other = write(notes.parent / "other/n0.md", "note 0").parent
    index.add(other)
    assert [root.path for root in index.roots()] == [str(notes), str(other)] and len(paths(index)) == 13


@pytest.mark.parametrize("where", ["project/.ix", "ix"])
@pytest.mark.parametrize("copied", [False, True])
def test_a_project_moves_with_its_index(place: Path, model: Any, where: str, copied: bool) -> None:
    for number in range(4):
        write(place / f"all/project/n{number}.md", f"note {number}")
    with unbraid.open_index(place / "all" / where, model=model) as index:
        index.add(place / "all/project")
    if copied:
        shutil.copytree(place / "all", place / "new")
    else:
        (place / "all").rename(place / "new")
    encoded = len(model.encoded)
    with unbraid.open_index(place / "new" / where, model=model) as index:
        report = index.refresh()
        # An index beside its root, in a copy of both, belongs to the first root: it still exists.
        stays = copied and where == "ix"
        top = place / ("all" if stays else "new") / "project"
        assert (len(model.encoded), report.doubts) == (encoded, []) and len(index.store.files()) == 4
        assert [root.path for root in index.roots()] == [str(top)]
        assert all(path.startswith(str(top)) for path in index.store.files())


def test_remove_takes_a_root_out_and_leaves_a_root_in_it(index: Index, notes: Path) -> None:
    index.add(notes)
    index.add(notes / "sub", hidden=True)
    shutil.rmtree(notes)
    with pytest.raises(DataError, match="no root of"):
        index.remove_root(notes / "sub/n1.md")
    assert index.remove_root(notes) == 6
    assert [root.path for root in index.roots()] == [str(notes / "sub")] and len(paths(index)) == 6


def test_a_copy_of_an_index_has_its_roots(index: Index, notes: Path, model: Any) -> None:
    index.add(notes, exclude=["n1*"])
    with unbraid.open_index(notes.parent / "copy", model=model) as copy:
        index.copy_to(copy)
        assert [(root.path, root.exclude) for root in copy.roots()] == [(str(notes), ("n1*",))]
        encoded = len(model.encoded)
        assert copy.refresh().unchanged == 9 and len(model.encoded) == encoded


def test_without_roots_a_refresh_says_what_to_do(index: Index, notes: Path, model: Any) -> None:
    index.add(notes)
    (notes.parent / "ix/roots.json").unlink()  # as an earlier version left it
    assert index.roots() == []
    with pytest.raises(StoreError, match="unbraid index PATH"):
        index.refresh()
    assert index.add(notes).unchanged == 12 and len(index.roots()) == 1
    with pytest.raises(DataError, match="lies in no root"):
        index.refresh(notes.parent / "other")
    with pytest.raises(DataError, match="no file or folder"):
        index.add(notes.parent / "other")


@pytest.mark.parametrize("content", ["", "[]", '{"roots": [{"path": "/a", "colour": "red"}]}'])
def test_roots_that_cannot_be_read_are_an_error_that_names_the_file(
    index: Index, notes: Path, content: str
) -> None:
    index.add(notes)
    (notes.parent / "ix/roots.json").write_text(content)
    with pytest.raises(StoreError, match=r"roots.json"):
        index.roots()


def test_an_interrupted_run_keeps_its_root(index: Index, notes: Path, model: Any) -> None:
    def stop(items: Any) -> None:
        raise KeyboardInterrupt

    model.fail = stop
    assert index.add(notes).interrupted
    (root,) = index.roots()
    assert (root.path, root.refreshed) == (str(notes), "")
    about = json.loads((notes.parent / "ix/roots.json").read_text())
    assert about == {"roots": [{"path": str(notes)}]}


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant")
def test_roots_are_kept_on_a_qdrant_server(place: Path, local_server: Callable[..., Any], model: Any) -> None:
    pytest.importorskip("qdrant_client")
    from dataclasses import replace

    from unbraid.index.roots import Root, read_roots, write_roots
    from unbraid.index.store.meta import meta_of_model
    from unbraid.index.store.qdrant_store import QdrantStore

    store = QdrantStore(local_server(place / "server"), "x")
    store._create(replace(meta_of_model(model), shard=""))
    store.meta = store._read_meta()
    write_roots(store, [Root("/a", exclude=("*.log",))])
    store.set_meta(replace(store.meta, unbraid="later"))
    assert read_roots(store) == [Root("/a", exclude=("*.log",))] and store._read_meta().unbraid == "later"
    store.close()


NAMES = st.lists(st.sampled_from("ab"), max_size=4).map(lambda names: "".join(f"/{name}" for name in names))


@given(st.dictionaries(NAMES, st.integers()), st.lists(NAMES))
def test_the_nearest_folder_is_the_longest_that_a_path_lies_in(
    known: dict[str, int], asked: list[str]
) -> None:
    nearest = Nearest(known)
    for path in asked:
        around = [top for top in known if path == top or path.startswith(f"{top}/")]
        assert nearest.of(path) == (known[max(around, key=len)] if around else None)
