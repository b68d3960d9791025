"""Pairs from files, what is kept out of them, and the batches drawn from them."""

import gzip
import io
import json
import os
import tarfile

import pytest
import torch
from PIL import Image

from unbraid.errors import DataError
from unbraid.items import Code
from unbraid.teacher.adapters import training_pairs as module
from unbraid.teacher.adapters.adapter_recipe import Source, Stage
from unbraid.teacher.adapters.train_stage import draw_batch
from unbraid.teacher.adapters.training_pairs import (
    PairSet,
    RawPairs,
    Side,
    encode_pairs,
    read_pairs,
    some_pairs,
    texts_of,
    without,
)
from unbraid.teacher.inputs import Input
from unbraid.teacher.routes import STARTER
from unbraid.training.data_split import is_dev


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def read(folder, *, train=True, seed=0, file="some/rows.jsonl.gz", **fields):
    source = Source(file=file, licence="MIT", **fields)
    return read_pairs(source, folder, seed=seed, train=train, pictures=folder / "pictures")


def picture_rows(folder, name, colors):
    """NAME.jsonl.gz with a caption and an alt text a picture, and its NAME.tar."""
    rows = []
    with tarfile.open(folder / f"{name}.tar", "w") as tar:
        for number, color in enumerate(colors):
            stream = io.BytesIO()
            Image.new("RGB", (8, 8), color).save(stream, "PNG")
            entry = tarfile.TarInfo(f"{number}.png")
            entry.size = len(stream.getvalue())
            tar.addfile(entry, io.BytesIO(stream.getvalue()))
            split = "dev" if number == 0 else "train"
            rows.append({"file": entry.name, "split": split, "caption": f"a {color} square", "alt": color})
    write_rows(folder / f"{name}.jsonl.gz", rows)


# -- reading -------------------------------------------------------------------------------------------------


def test_texts_are_read_from_the_fields_that_the_source_names(tmp_path):
    write_rows(
        tmp_path / "some/rows.jsonl.gz", [{"q": " one? ", "answer": "1"}, {"q": "two?", "answer": "2"}]
    )
    found = read(tmp_path, anchor="q", positive="answer", alias="numbers")
    assert found == RawPairs("numbers", ["one?", "two?"], ["1", "2"], None)


def test_the_positives_of_a_code_source_are_code(tmp_path):
    write_rows(tmp_path / "some/rows.jsonl.gz", [{"anchor": "adds", "positive": "a + b"}])
    found = read(tmp_path, kind="code")
    assert found.right == [Code("a + b")]
    assert (type(found.left[0]), type(found.right[0])) == (str, Code)


def test_graded_pairs_keep_their_scores(tmp_path):
    write_rows(
        tmp_path / "some/rows.jsonl.gz",
        [{"a": "x", "b": "y", "score": 3}, {"a": "v", "b": "w", "score": 0.5}],
    )
    assert read(tmp_path, kind="graded") == RawPairs("some/rows.jsonl.gz", ["x", "v"], ["y", "w"], [3.0, 0.5])


def test_pictures_are_unpacked_beside_their_captions(tmp_path):
    picture_rows(tmp_path, "photos", ["red", "green", "blue"])
    found = read(tmp_path, file="photos.jsonl.gz", kind="picture", anchor="caption")
    assert found.left == ["a green square", "a blue square"]
    assert [Image.open(path).getpixel((0, 0)) for path in found.right] == [(0, 128, 0), (0, 0, 255)]


def test_pictures_of_two_archives_may_have_the_same_names(tmp_path):
    picture_rows(tmp_path, "first", ["red", "green"])
    picture_rows(tmp_path, "second", ["red", "blue"])
    found = [
        read(tmp_path, file=f"{name}.jsonl.gz", kind="picture", anchor="alt") for name in ("first", "second")
    ]
    assert [Image.open(one.right[0]).getpixel((0, 0)) for one in found] == [(0, 128, 0), (0, 0, 255)]


def test_a_missing_archive_is_named(tmp_path):
    picture_rows(tmp_path, "photos", ["red", "green"])
    (tmp_path / "photos.tar").unlink()
    with pytest.raises(DataError, match=r"photos\.tar: cannot be read"):
        read(tmp_path, file="photos.jsonl.gz", kind="picture", anchor="caption")


def test_dev_rows_are_left_out_of_training_alone(tmp_path):
    rows = [{"anchor": f"text {number}", "positive": "answer"} for number in range(200)]
    write_rows(tmp_path / "some/rows.jsonl.gz", rows)
    expected = [row["anchor"] for row in rows if not is_dev(row)]
    assert read(tmp_path).left == expected and len(expected) < 200
    assert len(read(tmp_path, train=False).left) == 200


def test_a_limit_is_a_sample_by_the_seed(tmp_path):
    rows = [{"anchor": f"text {number}", "positive": str(number)} for number in range(60)]
    write_rows(tmp_path / "some/rows.jsonl.gz", rows)
    first, again, other = (read(tmp_path, limit=10, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len(set(first.left)) == len(set(other.left)) == 10
    assert all(a == f"text {b}" for a, b in zip(first.left, first.right, strict=True))


def test_only_rows_of_the_named_sets_are_read(tmp_path):
    rows = [{"a": one, "b": one, "score": 1, "set": one} for one in ("2012/x", "2013/x", "2014/y")]
    write_rows(tmp_path / "some/rows.jsonl.gz", [*rows, {"a": "none", "b": "none", "score": 1}])
    assert read(tmp_path, kind="graded", sets=("2012/x", "2014/y")).left == ["2012/x", "2014/y"]


def test_rows_with_an_empty_side_are_left_out(tmp_path):
    rows = [("a", ""), (" ", "b"), ("c", None), ("d", "e")]
    write_rows(tmp_path / "some/rows.jsonl.gz", [{"anchor": a, "positive": b} for a, b in rows])
    assert read(tmp_path).left == ["d"]


def test_a_file_without_any_pair_is_refused(tmp_path):
    write_rows(tmp_path / "some/rows.jsonl.gz", [{"anchor": "a", "positive": ""}])
    with pytest.raises(
        DataError, match=r"some/rows\.jsonl\.gz: no pair with text in 'anchor' and 'positive'"
    ):
        read(tmp_path)


@pytest.mark.parametrize(
    ("row", "fields", "missing"),
    [
        ({"anchor": "a"}, {}, "positive"),
        ({"positive": "a"}, {}, "anchor"),
        ({"anchor": "a", "code": "b"}, {"kind": "code", "positive": "snippet"}, "snippet"),
        ({"a": "x", "score": 1}, {"kind": "graded"}, "b"),
        ({"a": "x", "b": "y"}, {"kind": "graded"}, "score"),
    ],
)
def test_a_missing_field_is_named_with_its_file(tmp_path, row, fields, missing):
    write_rows(tmp_path / "some/rows.jsonl.gz", [row])
    with pytest.raises(
        DataError, match=rf"some/rows\.jsonl\.gz, line 1: .*no field '{missing}', only {', '.join(row)}"
    ):
        read(tmp_path, train=False, **fields)


@pytest.mark.parametrize("score", ["high", None])
def test_a_score_that_is_no_number_is_refused(tmp_path, score):
    write_rows(tmp_path / "some/rows.jsonl.gz", [{"a": "x", "b": "y", "score": score}])
    with pytest.raises(DataError, match=rf"some/rows\.jsonl\.gz, line 1: .*score.*{score}"):
        read(tmp_path, kind="graded", train=False)


def test_a_score_of_pairs_that_are_not_graded_is_not_looked_at(tmp_path):
    write_rows(tmp_path / "some/rows.jsonl.gz", [{"anchor": "x", "positive": "y", "score": None}])
    assert read(tmp_path, train=False).grades is None


def test_lone_surrogates_are_replaced(tmp_path):
    write_rows(tmp_path / "some/rows.jsonl.gz", [{"anchor": "a \ud83d b", "positive": "\ud83d\ude00"}])
    found = read(tmp_path, train=False)
    assert (found.left, found.right) == (["a \ufffd b"], ["\N{GRINNING FACE}"])


# -- keeping splits apart ------------------------------------------------------------------------------------

PAIRS = RawPairs("pairs", ["One  Thing", "two", "three"], ["a", "B", "c"], [1.0, 2.0, 3.0])


@pytest.mark.parametrize("known", ["one thing", "ONE THING", " One\tThing ", "A"])
def test_shared_texts_are_dropped_whatever_their_case_and_spaces(known):
    shared = texts_of(RawPairs("held out", [known], ["x"], None))
    assert without(PAIRS, shared) == RawPairs("pairs", ["two", "three"], ["B", "c"], [2.0, 3.0])


def test_nothing_shared_drops_nothing():
    assert without(PAIRS, texts_of(RawPairs("held out", ["four"], ["d"], None))) == PAIRS


def test_pairs_that_are_all_shared_are_refused():
    with pytest.raises(DataError, match="pairs: .*held out"):
        without(PAIRS, texts_of(PAIRS))


def test_some_pairs_are_a_sample_by_the_seed():
    first, again = (some_pairs(PAIRS, 2, 3) for _ in range(2))
    assert first == again and len(first.left) == 2
    assert {*zip(first.left, first.right, first.grades, strict=True)} <= {
        *zip(PAIRS.left, PAIRS.right, PAIRS.grades, strict=True)
    }
    assert sorted(some_pairs(PAIRS, 9, 0).left) == sorted(PAIRS.left)


# -- encoding ------------------------------------------------------------------------------------------------


class WordReader:
    """Reads a text as its characters, and a Code as those of its upper case."""

    def read_texts(self, texts, routes):
        written = [
            text.upper() if isinstance(text, Code) else route.prompt + text
            for text, route in zip(texts, routes, strict=True)
        ]
        return [Input([ord(c) for c in text], (0, len(text))) for text in written]


@pytest.fixture
def encoded(tmp_path, monkeypatch):
    """Encode pairs with a stand-in for the backbone; `.calls` lists what it was asked for."""
    calls = []

    def fake(model, inputs, *, batch_tokens, what):
        calls.append(len(inputs))
        return torch.tensor([[float(one.ids[0]), len(one.ids)] for one in inputs])

    monkeypatch.setattr(module, "vectors_of", fake)

    def encode(pairs, tasks=("query", "document")):
        routes = STARTER[tasks[0]], STARTER[tasks[1]]
        return encode_pairs(pairs, None, WordReader(), routes, batch_tokens=10, cache=tmp_path / "vectors")

    encode.calls = calls
    return encode


def test_items_that_come_twice_are_encoded_once(encoded):
    found = encoded(RawPairs("pairs", ["q", "q", "r"], ["a", "b", "a"], None))
    assert (found.left.items, found.right.items) == (["q", "r"], ["a", "b"])
    assert found.rows.tolist() == [[0, 0], [0, 1], [1, 0]]
    assert found.positives == [{0, 1}, {0}]
    assert encoded.calls == [2, 2]
    assert found.negatives.shape == (2, 0)


def test_vectors_are_read_from_the_cache_the_second_time(encoded):
    pairs = RawPairs("pairs", ["q", "r"], ["abc", "b"], None)
    first = encoded(pairs)
    encoded.calls.clear()
    second = encoded(pairs)
    assert not encoded.calls
    assert torch.equal(first.right.vectors, second.right.vectors)
    assert first.right.vectors.tolist() == [[97, 3], [98, 1]]


def test_two_processes_may_fill_the_cache_at_once(encoded, monkeypatch):
    """The second one comes and goes between the first one's writing and its putting in place."""
    pairs, whole, ids = RawPairs("pairs", ["q"], ["a"], None), module.save_file, iter([1, 2])

    def interrupted(*arguments):
        whole(*arguments)
        monkeypatch.setattr(module, "save_file", whole)
        encoded(pairs)

    monkeypatch.setattr(os, "getpid", lambda: next(ids, 3))
    monkeypatch.setattr(module, "save_file", interrupted)
    assert encoded(pairs).right.vectors.tolist() == [[97, 1]]


def test_other_items_are_not_taken_from_the_cache(encoded):
    encoded(RawPairs("pairs", ["q"], ["a"], None))
    encoded.calls.clear()
    assert encoded(RawPairs("pairs", ["q"], ["b"], None)).right.vectors.tolist() == [[98, 1]]
    assert encoded.calls == [1]


def test_code_and_text_of_the_same_characters_are_not_mistaken_in_the_cache(encoded):
    text = encoded(RawPairs("text", ["q"], ["abc"], None))
    code = encoded(RawPairs("code", ["q"], [Code("abc")], None))
    assert (text.right.vectors.tolist(), code.right.vectors.tolist()) == ([[97, 3]], [[65, 3]])


def test_graded_pairs_have_their_grades(encoded):
    found = encoded(RawPairs("graded", ["x", "y"], ["z", "z"], [1.0, 4.5]), ("symmetric", "symmetric"))
    assert found.grades.tolist() == [1.0, 4.5]


# -- drawing -------------------------------------------------------------------------------------------------


def pair_set(name, rows, vectors=None, *, grades=None, negatives=None):
    """Pairs whose left item i is read as [i] and right item j as [100 + j]; by default all are orthogonal."""
    lefts, rights = (1 + max(row[side] for row in rows) for side in (0, 1))
    if negatives is not None:
        rights = max(rights, 1 + max(max(row) for row in negatives))
    left, right = vectors or (torch.eye(lefts, lefts + rights), torch.eye(lefts + rights)[lefts:])

    def side(count, offset, vectors):
        inputs = [Input([offset + number], (0, 1)) for number in range(count)]
        return Side([str(one.ids[0]) for one in inputs], inputs, None, vectors)

    positives = [{b for a, b in rows if a == one} for one in range(lefts)]
    return PairSet(
        name,
        side(lefts, 0, left),
        side(rights, 100, right),
        torch.tensor(rows),
        None if grades is None else torch.tensor(grades),
        positives,
        torch.tensor(negatives) if negatives is not None else torch.empty((lefts, 0), dtype=torch.long),
    )


def drawn(sets, key="1", *, batch=4, negatives=0):
    return draw_batch(sets, Stage(sources=(), steps=1, batch=batch, negatives=negatives), share=0.95, key=key)


def sides(found):
    ids = [one.ids[0] for one in found.inputs]
    return ids[: found.count], [place - 100 for place in ids[found.count :]]


MANY = [(a, b) for a in range(12) for b in (a, (a + 1) % 12)]  # every item in two pairs


@pytest.mark.parametrize("key", ["1", "2", "3"])
def test_each_item_is_in_a_batch_once(key):
    left, right = sides(drawn([pair_set("many", MANY)], key, batch=8))
    assert len(set(left)) == len(left) and len(set(right)) == len(right)
    assert len(left) == len(right) and all(pair in MANY for pair in zip(left, right, strict=True))


def test_a_key_repeats_a_batch_and_another_does_not():
    sets = [pair_set("many", MANY), pair_set("few", MANY[:6])]
    first, again, other = (drawn(sets, key) for key in ("17 pair 3 0", "17 pair 3 0", "17 pair 4 0"))
    assert sides(first) == sides(again) != sides(other)
    assert torch.equal(first.unadapted, again.unadapted)


def test_a_batch_is_of_one_source():
    first = pair_set("first", MANY)
    second = pair_set("second", [(a + 20, b + 20) for a, b in MANY])
    batches = [sides(drawn([first, second], str(key)))[0] for key in range(20)]
    assert {min(left) >= 20 for left in batches} == {True, False}
    assert all((min(left) >= 20) == (max(left) >= 20) for left in batches)


def test_a_source_is_drawn_by_the_root_of_its_size():
    large, small = (
        pair_set("large", [(n, n) for n in range(90)]),
        pair_set("small", [(n + 200, n) for n in range(10)]),
    )
    from_small = sum(sides(drawn([large, small], str(key), batch=1))[0][0] >= 200 for key in range(400))
    assert from_small / 400 == pytest.approx(0.25, abs=0.06)  # 1 : 3, not 1 : 9


def test_the_unadapted_vectors_are_those_of_the_inputs():
    one = pair_set("many", MANY)
    found = drawn([one])
    left, right = sides(found)
    assert torch.equal(found.unadapted, torch.cat([one.left.vectors[left], one.right.vectors[right]]))


def test_known_positives_are_excluded():
    found = drawn([pair_set("many", MANY)], batch=8)
    left, right = sides(found)
    assert found.excluded.tolist() == [[(a, b) in MANY for b in right] for a in left]
    assert found.excluded.sum() > found.count  # not the diagonal alone


def test_likely_positives_are_excluded():
    left = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    right = torch.tensor([[0.8, 0.6], [0.8, 0.6]])  # cosine to the second left item 0.6, to the first 0.8
    found = drawn([pair_set("near", [(0, 0), (1, 1)], (left, right))], batch=2)
    assert found.excluded.all()  # either scores as the own positive does


def test_hard_negatives_come_after_the_positives():
    rows = [(n, n) for n in range(6)]
    one = pair_set("hard", rows, negatives=[[6 + n, 12 + n, -1, -1] for n in range(6)])
    found = drawn([one], batch=4, negatives=2)
    left, right = sides(found)
    assert found.count == 4 and right[:4] == left
    assert sorted(right[4:]) == sorted([6 + n for n in left] + [12 + n for n in left])
    assert found.excluded.shape == (4, 12) and len(found.unadapted) == len(found.inputs) == 16


def test_as_many_hard_negatives_as_asked_for_and_as_there_are():
    rows = [(n, n) for n in range(4)]
    one = pair_set("hard", rows, negatives=[[4 + n, 8 + n, 12 + n] for n in range(3)] + [[-1, -1, -1]])
    _, right = sides(drawn([one], batch=4, negatives=1))
    assert len(right) == 4 + 3 and len({(place - 4) % 4 for place in right[4:]}) == 3


def test_a_hard_negative_that_is_already_in_the_batch_is_not_added_again():
    rows = [(n, n) for n in range(4)]
    one = pair_set("hard", rows, negatives=[[(n + 1) % 4, 4] for n in range(4)])
    _, right = sides(drawn([one], batch=4, negatives=2))
    assert sorted(right) == [0, 1, 2, 3, 4]


def test_graded_pairs_may_share_items_and_keep_their_grades():
    rows = [(0, n) for n in range(6)]
    found = drawn([pair_set("graded", rows, grades=[float(n) for n in range(6)])], batch=6)
    left, right = sides(found)
    assert (found.count, left, sorted(right)) == (6, [0] * 6, [0, 1, 2, 3, 4, 5])
    assert found.grades.tolist() == right and found.excluded is None


def test_a_graded_batch_has_the_size_of_the_stage():
    rows = [(n, n) for n in range(9)]
    assert drawn([pair_set("graded", rows, grades=[0.0] * 9)], batch=4).count == 4
