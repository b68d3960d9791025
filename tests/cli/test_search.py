"""`unbraid search` where nothing is found; what it finds is in test_main.py."""

import json

import pytest


@pytest.fixture
def index(command, tmp_path, bundle_folder):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "moon.md").write_text("The moon is bright.\n")
    (tmp_path / "notes" / "empty.md").write_text("")
    words = ("index", tmp_path / "notes", "--into", tmp_path / "ix", "--model", bundle_folder, "--json")
    code, out, _ = command(*words)
    assert code == 0 and [one["reason"] for one in json.loads(out)["skipped"]] == ["empty"]
    return ("--in", tmp_path / "ix", "--model", bundle_folder)


def test_a_search_that_finds_nothing_exits_with_1(command, index):
    code, out, err = command("search", "moon", *index, "--language", "python")
    assert (code, out) == (1, "") and err.startswith("nothing found")
    assert command("search", "moon", *index, "--language", "python", "--json")[:2] == (1, "")


def test_one_query_of_several_that_finds_something_is_enough(command, index):
    assert command("search", "moon", *index)[0] == 0
