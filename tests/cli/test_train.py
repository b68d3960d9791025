"""`unbraid train`: the commands of those who make bundles, in the order of their use."""

import re

from typer.testing import CliRunner

from unbraid.cli.main import app

COMMANDS = ["pairs", "items", "label", "join", "ceiling", "distill", "tower", "heads", "export", "teacher"]


def run(*words):
    return CliRunner().invoke(app, ["train", *map(str, words)])


def test_help_lists_the_commands_in_the_order_of_their_use():
    text = run("--help").output
    assert re.findall(r"^\W* (\w+) +[A-Z]", text.split("Commands")[1], re.MULTILINE) == COMMANDS


def test_export_refuses_a_precision_that_no_graph_has(tmp_path):
    result = run("export", tmp_path, tmp_path / "out", "--precisions", "fp16")
    assert result.exit_code == 2 and "'fp16': expected int8 and fp32" in result.output


def test_data_sets_of_a_ceiling_need_their_teacher(tmp_path):
    result = run("ceiling", tmp_path, tmp_path / "pairs.jsonl")
    assert result.exit_code == 2 and "--teacher" in result.output


def test_an_estimate_makes_nothing(tmp_path, monkeypatch):
    from unbraid.distill import estimate

    monkeypatch.setattr(estimate, "estimate_run", lambda plan, data, device: f"the cost of {plan.name}")
    result = run("distill", "smoke", "--data", tmp_path, "--run", tmp_path / "run", "--estimate")
    assert (result.exit_code, result.output) == (0, "the cost of smoke\n")
    assert list(tmp_path.iterdir()) == []
