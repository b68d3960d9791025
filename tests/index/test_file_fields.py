"""Size and modification time of files as fields of a condition."""

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import unbraid
from unbraid.errors import ItemError
from unbraid.index.store.file_fields import SECOND, bounds
from unbraid.index.store.filter import read_filter
from unbraid.index.store.folder_store import FolderStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, tiny_model: Any) -> Any:
    """Files of one, two and three kB, of September, October and November 2026."""
    place = Path(os.path.realpath(tmp_path_factory.mktemp("fields")))
    for number, month in ((1, 9), (2, 10), (3, 11)):
        file = place / f"files/{month}.md"
        file.parent.mkdir(exist_ok=True)
        file.write_text("word " * (200 * number))
        moment = int(datetime(2026, month, 15, 12).timestamp())
        os.utime(file, (moment, moment))
    with unbraid.open_index(place / "ix", model=tiny_model()) as index:
        index.add(place / "files")
        yield index.store


def passing(store: FolderStore, *where: str) -> list[int]:
    entries = [one for some, _, _ in store.items(read_filter(where=where)) for one in some]
    return sorted({int(Path(entry.path).stem) for entry in entries})


@pytest.mark.parametrize(
    ("where", "months"),
    [
        ("size<2kB", [9]),
        ("size<=2000", [9, 10]),
        ("size=2000B", [10]),
        ("size!=2kB", [9, 11]),
        ("size>1.9KiB", [10, 11]),
        ("modified>=2026-10-01", [10, 11]),
        ("modified<2026-10-15", [9]),
        ("modified=2026-10-15", [10]),
        ("modified!=2026-10-15", [9, 11]),
        ("modified>2026-10", [11]),
        ("modified<=2026-10", [9, 10]),
        ("modified=2026", [9, 10, 11]),
        ("modified=2026-10-15T12:00:00", [10]),
        ("modified>2026-10-15 12:00", [11]),
    ],
)
def test_a_condition_finds_files_by_size_and_time(store: FolderStore, where: str, months: list[int]) -> None:
    assert passing(store, where) == months


def test_conditions_go_together(store: FolderStore) -> None:
    assert passing(store, "size>1kB", "modified<2026-11") == [10]


@pytest.mark.parametrize(
    "where", ["size<much", "size=1k", "modified>=yesterday", "modified=2026-13", "modified<2026-02-30"]
)
def test_what_is_no_size_or_date_is_an_error_that_says_so(store: FolderStore, where: str) -> None:
    with pytest.raises(ItemError, match="expected such as"):
        passing(store, where)


def test_a_field_that_files_have_of_their_own_goes_first(tmp_path: Path, model: Any) -> None:
    (tmp_path / "a.md").write_text("---\nmodified: 1999-01-01\n---\nold words\n")
    with unbraid.open_index(tmp_path / "ix", model=model) as index:
        index.add(tmp_path / "a.md", fields={"size": "large"})
        assert index.store.count(read_filter(where=["modified<2000-01-01", "size=large"])) == 1
        assert index.store.count(read_filter(where="modified>2000-01-01")) == 0


@given(st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1)), st.sampled_from([4, 7, 10]))
def test_a_moment_lies_in_its_year_month_and_day_and_in_no_other(moment: datetime, length: int) -> None:
    text, stamp = moment.isoformat()[:length], int(moment.timestamp()) * SECOND
    first, after = bounds("modified", "=", text)
    assert first is not None and after is not None and first <= stamp < after
    assert bounds("modified", "<", text) == (None, first) and bounds("modified", ">", text) == (after, None)
    assert bounds("modified", "<=", text) == (None, after) and bounds("modified", ">=", text) == (first, None)
