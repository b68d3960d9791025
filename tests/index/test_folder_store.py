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
from unbraid.evaluation.baselines import index_bm25
from unbraid.index.store.bm25 import query_words
from unbraid.index.store.entry import Entry, point_id
from unbraid.index.store.filter import ANYTHING, Condition, Only
from unbraid.index.store.folder_store import Store, upsert_points
from unbraid.index.store.meta import FORMAT, META_FILE, Meta, Provenance, read_meta
from unbraid.index.store.meta import write_meta as write_whole_meta
from unbraid.index.store.protocol import tamed
from unbraid.index.store.vector_storage import Storage
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
    store: Store, query: np.ndarray, limit: int, only: Only = ANYTHING
) -> tuple[list[Entry | None], np.ndarray]:
    """The entries that a query finds, and their vectors."""
    (candidates,) = store.nearest(query[None], limit, only)
    found = store.vectors(candidates.ids())
    return store.entries(candidates.ids(), found), found


def open_store(folder: Path, **changes: object) -> Store:
    return Store.open(folder, **{"base_id": "b1", "dim": DIM, "create": True, **changes})  # type: ignore[arg-type]


def write_meta(folder: Path, **changes: object) -> Path:
    """A folder that is an index in name; the shard is made when it is first opened."""
    folder.mkdir()
    write_whole_meta(
        folder,
        replace(Meta(FORMAT, "b1", DIM, Storage(DIM), "0", provenance=Provenance("starter 0.1")), **changes),
    )
    return folder / META_FILE


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(tmp_path_factory.mktemp("store") / "index") as opened:
        yield opened


@pytest.fixture
def store(shared: Store) -> Iterator[Store]:
    """An empty store; emptied rather than made for each test, which takes ten syncs of the disk."""
    yield shared
    shared.delete(shared.files())


def test_an_entry_comes_back_as_it_was_put(store: Store) -> None:
    put = entry("/ä/b c.md", modality="code")
    store.upsert([put], vectors(1))
    entries, found = best(store, vectors(1)[0], 5)
    assert entries == [put]
    np.testing.assert_array_equal(found, vectors(1))


def test_an_index_is_there_after_reopening(tmp_path: Path) -> None:
    with open_store(tmp_path / "new" / "index") as store:
        store.upsert([entry()], vectors(0))
    with open_store(tmp_path / "new" / "index", create=False) as store:
        assert store.count() == 1


def test_putting_the_same_content_again_adds_nothing(store: Store) -> None:
    store.upsert([entry()], vectors(0))
    store.upsert([entry()], vectors(2))
    assert store.count() == 1
    np.testing.assert_array_equal(best(store, vectors(2)[0], 1)[1], vectors(2))


def test_ids_do_not_change_between_versions_of_unbraid() -> None:
    assert str(point_id("/a.md", "s1", 0)) == "a8a67a9f-c2a5-555a-8a6e-c8319ba63e14"


def test_nearest_orders_by_inner_product_and_filters_by_modality(store: Store) -> None:
    kinds: list[Modality] = ["text", "code", "image"]
    store.upsert([entry(f"/{kind}", modality=kind) for kind in kinds], vectors(0, 1, 2))
    query = np.array([1, 3, 2, 0], np.float32)
    assert [found.modality for found in best(store, query, 2)[0]] == ["code", "image"]
    assert [found.modality for found in best(store, query, 9, Only("text"))[0]] == ["text"]


def test_an_empty_index_finds_nothing(store: Store) -> None:
    entries, found = best(store, vectors(0)[0], 5)
    assert entries == [] and found.shape == (0, DIM)


def test_files_tell_what_is_in_and_what_is_missing(store: Store) -> None:
    store.upsert([entry("/a", 0, 2), entry("/a", 1, 2), entry("/half", 0, 2)], vectors(0, 1, 2))
    states = store.files()
    assert {path: (state.points, state.expected) for path, state in states.items()} == {
        "/a": (2, 2),
        "/half": (1, 2),
    }
    assert states["/a"].complete and not states["/half"].complete


def test_a_file_with_two_contents_is_not_complete(store: Store) -> None:
    store.upsert([entry(sha="s1"), entry(sha="s2")], vectors(0, 1))
    assert not store.files()["/a.md"].complete


def test_files_are_told_beyond_one_scroll(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unbraid.index.store.folder_store.SCROLL", 2)
    store.upsert([entry(f"/{n}") for n in range(5)], vectors(0, 1, 2, 3, 0))
    assert len(store.files()) == 5


def test_delete_removes_a_path_and_no_other(store: Store) -> None:
    store.upsert([entry("/a"), entry("/ab"), entry("/c")], vectors(0, 1, 2))
    store.delete(["/a", "/c"])
    assert list(store.files()) == ["/ab"]


def test_delete_older_keeps_the_content_given(store: Store) -> None:
    store.upsert([entry(chunk=n, chunks=3) for n in range(3)] + [entry("/b")], vectors(0, 1, 2, 3))
    new = [entry(chunk=n, chunks=2, sha="s2") for n in range(2)]
    store.upsert(new, vectors(0, 1))
    store.delete_older(new[-1:])
    state = store.files()["/a.md"]
    assert (state.sha256, state.points, state.complete, store.count()) == ("s2", 2, True, 3)


def test_restating_sets_time_and_fields(store: Store) -> None:
    store.upsert([entry("/a"), entry("/b")], vectors(0, 1))
    store.restate({"/a": (7, {"year": 2025})})
    assert {path: state.mtime_ns for path, state in store.files().items()} == {
        "/a": 7,
        "/b": entry().mtime_ns,
    }


def test_stats_count_files_chunks_and_bytes(store: Store) -> None:
    store.upsert([entry("/a", 0, 2), entry("/a", 1, 2), entry("/p", modality="image")], vectors(0, 1, 2))
    stats = store.stats()
    assert (stats.files, stats.chunks, store.count(Only("image"))) == (2, {"image": 1, "text": 2}, 1)
    assert 10_000 < stats.bytes < 40_000_000  # how sparse files count depends on the file system


@pytest.mark.parametrize("bad", [np.full((1, DIM), np.nan), np.zeros((2, DIM)), np.zeros((1, DIM + 1))])
def test_vectors_of_a_wrong_shape_or_not_finite_are_refused(store: Store, bad: np.ndarray) -> None:
    with pytest.raises(StoreError, match="expected 1 finite vectors of 4 dimensions"):
        store.upsert([entry()], bad.astype(np.float32))


def test_no_index_is_an_error_without_create(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no index at .*unbraid index PATH --into"):
        open_store(tmp_path / "absent", create=False)


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.md").write_text("years of work")
    with pytest.raises(StoreError, match="is not an unbraid index"):
        open_store(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.md"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(StoreError, match="no index at"):
        open_store(tmp_path / "f")
    with pytest.raises(StoreError, match="cannot make an index"):
        open_store(tmp_path / "f" / "below")


@pytest.mark.parametrize("changes", [{"base_id": "b2"}, {"dim": 8}])
def test_another_base_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    write_meta(tmp_path / "i")
    with pytest.raises(
        StoreError, match=r"holds vectors of base b1 \(4 dimensions\) by starter 0.1, the model makes b"
    ):
        open_store(tmp_path / "i", **changes)
    with pytest.raises(StoreError, match="which do not compare: give the bundle it was made with"):
        open_store(tmp_path / "i", **changes)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    write_meta(tmp_path / "i", format=99)
    with pytest.raises(StoreError, match="has format 99, this unbraid reads 3"):
        open_store(tmp_path / "i")


def test_an_index_of_the_first_format_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "i").mkdir()
    old = {"format": 1, "base_id": "b1", "dim": DIM, "unbraid": "0.1.0"}
    (tmp_path / "i" / META_FILE).write_text(json.dumps(old))
    with pytest.raises(StoreError, match="format 1, this unbraid reads 3; index again into another folder"):
        open_store(tmp_path / "i")


def test_a_changed_byte_in_the_meta_file_is_noticed(tmp_path: Path) -> None:
    path = write_meta(tmp_path / "i")
    path.write_text(path.read_text().replace("b1", "b3"))
    with pytest.raises(StoreError, match="its checksum does not match"):
        open_store(tmp_path / "i", base_id="b3")


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"format": 3}', b"\xff"])
def test_a_broken_meta_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    write_meta(tmp_path / "i").write_bytes(content)
    with pytest.raises(StoreError, match=f"cannot read .*{META_FILE}"):
        open_store(tmp_path / "i")


def test_meta_is_read_without_opening(store: Store) -> None:
    meta = read_meta(store.folder)
    assert (meta.format, meta.base_id, meta.dim) == (FORMAT, "b1", DIM)


def test_a_creation_that_was_cut_off_is_taken_up(tmp_path: Path) -> None:
    write_meta(tmp_path / "i")
    (tmp_path / "i" / "shard.new" / "segments").mkdir(parents=True)
    with open_store(tmp_path / "i", create=False) as store:
        assert store.count() == 0


def test_a_damaged_shard_is_an_error(tmp_path: Path) -> None:
    open_store(tmp_path / "i").close()
    (tmp_path / "i" / "shard" / "edge_config.json").write_text("")
    with pytest.raises(StoreError, match="cannot be read or written"):
        open_store(tmp_path / "i")


def test_an_index_open_elsewhere_is_refused(store: Store) -> None:
    code = (
        "import sys; from unbraid.index import Store; from unbraid.errors import StoreError\n"
        f"try: Store.open({str(store.folder)!r}, base_id='b1', dim={DIM})\n"
        "except StoreError as error: sys.exit(str(error))"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"is open in process {os.getpid()} (" in child.stderr and "pytest" in child.stderr
    with pytest.raises(StoreError, match="is open in this process already"):
        open_store(store.folder)


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = open_store(tmp_path / "i")
    store.close()
    store.close()
    with pytest.raises(StoreError, match="has been closed"):
        store.count()


ROWS = np.random.default_rng(0).standard_normal((6, DIM)).astype(np.float32)


def put_files(store: Store) -> None:
    """/d/a.md and /d/sub/b.py of 2024, /d2/c.md of 2025, all of a team."""
    about = [("/d/a.md", "markdown", 2024), ("/d/sub/b.py", "python", 2024), ("/d2/c.md", "markdown", 2025)]
    put = [
        replace(entry(path), language=language, fields={"year": year, "team": "x" if year == 2024 else "y"})
        for path, language, year in about
    ]
    store.upsert(put, vectors(0, 1, 2))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Only(), {"/d/a.md", "/d/sub/b.py", "/d2/c.md"}),
        (Only(paths=("/d",)), {"/d/a.md", "/d/sub/b.py"}),
        (Only(paths=("/d/sub/b.py", "/d2")), {"/d/sub/b.py", "/d2/c.md"}),
        (Only(paths=("/",)), {"/d/a.md", "/d/sub/b.py", "/d2/c.md"}),
        (Only(patterns=("*.md",)), {"/d/a.md", "/d2/c.md"}),
        (Only(patterns=("/d/**/*.py",)), {"/d/sub/b.py"}),
        (Only(patterns=("*.none",)), set()),
        (Only(paths=("/d2",), patterns=("*.py",)), {"/d/sub/b.py", "/d2/c.md"}),
        (Only(languages=("python", "c")), {"/d/sub/b.py"}),
        (Only(paths=("/d",), languages=("markdown",)), {"/d/a.md"}),
        (Only(conditions=(Condition("year", "=", 2025),)), {"/d2/c.md"}),
        (Only(conditions=(Condition("year", "<=", 2024),)), {"/d/a.md", "/d/sub/b.py"}),
        (Only(conditions=(Condition("year", ">", 2024),)), {"/d2/c.md"}),
        (Only(conditions=(Condition("team", "!=", "x"),)), {"/d2/c.md"}),
        (Only(conditions=(Condition("none", "!=", "x"),)), {"/d/a.md", "/d/sub/b.py", "/d2/c.md"}),
        (Only(conditions=(Condition("none", "=", "x"),)), set()),
        (Only("image"), set()),
    ],
)
def test_a_search_finds_only_what_is_let_through(store: Store, wanted: Only, expected: set[str]) -> None:
    put_files(store)
    found, _ = best(store, np.ones(DIM, np.float32), 9, wanted)
    assert {one.path for one in found if one} == expected
    assert store.count(wanted) == len(expected)


def test_a_field_has_one_kind_of_value(store: Store) -> None:
    put_files(store)
    with pytest.raises(
        StoreError, match="the field year holds whole numbers in this index, 'late' is of another"
    ):
        store.upsert([replace(entry("/z"), fields={"year": "late"})], vectors(0))
    assert "/z" not in store.files()


@pytest.mark.parametrize(
    "storage",
    [Storage(DIM, "float16"), Storage(2), Storage(3, "float16", "int8"), Storage(DIM, "float32", "binary")],
)
def test_vectors_come_back_as_the_storage_keeps_them(tmp_path: Path, storage: Storage) -> None:
    with open_store(tmp_path / "index", storage=storage) as store:
        store.upsert([entry(chunk=n, chunks=6) for n in range(6)], ROWS)
    with open_store(tmp_path / "index", create=False) as store:
        assert store.meta.storage == storage and not store.settle()  # far too few
        entries, rows = store.file("/a.md")
        kept = storage.widen(storage.narrow(ROWS), DIM)
        np.testing.assert_array_equal(rows, kept[[one.chunk for one in entries]])
        found, _ = best(store, ROWS[3], 6)
        scores = kept @ ROWS[3]
        assert [one.chunk for one in found if one] == list(np.argsort(-scores))
        store.compact()
        assert len(best(store, ROWS[3], 6)[0]) == 6


def test_an_index_keeps_the_storage_it_was_made_with(tmp_path: Path) -> None:
    with open_store(tmp_path / "index"):
        pass
    with pytest.raises(StoreError, match="dimensions in float.* leave these options out"):
        open_store(tmp_path / "index", storage=Storage(2))
    with open_store(tmp_path / "index", storage=Storage(DIM)):
        pass


def test_the_smaller_copy_is_made_when_enough_was_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unbraid.index.store.folder_store.UNSETTLED", 5)
    monkeypatch.setattr("unbraid.index.store.edge._INDEXED_FROM", {"int8": 1})
    many = np.random.default_rng(1).standard_normal((400, DIM)).astype(np.float32)
    with open_store(tmp_path / "index", storage=Storage(DIM, "float32", "int8")) as store:
        store.upsert([entry(chunk=n, chunks=400) for n in range(400)], many)
        assert store.settle() and not store.settle()
        found, _ = best(store, many[7], 10)
        exact = np.argsort(-(many @ many[7]))[:10]
        assert len({one.chunk for one in found if one} & set(exact.tolist())) >= 9
    with open_store(tmp_path / "index", create=False) as store:
        assert store.count() == 400


# -- image encoders of one base --------------------------------------------------------------------------------------


def of_tower(name: str) -> Provenance:
    return Provenance(f"bundle {name}", name, {"text": "t", "image": name})


def test_pictures_of_two_image_encoders_never_share_an_index(tmp_path: Path) -> None:
    with open_store(tmp_path / "index", provenance=of_tower("old")) as store:
        store.upsert([entry("/p.png", modality="image")], vectors(0))
    for create in (True, False):  # to index, to search
        with pytest.raises(
            StoreError, match="holds 1 pictures by the image encoder old, and that of bundle new is new"
        ):
            open_store(tmp_path / "index", provenance=of_tower("new"), create=create)
    with open_store(tmp_path / "index", provenance=of_tower("old")) as store:
        assert store.count() == 1


def test_an_index_without_pictures_takes_those_of_a_new_image_encoder(tmp_path: Path) -> None:
    with open_store(tmp_path / "index", provenance=of_tower("old")) as store:
        store.upsert([entry("/a.md")], vectors(0))
    open_store(
        tmp_path / "index", provenance=of_tower("new"), create=False
    ).close()  # a search writes nothing down
    assert read_meta(tmp_path / "index").provenance.encoders["image"] == "old"
    with open_store(tmp_path / "index", provenance=of_tower("new")) as store:
        store.upsert([entry("/p.png", modality="image")], vectors(1))
    made = read_meta(tmp_path / "index").provenance
    assert made.encoders == {"text": "t", "image": "new"} and made.bundle == "bundle old"
    with pytest.raises(StoreError, match="encoder new, and that of bundle old is old"):
        open_store(tmp_path / "index", provenance=of_tower("old"))


def words_find(store: Store, text: str) -> list[str]:
    (found,) = store.nearest_words([query_words(text)], 9)
    ids = found.ids()
    assert (found.scores() > 0).all()
    (again,) = store.word_scores([query_words(text)], [ids])
    np.testing.assert_allclose(again, found.scores())
    return sorted(entry.path for entry in store.entries(ids, store.vectors(ids)) if entry)


def test_words_come_and_go_with_their_chunks(store: Store) -> None:
    old = replace(entry("/a"), snippet="rotate the keys", context="Security > Keys")
    store.upsert([old, replace(entry("/b"), snippet="getKeyName()"), entry("/c")], vectors(0, 1, 2))
    assert words_find(store, "key") == ["/a", "/b"]
    assert words_find(store, "security") == ["/a"]
    assert words_find(store, "zebra") == words_find(store, "") == []
    store.take_over({"/new": ("/a", 7)}, {})
    store.restate({"/a": (8, {"year": 2025})})
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
    np.testing.assert_allclose(scores, [*index_bm25([query], texts[:3])(slice(0, 1))[0], 0], rtol=1e-5)


def test_a_sample_of_vectors_is_there_when_chunks_are(store: Store) -> None:
    assert store.sample().shape == (0, DIM)
    store.upsert([entry("/a"), entry("/b")], vectors(0, 1))
    assert sorted(map(tuple, store.sample())) == sorted(map(tuple, vectors(0, 1)))


@pytest.mark.parametrize("wrong", [1e36, -3e38, np.nan, np.inf])
def test_damage_to_one_vector_spoils_no_other_answer(tmp_path: Path, wrong: float) -> None:
    rows = np.random.default_rng(1).standard_normal((400, DIM)).astype(np.float32)
    rows[7, 1] = wrong  # as a flipped bit leaves it
    with open_store(tmp_path / "index") as store:
        points = upsert_points([entry(chunk=n, chunks=400) for n in range(400)], rows, store.meta.storage)
        store._update([points])
        assert np.isfinite(store.sample()).all() and len(store.sample()) == 400
        (candidates,) = store.nearest(np.eye(DIM, dtype=np.float32)[:1], 400)
        found = tamed(store.vectors(candidates.ids()))
        assert len(found) >= 399 and np.isfinite(found).all() and np.abs(found).max() <= 10


def test_an_empty_field_makes_no_index_over_values(store: Store) -> None:
    put_files(store)
    assert store.take_over({"/new.md": ("/d/a.md", 1)}, {"year": "", "fresh": ""}) == {"/new.md"}
    assert store.files()["/new.md"].fields == {"team": "x"}
    store.upsert([replace(entry("/z"), fields={"fresh": 1})], vectors(0))
