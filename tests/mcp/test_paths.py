"""The names of files as clients give them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.errors import ItemError
from unbraid.mcp.paths import Paths

PATHS = Paths(["/home/me/docs/a.md", "/home/me/src/a.md", "/home/me/src/b c.py", "/home/me/cafe\u0301.txt"])


def test_paths_are_shown_below_the_folder_that_holds_all():
    assert PATHS.folder == "/home/me"
    assert PATHS.shown("/home/me/docs/a.md") == "docs/a.md"
    assert PATHS.shown("/home/me2/a.md") == "/home/me2/a.md"


@pytest.mark.parametrize(
    ("given_", "path"),
    [
        ("docs/a.md", "/home/me/docs/a.md"),
        ("./docs/a.md", "/home/me/docs/a.md"),
        (" docs/a.md ", "/home/me/docs/a.md"),
        ("me/docs/a.md", "/home/me/docs/a.md"),
        ("/home/me/src/a.md", "/home/me/src/a.md"),
        ("b c.py", "/home/me/src/b c.py"),
        ("caf\u00e9.txt", "/home/me/cafe\u0301.txt"),
    ],
)
def test_a_file_is_found_by_its_path_or_its_end(given_, path):
    assert PATHS.find(given_) == path


@pytest.mark.parametrize(
    "given_", ["a.md", "d.md", "ocs/a.md", "/docs/a.md", "docs", "", "/", "docs/../docs/a.md"]
)
def test_nothing_else_is_found(given_):
    with pytest.raises(ItemError):
        PATHS.find(given_)


@pytest.mark.parametrize(
    ("given_", "place"),
    [
        ("docs/a.md:3-9", ("", 3, 9)),
        ("docs/a.md:3", ("", 3, 3)),
        ("docs/a.md page 2", ("page", 2, 2)),
        ("docs/a.md page 2-4", ("page", 2, 4)),
        ("docs/a.md sheet Sales, row 7", ("sheet Sales, row", 7, 7)),
        ("docs/a.md b.md, line 1-3", ("b.md, line", 1, 3)),
        ("docs/a.md", (None, None, None)),
    ],
)
def test_a_place_of_a_hit_is_understood(given_, place):
    assert PATHS.find_place(given_) == ("/home/me/docs/a.md", *place)


@given(st.text(max_size=20), st.text(max_size=20))
def test_whatever_is_given_only_files_of_the_index_are_found(folder, name):
    try:
        found, _, _, _ = PATHS.find_place(f"{folder}/{name}")
    except ItemError:
        return
    assert len(Paths([found])) == 1 and PATHS.find(found) == found


def test_an_index_without_files_has_paths_too():
    empty = Paths([])
    assert (empty.folder, len(empty)) == ("", 0)
    assert empty.as_filter(["src"]) == ["/**/src"] and empty.as_filter([]) is None
    with pytest.raises(ItemError):
        empty.find("a")
