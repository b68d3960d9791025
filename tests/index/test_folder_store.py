import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unbraid.errors import StoreError
from unbraid.evaluation.word_evidence import WordIndex
from unbraid.index.store.bm25 import query_words
from unbraid.index.store.edge import prepare_points, upsert_operations
from unbraid.index.store.entry import Entry, point_id
from unbraid.index.store.filter import ANYTHING, Filter
from unbraid.index.store.folder_store import FolderStore
from unbraid.index.store.meta import FORMAT, META_FILE, Meta, Provenance, read_meta
from unbraid.index.store.meta import write_meta as write_whole_meta
from unbraid.index.store.storage import Storage
from unbraid.index.store.store import without_damage
from unbraid.items import Modality

DIM = 4


def entry(
    path: str = "/a.md", chunk: int = 0, chunks: int = 1, sha: str = "s1", modality: Modality = "text"
) -> Entry:
    return Entry(
        path,
        modality,
        chunk + 1,
        chunk + 1,
        f"line {chunk}",
        sha,
        10,
        1_764_000_000_123_456_789,
        chunk,
        chunks,
    )


def vectors(*axes: int) -> np.ndarray:
    return np.eye(DIM, dtype=np.float32)[list(axes)]


def best(
    store: FolderStore, query: np.ndarray, limit: int, filter: Filter = ANYTHING
) -> tuple[list[Entry | None], np.ndarray]:
    """The entries that a query finds, and their vectors."""
    (candidates,) = store.nearest(query[None], limit, filter)
    found = store.vectors(candidates.ids())
    return store.entries(candidates.ids(), found), found


def open_store(folder: Path, storage: Storage | None = None) -> FolderStore:
    """The index in `folder`, made where there is none."""
    found = FolderStore.open(folder)
    return found or FolderStore.create(folder, Meta(FORMAT, "b1", DIM, storage or Storage(DIM), "0"))


def write_meta(folder: Path, **changes: object) -> Path:
    """A folder that is an index in name; the shard is made when it is first opened."""
    folder.mkdir()
    write_whole_meta(
        folder,
        replace(Meta(FORMAT, "b1", DIM, Storage(DIM), "0", provenance=Provenance("starter 0.1")), **changes),
    )
    return folder / META_FILE


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FolderStore]:
    with open_store(tmp_path_factory.mktemp("store") / "index") as opened:
        yield opened


@pytest.fixture
def store(shared: FolderStore) -> Iterator[FolderStore]:
    """An empty store; emptied rather than made for each test, which takes ten syncs of the disk."""
    yield shared
    shared.delete(shared.files())


def test_ids_do_not_change_between_versions_of_unbraid() -> None:
    assert str(point_id("/a.md", "s1", 0)) == "a8a67a9f-c2a5-555a-8a6e-c8319ba63e14"


def test_nearest_orders_by_inner_product_and_filters_by_modality(store: FolderStore) -> None:
    kinds: list[Modality] = ["text", "code", "image"]
    store.upsert([entry(f"/{kind}", modality=kind) for kind in kinds], vectors(0, 1, 2))
    query = np.array([1, 3, 2, 0], np.float32)
    assert [found.modality for found in best(store, query, 2)[0]] == ["code", "image"]
    assert [found.modality for found in best(store, query, 9, Filter("text"))[0]] == ["text"]


def test_pictures_are_told_that_were_put_after_there_were_none(tmp_path: Path) -> None:
    with open_store(tmp_path / "index") as store:
        store.upsert([entry("/a.md")], vectors(0))
        ids = [point_id(path, "s1", 0) for path in ("/a.md", "/b.png")]
        assert store.pictures(ids) == set()
        store.upsert([entry("/b.png", modality="image")], vectors(1))
        assert store.pictures(ids) == {ids[1]}
    with open_store(tmp_path / "index") as store:
        assert store.pictures(ids) == {ids[1]}


def test_files_are_told_beyond_one_scroll(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unbraid.index.store.folder_store.SCROLL", 2)
    store.upsert([entry(f"/{n}") for n in range(5)], vectors(0, 1, 2, 3, 0))
    assert len(store.files()) == 5


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(StoreError, match="no index at .*: it is a file"):
        open_store(tmp_path / "f")
    with pytest.raises(StoreError, match="cannot make an index"):
        open_store(tmp_path / "f" / "below")


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    write_meta(tmp_path / "i", format=99)
    with pytest.raises(StoreError, match="has format 99, this unbraid reads 3"):
        open_store(tmp_path / "i")


def test_an_index_of_the_first_format_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "i").mkdir()
    old = {"format": 1, "base_id": "b1", "dim": DIM, "unbraid": "0.1.0"}
    (tmp_path / "i" / META_FILE).write_text(json.dumps(old))
    with pytest.raises(
        StoreError, match="format 1, this unbraid reads 3 and 4; index again into another folder"
    ):
        open_store(tmp_path / "i")


def test_a_changed_byte_in_the_meta_file_is_noticed(tmp_path: Path) -> None:
    path = write_meta(tmp_path / "i")
    path.write_text(path.read_text().replace("b1", "b3"))
    with pytest.raises(StoreError, match="its checksum does not match"):
        open_store(tmp_path / "i")


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"format": 3}', b"\xff"])
def test_a_broken_meta_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    write_meta(tmp_path / "i").write_bytes(content)
    with pytest.raises(StoreError, match=f"cannot read .*{META_FILE}"):
        open_store(tmp_path / "i")


def test_meta_is_read_without_opening(store: FolderStore) -> None:
    meta = read_meta(store.folder)
    assert (meta.format, meta.base_id, meta.dim) == (FORMAT, "b1", DIM)


def test_a_creation_that_was_cut_off_is_taken_up(tmp_path: Path) -> None:
    write_meta(tmp_path / "i")
    (tmp_path / "i" / "shard.new" / "segments").mkdir(parents=True)
    with open_store(tmp_path / "i") as store:
        assert store.count() == 0


def test_a_damaged_shard_is_an_error(tmp_path: Path) -> None:
    open_store(tmp_path / "i").close()
    (tmp_path / "i" / "shard" / "edge_config.json").write_text("")
    with open_store(tmp_path / "i") as store, pytest.raises(StoreError, match="cannot be read or written"):
        store.count()


def test_an_index_open_elsewhere_is_refused(store: FolderStore) -> None:
    code = (
        "import sys, unbraid\n"
        f"try: unbraid.open_index({str(store.folder)!r})\n"
        "except unbraid.StoreError as error: sys.exit(str(error))"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"is open in process {os.getpid()} (" in child.stderr and "pytest" in child.stderr
    with pytest.raises(StoreError, match="is open in this process already"):
        open_store(store.folder)


ROWS = np.random.default_rng(0).standard_normal((6, DIM)).astype(np.float32)


def put_files(store: FolderStore) -> None:
    """/d/a.md and /d/sub/b.py of 2024, /d2/c.md of 2025, all of a team."""
    about = [("/d/a.md", "markdown", 2024), ("/d/sub/b.py", "python", 2024), ("/d2/c.md", "markdown", 2025)]
    put = [
        replace(entry(path), language=language, fields={"year": year, "team": "x" if year == 2024 else "y"})
        for path, language, year in about
    ]
    store.upsert(put, vectors(0, 1, 2))


def test_a_field_may_hold_values_of_any_kind(store: FolderStore) -> None:
    put_files(store)
    store.upsert([replace(entry("/z"), fields={"year": "late"})], vectors(0))
    assert store.files()["/z"].fields == {"year": "late"}
    assert store.facet("fields.year")["late"] == 1


@pytest.mark.parametrize(
    "storage",
    [Storage(DIM, "float16"), Storage(2), Storage(3, "float16", "int8"), Storage(DIM, "float32", "binary")],
)
def test_vectors_come_back_as_the_storage_keeps_them(tmp_path: Path, storage: Storage) -> None:
    with open_store(tmp_path / "index", storage=storage) as store:
        store.upsert([entry(chunk=n, chunks=6) for n in range(6)], ROWS)
    with open_store(tmp_path / "index") as store:
        assert store.meta.storage == storage
        store.settle()  # does nothing: far too few
        entries, rows = store.file("/a.md")
        kept = storage.widen(storage.narrow(ROWS), DIM)
        np.testing.assert_array_equal(rows, kept[[one.chunk for one in entries]])
        found, _ = best(store, ROWS[3], 6)
        scores = kept @ ROWS[3]
        assert [one.chunk for one in found if one] == list(np.argsort(-scores))
        store.compact()
        assert len(best(store, ROWS[3], 6)[0]) == 6


def test_the_smaller_copy_is_made_when_enough_was_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unbraid.index.store.folder_store.UNSETTLED", 5)
    made: list[bool] = []
    real = FolderStore._optimize
    monkeypatch.setattr(FolderStore, "_optimize", lambda self: made.append(True) or real(self))
    monkeypatch.setattr("unbraid.index.store.edge._INDEXED_FROM", 1)
    many = np.random.default_rng(1).standard_normal((400, DIM)).astype(np.float32)
    with open_store(tmp_path / "index", storage=Storage(DIM, "float32", "int8")) as store:
        store.upsert([entry(chunk=n, chunks=400) for n in range(400)], many)
        for _ in range(2):
            store.settle()
        assert made == [True]
        found, _ = best(store, many[7], 10)
        exact = np.argsort(-(many @ many[7]))[:10]
        assert len({one.chunk for one in found if one} & set(exact.tolist())) >= 9
    with open_store(tmp_path / "index") as store:
        assert store.count() == 400


WIDE, MANY = 64, 400


def copy_small_indexes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an index of MANY chunks copy its vectors, and one of half as many not."""
    monkeypatch.setattr("unbraid.index.store.storage.COPIED_FROM", MANY)
    monkeypatch.setattr("unbraid.index.store.folder_store.UNSETTLED", 5)
    monkeypatch.setattr("unbraid.index.store.edge._INDEXED_FROM", 1)


def growing(folder: Path, format: int = FORMAT) -> FolderStore:
    """An empty index, as this version makes it or as format 3 was made."""
    meta = Meta(format, "b1", WIDE, Storage(WIDE), "0")
    store = FolderStore.create(folder, meta)
    if format != FORMAT:
        store.set_meta(meta)
    return store


def grow(store: FolderStore, first: int, end: int) -> None:
    rows = np.random.default_rng(1).standard_normal((MANY + 100, WIDE)).astype(np.float32)[first:end]
    store.upsert([replace(entry(f"/{n % 9}/{n}.md"), snippet=f"item {n}") for n in range(first, end)], rows)


def all_answers(store: FolderStore) -> list[object]:
    """Ids and scores of what some queries find: by vectors, in a folder, and by words."""
    queries = np.random.default_rng(2).standard_normal((5, WIDE)).astype(np.float32)
    asked = [query_words(text) for text in ("item 7", "item 333")]
    found = [
        *store.nearest(queries, 100),
        *store.nearest(queries, 30, Filter(paths=("/3",))),
        *store.nearest_words(asked, 1),
    ]
    return [(one.ids(), one.scores().round(4).tolist()) for one in found]


@pytest.mark.parametrize("format", [3, FORMAT])
def test_an_index_that_grows_copies_its_vectors_by_itself_and_finds_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: int
) -> None:
    copy_small_indexes(monkeypatch)
    with growing(tmp_path / "index", format) as store:
        grow(store, 0, MANY - 1)
        store.settle()
        assert store.copied() == 0
        grow(store, MANY - 1, MANY)
        before = all_answers(store)
        store.settle()
        assert store.copied() == MANY and all_answers(store) == before
    found = FolderStore.open(tmp_path / "index")
    assert found is not None
    with found as store:
        assert store.copied() == MANY and all_answers(store) == before
        grow(store, MANY, MANY + 100)
        exact = all_answers(store)
        store.settle()
        assert store.copied() == MANY + 100 and all_answers(store) == exact != before
        assert store.count() == MANY + 100
    about = json.loads((tmp_path / "index" / META_FILE).read_text())
    # What reads format 3 knows no "auto", and searches exactly whatever copy there is.
    assert about["storage"]["candidates"] == ("exact" if format == 3 else "auto")


def test_compacting_copies_the_vectors_of_an_index_that_has_grown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with growing(tmp_path / "index", 3) as store:
        grow(store, 0, MANY)
        store.settle()
        assert store.copied() == 0
        copy_small_indexes(monkeypatch)
        store.compact()
        assert store.copied() == MANY


def test_an_exact_index_and_a_full_disk_have_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_small_indexes(monkeypatch)
    with FolderStore.create(
        tmp_path / "exact", Meta(FORMAT, "b1", WIDE, Storage(WIDE, candidates="exact"), "0")
    ) as store:
        grow(store, 0, MANY)
        store.settle()
        assert store.copied() == 0
    with growing(tmp_path / "index") as store:
        grow(store, 0, MANY)
        with monkeypatch.context() as full:
            full.setattr("unbraid.index.store.edge.ROOM_AT_LEAST", 1 << 60)
            store.settle()
        assert store.copied() == 0 and store.count() == MANY
        store.settle()
        assert store.copied() == MANY


KILLED_WHILE_COPYING = """
import os, signal, sys
from pathlib import Path
import pytest
sys.path.insert(0, sys.argv[1])
import test_folder_store as tests
from unbraid.index.store import folder_store

tests.copy_small_indexes(pytest.MonkeyPatch())
real = folder_store.reload_edge

def killed(*given):
    if sys.argv[3] == "loaded":
        real(*given)
    os.kill(os.getpid(), signal.SIGKILL)

folder_store.reload_edge = killed
with tests.growing(Path(sys.argv[2])) as store:
    tests.grow(store, 0, tests.MANY)
    store.settle()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no kill -9")
@pytest.mark.parametrize("when", ["closed", "loaded"])
def test_kill_9_while_vectors_are_copied_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", KILLED_WHILE_COPYING, here, str(tmp_path / "index"), when]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    assert child.returncode == -9, child.stderr
    copy_small_indexes(monkeypatch)
    with growing(tmp_path / "whole") as store:
        grow(store, 0, MANY)
        expected = all_answers(store)
    found = FolderStore.open(tmp_path / "index")
    assert found is not None
    with found as store:
        assert store.count() == MANY and all_answers(store) == expected
        store.settle()
        assert store.copied() == MANY and all_answers(store) == expected


def words_find(store: FolderStore, text: str) -> list[str]:
    (found,) = store.nearest_words([query_words(text)], 9)
    ids = found.ids()
    assert (found.scores() > 0).all()
    (again,) = store.word_scores([query_words(text)], [ids])
    np.testing.assert_allclose(again, found.scores())
    return sorted(entry.path for entry in store.entries(ids, store.vectors(ids)) if entry)


def test_words_come_and_go_with_their_chunks(store: FolderStore) -> None:
    old = replace(entry("/a"), snippet="rotate the keys", context="Security > Keys")
    store.upsert([old, replace(entry("/b"), snippet="getKeyName()"), entry("/c")], vectors(0, 1, 2))
    assert words_find(store, "key") == ["/a", "/b"]
    assert words_find(store, "security") == ["/a"]
    assert words_find(store, "zebra") == words_find(store, "") == []
    store.upsert([replace(old, path="/new")], store.file("/a")[1])
    assert words_find(store, "rotating") == ["/a", "/new"]
    store.upsert([replace(old, snippet="locks", sha256="s2", context="")], vectors(0))
    store.delete_older([replace(old, sha256="s2")])
    store.delete(["/new"])
    assert words_find(store, "keys") == ["/b"] and words_find(store, "lock") == ["/a"]
    store.compact()
    assert words_find(store, "keys") == ["/b"] and words_find(store, "lock") == ["/a"]


def test_word_scores_are_bm25_with_idf_over_the_chunks_that_have_words(tmp_path: Path) -> None:
    texts = ["cat sat", "dog ran", "cat ran far", ""]
    with open_store(tmp_path / "index") as store:
        put = [replace(entry(f"/{n}"), snippet=text) for n, text in enumerate(texts)]
        store.upsert(put, vectors(0, 1, 2, 3))
        ids = [point_id(one.path, one.sha256, one.chunk) for one in put]
        query = "the cats ran"
        (scores,) = store.word_scores([query_words(query)], [ids])
    np.testing.assert_allclose(scores, [*WordIndex(texts[:3])(query).bm25, 0], rtol=1e-5)


def test_a_sample_of_vectors_is_there_when_chunks_are(store: FolderStore) -> None:
    assert store.sample().shape == (0, DIM)
    store.upsert([entry("/a"), entry("/b")], vectors(0, 1))
    assert sorted(map(tuple, store.sample())) == sorted(map(tuple, vectors(0, 1)))


@pytest.mark.parametrize("wrong", [1e36, -3e38, np.nan, np.inf])
def test_damage_to_one_vector_spoils_no_other_answer(tmp_path: Path, wrong: float) -> None:
    rows = np.random.default_rng(1).standard_normal((400, DIM)).astype(np.float32)
    rows[7, 1] = wrong  # as a flipped bit leaves it
    with open_store(tmp_path / "index") as store:
        points = prepare_points([entry(chunk=n, chunks=400) for n in range(400)], rows, store.meta.storage)
        store._update(upsert_operations(points))
        assert np.isfinite(store.sample()).all() and len(store.sample()) == 400
        (candidates,) = store.nearest(np.eye(DIM, dtype=np.float32)[:1], 400)
        found = without_damage(store.vectors(candidates.ids()))
        assert len(found) >= 399 and np.isfinite(found).all() and np.abs(found).max() <= 10


def test_an_empty_field_makes_no_index_over_values(store: FolderStore) -> None:
    put_files(store)
    store.upsert([replace(entry("/y"), fields={"fresh": ""})], vectors(0))
    store.upsert([replace(entry("/z"), fields={"fresh": 1})], vectors(0))


def test_a_folder_that_edge_makes_in_its_log_for_a_moment_is_no_fault(store: FolderStore) -> None:
    store.loaded()
    (made := store.folder / store.meta.shard / "wal" / ".atomicwrite1").mkdir()
    store.upsert([entry("/new.md")], vectors(0))
    made.rmdir()
    assert "/new.md" in store.files()
