"""The second look: what it changes, what it leaves, and what of it is stored."""

import importlib
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

import unbraid
from unbraid.errors import ItemError
from unbraid.index.search import document_tokens as tokens_module
from unbraid.index.search import token_cache
from unbraid.index.search.document_tokens import MOST_BYTES, Passage, head_of, read_passages
from unbraid.index.search.explain import Words, join_pieces, pairs_of
from unbraid.index.search.hit import WordPair
from unbraid.index.search.relevance import relevance_of
from unbraid.index.search.rescore import Ranked
from unbraid.index.search.second_look import (
    Rerank,
    SecondLook,
    changes,
    query_head,
    read_rerank,
    second_looks,
)
from unbraid.index.search.token_cache import FILE, TokenCache
from unbraid.index.store.entry import Entry
from unbraid.multi_vector.maxsim import maxsim
from unbraid.runtime.multi_vector import meaningless

TEXTS = [
    "the cat and the dog",
    "red house",
    "a river and the moon",
    "search vector model",
    "green bright cat",
]
FINITE = st.floats(-1, 1, width=32)


def entry(text: str, tier: str = "small", modality: Any = "text", number: int = 0) -> Entry:
    return Entry(f"/{number}", modality, 1, 1, text, "", 0, 0, 0, 1, tier=tier)


def look(embedder: Any, query: str = "cat", **options: Any) -> SecondLook:
    cache = options.pop("cache", TokenCache(None))
    (found,) = second_looks(embedder, [query], options.pop("weight", 1.0), Rerank(**options), cache)
    assert found is not None
    return found


def tokens_read(*given: Any) -> list[Any]:
    """The token vectors of what `read_passages` reads."""
    return [None if one is None else one.tokens for one in read_passages(*given)]


# -- the formula


@given(st.lists(FINITE, max_size=20), st.floats(0, 3))
def test_better_answers_gain_more_and_the_ten_best_gain_what_they_lose(scores, weight):
    found = changes(np.asarray(scores), weight)
    assert found.shape == (len(scores),) and abs(np.sort(found)[-10:].sum()) < 1e-3
    assert all(
        (a <= b) == (c <= d) or a == b or abs(c - d) < 1e-5
        for a, c in zip(scores, found, strict=True)
        for b, d in zip(scores, found, strict=True)
    )


@given(st.lists(FINITE, min_size=2, max_size=20), st.floats(-5, 5))
def test_only_differences_of_scores_matter(scores, origin):
    scores = np.asarray(scores)
    assert np.allclose(changes(scores, 10), changes(scores + origin, 10), atol=1e-5)


def test_one_candidate_and_equal_scores_change_nothing():
    assert changes(np.asarray([0.3]), 1.0).tolist() == [0]
    assert changes(np.asarray([0.3, 0.3]), 1.0).tolist() == [0, 0]
    assert changes(np.asarray([]), 1.0).tolist() == []
    assert changes(np.asarray([0.1, 0.3]), 10) == pytest.approx([-1, 1])


def test_the_first_of_many_that_are_alike_gains_little():
    alike, one_stands_out = np.linspace(0.3, 0.4, 50), np.append(np.linspace(0.3, 0.4, 49), 0.7)
    assert changes(alike, 7).max() < 0.1
    assert changes(one_stands_out, 7).max() > 1.5


def test_a_query_too_short_to_tell_its_language_is_read_by_the_tier_of_documents(tiers_folder):
    model = unbraid.load(tiers_folder, threads=1)
    short = next(word for word in ("moon", "cat", "river") if model.route([word])[0].tier == "multi")
    assert query_head(model, short).tier == model.tier
    foreign = "das ist ein langer deutscher Satz über den Mond und den Fluss"
    assert model.route([foreign])[0].tier == "multi"
    assert query_head(model, foreign) is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("off", None),
        ("on", Rerank()),
        ("100", Rerank(first=100)),
        (10, Rerank(first=10)),
        ("30ms", Rerank(seconds=0.03)),
        ("0ms", Rerank(seconds=0.0)),
        ("0.3 s", Rerank(seconds=0.3)),
    ],
)
def test_what_rerank_may_be(given, expected):
    assert read_rerank(given) == expected


@pytest.mark.parametrize("given", ["", "1", "0", "yes", "30 minutes", "-3ms", "1e3ms", "99999", True, "٣ms"])
def test_what_rerank_may_not_be(given):
    with pytest.raises(ItemError, match="expected on, off"):
        read_rerank(given)


# -- candidates


def test_candidates_change_by_their_tokens_whatever_their_order_and_their_mates(embedder):
    one = look(embedder)
    entries = [entry(text) for text in TEXTS]
    expected = changes(
        maxsim(one.query, tokens_read(embedder, passages(embedder), TokenCache(None))),
        one.head.look,
    )
    for order in ([0, 1, 2, 3, 4], [3, 1, 4, 0, 2]):
        found = one.again(np.zeros(5), order, lambda ids: [entries[one] for one in ids])
        assert found == pytest.approx(expected[order])


def passages(embedder: Any, texts: list[str] = TEXTS) -> list[Passage]:
    found = [Passage.of(embedder, entry(text)) for text in texts]
    return [one for one in found if one is not None]


def test_what_cannot_be_looked_at_keeps_its_log_odds(embedder):
    entries = [
        entry("the cat"),
        None,
        entry("", modality="image"),
        entry("red house"),
        entry("die Katze", tier="multi"),
        entry("cat", tier=""),
        entry("cat", tier="nano"),
        entry(""),
    ]
    odds = np.arange(8.0)
    found = look(embedder).again(odds, list(range(8)), lambda ids: [entries[one] for one in ids])
    assert (found != odds).tolist() == [True, False, False, True, False, False, False, False]


def test_only_the_first_are_looked_at(embedder):
    asked = []

    def read(ids):
        asked.extend(ids)
        return [entry(TEXTS[one]) for one in ids]

    found = look(embedder, first=2).again(np.asarray([0.0, 5, 3, 4, 1]), [0, 1, 2, 3, 4], read)
    assert asked == [1, 3] and found[[0, 2, 4]].tolist() == [0, 3, 1]


def test_no_candidates_and_a_query_without_words(embedder):
    assert look(embedder).again(np.empty(0), [], lambda ids: []).tolist() == []
    assert second_looks(embedder, [None, ""], 1.0, Rerank(), TokenCache(None)) == [None, None]
    assert second_looks(embedder, ["cat"], 0.0, Rerank(), TokenCache(None)) == [None]


def test_a_ranking_by_cosines_keeps_what_is_not_looked_at_in_its_place(embedder):
    cosines = np.asarray([0.9, 0.8, 0.7, 0.6, 0.5])
    ids = list(range(5))
    rankings = [Ranked(ids[:4], cosines[:4], [0, 1, 2]), Ranked(ids, cosines, ids)]
    one = look(embedder, first=2, weight=5.0)
    first, last = one.ranked(rankings, lambda some: 2 * some, lambda some: [entry(TEXTS[n]) for n in some])
    assert sorted(last.order) == ids and set(first.order) <= {0, 1, 2}
    assert last.scores[2:] == pytest.approx(2 * cosines[2:])
    assert last.scores[:2].sum() == pytest.approx(2 * cosines[:2].sum(), abs=1e-5)
    assert [last.scores[row] for row in last.order] == sorted(last.scores, reverse=True)
    # The one that lost is not final before everything is scored.
    assert all(first.scores[row] >= 2 * cosines[2] for row in first.order)


# -- tokens of documents


class Clock:
    """Each group of passages that is encoded takes a second."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float = 1.0) -> None:
        self.now, self.groups = 0.0, []
        encode = tokens_module.encode_passages

        def slow(model, some):
            self.now += seconds
            self.groups.append(len(some))
            return encode(model, some)

        monkeypatch.setattr(tokens_module, "perf_counter", lambda: self.now)
        monkeypatch.setattr(tokens_module, "encode_passages", slow)


def test_the_best_are_encoded_as_long_as_time_is_left(embedder, monkeypatch):
    clock = Clock(monkeypatch)
    cache = TokenCache(None)
    some = passages(embedder)
    for seconds, known in ((0.0, 0), (2.5, 2), (0.0, 2), (1.5, 3), (None, 5)):
        found = tokens_read(embedder, some, cache, seconds)
        assert [one is not None for one in found] == [True] * known + [False] * (5 - known)
    assert clock.groups == [1, 1, 1, 2]
    tokens_read(embedder, some, cache)
    assert clock.groups == [1, 1, 1, 2]


def test_copies_are_encoded_once_and_the_first_time_gives_what_the_cache_gives(embedder, monkeypatch):
    clock = Clock(monkeypatch)
    cache = TokenCache(None)
    some = [*passages(embedder), *passages(embedder)]
    first, again = (tokens_read(embedder, some, cache) for _ in range(2))
    assert clock.groups == [5] and len(first) == 10
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(first[:5], first[5:], strict=True))


def test_stored_tokens_are_nearly_those_of_the_model(embedder):
    exact = embedder.token_vectors(TEXTS, tier="small")
    stored = tokens_read(embedder, passages(embedder), TokenCache(None))
    for one, other in zip(exact, stored, strict=True):
        assert other is not None and (np.einsum("td,td->t", one.vectors, other) > 0.98).all()


def test_a_long_passage_takes_no_more_than_its_room(embedder, monkeypatch):
    head = head_of(embedder, "small", "text")
    assert head is not None and head.most(embedder.dim) * (head.dim // 2) == MOST_BYTES
    whole = replace(head, whole=1.0)
    assert embedder.dim // 2 + whole.most(embedder.dim) * (head.dim // 2) == MOST_BYTES
    monkeypatch.setattr(tokens_module, "MOST_BYTES", 3 * (head.dim // 2))
    (found,) = tokens_read(embedder, passages(embedder, ["cat dog house river red green"]), TokenCache(None))
    assert found is not None and found.shape == (3, head.dim)


def test_a_row_of_another_format_is_made_anew(embedder, tmp_path, monkeypatch):
    cache, asked = TokenCache(tmp_path), passages(embedder)
    expected = tokens_read(embedder, asked, cache)
    with monkeypatch.context() as patch:
        patch.setattr(token_cache, "FORMAT", 0)
        cache.write({one.key: b"\x11" * 8 for one in asked})
    assert cache.read([one.key for one in asked]) == {}
    for one, other in zip(tokens_read(embedder, asked, cache), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_words_in_a_picture_are_not_looked_at_and_those_of_a_scanned_page_are(embedder):
    words = replace(entry("sales by year"), language="picture")
    assert Passage.of(embedder, words) is None
    assert Passage.of(embedder, replace(words, language="pdf")) is not None


def test_foreign_bytes_under_a_key_count_as_not_looked_at(embedder):
    cache = TokenCache(None)
    some = passages(embedder, ["cat"])
    cache.write({some[0].key: b"x"})
    assert tokens_read(embedder, some, cache) == [None]


def test_heads_of_other_encoders_have_other_keys(embedder, tiers_folder):
    text, code = (head_of(embedder, "small", kind) for kind in ("text", "code"))
    assert text is not None and code is not None and text.space == code.space and text.key != code.key
    assert head_of(embedder, "nano", "text") is head_of(embedder, "none", "text") is None
    assert head_of(object(), "small", "text") is None


# -- an index


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(os.path.realpath(tmp_path_factory.mktemp("notes")))
    for number, text in enumerate(TEXTS):
        (folder / f"{number}.md").write_text(text)
    (folder / "code.py").write_text("def search(vector):\n    return model\n")
    Image.new("RGB", (4, 4)).save(folder / "red.png")
    return folder


@pytest.fixture
def index(notes: Path, embedder: Any, tmp_path: Path) -> Any:
    with unbraid.open_index(tmp_path / "ix", model=embedder) as opened:
        opened.add(notes, progress=False)
        yield opened


def by_path(hits: Any) -> dict[str, float]:
    return {Path(hit.path).name: hit.score for hit in hits}


def test_without_a_second_look_nothing_is_encoded_twice_and_nothing_is_stored(index, tmp_path, monkeypatch):
    monkeypatch.setattr(type(index.model), "token_vectors", None)  # would raise
    assert index.search("the cat") == index.search("the cat", rerank="off")
    assert not (tmp_path / "ix" / FILE).exists()


@pytest.mark.parametrize("vectors_only", [False, True])
def test_a_second_look_changes_texts_and_leaves_pictures(index, tmp_path, vectors_only):
    before = index.search("the cat", vectors_only=vectors_only)
    after = index.search("the cat", vectors_only=vectors_only, rerank="on")
    old, new = by_path(before), by_path(after)
    assert old.keys() == new.keys() and new["red.png"] == pytest.approx(old["red.png"], abs=1e-6)
    assert all(abs(new[name] - old[name]) > 1e-9 for name in old if name != "red.png")
    assert [hit.score for hit in after] == sorted((hit.score for hit in after), reverse=True)
    assert {hit.path: (hit.cosine, hit.bm25) for hit in after} == {
        hit.path: (hit.cosine, hit.bm25) for hit in before
    }
    assert (tmp_path / "ix" / FILE).exists()
    assert index.search("the cat", vectors_only=vectors_only, rerank="on") == after
    assert index.search("the cat", vectors_only=vectors_only, rerank="0ms") == after


def test_pictures_mixes_and_vectors_are_searched_as_they_were(index, notes):
    picture = Image.open(notes / "red.png")
    for query in (picture, unbraid.Mix(["cat", picture])):
        assert index.search(query, rerank="on") == index.search(query)
    base = index.model.encode(["cat"], side="query")
    assert index.search_vectors(base, ["cat"], rerank="on") == index.search_vectors(base, ["cat"])


def test_vectors_with_their_texts_are_searched_as_the_query_is(index):
    base = index.model.encode(["cat"], side="query")
    assert index.search_vectors(base, ["cat"], texts=["cat"], rerank="on") == [
        index.search("cat", rerank="on")
    ]


def test_several_queries_are_looked_at_each_by_itself(index):
    queries = ["the cat", unbraid.Code("search(vector)"), "red house"]
    assert index.search(queries, rerank="on") == [index.search(one, rerank="on") for one in queries]


def test_a_mode_may_count_it_otherwise_or_not_at_all(index, tmp_path):
    usual = relevance_of(index.model)
    about = {"words": usual.words, "vector": usual.vector, "mean": usual.mean, "spread": usual.spread}
    bundle = replace(index.model.bundle, relevance={**about, "look_share": {"code": 0}})
    other = unbraid.Embedder(bundle, threads=1)
    index.close()
    with unbraid.open_index(tmp_path / "ix", model=other) as weighed:
        assert weighed.search("cat", mode="code", rerank="on") == weighed.search("cat", mode="code")
        assert weighed.search("cat", rerank="on") != weighed.search("cat")


def test_log_odds_by_mode_of_a_bundle_of_before_are_shares(index):
    usual = relevance_of(index.model)
    about = {"words": usual.words, "vector": usual.vector, "mean": usual.mean, "spread": usual.spread}
    bundle = replace(index.model.bundle, relevance={**about, "look": {"code": 0, "symmetric": 3.5}})
    assert relevance_of(unbraid.Embedder(bundle)).look == {"code": 0, "symmetric": 0.5}


def test_a_wrong_rerank_is_refused_and_a_model_without_heads_warns(index, tiny_model, tmp_path, notes):
    with pytest.raises(ItemError, match="rerank is 'maybe'"):
        index.search("cat", rerank="maybe")
    with unbraid.open_index(tmp_path / "other", model=tiny_model()) as other:
        other.add(notes, progress=False)
        with pytest.warns(UserWarning, match="no multi-vectors"):
            found = other.search("cat", rerank="on")
        assert found == other.search("cat")


def test_texts_of_another_tier_than_the_query_are_left(tiers_folder, notes, tmp_path):
    model = unbraid.load(tiers_folder, threads=1)
    with unbraid.open_index(tmp_path / "ix", model=model) as index:
        index.add(notes, progress=False)
        before, after = index.search("the cat"), index.search("the cat", rerank="on")
        assert by_path(before) != by_path(
            after
        )  # documents are of small, which has a head, whatever the queries are of
    for tier in ("base", "nano"):
        with unbraid.open_index(
            tmp_path / "ix", model=unbraid.load(tiers_folder, tier=tier, threads=1)
        ) as index:
            assert index.search("the cat", rerank="on") == index.search("the cat")


def test_a_folder_that_cannot_be_written_is_searched_all_the_same(index, tmp_path):
    (tmp_path / "ix" / FILE).mkdir()
    assert index.search("cat", rerank="on") == index.search("cat", rerank="on")


# -- stored when indexing


def stored(folder: Path) -> int:
    with closing(sqlite3.connect(folder / FILE)) as file:
        return int(file.execute("SELECT count(*) FROM tokens").fetchone()[0])


def test_an_index_with_multi_vectors_has_nothing_left_to_encode_and_looks_by_default(
    notes, embedder, tmp_path, monkeypatch
):
    with unbraid.open_index(tmp_path / "ix", model=embedder) as index:
        index.add(notes, multi_vector=True, progress=False)
        assert stored(tmp_path / "ix") == index.count() - 1  # all but the picture
        (root,) = index.roots()
        assert root.multi_vector
        clock = Clock(monkeypatch)
        found = index.search("the cat")
        assert clock.groups == [] and found == index.search("the cat", rerank="on")
        assert found != index.search("the cat", rerank="off")
        size = index.stats().token_vectors
        assert 0 < size == (tmp_path / "ix" / FILE).stat().st_size
    with unbraid.open_index(tmp_path / "ix", model=embedder, read_only=True) as index:
        assert index.search("the cat") == found


def test_passages_of_a_root_without_multi_vectors_take_a_search_no_time(
    notes, embedder, tmp_path, monkeypatch
):
    other = tmp_path / "other"
    other.mkdir()
    for number in range(20):
        (other / f"{number}.md").write_text(f"{number} cats")
    with unbraid.open_index(tmp_path / "ix", model=embedder) as index:
        index.add(notes, multi_vector=True, progress=False)
        index.add(other, progress=False)
        before = stored(tmp_path / "ix")
        clock = Clock(monkeypatch, seconds=0.03)
        index.search("the cat", k=30)
        assert clock.groups == [1] and stored(tmp_path / "ix") == before + 1


@pytest.mark.parametrize("vectors_only", [False, True])
def test_as_many_as_were_asked_for_are_looked_at(embedder, tmp_path, monkeypatch, vectors_only):
    search_module = importlib.import_module("unbraid.index.search.search")
    monkeypatch.setattr(search_module, "HYBRID", 4)
    monkeypatch.setattr(search_module, "HYBRID_FACTOR", 1)
    folder = tmp_path / "cats"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number}.md").write_text(f"{number} cats and a dog")
    with unbraid.open_index(tmp_path / "ix", model=embedder) as index:
        index.add(folder, progress=False)
        clock = Clock(monkeypatch)
        index.search("a dog", k=1, rerank="25", vectors_only=vectors_only)
        assert sum(clock.groups) == 25


def test_what_is_in_the_index_already_is_stored_too_and_what_comes_later(
    notes, embedder, tmp_path, monkeypatch
):
    folder = tmp_path / "notes"
    shutil.copytree(notes, folder)
    with unbraid.open_index(tmp_path / "ix", model=embedder) as index:
        index.add(folder, progress=False)
        off = index.search("the cat")
        index.add(folder, multi_vector=True, progress=False)
        assert stored(tmp_path / "ix") == index.count() - 1
        assert index.search("the cat") != off
        (folder / "new.md").write_text("the moon is bright")
        index.refresh(progress=False)
        assert stored(tmp_path / "ix") == index.count() - 1
        index.add(folder, multi_vector=False, progress=False)
        (folder / "newer.md").write_text("a house")
        index.refresh(progress=False)
        assert stored(tmp_path / "ix") == index.count() - 2 and not index.roots()[0].multi_vector
        assert index.search("the cat") == index.search("the cat", rerank="off")


def test_what_is_deleted_leaves_the_cache_and_compacting_drops_what_was_replaced(notes, embedder, tmp_path):
    folder = tmp_path / "notes"
    shutil.copytree(notes, folder)
    with unbraid.open_index(tmp_path / "ix", model=embedder) as index:
        index.add(folder, multi_vector=True, progress=False)
        before = stored(tmp_path / "ix")
        index.delete(folder / "0.md")
        assert stored(tmp_path / "ix") == before - 1
        (folder / "1.md").write_text("something else")
        index.refresh(folder / "1.md", progress=False)
        assert stored(tmp_path / "ix") == before
        index.compact()
        assert stored(tmp_path / "ix") == before - 1 == index.count() - 1
        index.search("the cat")
        assert stored(tmp_path / "ix") == before - 1  # none of those that are left was lost


def test_a_refresh_drops_what_is_gone_from_the_disk_and_keeps_what_moved(
    notes, embedder, tmp_path, monkeypatch
):
    folder = tmp_path / "notes"
    shutil.copytree(notes, folder)
    with unbraid.open_index(tmp_path / "ix", model=embedder) as index:
        index.add(folder, multi_vector=True, progress=False)
        before = stored(tmp_path / "ix")
        (folder / "0.md").unlink()
        (folder / "1.md").rename(folder / "moved.md")
        clock = Clock(monkeypatch)
        assert index.refresh(progress=False).moved == 1
        assert stored(tmp_path / "ix") == before - 1 == index.count() - 1 and clock.groups == []
        # Watched places too.
        (folder / "2.md").unlink()
        index.refresh_places([folder / "2.md"])
        assert stored(tmp_path / "ix") == before - 2 == index.count() - 1


def test_compacting_drops_rows_of_other_heads_and_of_roots_without_multi_vectors(notes, embedder, tmp_path):
    folder = tmp_path / "notes"
    shutil.copytree(notes, folder)
    with unbraid.open_index(tmp_path / "ix", model=embedder) as index:
        index.add(folder, multi_vector=True, progress=False)
        cache = TokenCache(tmp_path / "ix")
        (passage,) = passages(embedder, TEXTS[:1])
        cache.write({passage.key[: len(passage.key) // 2] + b"another head....": b"x"})
        index.compact()
        assert stored(tmp_path / "ix") == index.count() - 1
        index.add(folder, multi_vector=False, progress=False)
        index.compact()
        assert not (tmp_path / "ix" / FILE).exists()


@pytest.mark.parametrize("lost", ["file", "mark", "interrupted"])
def test_a_refresh_stores_what_is_missing_and_else_reads_nothing(
    notes, embedder, tmp_path, monkeypatch, lost
):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with unbraid.open_index(tmp_path / "ix", model=embedder) as index:
        if lost == "interrupted":
            index.add(notes, progress=False)
            with monkeypatch.context() as patch:
                patch.setattr(tokens_module, "pack", stop)
                assert index.add(notes, multi_vector=True, progress=False).interrupted
            assert stored(tmp_path / "ix") == 0
        else:
            index.add(notes, multi_vector=True, progress=False)
        if lost == "file":
            (tmp_path / "ix" / FILE).unlink()
        if lost == "mark":  # as of another head
            with closing(sqlite3.connect(tmp_path / "ix" / FILE)) as file, file:
                file.execute("DELETE FROM tokens")
                file.execute("PRAGMA user_version = 5")
        index.refresh(progress=False)
        assert stored(tmp_path / "ix") == index.count() - 1
        monkeypatch.setattr(type(index), "_store_tokens", None)  # would raise
        index.refresh(progress=False)


def test_a_file_that_moves_into_a_root_with_multi_vectors_has_its_tokens_stored(notes, embedder, tmp_path):
    plain, rich = tmp_path / "plain", tmp_path / "rich"
    shutil.copytree(notes, plain)
    rich.mkdir()
    (rich / "a.md").write_text("a house")
    with unbraid.open_index(tmp_path / "ix", model=embedder) as index:
        index.add(plain, progress=False)
        index.add(rich, multi_vector=True, progress=False)
        (plain / "0.md").rename(rich / "0.md")
        assert index.refresh(progress=False).moved == 1 and stored(tmp_path / "ix") == 2
        assert TokenCache(tmp_path / "ix").mark() > 0


def test_a_copy_of_an_index_has_its_tokens_after_a_refresh(notes, embedder, tmp_path):
    with (
        unbraid.open_index(tmp_path / "ix", model=embedder) as index,
        unbraid.open_index(tmp_path / "copy", model=embedder) as copy,
    ):
        index.add(notes, multi_vector=True, progress=False)
        index.copy_to(copy)
        copy.refresh(progress=False)
        assert stored(tmp_path / "copy") == stored(tmp_path / "ix")


def test_the_cache_is_no_part_of_what_is_verified(notes, embedder, tmp_path):
    with unbraid.open_index(tmp_path / "ix", model=embedder) as index:
        index.add(notes, multi_vector=True, progress=False)
        found = index.search("the cat", rerank="on")
    (tmp_path / "ix" / FILE).write_bytes(b"broken" * 999)
    with unbraid.open_index(tmp_path / "ix", model=embedder) as index:
        assert index.verify().intact and index.search("the cat", rerank="on") == found
        (tmp_path / "ix" / FILE).unlink()
        assert index.verify().intact and index.search("the cat", rerank="on") == found


def test_a_model_without_heads_stores_none_and_says_so(notes, tiny_model, embedder, tmp_path):
    with unbraid.open_index(tmp_path / "ix", model=tiny_model()) as index:
        with pytest.raises(ItemError, match="no multi-vectors"):
            index.add(notes, multi_vector=True, progress=False)
        assert not (tmp_path / "ix").exists()


# -- why


def test_pieces_are_joined_to_words_and_those_that_say_nothing_are_left_out():
    vectors = np.eye(7, dtype=np.float32)
    words = join_pieces(["the", "elect", "##ro", "##n", ".", "##x", "c"], vectors)
    assert words.words == ["the", "electron", ".x", "c"]
    assert words.of == [1, 1, 1, 2, 2, 3] and np.array_equal(words.vectors, vectors[1:])
    assert join_pieces(["the", "of"], vectors[:2]).of == [0, 1]
    assert join_pieces(["##s", "##t"], vectors[:2]).words == ["st"]
    assert join_pieces([], vectors[:0]).words == []


@pytest.mark.parametrize(
    ("pieces", "words", "of"),
    [
        (
            ["▁The", "▁elect", "ron", "s", ",", "▁1", ".5"],
            ["The", "electrons", ",", "1", ".5"],
            [1, 1, 1, 3, 4],
        ),
        (["▁東京", "都", "に", "行く"], ["東京", "都", "に", "行く"], [0, 1, 2, 3]),
        (["▁", "привет", "▁мир"], ["", "привет", "мир"], [1, 2]),
        (["▁私は", "Py", "thon"], ["私は", "Python"], [0, 1, 1]),
        (["▁안녕", "하세요", "▁세계"], ["안녕하세요", "세계"], [0, 0, 1]),
        (["▁2024", "年", "10"], ["2024", "年", "10"], [0, 1, 2]),
        (["▁नम", "स्", "ते", "▁हिन्द", "ी"], ["नमस्ते", "हिन्दी"], [0, 0, 0, 1, 1]),
    ],
)
def test_words_of_sentence_pieces(pieces, words, of):
    found = join_pieces(pieces, np.eye(len(pieces), dtype=np.float32), sentence=True)
    assert (found.words, found.of) == (words, of)


def test_a_sign_that_begins_sentence_pieces_elsewhere_is_a_sign_among_word_pieces():
    found = join_pieces(["progress", "▁", "bar", "##s"], np.eye(4, dtype=np.float32))
    assert (found.words, found.of) == (["progress", "▁", "bars"], [0, 2, 2])


def test_tokens_that_say_nothing_are_found_in_both_kinds_of_vocabulary():
    def of(pieces: list[str]) -> set[str]:
        tokenizer = Tokenizer(WordLevel({piece: row for row, piece in enumerate(pieces)}, unk_token="?"))
        return {pieces[row] for row in meaningless(tokenizer)}

    assert of(["?", "the", "##the", "cat", "##.", "1"]) == {"?", "the", "##."}
    assert of(["?", "▁the", "the", "▁The", "▁cat", "▁", "▁1"]) == {"?", "▁the", "▁The", "▁"}


def test_each_word_of_the_query_has_the_nearest_word_of_the_passage():
    query = Words(["cost", "car"], [0, 0, 1], np.eye(3, 4, dtype=np.float32))
    passage = Words(["price", "of", "vehicle"], [0, 2, 2], np.eye(3, 4, dtype=np.float32)[[1, 2, 2]])
    assert pairs_of(query, passage) == [WordPair("cost", "price", 1.0), WordPair("car", "vehicle", 1.0)]
    assert pairs_of(query, Words([], [], np.empty((0, 4), np.float32))) == []


def test_hits_say_why_without_anything_stored(index, tmp_path):
    hits = index.search("the cat", explain=True)
    assert [replace(hit, why=[]) for hit in hits] == index.search("the cat")
    why = {Path(hit.path).name: hit.why for hit in hits}
    assert why["red.png"] == [] and not (tmp_path / "ix" / FILE).exists()
    (pair,) = why["0.md"]
    assert (pair.query, pair.passage) == ("cat", "cat") and 0 < pair.cosine <= 1
    assert {one.query for one in index.search("red moon", explain=True)[0].why} == {"red", "moon"}


def test_pictures_have_no_words_to_explain_and_a_model_without_heads_warns(
    index, notes, tiny_model, tmp_path
):
    assert all(hit.why == [] for hit in index.search(notes / "red.png", explain=True))
    with unbraid.open_index(tmp_path / "other", model=tiny_model()) as other:
        other.add(notes, progress=False)
        with pytest.warns(UserWarning, match="explain says nothing"):
            assert other.search("cat", explain=True) == other.search("cat")
