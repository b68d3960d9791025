"""`unbraid mapper`, and the other commands on a mapper file."""

import json
from pathlib import Path

import numpy as np
import pytest

from unbraid.cli.mapper import report
from unbraid.custom_mapper.mapper_file import CustomMapper, read_mapper

WORDS = "cat dog house river red green bright moon search vector model code".split()


@pytest.fixture(autouse=True)
def own_folder(monkeypatch, tmp_path):
    """Files without a folder go here."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pairs(tmp_path) -> Path:
    """Forty questions and answers that share no text."""
    rows = [
        {"query": f"the {a} {b}", "positive": f"{b} and a {a} in the house {i}"}
        for i, (a, b) in enumerate((a, b) for a in WORDS[:8] for b in WORDS[7:])
    ]
    place = tmp_path / "pairs.jsonl"
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


@pytest.fixture
def own(exact, tmp_path) -> Path:
    """A file with one matrix."""
    return save(tmp_path / "own.mapper", CustomMapper("own", exact.base_id, matrix(0)))


@pytest.fixture
def sided(exact, tmp_path) -> Path:
    """A file with a matrix for each side."""
    return save(tmp_path / "sided.mapper", CustomMapper("sided", exact.base_id, matrix(0), matrix(1)))


def matrix(seed):
    return np.random.default_rng(seed).standard_normal((512, 512)).astype(np.float32)


def save(place, mapper):
    mapper.save(place)
    return place


def test_fit_writes_a_file_and_says_what_to_expect(unbraid, pairs, tmp_path):
    made = unbraid("mapper", "fit", pairs, "--name", "mine", "--threads", "1")
    assert made.code == 0 and "mine.mapper written after" in made.err
    assert "nDCG@10" in made.out and "no mapper" in made.out and "symmetric" in made.out
    assert "unseen queries" in made.out and "cost if" in made.out
    mapper = read_mapper(tmp_path / "mine.mapper")
    assert mapper.name == "mine" and mapper.about["pairs"] == 40
    shown = unbraid("mapper", "info", "mine.mapper", model=False)
    assert shown.code == 0 and shown.out == made.out


def test_fit_and_info_as_json(unbraid, pairs, tmp_path):
    made = unbraid("mapper", "fit", pairs, "--name", "mine", "--out", tmp_path / "x.mapper", "--json")
    about = json.loads(made.out)
    assert about["name"] == "mine" and about["after"] >= about["before"] and len(about["folds"]) == 5
    assert json.loads(unbraid("mapper", "info", "x.mapper", "--json", model=False).out) == about


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("--name", "two words"), "not a name for a mapper"),
        (("--name", "query"), "choose another name"),
        (("--name", "x", "--out", "x.bin"), "ends in .mapper"),
        (("--name", "x", "--out", "gone/x.mapper"), "folder that exists"),
        ((), "Missing option '--name'"),
    ],
)
def test_wrong_use_of_fit_is_one_line(unbraid, pairs, words, fault):
    wrong = unbraid("mapper", "fit", pairs, *words)
    assert wrong.code == 2 and fault in wrong.err and wrong.err.count("\n") == 1 and not wrong.out


def test_wrong_pairs_are_named_by_their_line(unbraid, tmp_path):
    (tmp_path / "pairs.jsonl").write_text('{"query": "x"}\n')
    wrong = unbraid("mapper", "fit", "pairs.jsonl", "--name", "x")
    assert wrong.code == 2 and "pairs.jsonl, line 1: found no field 'positive'" in wrong.err


def test_info_of_what_is_no_mapper(unbraid, pairs):
    wrong = unbraid("mapper", "info", pairs, model=False)
    assert wrong.code == 2 and "pairs.jsonl: not a .mapper file" in wrong.err


def test_a_file_without_scores_is_still_described(own):
    assert "its scores are not recorded" in report(read_mapper(own))
    assert "not recorded" in report(CustomMapper("x", "b", matrix(0), about={"metric": 3, "folds": "x"}))


def test_encode_takes_a_mapper_file(unbraid, exact, own, tmp_path):
    (tmp_path / "a.txt").write_text("the moon is bright")
    row = json.loads(unbraid("encode", "a.txt", "--task", own).out)
    base = json.loads(unbraid("encode", "a.txt").out)
    assert row["task"] == "own" and row["mapper_id"] and base["mapper_id"] is None
    mapped = exact.with_mapper(own).map(np.array([base["vector"]]), "own")
    np.testing.assert_allclose([row["vector"]], mapped, atol=1e-5)


def test_encode_asks_for_the_side_where_the_sides_differ(unbraid, sided, own, tmp_path):
    (tmp_path / "a.txt").write_text("the moon is bright")
    wrong = unbraid("encode", "a.txt", "--task", sided)
    assert wrong.code == 2 and "--side query or --side document" in wrong.err
    rows = [
        json.loads(unbraid("encode", "a.txt", "--task", sided, "--side", side).out)
        for side in ("query", "document")
    ]
    assert [row["task"] for row in rows] == ["sided-query", "sided-document"]
    assert rows[0]["mapper_id"] != rows[1]["mapper_id"]
    assert unbraid("encode", "a.txt", "--task", own, "--side", "query").code == 0
    assert (
        "--side goes with a .mapper file"
        in unbraid("encode", "a.txt", "--task", "query", "--side", "query").err
    )


@pytest.mark.parametrize("option", ["--mode", "--task"])
def test_search_takes_a_mapper_file(unbraid, own, sided, tmp_path, option):
    (tmp_path / "docs").mkdir()
    for word in WORDS:
        (tmp_path / "docs" / f"{word}.md").write_text(f"the {word} is in the house\n")
    assert unbraid("index", "docs", "--into", "ix").code == 0
    for file in (own, sided):
        found = unbraid("search", "the moon is in the house", "--in", "ix", option, file, "--json", "-k", "3")
        assert found.code == 0 and len(found.out.splitlines()) == 3
    assert json.loads(
        unbraid("search", "the moon is in the house", "--in", "ix", option, own, "--json").out.splitlines()[0]
    )["path"].endswith("moon.md")


def test_evaluate_takes_a_mapper_file(unbraid, own, pairs, tmp_path):
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    renamed = [{"anchor": row["query"], "positive": row["positive"]} for row in rows]
    (tmp_path / "set.jsonl").write_text("".join(json.dumps(row) + "\n" for row in renamed))
    shown = unbraid("evaluate", "set.jsonl", "--mode", own, "--no-baselines", "--json")
    assert shown.code == 0 and json.loads(shown.out.splitlines()[0])["mode"] == "own"


def test_a_mapper_of_another_bundle_says_what_to_do(unbraid, tmp_path):
    save(tmp_path / "old.mapper", CustomMapper("old", "another", matrix(0), about={"bundle": "old 0.1"}))
    (tmp_path / "a.txt").write_text("moon")
    wrong = unbraid("encode", "a.txt", "--task", "old.mapper")
    assert wrong.code == 2 and "unbraid mapper fit" in wrong.err and "old 0.1" in wrong.err


def test_a_mapper_file_that_is_missing_is_named(unbraid, tmp_path):
    (tmp_path / "a.txt").write_text("moon")
    wrong = unbraid("encode", "a.txt", "--task", "gone.mapper")
    assert wrong.code == 2 and "gone.mapper: cannot be read" in wrong.err


def test_fit_takes_a_folder_without_labels(unbraid, tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    for number, word in enumerate(WORDS):
        text = f"the {word} and the moon are in the house of the vector model " * 2
        (folder / f"{number}.md").write_text(
            f"# the {word} of code\n{text}\n\n# a {word} to search\n{text} again"
        )
    made = unbraid("mapper", "fit", "--folder", folder, "--name", "mine", "--threads", "1")
    assert made.code == 0 and "found in 12 files, of which whole ones were held out: 24 headings" in made.out
    assert read_mapper(tmp_path / "mine.mapper").about["found"] == {"section": 24}


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ((), "either PAIRS, a file of pairs, or --folder"),
        (("pairs.jsonl", "--folder", "."), "either PAIRS"),
        ((".",), "for a folder without labels add --folder"),
        (("--folder", "pairs.jsonl"), "not a folder"),
        (("--folder", "."), "no file in it has headings"),
    ],
)
def test_pairs_or_a_folder_have_to_be_given(unbraid, pairs, words, fault):
    wrong = unbraid("mapper", "fit", *words, "--name", "mine")
    assert wrong.code == 2 and fault in wrong.err and not wrong.out
