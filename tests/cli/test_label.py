"""`unbraid train label`."""

import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from unbraid.distill.recipe import read_recipe
from unbraid.distill.recipe_models import torch_dtype


class FakeTeacher:
    """One route of four dimensions, from an item's length."""

    dim, modalities = 4, ("text", "code")
    routes: ClassVar = dict.fromkeys(("query", "document", "symmetric", "code"), "plain")

    def __init__(self, name, *, device=None, dtype=None):
        self.about = {"model": str(name), "dtype": str(dtype)}
        self.id = f"{name}-{dtype}"

    def encode(self, items, task):
        angles = np.array([len(item) for item in items], dtype=np.float32)
        return np.stack([np.cos(angles), np.sin(angles), 0 * angles, 0 * angles], axis=1)


@pytest.fixture
def texts(tmp_path) -> Path:
    path = tmp_path / "items.jsonl"
    rows = [{"text": "moon" * n} for n in range(1, 9)] + [{"code": "def dog(): pass", "anchor": "dog"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def fake_teacher(monkeypatch):
    monkeypatch.setattr("unbraid.teacher.load", FakeTeacher)


def test_label_then_check(command, texts, tmp_path):
    """With the real MiniLM: its own batches, its float16."""
    words = (
        "train",
        "label",
        texts,
        "--teacher",
        "minilm",
        "--out",
        tmp_path / "labels",
        "--dtype",
        "float32",
    )
    done = command(*words)
    assert done.code == 0, done.err
    assert done.out.startswith("9 items labelled by minilm-")
    assert done.out.rstrip().endswith("float32 in " + str(tmp_path / "labels") + ", 9 of them now")
    again = command(*words)
    assert again.out.rstrip().endswith(", 0 of them now")
    checked = command(*words, "--check", "--sample", 5)
    assert checked.code == 0, checked.err
    assert checked.out.startswith("plain: least cosine ")
    assert "of 5 items encoded again" in checked.out
    assert float(checked.out.split()[3].rstrip(",")) > 0.999


def test_label_takes_teacher_and_dtype_from_the_recipe(command, texts, tmp_path, fake_teacher):
    command("train", "label", texts, "--out", tmp_path / "a", "--recipe", "v4")
    about = json.loads((tmp_path / "a" / "labels.json").read_text())["about"]
    plan = read_recipe(Path("v4"))
    assert about == {"model": plan.teacher, "dtype": str(torch_dtype(plan))}
    command("train", "label", texts, "--out", tmp_path / "b", "--teacher", "org/other")
    about = json.loads((tmp_path / "b" / "labels.json").read_text())["about"]
    assert about == {"model": "org/other", "dtype": "None"}


def test_label_reads_a_folder_by_its_recipe(command, tmp_path, fake_teacher):
    (tmp_path / "data").mkdir()
    rows = [{"text": f"text {n}"} for n in range(40)]
    (tmp_path / "data" / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = tmp_path / "own.toml"
    recipe.write_text(
        'name = "own"\nversion = "1"\nseed = 1\nteacher = "fake"\nitems = 20\ndtype = "float32"\n'
        '[[source]]\nfile = "a.jsonl"\nlicence = "MIT"\ntext = ["text"]\n'
    )
    words = ("train", "label", tmp_path / "data", "--recipe", recipe, "--out", tmp_path / "labels")
    assert command(*words).out.startswith("20 items labelled by fake-torch.float32")
    assert command(*words, "--items", 25).out.rstrip().endswith("5 of them now")


def test_label_after_ctrl_c_says_how_far_it_came(command, texts, tmp_path, fake_teacher, monkeypatch):
    def stop(self, items, task):
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeTeacher, "encode", stop)
    result = command("train", "label", texts, "--out", tmp_path / "labels", "--teacher", "one")
    assert result.code == 130
    assert result.err == ("unbraid: interrupted; 0 of 9 items are labelled; run it again to resume\n")


def test_label_refuses_another_teacher_and_a_check_that_fails(
    command, texts, tmp_path, fake_teacher, monkeypatch
):
    words = ("train", "label", texts, "--out", tmp_path / "labels", "--teacher")
    assert command(*words, "one").code == 0
    other = command(*words, "two")
    assert (other.code, other.err.count("\n")) == (2, 1)
    assert "teacher one-None instead of two-None" in other.err
    monkeypatch.setattr(FakeTeacher, "encode", lambda self, items, task: np.eye(4)[[3] * len(items)])
    failed = command(*words, "one", "--check")
    assert (failed.code, failed.out, failed.err.count("\n")) == (2, "", 1)
    assert "has cosine 0.0000 to the teacher's" in failed.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("{tmp}/no.jsonl", "--out", "{tmp}/out"), "no.jsonl"),
        (("{tmp}/empty.jsonl", "--out", "{tmp}/out"), "nothing to label"),
        (("{tmp}/bad.jsonl", "--out", "{tmp}/out"), "bad.jsonl, line 1: found only body"),
        (("{tmp}/picture.jsonl", "--out", "{tmp}/out"), "1 items are image"),
        (("{tmp}/picture.jsonl",), "--out"),
        (("{tmp}/items.jsonl", "--out", "{tmp}/out", "--tasks", "poetry"), "poetry"),
        (("{tmp}/items.jsonl", "--out", "{tmp}/out", "--dtype", "int8"), "int8"),
        (("{tmp}/items.jsonl", "--out", "{tmp}/out", "--sample", "3"), "--sample goes with --check"),
        (("{tmp}/items.jsonl", "--out", "{tmp}/out", "--check"), "run `unbraid train label` first"),
        (("{tmp}/items.jsonl", "--out", "{tmp}/items.jsonl"), "items.jsonl: cannot be made"),
        (("{tmp}/items.jsonl", "--out", "{tmp}/out", "--recipe", "{tmp}/no.toml"), "no.toml"),
    ],
)
def test_wrong_use_of_label_is_one_clear_line(command, texts, tmp_path, fake_teacher, words, says):
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "bad.jsonl").write_text('{"body": "x"}\n')
    (tmp_path / "picture.jsonl").write_text('{"image": "red.png"}\n')
    Image.new("RGB", (4, 4), "red").save(tmp_path / "red.png")
    result = command("train", "label", *(word.format(tmp=tmp_path) for word in words), "--teacher", "one")
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert says in result.err


def test_a_recipe_that_joins_members_needs_one_of_them(command, texts, tmp_path):
    result = command("train", "label", texts, "--out", tmp_path / "labels")
    assert result.code == 2 and "the recipe names no teacher" in result.err and "--teacher" in result.err


def test_a_member_that_reads_english_alone_labels_the_english_sides(command, tmp_path):
    path = tmp_path / "items.jsonl"
    rows = [
        {"text": "the cat"},
        {"text": "die Katze", "lang": "de", "english": "a cat"},
        {"text": "le chat", "lang": "fr"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = command("train", "label", path, "--teacher", "minilm", "--out", tmp_path / "labels")
    assert done.out.startswith("2 items labelled by minilm-"), done.err
    about = json.loads((tmp_path / "labels" / "labels.json").read_text())
    assert (about["about"]["member"], about["routes"]) == ("minilm", ["plain"])
