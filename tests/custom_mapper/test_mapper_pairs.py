import gzip
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.custom_mapper.mapper_pairs import Pairs, read_pairs
from unbraid.errors import DataError
from unbraid.items import Code


def write(place, *rows):
    place.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return place


@pytest.fixture
def place(tmp_path):
    return tmp_path / "pairs.jsonl"


def test_queries_positives_and_negatives_under_either_name(place):
    rows = (
        {"query": "q", "positive": "d", "negative": "n"},
        {"anchor": "r", "document": "e", "negative": None},
    )
    pairs = read_pairs(write(place, *rows, ""))
    assert (pairs.left, pairs.right, pairs.negative) == (["q", "r"], ["d", "e"], ["n", None])
    assert pairs.grades is None


def test_graded_pairs(place):
    pairs = read_pairs(write(place, {"a": "x", "b": "y", "score": 3}, {"a": "z", "b": "y", "score": 0.5}))
    assert list(pairs.grades) == [3, 0.5] and pairs.left == ["x", "z"]


def test_code_is_what_the_row_says(place):
    pairs = read_pairs(write(place, {"query": "q", "positive": "f()", "negative": "g()", "modality": "code"}))
    assert [type(side[0]) for side in (pairs.left, pairs.right, pairs.negative)] == [str, Code, Code]


def test_gzip(tmp_path):
    place = tmp_path / "pairs.jsonl.gz"
    place.write_bytes(gzip.compress(b'{"query": "q", "positive": "d"}\n'))
    assert len(read_pairs(place)) == 1


GOOD = {"query": "q", "positive": "d"}


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("{", "expected JSON"),
        ("[1]", "expected a JSON object"),
        ({"query": "q"}, "no field 'positive' or 'document'"),
        ({"positive": "d"}, "no field 'query' or 'anchor'"),
        ({"query": " ", "positive": "d"}, "'query' ' '"),
        ({"query": "q", "positive": 7}, "'positive' '7'"),
        ({"query": "q", "positive": "d", "negative": []}, "'negative' "),
        ({"query": "q", "positive": "d", "modality": "image"}, "'modality' 'image'"),
        ({"a": "x", "b": "y", "score": 1}, "split the file"),
    ],
    ids=str,
)
def test_a_wrong_row_is_named_by_its_line(place, row, fault):
    with pytest.raises(DataError, match=f"pairs.jsonl, line 2: .*{fault}"):
        read_pairs(write(place, GOOD, row))


@pytest.mark.parametrize("score", ["high", None, True, float("nan")])
def test_a_grade_is_a_number(place, score):
    with pytest.raises(DataError, match="line 1: found 'score'"):
        read_pairs(write(place, {"a": "x", "b": "y", "score": score}))


def test_no_pairs_no_file_and_no_gzip(tmp_path, place):
    with pytest.raises(DataError, match="holds no pairs"):
        read_pairs(write(place, ""))
    with pytest.raises(DataError, match=r"gone.jsonl"):
        read_pairs(tmp_path / "gone.jsonl")
    (tmp_path / "bad.jsonl.gz").write_bytes(b"not gzip")
    with pytest.raises(DataError, match=r"bad.jsonl.gz"):
        read_pairs(tmp_path / "bad.jsonl.gz")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_pairs_or_a_data_error(tmp_path_factory, content):
    place = tmp_path_factory.getbasetemp() / "any.jsonl"
    place.write_bytes(content)
    with pytest.raises(DataError, match=r"any.jsonl"):
        read_pairs(place)


def test_pairs_that_share_a_text_are_a_group_also_through_others():
    pairs = Pairs(list("abcda"), list("xyyzw"), [None] * 5, None)
    groups = pairs.groups()
    assert groups[1] == groups[2] and groups[0] == groups[4]
    assert len(np.unique(groups)) == 3


def test_take_keeps_rows_together():
    pairs = Pairs(list("abc"), list("xyz"), [None, "n", None], np.array([1.0, 2, 3]))
    some = pairs.take(np.array([2, 1]))
    assert (some.left, some.right, some.negative, list(some.grades)) == (
        ["c", "b"],
        ["z", "y"],
        [None, "n"],
        [3, 2],
    )
