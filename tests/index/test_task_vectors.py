import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from unbraid.custom_mapper.mapper_file import CustomMapper
from unbraid.embedder import Embedder
from unbraid.errors import DataError, ItemError
from unbraid.index.search.search import search_vectors
from unbraid.index.store.entry import Entry, point_id
from unbraid.index.store.folder_store import FolderStore
from unbraid.index.store.meta import meta_of_model
from unbraid.index.transfer.task_vectors import (
    Estimate,
    Form,
    check_room,
    estimate_task_vectors,
    write_task_vectors,
)
from unbraid.vectors import normalize, store_as

pq = pytest.importorskip("pyarrow.parquet")
ITEMS = 300
RNG = np.random.default_rng(0)
BASE = normalize(RNG.standard_normal((ITEMS, 512)))
ENTRIES = [Entry(f"/ä{n}.md", "text", 1, 2, f"snippet {n}", f"s{n}", 10, 5, 0, 1) for n in range(ITEMS)]
ENTRIES[0] = Entry("/p.png", "image", None, None, "", "s0", 10, 5, 0, 1)
IDS = [str(point_id(entry.path, entry.sha256, entry.chunk)) for entry in ENTRIES]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Iterator[FolderStore]:
    folder = tmp_path_factory.mktemp("task-vectors") / "index"
    with FolderStore.create(folder, meta_of_model(embedder)) as opened:
        opened.upsert(ENTRIES, BASE)
        yield opened


def write(store: FolderStore, model: Embedder, out: Path, task: str = "document", **form: object) -> int:
    done = write_task_vectors(store, model, Form(task, **{"dim": 512, **form}), out, lambda count: None)  # type: ignore[arg-type]
    assert done.damaged == 0
    return done.items


def columns(out: Path) -> tuple[list[str], np.ndarray]:
    table = pq.read_table(out)
    return table["id"].to_pylist(), np.array(table["vector"].to_pylist())


def test_parquet_has_each_items_task_vector_its_row_and_provenance(store, embedder, tmp_path) -> None:
    out = tmp_path / "v.parquet"
    assert write(store, embedder, out) == ITEMS
    ids, vectors = columns(out)
    assert sorted(ids) == sorted(IDS)
    order = [IDS.index(one) for one in ids]
    np.testing.assert_allclose(vectors, embedder.map(BASE, "document")[order], atol=1e-6)
    row = next(row for row in pq.read_table(out).to_pylist() if row["id"] == IDS[0])
    del row["vector"]
    assert row == {
        "id": IDS[0],
        "path": "/p.png",
        "modality": "image",
        "first_line": None,
        "last_line": None,
        "chunk": 0,
        "sha256": "s0",
    }
    about = json.loads(pq.read_schema(out).metadata[b"unbraid"])
    assert (about["base_id"], about["task"], about["dim"]) == (embedder.base_id, "document", 512)
    assert about["mapper_id"] == embedder.bundle.mappers["document"].id


def test_npy_and_jsonl_hold_the_same(store, embedder, tmp_path) -> None:
    for suffix in ("parquet", "npy", "jsonl"):
        write(store, embedder, tmp_path / f"v.{suffix}")
    ids, vectors = columns(tmp_path / "v.parquet")
    lines = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ids
    np.testing.assert_array_equal(np.array([line["vector"] for line in lines], np.float32), vectors)
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy", mmap_mode="r"), vectors)
    about = json.loads((tmp_path / "v.npy.json").read_text())
    assert [row["id"] for row in about["items"]] == ids
    assert about["task"] == lines[0]["task"] == "document"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "v.jsonl",
        "v.npy",
        "v.npy.json",
        "v.parquet",
    ]


@pytest.mark.parametrize(("dim", "numbers"), [(128, "float32"), (256, "int8"), (64, "binary")])
def test_shorter_and_smaller_numbers_are_those_of_encode(
    store, embedder, tmp_path, dim: int, numbers
) -> None:
    write(store, embedder, tmp_path / "v.npy", "query", dim=dim, numbers=numbers)
    write(store, embedder, tmp_path / "v.parquet", "query", dim=dim, numbers=numbers)
    ids, vectors = columns(tmp_path / "v.parquet")
    found = np.load(tmp_path / "v.npy")
    np.testing.assert_array_equal(found, vectors)
    whole = embedder.map(BASE[[IDS.index(one) for one in ids]], "query")
    wanted = store_as(normalize(whole[:, :dim]), numbers)
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    assert np.mean(found == wanted) > 0.99 if numbers != "float32" else np.allclose(found, wanted, atol=1e-6)


def test_a_search_over_the_file_finds_what_a_folded_search_finds(store, embedder, tmp_path) -> None:
    skewed = np.eye(512, dtype=np.float32) + RNG.standard_normal((512, 512)).astype(np.float32) / 40
    own = CustomMapper("legal", embedder.base_id, skewed, skewed.T.copy())
    model = embedder.with_mapper(own)
    queries = normalize(RNG.standard_normal((20, 512)))
    for mode, (query_task, document_task) in model.search_modes.items():
        write(store, model, tmp_path / "v.parquet", document_task)
        ids, vectors = columns(tmp_path / "v.parquet")
        paths = {one: entry.path for one, entry in zip(IDS, ENTRIES, strict=True)}
        scores = model.map(queries, query_task) @ vectors.T
        best = np.argsort(-scores, axis=1)[:, :10]
        for row, hits in zip(best, search_vectors(store, model, queries, mode=mode, k=10), strict=True):
            assert [hit.path for hit in hits] == [paths[ids[place]] for place in row]


def test_the_estimate_tells_items_bytes_and_time(store, embedder, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("unbraid.index.transfer.task_vectors.SAMPLE", 240)
    monkeypatch.setattr("unbraid.index.store.folder_store.WITH_VECTORS", 60)
    out = tmp_path / "v.npy"
    about = estimate_task_vectors(store, embedder, Form("document", 512), out)
    write(store, embedder, out)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert about.items == ITEMS and about.seconds > 0
    assert about.bytes == pytest.approx(size, rel=0.1)
    assert about.free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.5)


def test_a_file_that_does_not_fit_is_refused(tmp_path) -> None:
    check_room(Estimate(1, 1.0, 10**9, 2 * 10**9), tmp_path)
    with pytest.raises(DataError, match=r"950 MB left and this may need 1,117"):
        check_room(Estimate(1, 1.0, 10**9, 950 * 10**6), tmp_path / "v.npy")


@pytest.mark.parametrize("suffix", ["npy", "jsonl", "parquet"])
def test_a_stop_on_the_way_leaves_the_old_file(store, embedder, tmp_path, monkeypatch, suffix: str) -> None:
    out = tmp_path / f"v.{suffix}"
    write(store, embedder, out, "query")
    old = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr("unbraid.index.transfer.task_vectors.BLOCK", 1)

    def stop(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_task_vectors(store, embedder, Form("document", 512), out, stop)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == old


def test_what_a_killed_run_left_is_no_part_of_the_next_file(store, embedder, tmp_path) -> None:
    for name in ("v.npy.new", "v.npy.json.new"):
        (tmp_path / name).write_bytes(b"x" * 10**6)
    write(store, embedder, tmp_path / "v.npy")
    assert np.load(tmp_path / "v.npy").shape == (ITEMS, 512)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v.npy", "v.npy.json"]


def test_some_items_are_held_at_a_time(store, embedder, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("unbraid.index.transfer.task_vectors.BLOCK", 100)
    monkeypatch.setattr("unbraid.index.store.folder_store.WITH_VECTORS", 60)
    counts: list[int] = []
    write_task_vectors(store, embedder, Form("document", 512), tmp_path / "v.npy", counts.append)
    assert counts == [120, 120, 60]
    assert len(np.load(tmp_path / "v.npy")) == ITEMS


def test_an_unknown_task_or_dim_leaves_nothing(store, embedder, tmp_path) -> None:
    for form in (Form("nonsense", 512), Form("document", 300)):
        with pytest.raises(ItemError):
            write_task_vectors(store, embedder, form, tmp_path / "v.npy", lambda count: None)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_index_makes_an_empty_file(embedder, tmp_path) -> None:
    with FolderStore.create(tmp_path / "ix", meta_of_model(embedder)) as empty:
        assert write(empty, embedder, tmp_path / "v.parquet") == 0
        assert estimate_task_vectors(empty, embedder, Form("document", 512), tmp_path / "v.npy").items == 0
    assert pq.read_table(tmp_path / "v.parquet").num_rows == 0
