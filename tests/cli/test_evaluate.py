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
