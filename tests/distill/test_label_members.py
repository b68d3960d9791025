"""The labels of a joined teacher for a recipe, with members that answer by a text's last letter."""

import json

import numpy as np
import pytest
import torch

from unbraid.distill import pipeline
from unbraid.distill.data.member_items import write_items
from unbraid.distill.data.training_items import TrainingItem
from unbraid.distill.labels import label_members as stage
from unbraid.distill.labels.label_store import read_description, read_shards
from unbraid.distill.recipe import Recipe, StaticTraining, TextTraining
from unbraid.errors import DataError

ITEMS = [
    *(TrainingItem(f"a text {letter}", "text") for letter in "abcdefgh"),
    *(TrainingItem(f"x = {letter}", "code", f"a text {letter}") for letter in "abcd"),
    *(
        TrainingItem(f"ein Text {letter}", "text", language="de", english=f"a text {letter}")
        for letter in "abc"
    ),
    TrainingItem("un texte d", "text", language="fr"),
]
WEIGHTS = {"e5": 1.0, "mpnet": 1.0, "minilm": 0.8}


@pytest.fixture
def run(tmp_path, monkeypatch, fake_member):
    """A run folder with collected items, and fake members in place of the real ones."""
    write_items(tmp_path / stage.ITEMS, ITEMS)
    monkeypatch.setattr(stage, "load_member", lambda spec, *, device, dtype: fake_member(spec))
    return tmp_path


def steps(run, *, items=0, weights=WEIGHTS):
    return list(stage.label_by_members(weights, run, run, items=items, device="cpu", dtype=torch.float32))


def test_every_member_labels_what_it_reads_and_the_joined_store_holds_all(run):
    lines = steps(run)
    assert [line.split(":")[0] for line in lines] == [
        "items",
        "labels of e5",
        "labels of mpnet",
        "labels of minilm",
        "labels",
    ]
    assert "labels of e5: 16 items" in lines[1]
    assert "labels of mpnet: 12 items" in lines[2]  # English sides are among the English texts
    joined = [shard for shard in read_shards(run / "labels")]
    assert sum(len(shard.texts) for shard in joined) == len(ITEMS)
    assert {vectors.shape[1] for shard in joined for vectors in shard.vectors.values()} == {512}


def test_more_items_join_the_same_space_and_keep_what_was_labelled(run):
    steps(run, items=12)
    before = read_description(run / "labels")["teacher"]
    kept = {
        text: row
        for shard in read_shards(run / "labels")
        for text, row in zip(shard.texts, shard.vectors["query"], strict=True)
    }
    steps(run)
    assert read_description(run / "labels")["teacher"] == before
    after = {
        text: row
        for shard in read_shards(run / "labels")
        for text, row in zip(shard.texts, shard.vectors["query"], strict=True)
    }
    assert len(after) == len(ITEMS)
    assert all(np.array_equal(after[text], row) for text, row in kept.items())


def test_other_weights_are_refused_by_name(run):
    steps(run)
    with pytest.raises(DataError, match=r"joins members by .*'minilm': 0.8.*, expected .*'minilm': 0.5"):
        steps(run, weights=WEIGHTS | {"minilm": 0.5})


def test_an_interrupted_member_ends_the_stage_and_the_next_run_goes_on(run, monkeypatch, fake_member):
    def interrupted(spec, *, device, dtype):
        member = fake_member(spec)
        if spec.name == "mpnet":

            def stop(items, task):
                raise KeyboardInterrupt

            member.encode = stop
        return member

    with monkeypatch.context() as patch:
        patch.setattr(stage, "load_member", interrupted)
        with pytest.raises(KeyboardInterrupt):
            steps(run)
    assert not (run / "labels").exists()
    assert "labels of e5: 16 items" in steps(run)[1]


# -- in the pipeline -----------------------------------------------------------------------------------------------


def plan(**fields):
    return Recipe(
        "joined", "1", 5, dtype="float32", members=WEIGHTS, text={"small": TextTraining()}, **fields
    )


def test_the_record_of_the_labels_names_languages_and_licences(run):
    list(pipeline._label(plan(), run, run / "labels", "cpu"))
    results = json.loads((run / "labels" / "record.json").read_text())["results"]
    assert results["languages"] == {"en": 12, "de": 3, "fr": 1}
    assert results["licences"]["intfloat/multilingual-e5-small"] == "MIT"
    assert results["licences"]["text/medquad.train.jsonl.gz"] == "CC BY 4.0"
    assert list(pipeline._label(plan(), run, run / "labels", "cpu")) == [f"labels: {run / 'labels'}"]


def test_a_vocabulary_is_cut_once_below_the_run(run, tmp_path, monkeypatch):
    cut = []
    monkeypatch.setattr(pipeline, "backbone_folder", lambda name, data: tmp_path / "whole")

    def fake_cut(items, backbone, size, out):
        cut.append((len(items), backbone, size))
        out.mkdir(parents=True)

    monkeypatch.setattr(pipeline, "cut_backbone", fake_cut)
    config = TextTraining(backbone="/models/e5", vocabulary=9)
    assert pipeline._backbone(TextTraining(), run, run) == tmp_path / "whole"
    for _ in range(2):
        assert pipeline._backbone(config, run, run) == run / "backbones" / "e5-9"
    assert cut == [(len(ITEMS), tmp_path / "whole", 9)]


def test_nano_learns_from_english_items_that_no_teacher_labelled(run, monkeypatch):
    (run / "small").mkdir()
    (run / "small" / "projection.safetensors").write_bytes(b"weights")

    def students(recipe, folder, *, dtype, tiers):
        assert tiers == ["small"]
        return {"small": lambda texts, modality: torch.ones(len(texts), 512)}

    monkeypatch.setattr(pipeline, "load_students", students)
    found = pipeline._encoded(plan(nano=StaticTraining(items=5), items=6), run, run)
    assert [item.text for item in found.items] == ["a text g", "a text h", "x = a", "x = b", "x = c"]
    assert found.targets.shape == (5, 512)


@pytest.mark.parametrize(("items", "nano"), [(0, 5), (16, 5), (6, 0)])
def test_nano_learns_from_labels_alone_where_nothing_else_is_left(run, items, nano):
    assert pipeline._encoded(plan(nano=StaticTraining(items=nano), items=items), run, run) is None
