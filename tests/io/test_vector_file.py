"""One writer for every vector file; what an index writes with it is in tests/index/test_task_vectors.py."""

import json
from pathlib import Path

import numpy as np
import pytest

from unbraid.errors import DataError
from unbraid.io.vector_file import check_suffix, vector_file

ROWS = [{"item": "a.md"}, {"item": "ä\ud800.md"}]
VECTORS = np.array([[1, 2, 3], [4, 5, 6]], np.float32)


def write(out: Path) -> None:
    with vector_file(out, {"task": "query"}, {"item": str}, 3, VECTORS.dtype) as file:
        for row, vector in zip(ROWS, VECTORS, strict=True):
            file.write([row], vector[None])


def test_rows_of_one_column_are_plain_values_beside_an_array(tmp_path: Path) -> None:
    write(tmp_path / "v.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), VECTORS)
    about = json.loads((tmp_path / "v.npy.json").read_text(encoding="utf-8"))
    assert about == {"task": "query", "items": ["a.md", "ä\ufffd.md"]}


def test_every_json_line_says_what_made_it(tmp_path: Path) -> None:
    write(tmp_path / "v.jsonl")
    first, _ = (tmp_path / "v.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(first) == {"item": "a.md", "task": "query", "vector": [1, 2, 3]}


@pytest.mark.parametrize("name", ["v.npy", "v.jsonl"])
def test_an_error_leaves_the_old_file(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    old = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with (
        pytest.raises(KeyboardInterrupt),
        vector_file(tmp_path / name, {}, {"item": str}, 3, VECTORS.dtype) as file,
    ):
        file.write(ROWS[:1], VECTORS[:1])
        raise KeyboardInterrupt
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == old


@pytest.mark.parametrize(("name", "says"), [("v.csv", "unknown kind"), ("no/v.npy", "does not exist")])
def test_a_wrong_place_is_refused_before_any_work(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        check_suffix(tmp_path / name)
