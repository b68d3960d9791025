from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unbraid.cluster.corpus import Columns, find_columns, find_sources, read_rows, split_into_shards
from unbraid.errors import DataError

TEXT = Columns("id", "text", "text")


def write(path: Path, columns: dict[str, object], group: int | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=group)
    return path


def texts(path: Path, rows: int, group: int | None = None) -> Path:
    ids = list(range(rows))
    return write(path, {"id": ids, "text": [f"{path.stem} {number}" for number in ids]}, group)


@given(rows=st.integers(1, 60), group=st.integers(1, 60), length=st.integers(1, 60))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_shards_hold_every_row_once_and_in_order(tmp_path, rows, group, length):
    sources = find_sources([texts(tmp_path / "a.parquet", rows, group)])
    read = [read_rows(shard, TEXT) for shard in split_into_shards(sources, length)]
    assert [number for ids, _ in read for number in ids.to_pylist()] == list(range(rows))
    assert [text for _, content in read for text in content] == [f"a {number}" for number in range(rows)]


def test_a_folder_gives_its_parquet_files_and_those_below_by_name(tmp_path):
    for name in ("b", "sub/a", "_temporary/c", ".hidden"):
        texts(tmp_path / f"{name}.parquet", 1)
    (tmp_path / "note.txt").write_text("no corpus")
    assert [source.name for source in find_sources([tmp_path])] == ["b", "sub/a"]
    assert [shard.out for shard in split_into_shards(find_sources([tmp_path]), 10)][
        1
    ] == "sub/a-000000000000.parquet"


def test_two_files_of_one_name_are_refused(tmp_path):
    paths = [texts(tmp_path / folder / "a.parquet", 1) for folder in ("one", "two")]
    with pytest.raises(DataError, match="give their common folder"):
        find_sources(paths)


def test_an_empty_file_has_no_shards(tmp_path):
    assert split_into_shards(find_sources([texts(tmp_path / "a.parquet", 0)]), 10) == []


def test_a_folder_without_parquet_and_a_broken_file_are_named(tmp_path):
    with pytest.raises(DataError, match=r"no \.parquet files in"):
        find_sources([tmp_path])
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"a\.parquet: cannot be read as Parquet"):
        find_sources([tmp_path])


@pytest.mark.parametrize(
    ("columns", "given", "says"),
    [
        ({"id": [1], "body": ["x"]}, ("id", None, None), "no column text, code or image.*--column"),
        ({"id": [1], "text": ["x"], "code": ["x"]}, ("id", None, None), "columns text and code"),
        ({"id": [1], "body": ["x"]}, ("id", "body", None), "--modality"),
        ({"key": [1], "text": ["x"]}, ("id", None, None), "no column 'id', it has key, text.*--id"),
        ({"id": [1], "text": ["x"]}, ("id", "txt", "text"), "no column 'txt'.*--column"),
        ({"id": [1], "text": [1.5]}, ("id", None, None), "is double, and text has to be string"),
        ({"id": [1], "text": [b"x"]}, ("id", None, None), "is binary, and text has to be string"),
        ({"id": [1], "image": [1]}, ("id", None, None), "is int64, and image has to be path or bytes"),
    ],
)
def test_columns_that_do_not_fit_are_refused_by_name(tmp_path, columns, given, says):
    sources = find_sources([write(tmp_path / "a.parquet", columns)])
    with pytest.raises(DataError, match=says):
        find_columns(sources, *given)


def test_every_file_is_checked_for_its_columns(tmp_path):
    texts(tmp_path / "a.parquet", 1)
    write(tmp_path / "b.parquet", {"id": [1], "text": [2]})
    with pytest.raises(DataError, match=r"b\.parquet: column 'text' is int64"):
        find_columns(find_sources([tmp_path]), "id", None, None)


def test_content_is_strings_bytes_or_what_is_there_of_both(tmp_path):
    both = [{"bytes": b"B", "path": "b.png"}, {"bytes": None, "path": "c.png"}, None]
    path = write(
        tmp_path / "a.parquet",
        {"id": ["x", "y", "z"], "text": ["a", None, "ü"], "image": [b"A", None, b"C"], "pair": both},
    )
    [shard] = split_into_shards(find_sources([path]), 10)
    [_, last] = split_into_shards(find_sources([path]), 1)[1:]
    assert read_rows(shard, TEXT)[1] == ["a", None, "ü"]
    assert read_rows(shard, Columns("id", "image", "image"))[1] == [b"A", None, b"C"]
    assert read_rows(shard, Columns("id", "pair", "image"))[1] == [b"B", "c.png", None]
    assert read_rows(last, Columns("id", "pair", "image"))[1] == [None]


def test_a_file_that_changed_after_it_was_cut_is_refused(tmp_path):
    [shard] = split_into_shards(find_sources([texts(tmp_path / "a.parquet", 5)]), 10)
    texts(tmp_path / "a.parquet", 6)
    with pytest.raises(DataError, match="has changed since this run began"):
        read_rows(shard, TEXT)
