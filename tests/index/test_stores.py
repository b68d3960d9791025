"""One index, wherever it is kept: in a folder, on a Qdrant server (here its client's own local mode)."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import QdrantClient

from unbraid.errors import StoreError
from unbraid.index import search, update
from unbraid.index.store.bm25 import query_words
from unbraid.index.store.entry import Entry, point_id
from unbraid.index.store.filter import ANYTHING, Condition, Only
from unbraid.index.store.folder_store import Store
from unbraid.index.store.meta import Provenance
from unbraid.index.store.protocol import Candidates, Collection
from unbraid.index.store.qdrant_server import QdrantCollection
from unbraid.index.store.vector_storage import Storage
from unbraid.items import Modality

DIM = 4
ROWS = np.random.default_rng(0).standard_normal((6, DIM)).astype(np.float32)
Open = Callable[..., Collection]

pytestmark = [  # that the client's local mode has no indexes and searches exactly
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
]


@pytest.fixture(scope="module", params=["folder", "server"])
def open_collection(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Open:
    """Opens the index of a name, of base "b1" if nothing else is said."""
    place = tmp_path_factory.mktemp(request.param)

    def open_it(name: str, **changes: object) -> Collection:
        options = {"base_id": "b1", "dim": DIM, "create": True, **changes}
        if request.param == "folder":
            return Store.open(place / name, **options)  # type: ignore[arg-type]
        return QdrantCollection.open(QdrantClient(path=str(place / name)), "unbraid", **options)  # type: ignore[arg-type]

    return open_it


@pytest.fixture(scope="module")
def shared(open_collection: Open) -> Iterator[Collection]:
    with open_collection("shared") as opened:
        yield opened


@pytest.fixture
def collection(shared: Collection) -> Collection:
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
    collection: Collection, query: np.ndarray, limit: int, only: Only = ANYTHING
) -> tuple[list[Entry | None], np.ndarray]:
    (candidates,) = collection.nearest(query[None], limit, only)
    found = collection.vectors(candidates.ids())
    np.testing.assert_allclose(candidates.scores(), found @ query, rtol=1e-6)
    return entries_of(collection, candidates), found


def entries_of(collection: Collection, candidates: Candidates) -> list[Entry | None]:
    return collection.entries(candidates.ids(), collection.vectors(candidates.ids()))


def test_an_entry_comes_back_as_it_was_put(collection: Collection) -> None:
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


def test_putting_the_same_content_again_adds_nothing(collection: Collection) -> None:
    collection.upsert([entry()], vectors(0))
    collection.upsert([entry()], vectors(2))
    assert collection.count() == 1
    np.testing.assert_array_equal(best(collection, vectors(2)[0], 1)[1], vectors(2))


def test_each_query_has_its_own_nearest_by_inner_product(collection: Collection) -> None:
    collection.upsert([entry(chunk=n, chunks=6) for n in range(6)], ROWS)
    queries = np.stack([ROWS[3], -ROWS[3]])
    for query, found in zip(queries, collection.nearest(queries, 4), strict=True):
        order = np.argsort(-(ROWS @ query))[:4]
        assert [one.chunk for one in entries_of(collection, found) if one] == list(order)
        np.testing.assert_array_equal(collection.vectors(found.ids()), ROWS[order])
        np.testing.assert_array_equal(collection.vectors(found.ids(slice(2, 4))[::-1]), ROWS[order[3:1:-1]])


def test_an_empty_index_finds_nothing(collection: Collection) -> None:
    entries, found = best(collection, vectors(0)[0], 5)
    assert entries == [] and found.shape == (0, DIM)
    assert (collection.count(), collection.files()) == (0, {})
    assert [one for entries, _, _ in collection.items() for one in entries] == []


def test_files_tell_what_is_in_and_what_is_missing(collection: Collection) -> None:
    collection.upsert([entry("/a", 0, 2), entry("/a", 1, 2), entry("/half", 0, 2)], vectors(0, 1, 2))
    collection.upsert([entry("/two", sha="s1"), entry("/two", sha="s2")], vectors(0, 1))
    states = collection.files()
    assert {path: (state.points, state.expected) for path, state in states.items()} == {
        "/a": (2, 2),
        "/half": (1, 2),
        "/two": (1, 1),
    }
    assert [path for path, state in states.items() if state.complete] == ["/a"]


def test_delete_removes_a_path_and_no_other(collection: Collection) -> None:
    collection.upsert([entry("/a"), entry("/ab"), entry("/c")], vectors(0, 1, 2))
    collection.delete(["/a", "/c"])
    assert list(collection.files()) == ["/ab"]


def test_delete_older_keeps_the_content_given(collection: Collection) -> None:
    collection.upsert([entry(chunk=n, chunks=3) for n in range(3)] + [entry("/b")], vectors(0, 1, 2, 3))
    new = [entry(chunk=n, chunks=2, sha="s2") for n in range(2)]
    collection.upsert(new, vectors(0, 1))
    collection.delete_older(new[-1:])
    state = collection.files()["/a.md"]
    assert (state.sha256, state.points, state.complete, collection.count()) == ("s2", 2, True, 3)


def test_restating_sets_time_and_fields_and_keeps_vectors(collection: Collection) -> None:
    collection.upsert([entry("/a"), entry("/b")], ROWS[:2])
    collection.restate({"/a": (7, {"year": 2025})})
    states = collection.files()
    assert {path: (state.mtime_ns, state.fields) for path, state in states.items()} == {
        "/a": (7, {"year": 2025}),
        "/b": (entry().mtime_ns, {}),
    }
    np.testing.assert_array_equal(best(collection, ROWS[0], 9, Only(paths=("/a",)))[1], ROWS[:1])


def test_a_file_under_a_new_path_takes_the_vectors_over(collection: Collection) -> None:
    collection.upsert([entry("/a", n, 2) for n in range(2)] + [entry("/half", 0, 2)], ROWS[:3])
    assert collection.take_over({"/new": ("/a", 7), "/no": ("/half", 7)}, {"year": 2025}) == {"/new"}
    assert sorted(collection.files()) == ["/a", "/half", "/new"]
    entries, found = best(collection, ROWS[0], 9, Only(paths=("/new",)))
    assert {one.fields["year"] for one in entries if one} == {2025}
    np.testing.assert_array_equal(found[np.argsort([one.chunk for one in entries if one])], ROWS[:2])


def test_items_are_all_there_is(collection: Collection) -> None:
    put = [entry(chunk=n, chunks=6) for n in range(6)]
    collection.upsert(put, ROWS)
    [(entries, found, damaged)] = collection.items()
    order = np.argsort([one.chunk for one in entries])
    assert [entries[row] for row in order] == put and damaged == 0
    np.testing.assert_array_equal(found[order], ROWS)


def test_words_are_scored_as_bm25_does_it(collection: Collection) -> None:
    snippets = ["moon and moon and river", "a river", "the house", "moonlight", ""]
    put = [replace(entry(f"/{number}"), snippet=text) for number, text in enumerate(snippets)]
    collection.upsert(put, ROWS[:5])
    queries = [query_words("Moon"), query_words("rivers, houses"), query_words("nothing of it")]
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
    filtered = collection.nearest_words(queries, 9, Only(paths=("/1",)))[1]
    assert [one.path for one in entries_of(collection, filtered) if one] == ["/1"]


def test_what_is_gone_or_has_another_vector_is_no_entry(collection: Collection) -> None:
    put = [entry("/a"), entry("/b"), entry("/c")]
    collection.upsert(put, ROWS[:3])
    ids = [point_id(one.path, one.sha256, 0) for one in put]
    collection.delete(["/b"])
    found = collection.vectors(ids)
    assert np.isnan(found[1]).all() and not np.isnan(found[[0, 2]]).any()
    found[2, 1] += 1
    with pytest.warns(UserWarning, match="2 .*chunks .*left out"):
        assert collection.entries(ids, found) == [put[0], None, None]


def test_a_sample_stands_for_all(collection: Collection) -> None:
    collection.upsert([entry(chunk=n, chunks=6) for n in range(6)], ROWS)
    assert sorted(collection.sample().tolist()) == sorted(ROWS.tolist())


@pytest.mark.parametrize("bad", [np.full((1, DIM), np.nan), np.zeros((2, DIM)), np.zeros((1, DIM + 1))])
def test_vectors_of_a_wrong_shape_or_not_finite_are_refused(collection: Collection, bad: np.ndarray) -> None:
    with pytest.raises(StoreError, match="expected 1 finite vectors of 4 dimensions"):
        collection.upsert([entry()], bad.astype(np.float32))
    assert collection.count() == 0


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Only(), "abc"),
        (Only(paths=("/d",)), "ab"),
        (Only(paths=("/d/sub/b.py", "/d2")), "bc"),
        (Only(paths=("/",)), "abc"),
        (Only(patterns=("*.md",)), "ac"),
        (Only(patterns=("*.none",)), ""),
        (Only(paths=("/d2",), patterns=("*.py",)), "bc"),
        (Only(languages=("python", "c")), "b"),
        (Only(paths=("/d",), languages=("markdown",)), "a"),
        (Only(conditions=(Condition("year", "=", 2025),)), "c"),
        (Only(conditions=(Condition("year", "<", 2025),)), "ab"),
        (Only(conditions=(Condition("year", "<=", 2024),)), "ab"),
        (Only(conditions=(Condition("year", ">", 2024),)), "c"),
        (Only(conditions=(Condition("year", ">=", 2025), Condition("team", "=", "y"))), "c"),
        (Only(conditions=(Condition("team", "!=", "x"),)), "c"),
        (Only(conditions=(Condition("none", "!=", "x"),)), "abc"),
        (Only(conditions=(Condition("none", "=", "x"),)), ""),
        (Only("image"), ""),
    ],
)
def test_a_search_finds_only_what_is_let_through(collection: Collection, wanted: Only, expected: str) -> None:
    about = [("/d/a.md", "markdown", 2024), ("/d/sub/b.py", "python", 2024), ("/d2/c.md", "markdown", 2025)]
    put = [
        replace(entry(path), language=language, fields={"year": year, "team": "x" if year == 2024 else "y"})
        for path, language, year in about
    ]
    collection.upsert(put, vectors(0, 1, 2))
    found, _ = best(collection, np.ones(DIM, np.float32), 9, wanted)
    assert sorted(Path(one.path).stem for one in found if one) == list(expected)
    assert collection.count(wanted) == len(expected)


@pytest.mark.parametrize("changes", [{"base_id": "b2"}, {"dim": 8}])
def test_another_base_is_refused(open_collection: Open, changes: dict[str, object]) -> None:
    with open_collection(f"base {changes}"):
        pass
    with pytest.raises(StoreError, match=r"holds vectors of base b1 \(4 dimensions\), the model makes b"):
        open_collection(f"base {changes}", **changes)


@pytest.mark.parametrize("storage", [Storage(DIM, "float16"), Storage(2)])
def test_an_index_keeps_vectors_as_it_was_made_to(open_collection: Open, storage: Storage) -> None:
    name = f"kept {storage.dim} {storage.numbers}"
    with open_collection(name, storage=storage) as collection:
        collection.upsert([entry(chunk=n, chunks=6) for n in range(6)], ROWS)
    with pytest.raises(StoreError, match="dimensions in float.* leave these options out"):
        open_collection(name, storage=Storage(3))
    with open_collection(name, create=False) as collection:
        assert collection.meta.storage == storage
        [(entries, rows, _)] = collection.items()
        kept = storage.widen(storage.narrow(ROWS), DIM)
        np.testing.assert_array_equal(rows, kept[[one.chunk for one in entries]])


def test_none_is_made_unless_asked(open_collection: Open) -> None:
    with pytest.raises(StoreError, match="^no .*make one with: unbraid index PATH"):
        open_collection("absent", create=False)


def test_a_folder_is_indexed_updated_and_searched(open_collection: Open, embedder, tmp_path: Path) -> None:
    (tmp_path / "moon.md").write_text("# Moon\n\nThe moon is bright.\n")
    (tmp_path / "dog.py").write_text("def dog():\n    return 'house'\n")
    with open_collection("whole", base_id=embedder.base_id, dim=embedder.dim) as collection:
        assert update(collection, embedder, [tmp_path]).added == 2
        assert update(collection, embedder, [tmp_path]).unchanged == 2
        [[hit, *_]] = search(collection, embedder, ["the moon is bright"], k=1)
        assert Path(hit.path).name == "moon.md"
        (tmp_path / "dog.py").rename(tmp_path / "hound.py")
        (tmp_path / "moon.md").write_text("# River\n")
        report = update(collection, embedder, [tmp_path], fields={"team": "x"})
        assert (report.moved, report.changed, report.chunks) == (1, 1, 1)
        assert {state.fields["team"] for state in collection.files().values()} == {"x"}


def test_a_hybrid_search_mixes_words_in(open_collection: Open, embedder, tmp_path: Path) -> None:
    for name in ("moon", "river", "house", "dog", "cat"):
        (tmp_path / f"{name}.md").write_text(f"the {name} search\n")
    with open_collection("hybrid", base_id=embedder.base_id, dim=embedder.dim) as collection:
        update(collection, embedder, [tmp_path])
        [hits] = search(collection, embedder, ["dog"], k=5, hybrid=True)
    scores = {Path(hit.path).stem: hit.bm25 for hit in hits}
    assert len(scores) == 5 and (scores["dog"] or 0) > 0
    assert {scores[name] for name in ("moon", "river", "house", "cat")} == {0.0}


def test_pictures_of_two_image_encoders_never_share_an_index(open_collection: Open) -> None:
    def of_tower(name: str) -> Provenance:
        return Provenance(f"bundle {name}", encoders={"image": name})

    with open_collection("tower", provenance=of_tower("old")) as opened:
        opened.upsert([entry()], vectors(0))
    with open_collection("tower", provenance=of_tower("new")) as opened:  # it holds no picture yet
        opened.upsert([entry("/p.png", modality="image")], vectors(1))
    with pytest.raises(
        StoreError, match="holds 1 pictures by the image encoder new, and that of bundle old is old"
    ):
        open_collection("tower", provenance=of_tower("old"))
    with open_collection("tower", provenance=of_tower("new")) as opened:
        assert opened.meta.provenance.encoders == {"image": "new"} and opened.count() == 2
