import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unbraid.errors import DataError, StoreError
from unbraid.index.store.entry import Entry
from unbraid.index.store.folder_store import FolderStore
from unbraid.index.store.meta import Provenance
from unbraid.index.store.storage import Storage
from unbraid.index.transfer.index_file import IndexFile, write_index

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
DIM = 4
Open = Callable[..., FolderStore]
MADE_WITH = Provenance("starter 0.1", "b1", {"text": "e1"}, {"query": "m1"})
ENTRIES = [
    Entry(
        "/ä.md",
        "text",
        1,
        2,
        "snippet",
        "s1",
        10,
        1_764_000_000_123_456_789,
        0,
        1,
        "markdown",
        {"year": 2025, "by": "ä"},
    ),
    Entry("/p.png", "image", None, None, "", "s2", 10, 5, 0, 1),
]
VECTORS = np.array([[1, 2, 3, 4], [0.1, -0.0, 0.2, 1e-30]], np.float32)


@pytest.fixture(scope="module")
def source(open_store: Open, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of two items."""
    folder = tmp_path_factory.mktemp("source") / "index"
    with open_store(folder, DIM, base_id="base", provenance=MADE_WITH) as store:
        store.upsert(ENTRIES, VECTORS)
    return folder


@pytest.fixture(scope="module")
def file(open_store: Open, source: Path) -> Path:
    """It exported."""
    out = source.parent / "index.parquet"
    with open_store(source, DIM) as store:
        assert write_index(store, out, lambda count: None) == 2
    return out


def test_an_export_has_vectors_payload_and_provenance(file: Path) -> None:
    table = pq.read_table(file)
    about = json.loads(table.schema.metadata[b"unbraid"])
    assert (about["base_id"], about["provenance"]["mappers"]) == ("base", {"query": "m1"})
    row = next(row for row in table.to_pylist() if row["path"] == "/ä.md")
    assert (row["vector"], row["mtime_ns"]) == ([1, 2, 3, 4], ENTRIES[0].mtime_ns)


def test_an_import_gives_the_same_index_and_a_second_adds_nothing(
    open_store: Open, file: Path, tmp_path: Path
) -> None:
    given = IndexFile(file)
    assert (given.items, given.meta.provenance) == (2, MADE_WITH)
    with open_store(tmp_path / "new", DIM, base_id="base") as store:
        for _ in range(2):
            assert given.load(store, lambda count: None) == 2
        assert store.count() == 2
        for entry, vector in zip(ENTRIES, VECTORS, strict=True):
            entries, rows = store.file(entry.path)
            assert entries == [entry] and rows.tobytes() == vector.tobytes()


def test_a_damaged_item_is_not_exported(
    open_store: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(tmp_path / "i", DIM, base_id="base") as store:
        with monkeypatch.context() as patch:
            patch.setattr("unbraid.index.store.checksum.checksum", lambda payload, vector: "0" * 16)
            store.upsert(ENTRIES[:1], VECTORS[:1])
        with pytest.raises(StoreError, match="is damaged .*unbraid index verify .* --repair"):
            write_index(store, tmp_path / "out.parquet", lambda count: None)
    assert [path.name for path in tmp_path.iterdir()] == ["i"]


def test_a_changed_row_is_refused_by_its_number(open_store: Open, file: Path, tmp_path: Path) -> None:
    table = pq.read_table(file)
    snippets = pa.array([f"{text} changed" for text in table["snippet"].to_pylist()])
    changed = table.set_column(table.schema.get_field_index("snippet"), "snippet", snippets)
    pq.write_table(changed, tmp_path / "changed.parquet")
    with open_store(tmp_path / "new", DIM, base_id="base") as store:
        with pytest.raises(DataError, match="row 0: its vector or payload is not what was written"):
            IndexFile(tmp_path / "changed.parquet").load(store, lambda count: None)
        assert store.count() == 0


@pytest.mark.parametrize(
    ("about", "says"),
    [
        (None, "is not a file of `unbraid index export`"),
        ({"bundle": "starter", "task": None}, "is not a file of `unbraid index export`"),
        ({"bundle": "starter", "task": "query", "mapper_id": "m1"}, r"holds query vectors \(mapper m1\)"),
        ({"kind": "unbraid index", "format": 1}, "has format 1, this unbraid reads 3 and 4"),
        ({"kind": "unbraid index", "format": 3}, "its description of itself cannot be read"),
        ({"kind": "unbraid index"}, "its description of itself cannot be read"),
    ],
)
def test_other_parquet_files_are_refused(tmp_path: Path, about: dict | None, says: str) -> None:
    table = pa.table({"item": ["a"]})
    pq.write_table(
        table.replace_schema_metadata({"unbraid": json.dumps(about)} if about else {}), tmp_path / "f"
    )
    with pytest.raises(DataError, match=says):
        IndexFile(tmp_path / "f")


@pytest.mark.parametrize("content", [b"", b"PAR1 not really PAR1"])
def test_what_is_no_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        IndexFile(tmp_path / "f")


def test_a_file_that_cannot_be_written_is_an_error(open_store: Open, source: Path, tmp_path: Path) -> None:
    (tmp_path / "out.parquet").mkdir()
    with open_store(source, DIM) as store, pytest.raises(DataError, match="cannot be written"):
        write_index(store, tmp_path / "out.parquet", lambda count: None)
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


def test_a_file_of_shorter_vectors_fills_an_index_of_longer_ones(open_store: Open, tmp_path: Path) -> None:
    out = tmp_path / "half.parquet"
    with open_store(tmp_path / "half", DIM, base_id="base", storage=Storage(2)) as store:
        store.upsert(ENTRIES, VECTORS)
        write_index(store, out, lambda count: None)
    given = IndexFile(out)
    assert given.meta.storage == Storage(2)
    with open_store(tmp_path / "whole", DIM, base_id="base") as store:
        given.load(store, lambda count: None)
        entries, rows = store.file("/ä.md")
        assert entries == ENTRIES[:1]
        np.testing.assert_array_equal(rows, [[1, 2, 0, 0]])


def test_a_newer_export_takes_the_place_of_older_content(open_store: Open, tmp_path: Path) -> None:
    newer = replace(ENTRIES[0], sha256="s9", snippet="newer")
    with open_store(tmp_path / "newer", DIM, base_id="base") as store:
        store.upsert([newer], VECTORS[:1])
        write_index(store, tmp_path / "newer.parquet", lambda count: None)
    with open_store(tmp_path / "older", DIM, base_id="base") as store:
        store.upsert(ENTRIES, VECTORS)
        IndexFile(tmp_path / "newer.parquet").load(store, lambda count: None)
        assert store.count() == 2 and store.file("/ä.md")[0] == [newer]
