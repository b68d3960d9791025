"""`unbraid train teacher`: fit, score and merge as a person meets them."""

import gzip
import json
import sys

import numpy as np
import pytest
from PIL import Image

from unbraid.cli import main as cli
from unbraid.evaluation import teacher_scores
from unbraid.tasks import SEARCH_MODES
from unbraid.teacher import load
from unbraid.teacher.routes import TASK_ADAPTERS

WORDS = "cat dog house river red green bright moon".split()
PAIRS = [{"anchor": f"{a} {b}", "positive": f"the {b} of {a}"} for a in WORDS for b in WORDS if a != b]
RECIPE = """
name = "tiny"
version = "1"
seed = 5
backbone = "{backbone}"
rank = 2
alpha = 2
batch_tokens = 128

[[source]]
file = "pairs.jsonl.gz"
licence = "CC0"
limit = 30

[pair]
sources = ["pairs.jsonl.gz"]
steps = 1
batch = 4
"""
TASK = '\n[task.{name}]\nsources = ["pairs.jsonl.gz"]\nsteps = 1\nbatch = 4\n'


@pytest.fixture
def unbraid(capsys, monkeypatch):
    """Run the command in this process; returns exit code, standard output and standard error."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["unbraid", "train", "teacher", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def folder(tiny_bert, tmp_path):
    """A recipe, and the data that it names."""
    with gzip.open(tmp_path / "pairs.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in PAIRS)
    tasks = "".join(TASK.format(name=name) for name in TASK_ADAPTERS)
    (tmp_path / "tiny.toml").write_text(RECIPE.format(backbone=tiny_bert) + tasks)
    return tmp_path


@pytest.fixture
def reference(monkeypatch):
    """A stand-in for all-MiniLM-L6-v2, which takes seconds to load."""

    class Reference:
        name = "reference"

        def encode(self, texts):
            return np.eye(4, dtype=np.float32)[[len(text) % 4 for text in texts]]

    monkeypatch.setattr(teacher_scores, "minilm", Reference)


def assert_one_line(found, *parts):
    code, out, err = found
    assert (code, out) == (2, "") and "Traceback" not in err
    *progress, said = err.splitlines()  # a bar of loading may come first
    assert said.startswith("unbraid: ") and not any("unbraid" in line for line in progress)
    for part in parts:
        assert part in said


# -- help ----------------------------------------------------------------------------------------------------


def test_help_names_the_three_commands(unbraid):
    code, out, _ = unbraid("--help")
    assert code == 0
    assert all(f" {command} " in out for command in ("fit", "score", "merge"))


@pytest.mark.parametrize("command", ["fit", "score", "merge"])
def test_every_command_has_help(unbraid, command):
    code, out, _ = unbraid(command, "--help")
    assert code == 0 and f"teacher {command} [OPTIONS]" in out


# -- fit ---------------------------------------------------------------------------------------------------------


def test_fit_says_where_every_stage_is_and_leaves_adapters(unbraid, folder):
    run = folder / "run"
    scores = folder / "scores.md"
    scores.write_text("| measured | elsewhere |\n")
    code, out, _ = unbraid(
        "fit", folder / "tiny.toml", "--data", folder, "--run", run, "--device", "cpu", "--scores", scores
    )
    assert code == 0
    assert out.splitlines() == [f"{name}: {run / name}" for name in ("pair", *TASK_ADAPTERS, "adapters")]
    assert "| measured | elsewhere |" in (run / "adapters" / "README.md").read_text()
    assert load(run / "adapters", device="cpu").encode(["cat"], "query").shape == (1, 384)


def test_fit_refuses_another_recipe_in_the_same_run(unbraid, folder):
    words = ("fit", folder / "tiny.toml", "--data", folder, "--run", folder / "run", "--device", "cpu")
    assert unbraid(*words)[0] == 0
    text = (folder / "tiny.toml").read_text()
    (folder / "tiny.toml").write_text(text.replace("seed = 5", "seed = 6"))
    assert_one_line(unbraid(*words), "made with another seed", "--run")


def test_fit_names_data_that_is_absent(unbraid, folder):
    found = unbraid("fit", folder / "tiny.toml", "--data", folder / "none", "--run", folder / "run")
    assert_one_line(found, "none/pairs.jsonl.gz")


def test_fit_refuses_a_recipe_that_is_absent(unbraid, folder):
    found = unbraid("fit", folder / "none.toml", "--data", folder, "--run", folder / "run")
    assert_one_line(found, "none.toml: not a readable recipe")


def test_fit_needs_a_run(unbraid, folder):
    assert_one_line(unbraid("fit", folder / "tiny.toml", "--data", folder), "--run")


# -- score -------------------------------------------------------------------------------------------------------


@pytest.fixture
def datasets(tmp_path):
    """Pairs to find and graded pairs."""
    pairs, graded = tmp_path / "found.jsonl", tmp_path / "graded.jsonl"
    pairs.write_text("".join(json.dumps(row) + "\n" for row in PAIRS[:6]))
    rows = [{"a": "cat dog", "b": b, "score": n} for n, b in enumerate(("moon", "cat", "cat dog", "the dog"))]
    graded.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return pairs, graded


def test_score_has_every_task_on_every_data_set(unbraid, datasets, tiny_v4, reference):
    code, out, _ = unbraid(
        "score", *datasets, "--teacher", tiny_v4, "--device", "cpu", "--json", "--limit", 3
    )
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    modes = [(None, "reference"), *((mode, str(tiny_v4)) for mode in SEARCH_MODES)]
    assert [(row["mode"], row["system"]) for row in rows] == modes * 2
    assert {row["n_queries"] for row in rows} == {3}


def test_score_adds_late_interaction_in_every_mode(unbraid, datasets, tiny_v4, reference):
    words = ("score", datasets[0], "--teacher", tiny_v4, "--device", "cpu", "--json")
    code, out, _ = unbraid(*words, "--multi-vector", "--vectors", 2)
    assert code == 0
    systems = [json.loads(line)["system"].removeprefix(str(tiny_v4)) for line in out.splitlines()]
    modes = ["", ", multi-vector", ", multi-vector, 2 a document"] * len(SEARCH_MODES)
    assert systems == ["reference", *modes]
    assert "goes with --multi-vector" in unbraid(*words, "--vectors", 2)[2]


def test_score_shows_a_table(unbraid, datasets, tiny_bert, reference):
    code, out, _ = unbraid(
        "score", datasets[1], "--teacher", tiny_bert, "--device", "cpu", "--dtype", "float32"
    )
    assert code == 0
    assert all(word in out for word in ("Spearman", "reference", "symmetric", "retrieval", "code"))


def test_score_refuses_a_teacher_that_is_unknown(unbraid, datasets):
    assert_one_line(unbraid("score", datasets[0], "--teacher", "nobody"), "unknown teacher 'nobody'")


def test_score_refuses_a_dtype_that_is_unknown(unbraid, datasets):
    found = unbraid("score", datasets[0], "--teacher", "minilm", "--dtype", "float64")
    assert_one_line(found, "'float64'", "float32, bfloat16, float16")


def test_score_names_a_data_set_that_is_absent(unbraid, tiny_bert, tmp_path):
    found = unbraid("score", tmp_path / "none.jsonl", "--teacher", tiny_bert, "--device", "cpu")
    assert_one_line(found, "none.jsonl")


def test_score_refuses_pictures_for_a_teacher_of_texts(unbraid, tiny_bert, tmp_path, reference):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "photos" / "red.png")
    (tmp_path / "photos.jsonl").write_text('{"file": "red.png", "caption": "a red square", "alt": "red"}\n')
    found = unbraid("score", tmp_path / "photos.jsonl", "--teacher", tiny_bert, "--device", "cpu")
    assert_one_line(found, "not pictures")


# -- merge -------------------------------------------------------------------------------------------------------


def test_merge_says_where_and_how_near(unbraid, tiny_v4, tmp_path):
    code, out, _ = unbraid("merge", "code", tmp_path / "merged", "--teacher", tiny_v4, "--device", "cpu")
    assert code == 0
    found = json.loads(out)
    assert found["folder"] == str(tmp_path / "merged") and (tmp_path / "merged" / "config.json").exists()
    assert found["cosine"] > 0.99 and found["difference"] < 0.1


def test_merge_refuses_a_task_that_is_unknown(unbraid, tiny_v4, tmp_path):
    found = unbraid("merge", "clustering", tmp_path / "merged", "--teacher", tiny_v4, "--device", "cpu")
    assert_one_line(found, "clustering", *TASK_ADAPTERS)
