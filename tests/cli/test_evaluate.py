"""`unbraid evaluate`."""

import json

import pytest


def test_evaluate_prints_a_table_and_records_it_for_the_card(unbraid, tmp_path):
    sts = tmp_path / "tiny.jsonl"
    sts.write_text(
        "".join(
            json.dumps({"a": a, "b": b, "score": score}) + "\n"
            for a, b, score in [
                ("moon", "moon", 1.0),
                ("moon", "river", 0.2),
                ("red", "green", 0.5),
                ("cat", "dog", 0.4),
            ]
        )
    )
    result = unbraid("evaluate", sts, "--no-baselines", "--record", tmp_path / "scores.json")
    assert result.code == 0
    assert "Spearman" in result.out
    ((command, table),) = json.loads((tmp_path / "scores.json").read_text())["tables"].items()
    assert command.startswith("unbraid evaluate")
    assert table.strip() == result.out.strip()


def test_evaluate_refuses_an_unknown_mode_before_any_work(unbraid, tmp_path):
    sts = tmp_path / "tiny.jsonl"
    sts.write_text(json.dumps({"a": "moon", "b": "river", "score": 0.2}) + "\n")
    result = unbraid("evaluate", sts, "--mode", "nonsense")
    assert result.code == 2
    assert "nonsense" in result.err


@pytest.mark.parametrize("content", [None, "not json", "[]", '{"tables": 3}'])
def test_a_bad_record_file_is_refused_before_any_work(unbraid, tmp_path, content):
    record = tmp_path / ("scores.json" if content else "nowhere/scores.json")
    if content:
        record.write_text(content)
    result = unbraid("evaluate", tmp_path / "absent.jsonl", "--record", record)
    assert result.code == 2
    assert str(record) in result.err


def test_a_missing_extra_is_named(unbraid, monkeypatch):
    monkeypatch.setattr("unbraid.errors.find_spec", lambda package: None)
    result = unbraid("evaluate", "data")
    assert result.code == 2
    assert "pip install 'unbraid[evaluate]'" in result.err


@pytest.fixture
def found(tmp_path):
    rows = [
        ("moon river", "the bright moon"),
        ("red cat", "a red cat and a dog"),
        ("house", "the green house"),
    ]
    path = tmp_path / "found.jsonl"
    path.write_text("".join(json.dumps({"anchor": a, "positive": b}) + "\n" for a, b in rows))
    return path


def test_evaluate_adds_late_interaction(unbraid, found):
    words = ("evaluate", found, "--no-baselines", "--json", "--multi-vector", "--vectors", 1)
    rows = [json.loads(line) for line in unbraid(*words).out.splitlines()]
    names = [row["system"].partition(", ")[2] for row in rows]
    assert names == ["", "no mapper", "multi-vector", "multi-vector, 1 a document"]


def test_evaluate_compares_with_a_teachers_late_interaction(unbraid, found, tiny_v4):
    words = ("evaluate", found, "--no-baselines", "--json", "--multi-vector", "--teacher", tiny_v4)
    rows = [json.loads(line) for line in unbraid(*words).out.splitlines()]
    assert rows[-1]["system"] == f"teacher {tiny_v4}, multi-vector" and rows[-1]["of_teacher"] == 1
    assert rows[-2]["of_teacher"] > 0 and rows[0]["of_teacher"] is None


def test_a_budget_and_a_teacher_need_multi_vectors(unbraid, found):
    for words in (("--vectors", 2), ("--teacher", "starter")):
        done = unbraid("evaluate", found, *words)
        assert done.code == 2 and "go with --multi-vector" in done.err


def test_a_tier_without_multi_vectors_is_refused_before_any_score(unbraid, found):
    done = unbraid("evaluate", found, "--multi-vector", "--tier", "nano")
    assert (done.code, done.out) == (2, "") and "choose tier small" in done.err
