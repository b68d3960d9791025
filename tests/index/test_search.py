from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as edge
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.errors import ItemError
from unbraid.evaluation.word_evidence import WordIndex
from unbraid.index.protocol import Vectors
from unbraid.index.search import kept as kept_module
from unbraid.index.search import match_words as match_words_module
from unbraid.index.search import search as search_module
from unbraid.index.search.hit import Hit, Place
from unbraid.index.search.kept import Kept
from unbraid.index.search.relevance import STARTER, Scale, probability
from unbraid.index.search.search import search_vectors
from unbraid.index.store.bm25 import query_words
from unbraid.index.store.edge import prepare_points, upsert_operations
from unbraid.index.store.entry import Entry, point_id
from unbraid.index.store.filter import Filter
from unbraid.index.store.folder_store import FolderStore
from unbraid.index.store.store import Candidates
from unbraid.items import MODALITIES
from unbraid.vectors import normalize

DIM = 24
ROWS = 150


def search(store: FolderStore, model: Any, queries: Sequence[str], **options: Any) -> list[list[Hit]]:
    return search_vectors(store, model, model.encode(queries), **options)


def search_vector(store: FolderStore, model: Any, base: Vectors, **options: Any) -> list[Hit]:
    (hits,) = search_vectors(store, model, base[None], **options)
    return hits


def entries(count: int) -> list[Entry]:
    return [
        Entry(f"/{n // 3:03}.md", MODALITIES[n % 3], n + 1, n + 2, f"snippet {n}", "s", 1, 1, n % 3, 3)
        for n in range(count)
    ]


BASE = normalize(np.random.default_rng(0).standard_normal((ROWS, DIM)))


Open = Callable[..., FolderStore]
Model = Callable[..., Any]


@pytest.fixture(scope="session")
def make_model(tiny_model: type[Any]) -> Model:
    return lambda **matrices: tiny_model(DIM, **matrices)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, open_store: Open) -> Iterator[FolderStore]:
    with open_store(tmp_path_factory.mktemp("s") / "index", DIM) as opened:
        opened.upsert(entries(ROWS), BASE)
        yield opened


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, open_store: Open) -> Iterator[FolderStore]:
    with open_store(tmp_path_factory.mktemp("e") / "index", DIM) as opened:
        yield opened


@pytest.fixture
def empty(shared: FolderStore) -> Iterator[FolderStore]:
    yield shared
    shared.delete(shared.files())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["retrieval", "symmetric"]), st.integers(1, 20))
def test_search_ranks_as_materialized_task_vectors_do(
    store: FolderStore, make_model: Model, seed: int, mode: str, k: int
) -> None:
    rng = np.random.default_rng(seed)
    tasks = ("query", "document", "symmetric")
    model = make_model(**{task: rng.standard_normal((DIM, DIM)).astype(np.float32) for task in tasks})
    base = normalize(rng.standard_normal(DIM))
    query_task, document_task = model.search_modes[mode]
    scores = model.map(BASE, document_task) @ model.map(base[None], query_task)[0]
    best = np.argsort(-scores)[:k]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_module, "BLOCK", ROWS)  # where all are scored it is exact, whatever the matrices
        hits = search_vector(store, model, base, mode=mode, k=k)
    assert [hit.snippet for hit in hits] == [f"snippet {n}" for n in best]
    np.testing.assert_allclose([hit.cosine for hit in hits], scores[best], atol=1e-5)
    assert [hit.rank for hit in hits] == list(range(1, k + 1))


def test_more_is_fetched_than_wanted(
    store: FolderStore, make_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[int] = []
    real = store.nearest

    def nearest(queries: Vectors, limit: int, filter: Filter) -> list[Candidates]:
        limits.append(limit)
        return real(queries, limit, filter)

    monkeypatch.setattr(store, "nearest", nearest)
    for k in (1, 10, 50):
        search_vector(store, make_model(), BASE[0], k=k)
    assert limits == [1500, 1500, 2500]


def test_the_folded_query_fetches_the_right_documents_when_few_are_fetched(
    store: FolderStore, make_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "DEPTH", 10)
    monkeypatch.setattr(search_module, "DEPTH_FACTOR", 1)
    rotation = np.linalg.qr(np.random.default_rng(3).standard_normal((DIM, DIM)))[0].astype(np.float32)
    model = make_model(document=rotation)  # a rotation keeps lengths, so the inner product ranks exactly
    best = np.argsort(-(model.map(BASE, "document") @ BASE[7]))[:10]
    hits = search_vector(store, model, BASE[7], k=10)
    assert [hit.snippet for hit in hits] == [f"snippet {n}" for n in best]


def test_another_mode_encodes_nothing(store: FolderStore, make_model: Model) -> None:
    model = make_model(symmetric=np.diag(np.arange(1, DIM + 1)).astype(np.float32))
    base = model.encode(["some words"])[0]
    first = search_vector(store, model, base)
    second = search_vector(store, model, base, mode="symmetric")
    assert len(model.batches) == 1 and [hit.snippet for hit in first] != [hit.snippet for hit in second]


def test_a_text_finds_the_chunk_with_its_words(empty: FolderStore, make_model: Model) -> None:
    model = make_model()
    empty.upsert(entries(3), model.encode(["red green blue", "north south", "one two three"]))
    ((hit,),) = search(empty, model, ["south north"], k=1)
    assert (hit.rank, hit.path, hit.modality, hit.first_line, hit.last_line) == (1, "/000.md", "code", 2, 3)
    assert hit.cosine == pytest.approx(1.0)


def test_modality_keeps_one_kind(store: FolderStore, make_model: Model) -> None:
    (hits,) = search(store, make_model(), ["words"], filter=Filter("image"), k=99)
    assert len(hits) == 50 and {hit.modality for hit in hits} == {"image"}


def test_a_picture_counts_as_a_text_that_is_as_relevant(
    empty: FolderStore, make_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = [Entry(f"/{kind}", kind, 1, 1, "", "s", 1, 1, 0, 1) for kind in ("text", "image")]
    empty.upsert(kinds, normalize(BASE[[0, 0]] + [[0.3], [0.4]] * BASE[[1, 1]]))
    model = make_model()
    assert [hit.path for hit in search_vector(empty, model, BASE[0])] == ["/text", "/image"]
    counted = replace(STARTER, picture=(1.2, 0.0))
    monkeypatch.setattr(search_module, "relevance_of", lambda model: counted)
    before, after = search_vector(empty, model, BASE[0])
    assert [before.path, after.path] == ["/image", "/text"] and before.score > after.score
    assert before.cosine < after.cosine


def test_equal_scores_are_ordered_by_path_and_line(empty: FolderStore, make_model: Model) -> None:
    empty.upsert(entries(6)[::-1], BASE[[0] * 6])
    hits = search_vector(empty, make_model(), BASE[0])
    assert [(hit.path, hit.first_line) for hit in hits] == [(f"/{n // 3:03}.md", n + 1) for n in range(6)]


@pytest.mark.parametrize("mode", ["retrieval", "symmetric"])
def test_neighbouring_hits_are_one_with_the_best_score(
    empty: FolderStore, make_model: Model, mode: str
) -> None:
    parts = [
        Entry("/a.md", "text", 10 * n + 1, 10 * n + 9, f"part {n}", "s", 1, 1, n, 9) for n in (0, 1, 5, 7)
    ]
    near = BASE[0] + np.array([[0.2], [0.1], [0.4], [0.3]], np.float32) * BASE[1]
    empty.upsert(parts, normalize(near))
    hits = search_vector(empty, make_model(), BASE[0], mode=mode, k=3)
    assert [(hit.first_line, hit.last_line, hit.snippet) for hit in hits] == [
        (1, 19, "part 0\n\npart 1"),
        (71, 79, "part 7"),
        (51, 59, "part 5"),
    ]
    assert hits[0].cosine == pytest.approx(float(normalize(near)[1] @ BASE[0]), abs=1e-5)
    assert [hit.rank for hit in hits] == [1, 2, 3]


def test_copies_of_a_passage_are_one_hit_that_names_their_places(
    empty: FolderStore, make_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["one text", "other", "one\n text", "last", "one text"]
    parts = [Entry(f"/{n}.md", "text", 1, 2, text, "s", 1, 1, 0, 1) for n, text in enumerate(texts)]
    near = BASE[0] + np.arange(5, dtype=np.float32)[:, None] * 0.1 * BASE[1]
    empty.upsert(parts, normalize(near))
    for read in (-1, 0, 9):
        monkeypatch.setattr(search_module, "READ", read)
        for words in (None, ["nowhere"]):
            hits = search_vector(empty, make_model(), BASE[0], k=3, words=words)
            assert [hit.path for hit in hits] == ["/0.md", "/1.md", "/3.md"]
            assert hits[0].copies == [Place("/2.md", 1, 2), Place("/4.md", 1, 2)]
            assert hits[1].copies == hits[2].copies == []


def test_a_hit_says_which_part_matches_and_what_is_around_it(empty: FolderStore, make_model: Model) -> None:
    snippet = "Nothing here. A red kettle boils.\nTea"
    empty.upsert([Entry("/a.md", "text", 1, 2, snippet, "s", 1, 1, 0, 1, context="Guide > Tea")], BASE[:1])
    (hit,) = search_vector(empty, make_model(), BASE[0], words=["kettles"])
    assert (hit.match, hit.within) == ("A red kettle boils.", "Guide > Tea")
    (hit,) = search_vector(empty, make_model(), BASE[0])
    assert hit.match == "Nothing here."


@pytest.mark.parametrize("words", [None, ["shared"]])
@pytest.mark.parametrize("count", [3, 40])  # 40: more than are read at a time
def test_imports_come_after_the_code_that_is_as_near(
    empty: FolderStore, make_model: Model, words: list[str] | None, count: int
) -> None:
    def entry(n: int, snippet: str) -> Entry:
        return Entry(f"/{n:03}.py", "code", 1, 2, snippet, "s", 1, 1, 0, 1)

    near = normalize(np.eye(DIM)[0] + 0.01 * np.random.default_rng(0).standard_normal((count + 1, DIM)))
    imports = [entry(n, f"from shared import a{n}") for n in range(count)]
    empty.upsert([*imports, entry(999, "shared = 1")], np.concatenate([near[:count], near[-1:]]))
    (hits,) = search_vectors(empty, make_model(), np.eye(DIM, dtype=np.float32)[:1], k=2, words=words)
    assert hits[0].snippet == "shared = 1" and hits[1].snippet.startswith("from shared")
    assert hits[0].cosine == pytest.approx(near[-1, 0], abs=1e-3)
    assert hits[1].cosine == pytest.approx(near[0, 0], abs=0.1) and hits[0].score > hits[1].score


def test_an_empty_index_has_no_hits(empty: FolderStore, make_model: Model) -> None:
    assert search(empty, make_model(), ["words"]) == [[]]


def test_wrong_arguments_name_the_choices(store: FolderStore, make_model: Model) -> None:
    model = make_model()
    with pytest.raises(ItemError, match="unknown search mode 'fuzzy': choose one of retrieval, symmetric"):
        search_vectors(store, model, BASE[:1], mode="fuzzy")
    with pytest.raises(ItemError, match="at least one"):
        search_vectors(store, model, BASE[:1], k=0)
    with pytest.raises(ItemError, match="choose one of text, code, image"):
        Filter("sound")  # type: ignore[arg-type]


def test_several_queries_have_results_of_their_own(store: FolderStore, make_model: Model) -> None:
    model = make_model()
    together = search_vectors(store, model, BASE[:3], mode="symmetric", k=4)
    assert together == [search_vector(store, model, base, mode="symmetric", k=4) for base in BASE[:3]]
    assert search_vectors(store, model, BASE[:0], k=4) == []


def test_more_entries_are_read_where_one_file_takes_many(
    empty: FolderStore, make_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "READ", 0)
    parts = [Entry("/a.md", "text", n, n, f"part {n}", "s", 1, 1, n, 9) for n in range(9)]
    near = BASE[0] + np.arange(9, dtype=np.float32)[:, None] * 0.1 * BASE[1]
    empty.upsert(parts, normalize(near))
    hits = search_vector(empty, make_model(), BASE[0], k=3)
    assert [(hit.first_line, hit.last_line) for hit in hits] == [(0, 2), (3, 5), (6, 8)]


@pytest.mark.parametrize("k", [1, 10, 30])
@pytest.mark.parametrize("words", ["snippet 17 42", "42", "zebra", ""])
def test_a_hybrid_search_ranks_as_mixing_all_scores_does(
    store: FolderStore, make_model: Model, k: int, words: str
) -> None:
    model = make_model(query=np.linalg.qr(BASE[:DIM])[0], document=np.linalg.qr(BASE[DIM : 2 * DIM])[0])
    base = BASE[5]
    cosines = model.map(BASE, "document") @ model.map(base[None], "query")[0]
    index = WordIndex([entry.text for entry in entries(ROWS)])
    found = index(words)
    z = Scale.of(cosines, STARTER)(cosines)  # the sample is the whole index here
    odds = index.log_odds(words, z, STARTER) if query_words(words).indices else z
    best = np.argsort(-odds)[:k]
    hits = search_vector(store, model, base, k=k, words=[words])
    assert [hit.snippet for hit in hits] == [f"snippet {n}" for n in best]
    np.testing.assert_allclose([hit.cosine for hit in hits], cosines[best], atol=1e-5)
    if query_words(words).indices:
        np.testing.assert_allclose(
            [hit.score for hit in hits], [probability(odds[n]) for n in best], atol=1e-4
        )
        np.testing.assert_allclose([hit.bm25 for hit in hits], found.bm25[best], rtol=1e-5)


def test_a_hybrid_search_finds_words_that_are_no_candidate_of_the_vectors(
    store: FolderStore, make_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"DEPTH": 4, "DEPTH_FACTOR": 0, "HYBRID": 4, "HYBRID_FACTOR": 0}.items():
        monkeypatch.setattr(search_module, name, value)
    fifth = int(np.argsort(-(BASE @ BASE[0]))[4])
    hits = search_vector(store, make_model(), BASE[0], words=[f"snippet {fifth}"])
    assert f"snippet {fifth}" in {hit.snippet for hit in hits[:3]}
    only_vectors = search_vector(store, make_model(), BASE[0])
    assert len(only_vectors) == 4 and f"snippet {fifth}" not in {hit.snippet for hit in only_vectors}
    assert all(hit.bm25 is None for hit in only_vectors)


def test_a_hybrid_search_takes_its_words_from_the_queries_and_keeps_to_the_filter(
    store: FolderStore, make_model: Model
) -> None:
    hits, others = search(
        store,
        make_model(),
        ["snippet 16", "snippet 31"],
        filter=Filter("code"),
        words=["snippet 16", "snippet 31"],
    )
    assert {hit.modality for hit in [*hits, *others]} == {"code"}
    best = [max(some, key=lambda hit: hit.bm25 or 0).snippet for some in (hits, others)]
    assert best == ["snippet 16", "snippet 31"]


@pytest.mark.parametrize("wide", [1, 75, 1000])
def test_words_count_the_same_however_many_chunks_are_asked_for(
    store: FolderStore, make_model: Model, monkeypatch: pytest.MonkeyPatch, wide: int
) -> None:
    texts = ["snippet 16", "31", "nothing"]
    options = {"filter": Filter("code"), "words": texts, "k": 5}
    expected = search(store, make_model(), texts, **options)
    monkeypatch.setattr(match_words_module, "WIDE", wide)
    assert search(store, make_model(), texts, **options) == expected


def test_what_was_mapped_is_kept_until_something_is_written(
    empty: FolderStore, make_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, kept = make_model(), Kept()
    mapped: list[int] = []
    whole = model.map
    monkeypatch.setattr(model, "map", lambda base, task: (mapped.append(len(base)), whole(base, task))[1])
    empty.upsert(entries(9), BASE[:9])
    first, again = (search_vector(empty, model, BASE[0], kept=kept) for _ in range(2))
    assert first == again and mapped == [1, 9, 9, 1]  # the query, the sample and the candidates; the query
    empty.upsert(entries(9)[:1], -BASE[:1])
    hits = search_vector(empty, model, BASE[0], kept=kept)
    assert {hit.path: hit.cosine for hit in hits}["/000.md"] < 0.9 < first[0].cosine


def test_what_was_read_is_not_read_again_until_the_index_changes(
    empty: FolderStore, make_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    model, kept = make_model(), Kept()
    empty.upsert(entries(ROWS), BASE)
    read: list[int] = []
    whole = empty.payloads
    monkeypatch.setattr(empty, "payloads", lambda ids: (read.append(len(ids)), whole(ids))[1])
    queries = normalize(rng.standard_normal((12, DIM)))
    texts = [f"snippet {one}" for one in rng.integers(0, ROWS, 12)]
    asked = [(query[None], [text]) for query, text in zip(queries, texts, strict=True)]
    folders = (Filter(), Filter(paths=("/01",)), Filter(paths=("/007.md",)))

    def ask(kept: Kept) -> list[list[Hit]]:
        return [
            search_vectors(empty, model, query, words=words, filter=filter, kept=kept)[0]
            for query, words in asked
            for filter in folders
        ]

    first = ask(kept)
    some = len(read)
    assert ask(kept) == first == [hits for one in [ask(Kept())] for hits in one] and some > 0
    read.clear()
    assert ask(kept) == first and read == []
    empty.upsert([replace(one, snippet="another text") for one in entries(ROWS)[:30]], BASE[:30])
    assert ask(kept) == ask(Kept()) != first


def test_no_more_than_some_are_kept(
    empty: FolderStore, make_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_module, "KEPT", 5)
    model, kept = make_model(), Kept()
    empty.upsert(entries(30), BASE[:30])
    ids = empty.identities()
    for start in range(0, 30, 3):
        some = ids[start : start + 3]
        found = kept_module.document_vectors(kept, empty.version(), empty, model, "document", some)
        assert np.allclose(found, empty.vectors(some), atol=1e-6)
        assert len(kept.documents[1].get("document", {})) <= 5
    monkeypatch.setattr(kept_module, "ENTRIES", 5)
    for start in range(0, 30, 3):
        some = ids[start : start + 3]
        found = kept_module.checked_entries(kept, empty.version(), empty, some)
        assert found == empty.entries(some, empty.vectors(some))
        assert len(kept.entries[1]) <= 8


def test_a_merged_result_is_the_same_however_many_entries_are_read_at_a_time(
    empty: FolderStore, make_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [Entry("/a.md", "text", n, n, f"part {n}", "s", 1, 1, n, 9) for n in (0, 5, 1, 2)]
    near = BASE[0] + np.arange(4, dtype=np.float32)[:, None] * 0.1 * BASE[1]
    empty.upsert(parts, normalize(near))
    found = []
    for read in (-1, 0, 1, 9):
        monkeypatch.setattr(search_module, "READ", read)
        found.append(search_vector(empty, make_model(), BASE[0], k=2))
    assert [(hit.first_line, hit.last_line) for hit in found[0]] == [(0, 2), (5, 5)]
    assert found[1:] == [found[0]] * 3


def test_few_candidates_are_scored_where_lengths_do_not_matter(
    empty: FolderStore, make_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = normalize(np.random.default_rng(5).standard_normal((600, DIM)))
    empty.upsert([Entry(f"/{n:03}.md", "text", 1, 1, str(n), "s", 1, 1, 0, 1) for n in range(600)], rows)
    scored: list[int] = []
    real = empty.vectors
    monkeypatch.setattr(empty, "vectors", lambda ids: scored.append(len(ids)) or real(ids))
    rotation = np.linalg.qr(np.random.default_rng(3).standard_normal((DIM, DIM)))[0].astype(np.float32)
    singular = (rotation * np.logspace(0, -6, DIM) @ rotation).astype(np.float32)
    for matrix in (rotation, singular):
        model = make_model(document=matrix)
        best = np.argsort(-(model.map(rows, "document") @ BASE[7]))[:5]
        assert [int(hit.snippet) for hit in search_vector(empty, model, BASE[7], k=5)] == best.tolist()
    assert scored[0] == 50 and sum(scored[1:]) > 100


def test_a_damaged_candidate_is_left_out_and_another_takes_its_place(
    empty: FolderStore, make_model: Model
) -> None:
    rows = BASE[:60]
    put = [Entry(f"/{n:02}.md", "text", 1, 1, str(n), "s", 1, 1, 0, 1) for n in range(60)]
    order = np.argsort(-(rows @ BASE[3]))
    hurt = rows.copy()
    hurt[order[1], 0] += 1e-3
    empty._update(upsert_operations(prepare_points(put, rows, empty.meta.storage)))
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
    with pytest.warns(UserWarning, match="1 chunks of .* were left out, damaged"):
        hits = search_vector(empty, make_model(), BASE[3], k=5)
    assert [int(hit.snippet) for hit in hits] == [order[0], *order[2:6]]


def test_a_hybrid_search_of_an_empty_index_finds_nothing(empty: FolderStore, make_model: Model) -> None:
    assert search(empty, make_model(), ["words"], words=["words"]) == [[]]


def test_a_hit_prints_as_one_line_with_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    here = Hit(3, 0.51234, str(tmp_path / "docs" / "a.md"), "text", 3, 9, "some\n\nwords")
    assert str(here) == "  3  0.512  docs/a.md:3-9  some words"
    picture = Hit(1, 1.0, "/elsewhere/far/p.png", "image", None, None, "")
    assert str(picture) == "  1  1.000  /elsewhere/far/p.png"
