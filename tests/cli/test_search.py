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


def test_nothing_relevant_is_an_answer(command, index, monkeypatch):
    from unbraid.index.search import relevance

    monkeypatch.setattr(relevance, "FLOOR", 1.0)
    code, out, err = command("search", "moon", *index)
    assert (code, out) == (1, "") and err.startswith(
        "nothing relevant: the best result has a probability of "
    )
    assert command("search", "moon", *index, "--min-score", "0")[0] == 0


def test_results_below_the_least_score_are_left_out(command, index):
    code, out, err = command("search", "sun", *index, "--min-score", "1")
    assert (code, out) == (1, "") and err.startswith("nothing found with a score of 1.0 or more")
    assert command("search", "sun", *index, "--min-score", "2")[0] == 2


def test_only_files_or_their_counts(command, index, tmp_path):
    place = str(tmp_path / "notes" / "moon.md")
    assert command("search", "moon", *index, "--files-with-matches")[1] == f"{place}\n"
    assert command("search", "moon", *index, "--count")[1] == f"{place}:1\n"
    code, _, err = command("search", "moon", *index, "--count", "--json")
    assert code == 2 and "give one of" in err


def test_a_phrase_in_quotes_has_to_be_there(command, index):
    assert command("search", '"moon is bright"', *index)[0] == 0
    code, _, err = command("search", '"bright moon"', *index)
    assert code == 1 and "holds the quoted phrase" in err
