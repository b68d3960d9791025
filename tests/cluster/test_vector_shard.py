import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unbraid.cluster.corpus import Shard, Source
from unbraid.cluster.vector_shard import read_about, source_of, write_shard
from unbraid.errors import DataError

SHARD = Shard(Source("/corpus/sub/a.parquet", "sub/a", 5, 100, 7), 2, 5)
VECTORS = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.int8, np.uint8])
def test_a_shard_keeps_ids_vectors_and_reasons(tmp_path, kind):
    vectors = VECTORS.astype(kind)
    write_shard(tmp_path, SHARD, pa.array([7, 8, None]), vectors, [None, "bad", None], {"base_id": "b"})
    table = pq.read_table(tmp_path / "sub" / "a-000000000002.parquet")
    assert table["vector"].type == pa.list_(pa.from_numpy_dtype(kind), 4)
    assert table.to_pylist() == [
        {"id": 7, "vector": vectors[0].tolist(), "error": None},
        {"id": 8, "vector": None, "error": "bad"},
        {"id": None, "vector": vectors[2].tolist(), "error": None},
    ]
    np.testing.assert_array_equal(
        table["vector"].combine_chunks().flatten().to_numpy().reshape(-1, 4), vectors[[0, 2]]
    )


def test_a_shard_says_what_it_was_made_from_and_with(tmp_path):
    write_shard(tmp_path, SHARD, pa.array([1, 2, 3]), VECTORS, [None, "bad", None], {"base_id": "b"})
    assert read_about(tmp_path / SHARD.out) == {"base_id": "b", "rejected": 1, "source": source_of(SHARD)}


def test_nothing_but_the_whole_file_is_ever_there(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="a-000000000002.parquet: cannot be written: No space left on device"):
        write_shard(tmp_path, SHARD, pa.array([1, 2, 3]), VECTORS, [None] * 3, {})
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_another_file_is_no_shard(tmp_path):
    pq.write_table(pa.table({"id": [1]}), tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_text("nothing")
    for name in ("a.parquet", "b.parquet"):
        with pytest.raises(DataError, match=f"{name} is not a shard of vectors"):
            read_about(tmp_path / name)
