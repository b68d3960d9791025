"""`unbraid search` where nothing is found; what it finds is in test_main.py."""

import json

import pytest
from PIL import Image

import unbraid


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


@pytest.fixture
def asked(monkeypatch):
    """The queries that a search is made for, which finds nothing."""
    from unbraid.index.index import Index

    queries = []
    monkeypatch.setattr(Index, "search", lambda _, some, **__: queries.extend(some) or [[] for _ in some])
    return queries


@pytest.fixture
def pictures(tmp_path):
    paths = [tmp_path / "red.png", tmp_path / "blue.png"]
    for path in paths:
        Image.new("RGB", (8, 8), path.stem).save(path)
    return paths


def test_a_picture_and_words_are_one_query(command, index, asked, pictures):
    red, blue = pictures
    command("search", "at night", *index, "--image", red, "--image", blue, "--weight", "0.7")
    (mix,) = asked
    assert mix.words == "at night" and len(mix.parts) == 3
    assert mix.weights == pytest.approx((0.7, 0.15, 0.15))
    command("search", *index, "--image", red, "--image", blue)
    assert asked[1].weights == (0.5, 0.5) and asked[1].words is None
    command("search", "moon", *index, "--image", red)
    assert asked[2].weights == pytest.approx((0.6, 0.4))
    command("search", "moon", "--code", *index, "--image", red)
    assert isinstance(asked[3].parts[0], unbraid.Code)


def test_what_is_not_wanted_is_a_picture_or_words(command, index, asked, pictures):
    command("search", "moon", *index, "--not", pictures[0], "--not", "sun", "--not", "a file.md")
    (mix,) = asked
    assert mix.words == "moon" and mix.weights == pytest.approx((1, -0.3, -0.3, -0.3))
    assert isinstance(mix.parts[1], Image.Image) and mix.parts[2:] == ("sun", "a file.md")


def test_each_of_several_queries_is_together_with_the_picture(command, index, asked, pictures, tmp_path):
    (tmp_path / "asked.txt").write_text("moon\nsun\n")
    command("search", *index, "--queries", tmp_path / "asked.txt", "--image", pictures[0])
    assert [mix.words for mix in asked] == ["moon", "sun"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("moon", "--weight", "0.7"), "--weight is the share of words beside pictures"),
        (("--image", "{red}", "--weight", "0.7"), "--weight is the share of words beside pictures"),
        (("moon", "--image", "{red}", "--weight", "2"), "--weight"),
        (("moon", "--image", "{red}", "--weight", "nan"), "--weight"),
        (("--not", "moon"), "give a QUERY"),
        (("moon", "--not", " "), "a --not is blank"),
        (("moon", "--not", "gone.png"), "gone.png"),
    ],
)
def test_mixes_that_mean_nothing_are_wrong_use(command, index, pictures, words, says):
    filled = [word.format(red=pictures[0]) for word in words]
    code, _, err = command("search", *filled, *index)
    assert code == 2 and says in err


def test_refresh_indexes_the_few_files_that_changed_and_says_so(command, index, tmp_path):
    (tmp_path / "notes" / "comet.md").write_text("A comet passes.\n")
    (tmp_path / "notes" / "moon.md").unlink()
    code, out, err = command("search", "comet", *index, "--refresh", "-l")
    assert code == 0 and out.strip().endswith("comet.md") and "refreshed: 1 added, 1 gone" in err
    assert command("search", "comet", *index, "--refresh")[2] == ""


def test_refresh_leaves_many_changes_to_index(command, index, tmp_path, monkeypatch):
    monkeypatch.setattr("unbraid.cli.refresh_few.MOST", 1)
    for name in ("comet.md", "sun.md"):
        (tmp_path / "notes" / name).write_text(f"The {name} passes.\n")
    code, out, err = command("search", "moon", *index, "--refresh", "-l")
    assert code == 0 and out.strip().endswith("moon.md")
    assert "2 files have changed, more than --refresh does" in err and "unbraid index --into" in err


def test_refresh_does_not_wait_for_another_writer(command, index, tmp_path, monkeypatch):
    from unbraid.io.lock import WRITE, FolderLock

    monkeypatch.setattr("unbraid.index.store.shared_store.WRITERS", 0.0)
    (tmp_path / "notes" / "comet.md").write_text("A comet passes.\n")
    lock = FolderLock(tmp_path / "ix", WRITE)
    code, _, err = command("search", "moon", *index, "--refresh")
    assert code == 0 and "is being written by" in err and "searched as it is" in err
    lock.release()


@pytest.fixture
def stored(command, tmp_path, bundle_folder):
    """An index with multi-vectors."""
    (tmp_path / "notes").mkdir()
    for name, text in (("moon", "The moon is bright."), ("cat", "A cat is in the house.")):
        (tmp_path / "notes" / f"{name}.md").write_text(f"{text}\n")
    place = tmp_path / "ix"
    words = ("index", tmp_path / "notes", "--into", place, "--model", bundle_folder, "--multi-vector")
    assert command(*words).code == 0
    return ("--in", place, "--model", bundle_folder, "--min-score", "0")


def test_a_second_look_is_taken_where_multi_vectors_are_stored_or_it_is_asked_for(command, stored, tmp_path):
    by_default, on, off = (
        command("search", "moon", *stored, *more).out
        for more in ((), ("--rerank", "on"), ("--rerank", "off"))
    )
    assert by_default == on != off
    assert command("search", "moon", *stored, "--rerank", "300ms").out == on
    result = command("search", "moon", *stored, "--rerank", "soon")
    assert result.code == 2 and "rerank is 'soon'" in result.err
    assert "multi-vectors" in command("index", "roots", tmp_path / "ix").out
    assert "MB of it token vectors" in command("index", "stats", tmp_path / "ix").out


def test_a_hit_says_why(command, stored):
    shown = command("search", "bright cat", *stored, "--explain").out
    assert "why: bright ← " in shown and ", cat ← " in shown
    assert "why: " not in command("search", "bright cat", *stored).out
    (hit, *_) = map(json.loads, command("search", "moon", *stored, "--explain", "--json").out.splitlines())
    assert set(hit["why"][0]) == {"query", "passage", "cosine"}
    assert "why" not in json.loads(command("search", "moon", *stored, "--json").out.splitlines()[0])
