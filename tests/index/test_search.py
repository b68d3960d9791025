import hashlib
import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import qdrant_edge as edge
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.errors import ItemError
from unbraid.evaluation.baselines import index_bm25
from unbraid.index import Hit, Only, Store, search, search_vectors
from unbraid.index.protocol import Vectors
from unbraid.index.search.hybrid import mixed
from unbraid.index.store.entry import Entry, point_id
from unbraid.index.store.folder_store import upsert_points
from unbraid.index.store.protocol import Candidates
from unbraid.items import MODALITIES, Item

DIM = 24
search_module = importlib.import_module(
    "unbraid.index.search.search"
)  # the package's `search` is the function
ROWS = 150


def unit(vectors: np.ndarray) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


class FakeModel:
    """Words hashed into a unit vector; one matrix per task, the identity where none is given."""

    dim = DIM
    base_id = "fake"
    modalities = MODALITIES
    search_modes = MappingProxyType(
        {"retrieval": ("query", "document"), "symmetric": ("symmetric", "symmetric")}
    )

    def __init__(self, **matrices: Vectors) -> None:
        self.matrices = matrices
        self.calls = 0

    def encode(
        self, items: Sequence[Item], *, on_truncate: str = "warn", progress: bool | None = None
    ) -> Vectors:
        self.calls += 1
        vectors = np.full((len(items), DIM), 1e-3, np.float32)
        for row, item in zip(vectors, items, strict=True):
            for word in str(item).split():
                row[hashlib.md5(word.encode()).digest()[0] % DIM] += 1
        return unit(vectors)

    def map(self, base: Vectors, task: str) -> Vectors:
        return unit(base @ self.matrix(task).T)

    def matrix(self, task: str) -> Vectors:
        return self.matrices.get(task, np.eye(DIM, dtype=np.float32))


def search_vector(store: Store, model: FakeModel, base: Vectors, **options: object) -> list[Hit]:
    (hits,) = search_vectors(store, model, base[None], **options)  # type: ignore[arg-type]
    return hits


def entries(count: int) -> list[Entry]:
    return [
        Entry(f"/{n // 3:03}.md", MODALITIES[n % 3], n + 1, n + 2, f"snippet {n}", "s", 1, 1, n % 3, 3)
        for n in range(count)
    ]


BASE = unit(np.random.default_rng(0).standard_normal((ROWS, DIM)))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(tmp_path_factory.mktemp("s") / "index", base_id="fake", dim=DIM, create=True) as opened:
        opened.upsert(entries(ROWS), BASE)
        yield opened


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(tmp_path_factory.mktemp("e") / "index", base_id="fake", dim=DIM, create=True) as opened:
        yield opened


@pytest.fixture
def empty(shared: Store) -> Iterator[Store]:
    yield shared
    shared.delete(shared.files())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["retrieval", "symmetric"]), st.integers(1, 20))
def test_search_ranks_as_materialised_task_vectors_do(store: Store, seed: int, mode: str, k: int) -> None:
    rng = np.random.default_rng(seed)
    tasks = ("query", "document", "symmetric")
    model = FakeModel(**{task: rng.standard_normal((DIM, DIM)).astype(np.float32) for task in tasks})
    base = unit(rng.standard_normal(DIM))
    query_task, document_task = model.search_modes[mode]
    scores = model.map(BASE, document_task) @ model.map(base[None], query_task)[0]
    best = np.argsort(-scores)[:k]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_module, "BLOCK", ROWS)  # where all are scored it is exact, whatever the matrices
        hits = search_vector(store, model, base, mode=mode, k=k)
    assert [hit.snippet for hit in hits] == [f"snippet {n}" for n in best]
    np.testing.assert_allclose([hit.score for hit in hits], scores[best], atol=1e-5)
    assert [hit.rank for hit in hits] == list(range(1, k + 1))


def test_more_is_fetched_than_wanted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[int] = []
    real = store.nearest

    def nearest(queries: Vectors, limit: int, only: Only) -> list[Candidates]:
        limits.append(limit)
        return real(queries, limit, only)

    monkeypatch.setattr(store, "nearest", nearest)
    for k in (1, 10, 50):
        search_vector(store, FakeModel(), BASE[0], k=k)
    assert limits == [1500, 1500, 2500]


def test_the_folded_query_fetches_the_right_documents_when_few_are_fetched(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "DEPTH", 10)
    monkeypatch.setattr(search_module, "DEPTH_FACTOR", 1)
    rotation = np.linalg.qr(np.random.default_rng(3).standard_normal((DIM, DIM)))[0].astype(np.float32)
    model = FakeModel(document=rotation)  # a rotation keeps lengths, so the inner product ranks exactly
    best = np.argsort(-(model.map(BASE, "document") @ BASE[7]))[:10]
    hits = search_vector(store, model, BASE[7], k=10)
    assert [hit.snippet for hit in hits] == [f"snippet {n}" for n in best]


def test_another_mode_encodes_nothing(store: Store) -> None:
    model = FakeModel(symmetric=np.diag(np.arange(1, DIM + 1)).astype(np.float32))
    base = model.encode(["some words"])[0]
    first = search_vector(store, model, base)
    second = search_vector(store, model, base, mode="symmetric")
    assert model.calls == 1 and [hit.snippet for hit in first] != [hit.snippet for hit in second]


def test_a_text_finds_the_chunk_with_its_words(empty: Store) -> None:
    model = FakeModel()
    empty.upsert(entries(3), model.encode(["red green blue", "north south", "one two three"]))
    ((hit,),) = search(empty, model, ["south north"], k=1)
    assert (hit.rank, hit.path, hit.modality, hit.first_line, hit.last_line) == (1, "/000.md", "code", 2, 3)
    assert hit.score == pytest.approx(1.0)


def test_modality_keeps_one_kind(store: Store) -> None:
    (hits,) = search(store, FakeModel(), ["words"], only=Only("image"), k=99)
    assert len(hits) == 50 and {hit.modality for hit in hits} == {"image"}


def test_equal_scores_are_ordered_by_path_and_line(empty: Store) -> None:
    empty.upsert(entries(6)[::-1], BASE[[0] * 6])
    hits = search_vector(empty, FakeModel(), BASE[0])
    assert [(hit.path, hit.first_line) for hit in hits] == [(f"/{n // 3:03}.md", n + 1) for n in range(6)]


@pytest.mark.parametrize("mode", ["retrieval", "symmetric"])
def test_neighbouring_hits_are_one_with_the_best_score(empty: Store, mode: str) -> None:
    parts = [
        Entry("/a.md", "text", 10 * n + 1, 10 * n + 9, f"part {n}", "s", 1, 1, n, 9) for n in (0, 1, 5, 7)
    ]
    near = BASE[0] + np.array([[0.2], [0.1], [0.4], [0.3]], np.float32) * BASE[1]
    empty.upsert(parts, unit(near))
    hits = search_vector(empty, FakeModel(), BASE[0], mode=mode, k=3)
    assert [(hit.first_line, hit.last_line, hit.snippet) for hit in hits] == [
        (1, 19, "part 0\n\npart 1"),
        (71, 79, "part 7"),
        (51, 59, "part 5"),
    ]
    assert hits[0].score == pytest.approx(float(unit(near)[1] @ BASE[0]), abs=1e-5)
    assert [hit.rank for hit in hits] == [1, 2, 3]


def test_an_empty_index_has_no_hits(empty: Store) -> None:
    assert search(empty, FakeModel(), ["words"]) == [[]]


def test_wrong_arguments_name_the_choices(store: Store) -> None:
    model = FakeModel()
    with pytest.raises(ItemError, match="unknown search mode 'fuzzy': choose one of retrieval, symmetric"):
        search(store, model, ["words"], mode="fuzzy")
    with pytest.raises(ItemError, match="at least one"):
        search(store, model, ["words"], k=0)
    with pytest.raises(ItemError, match="choose one of text, code, image"):
        Only("sound")  # type: ignore[arg-type]
    assert model.calls == 0


def test_several_queries_have_results_of_their_own(store: Store) -> None:
    model = FakeModel()
    together = search_vectors(store, model, BASE[:3], mode="symmetric", k=4)
    assert together == [search_vector(store, model, base, mode="symmetric", k=4) for base in BASE[:3]]
    assert search(store, model, [], k=4) == []


def test_more_entries_are_read_where_one_file_takes_many(
    empty: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "READ", 0)
    parts = [Entry("/a.md", "text", n, n, f"part {n}", "s", 1, 1, n, 9) for n in range(9)]
    near = BASE[0] + np.arange(9, dtype=np.float32)[:, None] * 0.1 * BASE[1]
    empty.upsert(parts, unit(near))
    hits = search_vector(empty, FakeModel(), BASE[0], k=3)
    assert [(hit.first_line, hit.last_line) for hit in hits] == [(0, 2), (3, 5), (6, 8)]


@pytest.mark.parametrize("k", [1, 10, 30])
@pytest.mark.parametrize("words", ["snippet 17 42", "42", "zebra", ""])
def test_a_hybrid_search_ranks_as_mixing_all_scores_does(store: Store, k: int, words: str) -> None:
    model = FakeModel(query=np.linalg.qr(BASE[:DIM])[0], document=np.linalg.qr(BASE[DIM : 2 * DIM])[0])
    base = BASE[5]
    cosines = model.map(BASE, "document") @ model.map(base[None], "query")[0]
    bm25 = index_bm25([words], [entry.text for entry in entries(ROWS)])(slice(0, 1))[0]
    scores = mixed(cosines, bm25, cosines.std(), bm25.max())  # the sample is the whole index here
    best = np.argsort(-scores)[:k]
    hits = search_vector(store, model, base, k=k, words=[words])
    assert [hit.snippet for hit in hits] == [f"snippet {n}" for n in best]
    np.testing.assert_allclose([hit.score for hit in hits], scores[best], atol=1e-5)
    np.testing.assert_allclose([hit.cosine for hit in hits], cosines[best], atol=1e-5)
    np.testing.assert_allclose([hit.bm25 for hit in hits], bm25[best], rtol=1e-5)


def test_a_hybrid_search_finds_words_that_are_no_candidate_of_the_vectors(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"DEPTH": 4, "DEPTH_FACTOR": 0, "HYBRID": 4, "HYBRID_FACTOR": 0}.items():
        monkeypatch.setattr(search_module, name, value)
    fifth = int(np.argsort(-(BASE @ BASE[0]))[4])
    hits = search_vector(store, FakeModel(), BASE[0], words=[f"snippet {fifth}"])
    assert f"snippet {fifth}" in {hit.snippet for hit in hits[:3]}
    only_vectors = search_vector(store, FakeModel(), BASE[0])
    assert len(only_vectors) == 4 and f"snippet {fifth}" not in {hit.snippet for hit in only_vectors}
    assert all(hit.cosine is None and hit.bm25 is None for hit in only_vectors)


def test_a_hybrid_search_takes_its_words_from_the_queries_and_keeps_to_the_filter(store: Store) -> None:
    hits, others = search(store, FakeModel(), ["snippet 16", "snippet 31"], only=Only("code"), hybrid=True)
    assert {hit.modality for hit in [*hits, *others]} == {"code"}
    best = [max(some, key=lambda hit: hit.bm25 or 0).snippet for some in (hits, others)]
    assert best == ["snippet 16", "snippet 31"]


def test_a_merged_result_is_the_same_however_many_entries_are_read_at_a_time(
    empty: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [Entry("/a.md", "text", n, n, f"part {n}", "s", 1, 1, n, 9) for n in (0, 5, 1, 2)]
    near = BASE[0] + np.arange(4, dtype=np.float32)[:, None] * 0.1 * BASE[1]
    empty.upsert(parts, unit(near))
    found = []
    for read in (-1, 0, 1, 9):
        monkeypatch.setattr(search_module, "READ", read)
        found.append(search_vector(empty, FakeModel(), BASE[0], k=2))
    assert [(hit.first_line, hit.last_line) for hit in found[0]] == [(0, 2), (5, 5)]
    assert found[1:] == [found[0]] * 3


def test_few_candidates_are_scored_where_lengths_do_not_matter(
    empty: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = unit(np.random.default_rng(5).standard_normal((600, DIM)))
    empty.upsert([Entry(f"/{n:03}.md", "text", 1, 1, str(n), "s", 1, 1, 0, 1) for n in range(600)], rows)
    scored: list[int] = []
    real = empty.vectors
    monkeypatch.setattr(empty, "vectors", lambda ids: scored.append(len(ids)) or real(ids))
    rotation = np.linalg.qr(np.random.default_rng(3).standard_normal((DIM, DIM)))[0].astype(np.float32)
    singular = (rotation * np.logspace(0, -6, DIM) @ rotation).astype(np.float32)
    for matrix in (rotation, singular):
        model = FakeModel(document=matrix)
        best = np.argsort(-(model.map(rows, "document") @ BASE[7]))[:5]
        assert [int(hit.snippet) for hit in search_vector(empty, model, BASE[7], k=5)] == best.tolist()
    assert scored[0] == 50 and sum(scored[1:]) > 100


def test_a_damaged_candidate_is_left_out_and_another_takes_its_place(empty: Store) -> None:
    rows = BASE[:60]
    put = [Entry(f"/{n:02}.md", "text", 1, 1, str(n), "s", 1, 1, 0, 1) for n in range(60)]
    order = np.argsort(-(rows @ BASE[3]))
    hurt = rows.copy()
    hurt[order[1], 0] += 1e-3
    operation = upsert_points(put, rows, empty.meta.storage)
    empty._update([operation])
    empty._update(
        [
            edge.UpdateOperation.update_vectors(
                [
                    edge.PointVectors(point_id(put[row].path, "s", 0), {"": hurt[row].tolist()})
                    for row in order[1:2]
                ]
            )
        ]
    )
    with pytest.warns(UserWarning, match="1 damaged chunks were left out"):
        hits = search_vector(empty, FakeModel(), BASE[3], k=5)
    assert [int(hit.snippet) for hit in hits] == [order[0], *order[2:6]]


def test_a_hybrid_search_of_nothing_and_by_a_picture(empty: Store) -> None:
    assert search(empty, FakeModel(), ["words"], hybrid=True) == [[]]
    with pytest.raises(ItemError, match="a picture has no words"):
        search(empty, FakeModel(), ["words", Path("a.png")], hybrid=True)
