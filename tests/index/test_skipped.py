"""What a run left out is kept by root: named where a person may miss it, counted where a rule says so."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import unbraid
from unbraid.errors import StoreError
from unbraid.index import skipped as skipped_module
from unbraid.index.index import Index
from unbraid.index.skipped import LeftOut


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = Path(os.path.realpath(tmp_path)) / "root"
    for name, content in (
        *(("a.md", "words"), ("b.bin", "\0\1"), ("empty.md", ""), (".h.md", "words"), ("x.log", "words")),
        *(("y.log", "words"), ("sub/c.bin", "\0\1"), ("sub/z.log", "words")),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    (folder / ".unbraidignore").write_text("*.log\n")
    return folder


@pytest.fixture
def index(tmp_path: Path, model: Any) -> Iterator[Index]:
    with unbraid.open_index(tmp_path / "ix", model=model) as opened:
        yield opened


def names(one: LeftOut) -> dict[str, str]:
    return {Path(file.path).name: file.reason for file in one.files}


def test_files_are_named_and_what_a_rule_says_is_counted(index: Index, root: Path) -> None:
    told: list[str] = []
    index.add(root, on_skip=lambda one: told.append(one.path.name))
    (found,) = index.skipped()
    assert found.root == str(root)
    assert names(found) == {"b.bin": "binary", "empty.md": "empty", "c.bin": "binary"}
    assert found.counts == {"excluded by .unbraidignore: *.log": 3, "hidden": 2}
    assert sorted(told) == sorted(
        ["b.bin", "empty.md", "c.bin", "x.log", "y.log", "z.log", ".h.md", ".unbraidignore"]
    )


def test_a_run_over_a_part_changes_what_is_known_of_that_part(index: Index, root: Path) -> None:
    index.add(root)
    (root / "sub/c.bin").unlink()
    (root / "sub/d.md").write_text("")
    (root / "b.bin").write_text("words now")
    index.refresh(root / "sub")
    (found,) = index.skipped()
    assert names(found) == {"b.bin": "binary", "empty.md": "empty", "d.md": "empty"}
    assert found.counts["excluded by .unbraidignore: *.log"] == 3
    index.refresh()
    assert names(index.skipped()[0]) == {"empty.md": "empty", "d.md": "empty"}


def test_each_root_has_its_own_and_a_removed_one_none(index: Index, root: Path) -> None:
    other = root.parent / "other"
    other.mkdir()
    (other / "n.bin").write_text("\0")
    (other / "n.md").write_text("n")
    index.add(root)
    index.add(other)
    assert [len(one.files) for one in index.skipped()] == [1, 3]
    index.remove_root(root)
    assert [one.root for one in index.skipped()] == [str(other)]


def test_the_list_is_bounded(index: Index, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skipped_module, "NAMED", 1)
    index.add(root)
    (found,) = index.skipped()
    assert len(found.files) == 1 and found.counts["binary"] + found.counts["empty"] == 2


def test_a_damaged_list_is_named_and_written_anew(index: Index, root: Path) -> None:
    index.add(root)
    (root.parent / "ix/skipped.json").write_text("{")
    with pytest.raises(StoreError, match=r"skipped.json"):
        index.skipped()
    index.refresh()
    assert len(index.skipped()) == 1
