import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.index.files.read import read_text_chunks
from unbraid.index.files.read_table import MOST_APART, is_header


def test_a_row_stands_with_the_names_of_its_columns() -> None:
    names, ada, grace = read_text_chunks(
        'name;town;born\nAda;London;1815\n"Hopper; Grace";"New\nYork";\n', ".csv"
    )
    assert (names.snippet, names.first_line) == ("name, town, born", 1)
    assert (ada.snippet, ada.first_line, ada.last_line) == ("name: Ada, town: London, born: 1815", 2, 2)
    assert (grace.snippet, grace.first_line) == ("name: Hopper; Grace, town: New York", 3)


def test_rows_of_a_very_long_table_share_chunks() -> None:
    text = "\n".join(["name,town", *["Ada,London"] * (MOST_APART + 1)])
    assert len(read_text_chunks(text, ".csv")) < MOST_APART / 5
    assert len(read_text_chunks(text.removesuffix("\nAda,London"), ".csv")) == MOST_APART + 1


def test_a_tab_separated_file_keeps_its_quotes() -> None:
    assert read_text_chunks('size\tname\n5"\tdisk\n', ".tsv")[1].snippet == 'size: 5", name: disk'


@pytest.mark.parametrize(
    ("row", "names"),
    [
        ("name,town", True),
        ("name,", False),
        ("a,b,,", True),
        ("1,2", False),
        ("name,name", False),
        ("name,2024-01-01", False),
        ("x", False),
        ("x" * 500 + ",b", False),
    ],
)
def test_a_first_row_of_names_is_a_header(row: str, names: bool) -> None:
    assert is_header(row.split(",")) is names


@pytest.mark.parametrize(("text", "suffix"), [("1,2\n3,4\n", ".csv"), ('{"a": 1}\n{"a": 2}\n', ".jsonl")])
def test_rows_without_names_are_lines(text: str, suffix: str) -> None:
    found = read_text_chunks(text, suffix)
    assert [chunk.snippet for chunk in found] == text.splitlines()
    assert [chunk.first_line for chunk in found] == [1, 2]


def test_a_list_of_words_is_no_table() -> None:
    assert read_text_chunks("ada\ngrace\n", ".csv")[0].snippet == "ada\ngrace"


def test_names_that_are_much_longer_than_the_values_are_the_context() -> None:
    names = [f"measured_temperature_of_probe_{n}" for n in range(5)]
    text = "\n".join([",".join(names), *["1,2,3,4,5"] * 200])
    found = read_text_chunks(text, ".csv")
    assert found[-1].context and found[-1].snippet == "1, 2, 3, 4, 5"


def test_a_quote_that_is_never_closed_leaves_the_text_as_it_is() -> None:
    text = 'a,b\n"' + "x,y\n" * 60_000
    assert read_text_chunks(text, ".csv")[0].snippet.startswith('a,b\n"x,y')


def test_rows_behind_a_quote_that_is_never_closed_keep_their_lines() -> None:
    text = 'size,name\n"5 inch,disk\n' + "7,disk\n" * 300
    found = read_text_chunks(text, ".csv")
    assert found[-1].last_line == 302 and {chunk.first_line for chunk in found} != {1, 2}


@given(st.lists(st.lists(st.text('ab, "\n1', max_size=8), min_size=2, max_size=4), max_size=9))
def test_every_cell_is_found(rows: list[list[str]]) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([["name", "town"], *rows])
    found = "\n".join(chunk.snippet for chunk in read_text_chunks(out.getvalue(), ".csv"))
    for cell in (" ".join(cell.split()) for row in rows for cell in row):
        assert cell in found
