import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.errors import ItemError
from unbraid.index.store.filter import (
    Condition,
    Filter,
    holds,
    matching,
    merged,
    read_fields,
    read_filter,
    values_of,
)

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True)
NUMBERS = st.integers(-(10**17), 10**17)


def test_paths_are_made_absolute_and_patterns_kept_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd[1]").mkdir()
    wanted = read_filter(path=["docs", "odd[1]", "*.md", "docs/**/*.md"])
    here = Path(os.path.realpath(tmp_path)).as_posix()
    assert wanted.paths == (f"{here}/docs", f"{here}/odd[1]")
    assert wanted.patterns == ("*.md", f"{tmp_path.as_posix()}/docs/**/*.md")


def test_a_pattern_is_meant_from_a_folder_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "odd [x]*"
    folder.mkdir()
    monkeypatch.chdir(folder)
    inside, outside = f"{folder.as_posix()}/a/b.md", f"{tmp_path.as_posix()}/odd x/a/b.md"
    assert matching([inside, outside], read_filter(path=["a/*.md"]).patterns) == [inside]


@given(NAMES, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), NUMBERS)
def test_a_condition_is_read_as_it_is_written(name: str, compare: str, value: int) -> None:
    (condition,) = read_filter(where=[f"{name}{compare}{value}"]).conditions
    assert condition == Condition(name, compare, value)  # type: ignore[arg-type]


@given(st.text())
def test_any_text_is_a_condition_or_an_error(text: str) -> None:
    try:
        (condition,) = read_filter(where=[text]).conditions
    except ItemError:
        return
    assert condition.name in text and str(condition.compare) in text


@pytest.mark.parametrize(
    "text", ["year", "=2024", "2024=year", "a b=c", "year<soon", "a==b", "year=>2025", "year=<1"]
)
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ItemError):
        read_filter(where=[text])


def test_words_and_numbers_of_a_field() -> None:
    assert read_fields(["team=search and find", "year = 2024", "key=a=b"]) == {
        "team": "search and find",
        "year": 2024,
        "key": "a=b",
    }
    with pytest.raises(ItemError, match="expected NAME=VALUE"):
        read_fields(["year>2024"])
    with pytest.raises(ItemError, match="the field a is given twice"):
        read_fields(["a=1", "a=x"])


def test_an_empty_value_takes_a_field_away() -> None:
    assert merged({"a": 1, "b": "x"}, {"b": "", "c": 0}) == {"a": 1, "c": 0}


def test_a_language_that_there_is_not_is_refused_with_the_choices() -> None:
    with pytest.raises(
        ItemError, match="unknown language 'pyton': did you mean python. choose one of python, "
    ):
        Filter(languages=("pyton",))


def test_one_path_language_or_condition_needs_no_list() -> None:
    assert read_filter(path="*.md", language="python", where="a=1") == read_filter(
        path=["*.md"], language=["python"], where=["a=1"]
    )


# -- values of fields, patterns ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "condition", "passes"),
    [
        ("1.1", "version=1.1", True),
        ("1", "version=1.1", False),
        ("00123", "zip=123", False),
        ("123", "zip=123", True),
        ("2024", "year>=2024", True),
        ("1.5", "price<2", True),
        ("10", "count>9", True),
        ("2024-05-01", "day>=2024-04-30", True),
        ("2024-05-01", "day>=2024-05", True),
        ("2024-05-01", "day<2024", False),
        ("2024-05-01T12:00:00+02:00", "day<2024-05-01T11:00:00", True),
        ("20240501", "day>=2024-05-01", False),  # a number has no order among dates
        ("red", "colour!=red", False),
        ("blue", "colour!=red", True),
    ],
)
def test_values_are_equal_as_they_are_written_and_ordered_as_numbers_and_dates(value, condition, passes):
    (one,) = read_filter(where=condition).conditions
    assert holds(value, one.compare, str(one.value)) is passes


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("yaer=2024", "no file of the index has a field yaer: did you mean year?"),
        ("colour=red", "no file of the index has a field colour; it has day, year"),
        ("year=soon", "year=soon: the field holds other values here, such as 2023"),
        ("day>5", "day>5: the field holds other values here, such as 2024-05-01"),
    ],
)
def test_a_condition_that_cannot_hold_says_so(where, message):
    held = {"year": ["2023", "2024"], "day": ["2024-05-01"]}
    conditions = read_filter(where=where).conditions
    with pytest.raises(ItemError, match=re.escape(message)):
        values_of(conditions, held, held.__getitem__)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("#*.md", "/n/#tag.md"),
        ("!*.md", "/n/!now.md"),
        ("*résumé*", "/n/re\u0301sume\u0301.md"),
        ("re\u0301sume\u0301.*", "/n/résumé.md"),
        ("doc?", "/n/docs/a.md"),
        ("/n/**/a.md", "/n/x/y/a.md"),
    ],
)
def test_a_pattern_matches_names_as_they_are(pattern, path):
    assert matching([path, "/other"], [pattern]) == [path]


def test_a_path_in_another_form_of_its_letters_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stored = f"{Path(os.path.realpath(tmp_path)).as_posix()}/re\u0301sume\u0301.md"
    assert matching([stored], read_filter(path="résumé.md").patterns) == [stored]


def test_a_link_stands_for_itself_and_for_its_target(tmp_path):
    (tmp_path / "real.md").write_text("x")
    (tmp_path / "link.md").symlink_to("real.md")
    paths = read_filter(path=tmp_path / "link.md").paths
    assert {Path(path).name for path in paths} == {"real.md", "link.md"}


def test_no_path_at_all_is_not_any_path():
    assert read_filter(path=[]).paths == () != read_filter().paths
    assert read_filter(language=[]).languages == () != read_filter().languages
