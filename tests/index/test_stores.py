"""One index, wherever it is kept: in a folder, on a Qdrant server (here its client's own local mode)."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unbraid.errors import ItemError, StoreError
from unbraid.index.store import qdrant_store
from unbraid.index.store.bm25 import query_words
from unbraid.index.store.entry import Entry, point_id
from unbraid.index.store.filter import ANYTHING, Condition, Filter
from unbraid.index.store.folder_store import FolderStore
from unbraid.index.store.meta import Meta
from unbraid.index.store.qdrant_store import QdrantStore
from unbraid.index.store.storage import Storage
from unbraid.index.store.store import Candidates, Store
from unbraid.items import Modality

DIM = 4
ROWS = np.random.default_rng(0).standard_normal((6, DIM)).astype(np.float32)
Open = Callable[..., Store]

pytestmark = [  # that the client's local mode has no indexes and searches exactly
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
]


@pytest.fixture(scope="module", params=["folder", "server"])
def open_collection(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    make_meta: Callable[..., Meta],
    local_server: Any,
) -> Iterator[Open]:
    """Opens the index of a name, made where there is none; every server is the client's local mode in a folder."""
    place = tmp_path_factory.mktemp(request.param)

    def open_it(name: str, storage: Storage | None = None) -> Store:
        meta = make_meta(DIM, storage=storage)
        if request.param == "folder":
            return FolderStore.open(place / name) or FolderStore.create(place / name, meta)
        return QdrantStore.open(name, "unbraid") or QdrantStore.create(name, "unbraid", meta)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(qdrant_store, "connect", lambda url: local_server(place / url))
        yield open_it


@pytest.fixture(scope="module")
def shared(open_collection: Open) -> Iterator[Store]:
    with open_collection("shared") as opened:
        yield opened


@pytest.fixture
def collection(shared: Store) -> Store:
    """An empty index; emptied rather than made for each test, which takes a folder ten syncs of the disk."""
    shared.delete(shared.files())
    return shared


def entry(
    path: str = "/a.md", chunk: int = 0, chunks: int = 1, sha: str = "s1", modality: Modality = "text"
) -> Entry:
    line, ns = chunk + 1, 1_764_000_000_123_456_789
    return Entry(path, modality, line, line, f"line {chunk}", sha, 10, ns, chunk, chunks)


def vectors(*axes: int) -> np.ndarray:
    return np.eye(DIM, dtype=np.float32)[list(axes)]


def best(
    collection: Store, query: np.ndarray, limit: int, filter: Filter = ANYTHING
) -> tuple[list[Entry | None], np.ndarray]:
    (candidates,) = collection.nearest(query[None], limit, filter)
    found = collection.vectors(candidates.ids())
    np.testing.assert_allclose(candidates.scores(), found @ query, rtol=1e-6)
    return entries_of(collection, candidates), found


def entries_of(collection: Store, candidates: Candidates) -> list[Entry | None]:
    return collection.entries(candidates.ids(), collection.vectors(candidates.ids()))


def test_an_entry_comes_back_as_it_was_put(collection: Store) -> None:
    put = replace(
        entry("/ä/b c.md", modality="code"),
        first_line=None,
        language="python",
        fields={"year": 2024, "team": "x"},
    )
    collection.upsert([put], ROWS[:1])
    entries, found = best(collection, ROWS[0], 5)
    assert entries == [put]
    np.testing.assert_array_equal(found, ROWS[:1])


def test_putting_the_same_content_again_adds_nothing(collection: Store) -> None:
    collection.upsert([entry()], vectors(0))
    collection.upsert([entry()], vectors(2))
    assert collection.count() == 1
    np.testing.assert_array_equal(best(collection, vectors(2)[0], 1)[1], vectors(2))


def test_each_query_has_its_own_nearest_by_inner_product(collection: Store) -> None:
    collection.upsert([entry(chunk=n, chunks=6) for n in range(6)], ROWS)
    queries = np.stack([ROWS[3], -ROWS[3]])
    for query, found in zip(queries, collection.nearest(queries, 4), strict=True):
        order = np.argsort(-(ROWS @ query))[:4]
        assert [one.chunk for one in entries_of(collection, found) if one] == list(order)
        np.testing.assert_array_equal(collection.vectors(found.ids()), ROWS[order])
        np.testing.assert_array_equal(collection.vectors(found.ids(slice(2, 4))[::-1]), ROWS[order[3:1:-1]])


def test_an_empty_index_finds_nothing(collection: Store) -> None:
    entries, found = best(collection, vectors(0)[0], 5)
    assert entries == [] and found.shape == (0, DIM)
    assert (collection.count(), collection.files()) == (0, {})
    assert [one for entries, _, _ in collection.items() for one in entries] == []


def test_files_tell_what_is_in_and_what_is_missing(collection: Store) -> None:
    collection.upsert([entry("/a", 0, 2), entry("/a", 1, 2), entry("/half", 0, 2)], vectors(0, 1, 2))
    collection.upsert([entry("/two", sha="s1"), entry("/two", sha="s2")], vectors(0, 1))
    states = collection.files()
    assert {path: (state.points, state.expected) for path, state in states.items()} == {
        "/a": (2, 2),
        "/half": (1, 2),
        "/two": (1, 1),
    }
    assert [path for path, state in states.items() if state.complete] == ["/a"]


def test_delete_removes_a_path_and_no_other(collection: Store) -> None:
    collection.upsert([entry("/a"), entry("/ab"), entry("/c")], vectors(0, 1, 2))
    collection.delete(["/a", "/c"])
    assert list(collection.files()) == ["/ab"]


def test_delete_older_keeps_the_content_given(collection: Store) -> None:
    collection.upsert([entry(chunk=n, chunks=3) for n in range(3)] + [entry("/b")], vectors(0, 1, 2, 3))
    new = [entry(chunk=n, chunks=2, sha="s2") for n in range(2)]
    collection.upsert(new, vectors(0, 1))
    collection.delete_older(new[-1:])
    state = collection.files()["/a.md"]
    assert (state.sha256, state.points, state.complete, collection.count()) == ("s2", 2, True, 3)


def test_one_file_is_read_without_those_below_its_path(collection: Store) -> None:
    put = [entry("/a", n, 2) for n in range(2)] + [entry("/a/b"), entry("/ab")]
    collection.upsert(put, ROWS[:4])
    entries, found = collection.file("/a")
    assert {one.chunk for one in entries} == {0, 1} and {one.path for one in entries} == {"/a"}
    np.testing.assert_array_equal(found[np.argsort([one.chunk for one in entries])], ROWS[:2])
    assert collection.file("/none")[0] == [] and collection.file("/none")[1].shape == (0, DIM)


def test_chunks_are_counted_by_value(collection: Store) -> None:
    collection.upsert([entry("/a", n, 2) for n in range(2)] + [entry("/p", modality="image")], ROWS[:3])
    assert collection.facet("modality") == {"image": 1, "text": 2}
    assert collection.facet("path") == {"/a": 2, "/p": 1}
    assert collection.facet("path", Filter("text")) == {"/a": 2}
    assert collection.facet("modality", Filter(paths=("/p",))) == {"image": 1}


def test_items_are_all_there_is(collection: Store) -> None:
    put = [entry(chunk=n, chunks=6) for n in range(6)]
    collection.upsert(put, ROWS)
    [(entries, found, damaged)] = collection.items()
    order = np.argsort([one.chunk for one in entries])
    assert [entries[row] for row in order] == put and damaged == 0
    np.testing.assert_array_equal(found[order], ROWS)


def test_words_are_scored_as_bm25_does_it(collection: Store) -> None:
    snippets = ["moon and moon and river", "a river", "the house", "moonlight", ""]
    put = [replace(entry(f"/{number}"), snippet=text) for number, text in enumerate(snippets)]
    collection.upsert(put, ROWS[:5])
    queries = [query_words(one) for one in ("Moon", "rivers, houses", "nothing of it")]
    found = collection.nearest_words(queries, 9)
    paths = [[one.path for one in entries_of(collection, some) if one] for some in found]
    assert paths == [["/0"], ["/2", "/1", "/0"], []]
    ids = [point_id(one.path, one.sha256, 0) for one in put]
    scores = np.stack(collection.word_scores(queries, [ids] * 3))
    assert (scores > 0).tolist() == [[True] + [False] * 4, [True, True, True, False, False], [False] * 5]
    np.testing.assert_allclose(scores[1][[2, 1, 0]], found[1].scores(), rtol=1e-5)
    # Both hold a word once, of 3 and of 1: tf (k1 + 1) / (tf + k1 (1 - b + b length / average)).
    weight = [2.2 / (1 + 1.2 * (0.25 + 0.75 * length / 64)) for length in (3, 1)]
    np.testing.assert_allclose(scores[1][0] / scores[1][1], weight[0] / weight[1], rtol=1e-4)
    filtered = collection.nearest_words(queries, 9, Filter(paths=("/1",)))[1]
    assert [one.path for one in entries_of(collection, filtered) if one] == ["/1"]


def test_what_is_gone_or_has_another_vector_is_no_entry(collection: Store) -> None:
    put = [entry("/a"), entry("/b"), entry("/c")]
    collection.upsert(put, ROWS[:3])
    ids = [point_id(one.path, one.sha256, 0) for one in put]
    collection.delete(["/b"])
    found = collection.vectors(ids)
    assert np.isnan(found[1]).all() and not np.isnan(found[[0, 2]]).any()
    found[2, 1] += 1
    # What is gone was deleted since it was found, which is no damage.
    with pytest.warns(UserWarning, match="1 chunks of .* were left out, damaged"):
        assert collection.entries(ids, found) == [put[0], None, None]


def test_a_sample_stands_for_all(collection: Store) -> None:
    collection.upsert([entry(chunk=n, chunks=6) for n in range(6)], ROWS)
    assert sorted(collection.sample().tolist()) == sorted(ROWS.tolist())


@pytest.mark.parametrize("bad", [np.full((1, DIM), np.nan), np.zeros((2, DIM)), np.zeros((1, DIM + 1))])
def test_vectors_of_a_wrong_shape_or_not_finite_are_refused(collection: Store, bad: np.ndarray) -> None:
    with pytest.raises(StoreError, match="expected 1 finite vectors of 4 dimensions"):
        collection.upsert([entry()], bad.astype(np.float32))
    assert collection.count() == 0


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), "abc"),
        (Filter(paths=("/d",)), "ab"),
        (Filter(paths=("/d/sub/b.py", "/d2")), "bc"),
        (Filter(paths=("/",)), "abc"),
        (Filter(patterns=("*.md",)), "ac"),
        (Filter(patterns=("*.none",)), ""),
        (Filter(paths=("/d2",), patterns=("*.py",)), "bc"),
        (Filter(languages=("python", "c")), "b"),
        (Filter(paths=("/d",), languages=("markdown",)), "a"),
        (Filter(conditions=(Condition("year", "=", 2025),)), "c"),
        (Filter(conditions=(Condition("year", "<", 2025),)), "ab"),
        (Filter(conditions=(Condition("year", "<=", 2024),)), "ab"),
        (Filter(conditions=(Condition("year", ">", 2024),)), "c"),
        (Filter(conditions=(Condition("year", ">=", 2025), Condition("team", "=", "y"))), "c"),
        (Filter(conditions=(Condition("team", "!=", "x"),)), "c"),
        (Filter("image"), ""),
    ],
)
def test_a_search_finds_only_what_is_let_through(collection: Store, wanted: Filter, expected: str) -> None:
    about = [("/d/a.md", "markdown", 2024), ("/d/sub/b.py", "python", 2024), ("/d2/c.md", "markdown", 2025)]
    put = [
        replace(entry(path), language=language, fields={"year": year, "team": "x" if year == 2024 else "y"})
        for path, language, year in about
    ]
    collection.upsert(put, vectors(0, 1, 2))
    found, _ = best(collection, np.ones(DIM, np.float32), 9, wanted)
    assert sorted(Path(one.path).stem for one in found if one) == list(expected)
    assert collection.count(wanted) == len(expected)


@pytest.mark.parametrize("compare", ["=", "!=", ">="])
def test_a_condition_on_a_field_that_no_file_has_is_refused(collection: Store, compare: Any) -> None:
    collection.upsert([replace(entry("/d/a.md"), fields={"year": 2024})], vectors(0))
    with pytest.raises(ItemError, match="no file of the index has a field yaer: did you mean year"):
        collection.count(Filter(conditions=(Condition("yaer", compare, 2024),)))


@pytest.mark.parametrize("storage", [Storage(DIM, "float16"), Storage(2)])
def test_an_index_keeps_vectors_as_it_was_made_to(open_collection: Open, storage: Storage) -> None:
    name = f"kept {storage.dim} {storage.numbers}"
    with open_collection(name, storage=storage) as collection:
        collection.upsert([entry(chunk=n, chunks=6) for n in range(6)], ROWS)
    with open_collection(name) as collection:
        assert collection.meta.storage == storage
        [(entries, rows, _)] = collection.items()
        kept = storage.widen(storage.narrow(ROWS), DIM)
        np.testing.assert_array_equal(rows, kept[[one.chunk for one in entries]])


def test_what_an_index_was_made_with_can_be_replaced(open_collection: Open) -> None:
    with open_collection("meta") as opened:
        changed = replace(opened.meta, unbraid="9")
        opened.set_meta(changed)
        assert opened.meta == changed
    with open_collection("meta") as opened:
        assert opened.meta.unbraid == "9"


def test_a_closed_store_says_so(open_collection: Open) -> None:
    opened = open_collection("closed")
    opened.close()
    opened.close()
    with pytest.raises(StoreError, match="has been closed"):
        opened.count()


def test_pictures_are_told_from_texts_and_from_words_in_them(collection: Store) -> None:
    shown = entry("/p.png", modality="image")
    kinds = [entry(), shown, replace(entry("/p.png", 1, 2), language="picture")]
    collection.upsert(kinds, vectors(0, 1, 2))
    ids = [point_id(one.path, one.sha256, one.chunk) for one in kinds]
    assert collection.pictures(ids) == {ids[1]} and collection.pictures(ids[:1]) == set()
    assert collection.pictures([]) == set()
