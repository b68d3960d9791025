import json
import os
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.code_text import split_identifiers
from unbraid.distill import label as label_module
from unbraid.distill.data import TrainingItem
from unbraid.distill.label import label
from unbraid.distill.recipe import ImageTraining, Recipe, TextTraining
from unbraid.errors import DataError
from unbraid.teacher.labels import (
    Labels,
    check_complete,
    open_labels,
    read_shard,
    read_shards,
    shard_path,
    write_shard,
)

RECIPE = Recipe("tiny", "1", 0, "fake", 0, "float32", (), TextTraining(), ImageTraining(), {})

ROUTES = {"query": "search", "document": "search", "symmetric": "match", "code": "match"}


class FakeTeacher:
    """Two routes of four dimensions, from the text's length; keeps what it was asked."""

    dim = 4
    routes = ROUTES

    def __init__(self, name="fake-1"):
        self.id = name
        self.asked = []

    def encode(self, items, task):
        self.asked.append((self.routes[task], list(items)))
        angles = np.array([[len(item), len(task)] for item in items], dtype=np.float32)
        return np.concatenate([np.cos(angles), np.sin(angles)], axis=1) / np.float32(2**0.5)


@pytest.fixture
def items(monkeypatch):
    """Ten items in shards of four; replaces the reading of data files."""
    items = [TrainingItem(f"text {'x' * number}", "text") for number in range(8)]
    items += [TrainingItem("def getName(): pass", "code", "text "), TrainingItem("x = 1", "code")]
    monkeypatch.setattr(label_module, "SHARD", 4)
    monkeypatch.setattr(label_module, "training_items", lambda sources, data, *, seed: items)
    return items


def example_labels(n=3, seed=0):
    rng = np.random.default_rng(seed)
    vectors = {route: rng.standard_normal((n, 5)).astype(np.float16) for route in ("search", "match")}
    return Labels([f"text {row}" for row in range(n)], ["text"] * n, [""] * n, vectors)


# -- labelling -----------------------------------------------------------------------------------------------


def test_every_item_gets_one_vector_per_route(items, tmp_path):
    assert label(RECIPE, tmp_path, tmp_path / "labels", FakeTeacher()) == 10
    shards = list(read_shards(tmp_path / "labels"))
    assert [len(shard.texts) for shard in shards] == [4, 4, 2]
    assert [text for shard in shards for text in shard.texts] == [item.text for item in items]
    assert [mode for shard in shards for mode in shard.modalities] == [item.modality for item in items]
    assert [anchor for shard in shards for anchor in shard.anchors] == [item.anchor for item in items]
    assert {route: v.shape for route, v in shards[0].vectors.items()} == {"search": (4, 4), "match": (4, 4)}


def test_stored_vectors_are_the_teachers(items, tmp_path):
    label(RECIPE, tmp_path, tmp_path / "labels", FakeTeacher())
    first = read_shard(shard_path(tmp_path / "labels", 0))
    expected = FakeTeacher().encode([item.text for item in items[:4]], "document")
    np.testing.assert_allclose(first.vectors["search"], expected, atol=1e-3)  # float16


def test_tasks_that_share_a_route_are_encoded_once(items, tmp_path):
    teacher = FakeTeacher()
    label(RECIPE, tmp_path, tmp_path / "labels", teacher)
    assert [route for route, _ in teacher.asked] == ["search", "match"] * 3


def test_the_teacher_sees_code_with_its_names_split(items, tmp_path):
    teacher = FakeTeacher()
    label(RECIPE, tmp_path, tmp_path / "labels", teacher)
    assert teacher.asked[-1][1] == [split_identifiers("def getName(): pass"), "x = 1"]
    assert read_shard(shard_path(tmp_path / "labels", 2)).texts[0] == "def getName(): pass"


def test_a_recipes_item_count_is_the_first_of_the_items(items, tmp_path):
    assert label(replace(RECIPE, items=5), tmp_path, tmp_path / "labels", FakeTeacher()) == 5
    assert sum(len(shard.texts) for shard in read_shards(tmp_path / "labels")) == 5


def test_labelling_again_asks_the_teacher_nothing(items, tmp_path):
    label(RECIPE, tmp_path, tmp_path / "labels", FakeTeacher())
    teacher = FakeTeacher()
    assert label(RECIPE, tmp_path, tmp_path / "labels", teacher) == 10
    assert teacher.asked == []


def test_an_interrupted_run_labels_only_what_is_missing(items, tmp_path, monkeypatch):
    teacher = FakeTeacher()
    whole = teacher.encode

    def stopping(texts, task):
        if len(teacher.asked) == 3:  # in the middle of the second shard
            raise KeyboardInterrupt
        return whole(texts, task)

    monkeypatch.setattr(teacher, "encode", stopping)
    with pytest.raises(KeyboardInterrupt):
        label(RECIPE, tmp_path, tmp_path / "labels", teacher)
    again = FakeTeacher()
    label(RECIPE, tmp_path, tmp_path / "labels", again)
    label(RECIPE, tmp_path, tmp_path / "uninterrupted", FakeTeacher())
    assert [len(texts) for _, texts in again.asked] == [4, 4, 2, 2]
    for number in range(3):
        path = shard_path(tmp_path / "labels", number)
        assert path.read_bytes() == shard_path(tmp_path / "uninterrupted", number).read_bytes()


def test_a_folder_of_another_teacher_is_refused(items, tmp_path):
    label(RECIPE, tmp_path, tmp_path, FakeTeacher("fake-1"))
    with pytest.raises(DataError, match=r"fake-1.*fake-2.*choose another folder"):
        label(RECIPE, tmp_path, tmp_path, FakeTeacher("fake-2"))


def test_a_folder_of_other_items_is_refused(items, tmp_path):
    label(RECIPE, tmp_path, tmp_path, FakeTeacher())
    items[0] = TrainingItem("another text", "text")
    with pytest.raises(DataError, match="choose another folder"):
        label(RECIPE, tmp_path, tmp_path, FakeTeacher())


def test_a_damaged_description_is_refused_by_name(tmp_path):
    (tmp_path / "labels.json").write_text("{")
    with pytest.raises(DataError, match=r"labels\.json: not JSON"):
        open_labels(tmp_path, {"teacher": "fake"})


# -- shards --------------------------------------------------------------------------------------------------

unicode_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.data(), st.integers(1, 6), st.integers(1, 9), st.sets(unicode_text, min_size=1, max_size=3))
@settings(max_examples=25, deadline=None)
def test_what_is_written_is_read_back(tmp_path_factory, data, n, dim, routes):
    texts, modalities, anchors = (
        data.draw(st.lists(strategy, min_size=n, max_size=n))
        for strategy in (unicode_text, st.sampled_from(["text", "code"]), unicode_text)
    )
    rng = np.random.default_rng(n)
    vectors = {route: rng.standard_normal((n, dim)).astype(np.float16) for route in routes}
    path = shard_path(tmp_path_factory.mktemp("shard"), 0)
    write_shard(path, Labels(texts, modalities, anchors, vectors))
    found = read_shard(path)
    assert (found.texts, found.modalities, found.anchors) == (texts, modalities, anchors)
    assert set(found.vectors) == routes
    for route in routes:
        assert found.vectors[route].dtype == np.float16
        np.testing.assert_array_equal(found.vectors[route], vectors[route])


def test_a_shard_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    def crash(descriptor):
        raise KeyboardInterrupt  # every byte is written, none of them is safe yet

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        write_shard(shard_path(tmp_path, 0), example_labels())
    assert not shard_path(tmp_path, 0).exists()
    with pytest.raises(DataError, match="no label shards"):
        read_shards(tmp_path)


def test_a_half_written_shard_does_not_stop_the_next_try(tmp_path):
    path = shard_path(tmp_path, 0)
    path.with_name(path.name + ".tmp").write_bytes(b"half")
    write_shard(path, example_labels())
    assert [path] == list(tmp_path.iterdir())


def test_shards_are_read_in_order(tmp_path):
    for number in (10, 2, 0):
        write_shard(shard_path(tmp_path, number), replace(example_labels(1), texts=[str(number)]))
    assert [shard.texts for shard in read_shards(tmp_path)] == [["0"], ["2"], ["10"]]


def test_an_empty_folder_says_what_to_run(tmp_path):
    with pytest.raises(DataError, match="run `unbraid label` first"):
        read_shards(tmp_path)


@pytest.mark.parametrize("damage", ["empty", "cut", "middle", "tail"])
def test_a_damaged_shard_is_refused_by_name(damage, tmp_path):
    path = shard_path(tmp_path, 3)
    write_shard(path, example_labels(200))
    content = path.read_bytes()
    half = len(content) // 2
    path.write_bytes(
        {
            "empty": b"",
            "cut": content[:half],
            "middle": content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :],
            "tail": content[:-4] + b"nope",
        }[damage]
    )
    with pytest.raises(DataError, match=r"labels-00003\.parquet: not a label shard"):
        read_shard(path)


@pytest.mark.parametrize(
    "columns",
    [{"text": ["a"]}, {"text": ["a"], "modality": ["text"], "anchor": [""], "route:a": [1.0]}],
    ids=["columns missing", "route without vectors"],
)
def test_a_parquet_file_that_is_no_shard_is_refused(columns, tmp_path):
    path = shard_path(tmp_path, 0)
    pq.write_table(pa.table(columns), path)
    with pytest.raises(DataError, match="not a label shard"):
        read_shard(path)


def test_the_description_is_kept_beside_the_shards(items, tmp_path):
    label(RECIPE, tmp_path, tmp_path / "labels", FakeTeacher())
    about = json.loads((tmp_path / "labels" / "labels.json").read_text())
    assert (about["teacher"], about["items"]) == ("fake-1", 10)


def test_labels_with_a_shard_missing_are_not_complete(items, tmp_path):
    label(RECIPE, tmp_path, tmp_path, FakeTeacher())
    check_complete(tmp_path)
    shard_path(tmp_path, 1).unlink()
    with pytest.raises(DataError, match="6 of 10 items are labelled"):
        check_complete(tmp_path)
    with pytest.raises(DataError, match="unbraid label"):
        check_complete(tmp_path / "nowhere")
