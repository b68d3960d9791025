import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unbraid import Code
from unbraid.distill.data.training_items import TrainingItem, file_items
from unbraid.distill.labels import label_shard as shard_module
from unbraid.distill.labels import label_store as labels_module
from unbraid.distill.labels import write_labels as label_module
from unbraid.distill.labels.check_labels import check_labels
from unbraid.distill.labels.label_shard import Labels, item_key, read_keys, read_shard, text_key, write_shard
from unbraid.distill.labels.label_store import (
    Description,
    LabelStore,
    open_labels,
    read_description,
    read_shards,
    shard_path,
)
from unbraid.distill.labels.write_labels import label
from unbraid.errors import DataError, TeacherError
from unbraid.io import atomic as durable

ROUTES = {"query": "search", "document": "search", "symmetric": "match", "code": "match"}
ABOUT = {"model": "fake", "revision": "1", "dtype": "float32", "max_pixels": 100}


class FakeTeacher:
    """Two routes of eight dimensions, a hash of item and route; keeps what it was asked."""

    dim = 8
    modalities = ("text", "code", "image")

    def __init__(self, about=ABOUT, routes=ROUTES, seconds=0.0):
        self.about, self.routes, self.seconds = about, routes, seconds
        self.id = "-".join(str(value) for value in about.values())
        self.asked = []

    def encode(self, items, task):
        time.sleep(self.seconds)
        self.asked.append((self.routes[task], list(items)))
        return np.array([self.vector(item, self.routes[task]) for item in items], dtype=np.float32)

    def vector(self, item, route):
        seen = item.read_bytes() if isinstance(item, Path) else repr(item).encode()
        number = int(hashlib.sha256(seen + route.encode()).hexdigest()[:8], 16)
        vector = np.random.default_rng(number).standard_normal(self.dim)
        return vector / np.linalg.norm(vector)


def texts(count, start=0):
    return [TrainingItem(f"text {number}", "text") for number in range(start, start + count)]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Shards of four items, progress in steps of two."""
    monkeypatch.setattr(label_module, "SHARD", 4)
    monkeypatch.setattr(label_module, "CHUNK", 2)


@pytest.fixture
def items():
    """Ten items, of which two are code."""
    code = [TrainingItem("def getName(): pass", "code", "text 0"), TrainingItem("x = 1", "code")]
    return texts(8) + code


def check_complete(folder):
    """Every wanted item stands in the store of `folder` once."""
    keys = [key for shard in read_shards(folder) for key in shard.keys]
    assert len(set(keys)) == len(keys) == read_description(folder)["items"]


def content(folder):
    """What is stored of each item, by key; refuses an item that is stored twice."""
    found = {}
    for shard in read_shards(folder):
        for row, key in enumerate(shard.keys):
            assert key not in found
            vectors = {route: values[row].tobytes() for route, values in shard.vectors.items()}
            found[key] = (shard.texts[row], shard.modalities[row], shard.anchors[row], vectors)
    return found


def example_labels(n=3, seed=0):
    rng = np.random.default_rng(seed)
    vectors = {route: rng.standard_normal((n, 5)).astype(np.float16) for route in ("search", "match")}
    names = [f"text {row}" for row in range(n)]
    return Labels(names, ["text"] * n, [""] * n, vectors, [text_key("text", name) for name in names])


# -- labelling -----------------------------------------------------------------------------------------------


def test_every_item_gets_one_vector_per_route(items, tmp_path):
    done = label(items, tmp_path, FakeTeacher())
    assert (done.wanted, done.before, done.now, done.interrupted) == (10, 0, 10, False)
    shards = list(read_shards(tmp_path))
    assert [len(shard.texts) for shard in shards] == [4, 4, 2]
    assert [text for shard in shards for text in shard.texts] == [item.text for item in items]
    assert [mode for shard in shards for mode in shard.modalities] == [item.modality for item in items]
    assert [anchor for shard in shards for anchor in shard.anchors] == [item.anchor for item in items]
    assert {route: v.shape for route, v in shards[0].vectors.items()} == {"search": (4, 8), "match": (4, 8)}
    check_complete(tmp_path)


def test_stored_vectors_are_the_teachers(items, tmp_path):
    label(items, tmp_path, FakeTeacher())
    first, _ = read_shard(shard_path(tmp_path, 0))
    expected = FakeTeacher().encode([item.text for item in items[:4]], "document")
    np.testing.assert_allclose(first.vectors["search"], expected, atol=1e-3)  # float16


def test_tasks_that_share_a_route_are_encoded_once(items, tmp_path):
    teacher = FakeTeacher()
    label(items, tmp_path, teacher)
    assert [route for route, _ in teacher.asked] == ["search", "match"] * 5


def test_stored_rows_keep_the_order_of_the_items(tmp_path):
    """Though the teacher is given items of like length together: the first rows are held out of training."""
    mixed = [TrainingItem("x" * length, "text") for length in (7, 1, 9, 3, 2, 8)]
    teacher = FakeTeacher()
    label(mixed, tmp_path, teacher)
    assert [text for shard in read_shards(tmp_path) for text in shard.texts] == [item.text for item in mixed]
    given = [sorted(map(len, texts)) for route, texts in teacher.asked if route == "search"]
    assert sorted(given) == [[1, 3], [2, 8], [7, 9]]


def test_a_part_of_the_tasks_has_only_their_routes(items, tmp_path):
    label(items, tmp_path, FakeTeacher(), tasks=["query"])
    assert list(next(read_shards(tmp_path)).vectors) == ["search"]
    assert label(items, tmp_path, FakeTeacher(), tasks=["document", "query"]).now == 0  # the same route


def test_an_unknown_task_is_refused_with_those_there_are(items, tmp_path):
    with pytest.raises(DataError, match="poetry: no task of fake.*query, document, symmetric, code"):
        label(items, tmp_path, FakeTeacher(), tasks=["poetry"])


def test_the_teacher_is_given_code_as_code_and_pictures_as_paths(tmp_path):
    Image.new("RGB", (4, 4), "red").save(tmp_path / "red.png")
    teacher = FakeTeacher()
    picture = TrainingItem("red.png", "image", picture=tmp_path / "red.png")
    label([TrainingItem("getName()", "code"), picture], tmp_path / "labels", teacher)
    assert teacher.asked[0][1] == [Code("getName()"), tmp_path / "red.png"]
    assert type(teacher.asked[0][1][0]) is Code
    (shard,) = read_shards(tmp_path / "labels")
    assert shard.texts == ["getName()", "red.png"]  # no path of this machine
    assert shard.keys[1] == item_key("image", (tmp_path / "red.png").read_bytes())


def test_items_of_the_same_content_are_labelled_once(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 4), "red").save(tmp_path / name)
    pictures = [TrainingItem(name, "image", picture=tmp_path / name) for name in ("a.png", "b.png")]
    both = [TrainingItem("exit", "text"), TrainingItem("exit", "code"), TrainingItem("exit", "code", "go")]
    teacher = FakeTeacher()
    assert label([*both, *pictures, *both], tmp_path / "labels", teacher).wanted == 3
    assert sum(len(given) for route, given in teacher.asked if route == "search") == 3
    assert len(content(tmp_path / "labels")) == 3


def test_labelling_again_asks_the_teacher_nothing(items, tmp_path):
    label(items, tmp_path, FakeTeacher())
    teacher = FakeTeacher()
    assert label(items, tmp_path, teacher).now == 0
    assert teacher.asked == []


def test_more_data_adds_only_what_is_new(items, tmp_path):
    label(items, tmp_path / "grown", FakeTeacher())
    teacher = FakeTeacher()
    done = label(texts(12), tmp_path / "grown", teacher)
    assert (done.wanted, done.before, done.now) == (14, 10, 4)
    assert [given for route, given in teacher.asked if route == "search"] == [
        ["text 8", "text 9"],
        ["text 10", "text 11"],
    ]
    check_complete(tmp_path / "grown")
    label(items + texts(12), tmp_path / "at once", FakeTeacher())
    assert content(tmp_path / "grown") == content(tmp_path / "at once")


def test_no_item_at_all_is_refused(tmp_path):
    with pytest.raises(DataError, match="nothing to label"):
        label([], tmp_path / "labels", FakeTeacher())
    assert not (tmp_path / "labels").exists()


def test_pictures_are_refused_by_a_teacher_that_reads_none(tmp_path):
    teacher = FakeTeacher()
    teacher.modalities = ("text", "code")
    pictures = [TrainingItem(f"{n}.png", "image", picture=tmp_path / f"{n}.png") for n in range(3)]
    with pytest.raises(DataError, match=r"3 items are image, and fake.* encodes text and code alone"):
        label(texts(2) + pictures, tmp_path / "labels", teacher)


def test_a_slow_teachers_work_is_written_when_time_has_passed(tmp_path, monkeypatch):
    monkeypatch.setattr(label_module, "SHARD_SECONDS", 0.0)
    sizes = []
    whole = LabelStore.grow

    def grow(store, labels):
        whole(store, labels)
        sizes.append([len(shard.texts) for shard in read_shards(tmp_path)])

    monkeypatch.setattr(LabelStore, "grow", grow)
    label(texts(6), tmp_path, FakeTeacher())
    assert sizes == [[2], [4], [4, 2]]


def test_a_stop_leaves_no_trace_in_any_file(items, tmp_path, monkeypatch):
    """Shards, chunks and the rows in them are those of an uninterrupted run: a vector's last bits depend on them."""
    asked = FakeTeacher()
    label(items, tmp_path / "whole", asked)
    for calls in (1, 3, 5, 7):
        seen = []
        for teacher in (stopping_after(calls, KeyboardInterrupt(), monkeypatch), FakeTeacher()):
            label(items, tmp_path / f"stopped {calls}", teacher)
            seen += teacher.asked
        assert {str(call) for call in seen} == {str(call) for call in asked.asked}
        for path in sorted((tmp_path / "whole").iterdir()):
            assert (tmp_path / f"stopped {calls}" / path.name).read_bytes() == path.read_bytes()


def test_a_shard_that_grows_keeps_its_rows(tmp_path):
    description = Description("fake", ABOUT, ("search", "match"), 5)
    with open_labels(tmp_path, description) as store:
        store.grow(example_labels())
        with pytest.raises(ValueError, match="lost from a shard"):
            store.grow(replace(example_labels(), keys=["other 1", "other 2", "other 3"]))


# -- being stopped -------------------------------------------------------------------------------------------


def stopping_after(calls, error, monkeypatch):
    """A teacher that raises `error` in the call after `calls`."""
    teacher = FakeTeacher()
    whole = teacher.encode

    def encode(given, task):
        if len(teacher.asked) == calls:
            raise error
        return whole(given, task)

    monkeypatch.setattr(teacher, "encode", encode)
    return teacher


@pytest.mark.parametrize("calls", range(10))
def test_after_ctrl_c_the_rest_is_labelled_and_nothing_twice(calls, items, tmp_path, monkeypatch):
    done = label(items, tmp_path / "stopped", stopping_after(calls, KeyboardInterrupt(), monkeypatch))
    assert (done.now, done.wanted, done.interrupted) == (calls // 2 * 2, 10, True)
    if calls > 1:
        assert sum(len(shard.keys) for shard in read_shards(tmp_path / "stopped")) == done.now
    again = label(items, tmp_path / "stopped", FakeTeacher())
    assert (again.before, again.now) == (done.now, 10 - done.now)
    label(items, tmp_path / "whole", FakeTeacher())
    assert content(tmp_path / "stopped") == content(tmp_path / "whole")


def test_what_was_labelled_before_an_error_is_kept(items, tmp_path, monkeypatch):
    with pytest.raises(TeacherError, match="not finite"):
        label(items, tmp_path, stopping_after(7, TeacherError("not finite"), monkeypatch))
    assert label(items, tmp_path, FakeTeacher()).before == 6


KILLING = """
import os, signal, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_labels as tests
tests.label_module.SHARD, tests.label_module.CHUNK = 4, 2
os.fsync = lambda _: None  # slow on a busy disk; a kill loses no written file
folder = Path({folder!r})
for number in range(0, 10, 2):
    child = os.fork()
    if not child:
        tests.label(tests.texts(60), folder, tests.FakeTeacher(seconds=0.002))
        os._exit(0)
    while len(list(folder.glob("*.parquet"))) < number:  # the first is killed at once, each later one goes further
        time.sleep(0.001)
    time.sleep(0.002 * number)  # somewhere in the next shard
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(len(list(folder.glob("*.parquet"))))
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX")
def test_kill_9_loses_and_doubles_nothing(tmp_path):
    """Five real processes, each killed at another moment of the work that the one before left."""
    script = KILLING.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "killed"))
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True
    )
    shards = [int(line) for line in result.stdout.split()]
    assert shards == sorted(shards)
    assert shards[-1] >= 8
    label(texts(60), tmp_path / "killed", FakeTeacher())
    label(texts(60), tmp_path / "whole", FakeTeacher())
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    assert not list((tmp_path / "killed").glob("*.new"))
    check_complete(tmp_path / "killed")


@pytest.mark.parametrize("step", ["open", "fsync", "replace", "folder"])
def test_a_shard_appears_whole_or_not_at_all(step, tmp_path, monkeypatch):
    description = Description("fake", ABOUT, ("search", "match"), 5)

    def crash(*_):
        raise KeyboardInterrupt

    with open_labels(tmp_path, description) as store:
        store.want(set(example_labels().keys))
        with monkeypatch.context() as patch:
            if step == "folder":
                patch.setattr(durable, "sync_folder", crash)
            elif step == "open":
                patch.setattr(shard_module, "_sealed", crash)
            else:
                patch.setattr(os, step, crash)
            with pytest.raises(KeyboardInterrupt):
                store.append(example_labels())
    assert shard_path(tmp_path, 0).exists() == (step == "folder")
    with open_labels(tmp_path, description) as store:
        assert store.keys == (set(example_labels().keys) if step == "folder" else set())
    assert not list(tmp_path.glob("*.new"))


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"labels-00000\.parquet: cannot be written: No space left on device"):
        write_shard(shard_path(tmp_path, 0), example_labels(), {})


def test_a_second_process_cannot_label_into_the_same_folder(tmp_path):
    entered, leave = threading.Event(), threading.Event()
    teacher = FakeTeacher()

    def hold():
        with open_labels(tmp_path, label_module.describe(teacher, ["match", "search"])):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(10)
    try:
        with pytest.raises(DataError, match="another process labels into it"):
            label(texts(3), tmp_path, teacher)
    finally:
        leave.set()
        thread.join()
    assert label(texts(3), tmp_path, teacher).now == 3


def test_an_item_cannot_be_appended_twice(tmp_path):
    with open_labels(tmp_path, Description("fake", ABOUT, ("search", "match"), 5)) as store:
        store.append(example_labels())
        with pytest.raises(ValueError, match="twice"):
            store.append(example_labels(4))


# -- what is not mixed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"model": "other"}, "teacher fake-1-float32-100 instead of other-1-float32-100"),
        ({"revision": "2"}, "its revision 1 instead of 2"),
        ({"dtype": "bfloat16"}, "its dtype float32 instead of bfloat16"),
        ({"max_pixels": 50}, "its max_pixels 100 instead of 50"),
    ],
)
def test_labels_of_another_teacher_are_refused_with_both_named(change, differs, items, tmp_path):
    label(items, tmp_path, FakeTeacher())
    before = content(tmp_path)
    with pytest.raises(DataError, match=rf"labels\.json: .*{differs}.*choose another folder"):
        label(items, tmp_path, FakeTeacher(ABOUT | change))
    assert content(tmp_path) == before


def test_other_routes_are_refused_with_both_named(items, tmp_path):
    label(items, tmp_path, FakeTeacher(), tasks=["query"])
    with pytest.raises(
        DataError,
        match="routes search instead of match, search, tasks .* instead of .*: choose another folder",
    ):
        label(items, tmp_path, FakeTeacher())


def test_the_order_of_tasks_is_no_difference(items, tmp_path):
    label(items, tmp_path, FakeTeacher())
    assert label(items, tmp_path, FakeTeacher(routes=dict(reversed(ROUTES.items())))).now == 0


def test_a_shard_of_another_store_is_refused_by_name(items, tmp_path):
    label(items, tmp_path / "here", FakeTeacher())
    label(texts(4, 50), tmp_path / "there", FakeTeacher(ABOUT | {"dtype": "bfloat16"}))
    shard_path(tmp_path / "there", 0).rename(shard_path(tmp_path / "here", 7))
    refused = r"labels-00007\.parquet: .*dtype bfloat16 instead of float32: it comes from another store"
    with pytest.raises(DataError, match=refused):
        list(read_shards(tmp_path / "here"))
    with pytest.raises(DataError, match=refused):
        label(items, tmp_path / "here", FakeTeacher())


def test_a_shard_of_the_same_teacher_and_routes_may_join(items, tmp_path):
    """So that two machines can share the work."""
    label(items, tmp_path / "here", FakeTeacher())
    label(texts(4, 50), tmp_path / "there", FakeTeacher())
    shard_path(tmp_path / "there", 0).rename(shard_path(tmp_path / "here", 7))
    assert label(items + texts(6, 50), tmp_path / "here", FakeTeacher()).now == 2
    assert shard_path(tmp_path / "here", 8).exists()


def test_a_copy_of_a_shard_is_refused_by_name(items, tmp_path):
    label(items, tmp_path, FakeTeacher())
    shard_path(tmp_path, 5).write_bytes(shard_path(tmp_path, 1).read_bytes())
    with pytest.raises(DataError, match=r"labels-00005\.parquet: holds items that labels-00001\.parquet"):
        label(items, tmp_path, FakeTeacher())


def test_the_description_is_kept_beside_the_shards_and_in_each(items, tmp_path):
    label(items, tmp_path, FakeTeacher())
    expected = {"format": 3, "teacher": "fake-1-float32-100", "about": ABOUT, "dim": 8, "tasks": ROUTES}
    expected |= {"routes": ["match", "search"]}
    assert read_description(tmp_path) == {**expected, "items": 10}
    metadata = pq.read_schema(shard_path(tmp_path, 1)).metadata
    assert json.loads(metadata[b"unbraid.description"]) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot be read"),
        ("[]", "format"),
        ('{"teacher": "fake", "items": 3, "sha256": "x"}', "format 1, this version reads 3"),
        ('{"format": 3, "teacher": "fake", "items": "3"}', "about, routes, dim, tasks, items missing"),
    ],
)
def test_a_description_that_cannot_be_used_is_refused_by_name(text, says, items, tmp_path):
    (tmp_path / "labels.json").write_text(text)
    for use in (
        lambda: label(items, tmp_path, FakeTeacher()),
        lambda: read_shards(tmp_path),
    ):
        with pytest.raises(DataError, match=rf"labels\.json: .*{says}"):
            use()


# -- shards --------------------------------------------------------------------------------------------------

unicode_text = st.text(max_size=20)


@given(st.data(), st.integers(1, 6), st.integers(1, 9), st.sets(unicode_text, min_size=1, max_size=3))
@settings(max_examples=10, deadline=None)
def test_what_is_written_is_read_back(tmp_path_factory, data, n, dim, routes):
    names, modalities, anchors, keys = (
        data.draw(st.lists(strategy, min_size=n, max_size=n))
        for strategy in (unicode_text, st.sampled_from(["text", "code"]), unicode_text, unicode_text)
    )
    rng = np.random.default_rng(n)
    vectors = {route: rng.standard_normal((n, dim)).astype(np.float16) for route in routes}
    path = shard_path(tmp_path_factory.mktemp("shard"), 0)
    write_shard(path, Labels(names, modalities, anchors, vectors, keys), {"teacher": "fake"})
    found, description = read_shard(path)
    assert (found.texts, found.modalities, found.anchors, found.keys) == (names, modalities, anchors, keys)
    assert description == {"teacher": "fake"}
    assert read_keys(path) == (keys, description)
    assert set(found.vectors) == routes
    for route in routes:
        assert found.vectors[route].dtype == np.float16
        np.testing.assert_array_equal(found.vectors[route], vectors[route])


def test_a_text_that_looks_like_a_seal_does_no_harm(tmp_path):
    text = "unbraid:sha256:" + "0" * 64
    path = shard_path(tmp_path, 0)
    write_shard(path, replace(example_labels(1), texts=[text], anchors=[text]), {"teacher": text})
    assert read_shard(path)[0].texts == [text]


def test_shards_are_read_in_order_of_their_numbers(tmp_path):
    label(texts(1), tmp_path / "all", FakeTeacher())
    for number in (100_000, 99_999, 7):
        label(texts(1, number), tmp_path / f"{number}", FakeTeacher())
        shard_path(tmp_path / f"{number}", 0).rename(shard_path(tmp_path / "all", number))
    found = [shard.texts for shard in read_shards(tmp_path / "all")]
    assert found == [["text 0"], ["text 7"], ["text 99999"], ["text 100000"]]


def test_a_folder_without_labels_says_what_to_run(tmp_path):
    for use in (read_shards, read_description):
        with pytest.raises(DataError, match="run `unbraid train label` first"):
            use(tmp_path / "nowhere")
    with open_labels(tmp_path, Description("fake", ABOUT, ("search",), 5)) as store:
        store.want({"a"})
    with pytest.raises(DataError, match="no label shards here: run `unbraid train label` first"):
        read_shards(tmp_path)


def test_no_changed_byte_of_a_shard_goes_unnoticed(tmp_path):
    path = shard_path(tmp_path, 3)
    write_shard(path, example_labels(2), {"teacher": "fake"})
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [whole[:end] for end in range(0, len(whole), 50)] + [whole + b"\0", whole[1:], whole + whole]
    for place in rng.choice(len(whole), 400, replace=False):
        changed = whole[place] ^ int(rng.choice([1, 128, rng.integers(1, 256)]))
        damaged.append(whole[:place] + bytes([changed]) + whole[place + 1 :])
    for content_ in damaged:
        path.write_bytes(content_)
        with pytest.raises(DataError, match=r"labels-00003\.parquet: not a label shard"):
            read_shard(path)
    path.write_bytes(damaged[-1])
    with pytest.raises(DataError, match=r"labels-00003\.parquet: not a label shard"):
        read_keys(path)


def test_a_parquet_file_that_is_no_shard_is_refused(tmp_path):
    path = shard_path(tmp_path, 0)
    pq.write_table(pa.table({"key": ["a"], "text": ["a"], "modality": ["text"], "anchor": [""]}), path)
    with pytest.raises(DataError, match="not a label shard: .*`unbraid train label` did not write it"):
        read_shard(path)


def test_a_damaged_shard_is_labelled_again_once_it_is_deleted(items, tmp_path):
    label(items, tmp_path, FakeTeacher())
    before = content(tmp_path)
    shard_path(tmp_path, 1).write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"labels-00001\.parquet: not a label shard.*delete it"):
        label(items, tmp_path, FakeTeacher())
    shard_path(tmp_path, 1).unlink()
    assert sum(len(shard.keys) for shard in read_shards(tmp_path)) == 6
    assert label(items, tmp_path, FakeTeacher()).now == 4
    assert content(tmp_path) == before


# -- checking ------------------------------------------------------------------------------------------------


def altered(folder, number, change):
    """Rewrite one shard as `change` makes it, seal and all."""
    labels, description = read_shard(shard_path(folder, number))
    write_shard(shard_path(folder, number), change(labels), description)


def test_a_good_store_passes_its_check(items, tmp_path):
    label(items, tmp_path, FakeTeacher())
    for sample in (1, 3, 10, 64):
        found = check_labels(items, tmp_path, FakeTeacher(), sample=sample)
        assert sorted(one.route for one in found) == ["match", "search"]
        assert all(one.items == min(sample, 10) and one.least > 0.999999 for one in found)


def test_a_check_computes_only_its_sample(items, tmp_path):
    label(items, tmp_path, FakeTeacher())
    teacher = FakeTeacher()
    check_labels([], tmp_path, teacher, tasks=["query"], sample=3)
    assert [len(given) for _, given in teacher.asked] == [3]


def test_a_check_of_a_part_of_the_routes(items, tmp_path):
    label(items, tmp_path, FakeTeacher(), tasks=["query"])
    assert [one.route for one in check_labels(items, tmp_path, FakeTeacher())] == ["search"]
    with pytest.raises(DataError, match="holds the routes search, not match"):
        check_labels(items, tmp_path, FakeTeacher(), tasks=["code"])


def test_code_is_checked_as_code(tmp_path):
    label([TrainingItem("getName()", "code")], tmp_path, FakeTeacher())
    teacher = FakeTeacher()
    check_labels([], tmp_path, teacher)
    assert type(teacher.asked[0][1][0]) is Code


@pytest.mark.parametrize(
    "wrong",
    [np.negative, lambda v: np.roll(v, 1, axis=0), lambda v: v * 2, np.zeros_like, lambda v: v * np.nan],
    ids=["turned", "of another item", "too long", "zero", "not finite"],
)
def test_altered_vectors_fail_the_check(wrong, items, tmp_path):
    label(items, tmp_path, FakeTeacher())
    altered(tmp_path, 1, lambda s: replace(s, vectors={**s.vectors, "search": wrong(s.vectors["search"])}))
    with pytest.raises(
        DataError, match=r"stored search vector of text 'text \d' has cosine .*0\.999 or more"
    ):
        check_labels(items, tmp_path, FakeTeacher())


def test_a_text_that_is_not_its_keys_fails_the_check(items, tmp_path):
    label(items, tmp_path, FakeTeacher())
    altered(tmp_path, 0, lambda s: replace(s, texts=["changed", *s.texts[1:]]))
    with pytest.raises(DataError, match="is not that of its text 'changed'"):
        check_labels(items, tmp_path, FakeTeacher())


def test_a_check_with_another_teacher_is_refused(items, tmp_path):
    label(items, tmp_path, FakeTeacher())
    with pytest.raises(DataError, match="dtype float32 instead of bfloat16"):
        check_labels(items, tmp_path, FakeTeacher(ABOUT | {"dtype": "bfloat16"}))


def test_pictures_are_checked_from_the_data_by_their_content(tmp_path):
    Image.new("RGB", (4, 4), "red").save(tmp_path / "red.png")
    picture = TrainingItem("red.png", "image", picture=tmp_path / "red.png")
    label([picture], tmp_path / "labels", FakeTeacher())
    (tmp_path / "red.png").rename(tmp_path / "moved.png")
    moved = TrainingItem("moved.png", "image", picture=tmp_path / "moved.png")
    assert check_labels([moved], tmp_path / "labels", FakeTeacher())[0].items == 1
    Image.new("RGB", (4, 4), "blue").save(tmp_path / "moved.png")
    with pytest.raises(DataError, match=r"picture 'red\.png' is not in the data, or changed"):
        check_labels([moved], tmp_path / "labels", FakeTeacher())


# -- a file of items -----------------------------------------------------------------------------------------


def test_rows_of_a_file_are_items(tmp_path):
    Image.new("RGB", (4, 4), "red").save(tmp_path / "red.png")
    rows = [
        {"text": " a text ", "source": "somewhere"},
        {"code": "x = 1"},
        {"code": "y = 2", "anchor": "two"},
        {"image": "red.png"},
    ]
    path = tmp_path / "items.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert file_items(path) == [
        TrainingItem(" a text ", "text"),
        TrainingItem("x = 1", "code"),
        TrainingItem("y = 2", "code", "two"),
        TrainingItem("red.png", "image", picture=tmp_path / "red.png"),
    ]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("{", "expected JSON"),
        ("[1]", "expected a JSON object"),
        ("{}", "found only an empty object, expected one of the fields text, code, image"),
        (
            '{"anchor": "a", "positive": "b"}',
            "found only anchor, positive, expected one of the fields text, code",
        ),
        ('{"text": "a", "code": "b"}', "found text and code, expected one of the fields"),
        ('{"text": 7}', "found text '7', expected text in the field text"),
        ('{"text": null}', "found text 'None', expected text in the field text"),
        ('{"text": " \\n"}', "found an empty text"),
        ('{"code": "x", "anchor": 7}', "found anchor '7', expected text in the field anchor"),
        ('{"text": "x", "anchor": "y"}', "found an anchor beside text, expected an anchor beside code only"),
        ('{"image": "no.png"}', "no picture 'no.png' in"),
        ('{"image": "a\\u0000b"}', "no picture"),
        ('{"image": "."}', "no picture '.' in"),
        (json.dumps({"image": "x" * 5000}), "no picture"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(row, says, tmp_path):
    path = tmp_path / "items.jsonl"
    path.write_text('{"text": "good"}\n' + row + "\n")
    with pytest.raises(DataError, match=r"items\.jsonl, line 2: ") as error:
        file_items(path)
    assert says in str(error.value)


@pytest.mark.parametrize("name", ["absent.jsonl", "items.csv"])
def test_a_file_that_holds_no_items_is_refused_by_name(name, tmp_path):
    (tmp_path / "items.csv").write_text("a,b\n")
    with pytest.raises(DataError, match=name):
        file_items(tmp_path / name)


def test_a_lone_surrogate_of_a_file_can_be_stored(tmp_path):
    path = tmp_path / "items.jsonl"
    path.write_text('{"code": "cut \\ud83d", "anchor": "\\udc00"}\n')
    label(file_items(path), tmp_path / "labels", FakeTeacher())
    assert next(read_shards(tmp_path / "labels")).texts == ["cut \ufffd"]


def test_the_numbers_of_shards_start_behind_the_last(items, tmp_path):
    label(items, tmp_path, FakeTeacher())
    shard_path(tmp_path, 0).unlink()
    label(items, tmp_path, FakeTeacher())
    assert [labels_module._number(path) for path in labels_module._shards(tmp_path)] == [1, 2, 3]
