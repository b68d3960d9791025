"""`unbraid.open_index` and what it returns, on both stores: a folder, and a Qdrant server (its client's local mode)."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import unbraid
from unbraid.errors import DataError, ItemError, StoreError
from unbraid.index import Hit, Index
from unbraid.index.store import qdrant_store
from unbraid.index.store.meta import read_meta

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
]
Open = Callable[..., Index]


@pytest.fixture(scope="module", params=["folder", "server"])
def places(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, local_server: Any
) -> Iterator[Callable[[str], dict[str, Any]]]:
    """The arguments of `open_index` that say where an index of some name is."""
    folder = tmp_path_factory.mktemp("places")

    def place(name: str) -> dict[str, Any]:
        return {"path": folder / name} if request.param == "folder" else {"qdrant": f"http://{name}"}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            qdrant_store,
            "connect",
            lambda url: local_server(folder / url.removeprefix("http://")),
        )
        yield place


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tests must not change it."""
    folder = Path(os.path.realpath(tmp_path_factory.mktemp("notes")))
    for name in ("moon", "river", "house"):
        (folder / f"{name}.md").write_text(f"about the {name}")
    (folder / "dog.py").write_text("def dog():\n    return 'bark'\n")
    Image.new("RGB", (2, 2)).save(folder / "red.png")
    (folder / "empty.md").write_text("")
    return folder


@pytest.fixture(scope="module")
def index(places: Callable[[str], dict[str, Any]], notes: Path, tiny_model: Any) -> Iterator[Index]:
    """Tests must not change it."""
    with unbraid.open_index(**places("shared"), model=tiny_model()) as opened:
        opened.add(notes, fields={"team": "search", "year": 2025})
        yield opened


@pytest.fixture
def fresh(
    places: Callable[[str], dict[str, Any]], model: Any, request: pytest.FixtureRequest
) -> Callable[..., Index]:
    """Opens an index of this test's own."""
    name = "".join(letter for letter in request.node.name if letter.isalnum())

    def open_it(**options: Any) -> Index:
        return unbraid.open_index(**places(name), **{"model": model, **options})

    return open_it


def names(hits: list[Hit]) -> list[str]:
    return [Path(hit.path).name for hit in hits]


# -- what is added is found --------------------------------------------------------------------------------


def test_one_query_gives_hits_and_a_list_gives_lists(index: Index) -> None:
    assert names(index.search("about the river", k=1)) == ["river.md"]
    assert [names(hits) for hits in index.search(["about the moon", "about the house"], k=1)] == [
        ["moon.md"],
        ["house.md"],
    ]
    assert index.search([]) == []


def test_code_and_pictures_are_queries(index: Index, notes: Path) -> None:
    assert names(index.search(unbraid.Code("def dog():\n    return 'bark'"), k=1)) == ["dog.py"]
    assert names(index.search(notes / "red.png", k=1)) == ["red.png"]
    assert index.search(Image.new("RGB", (2, 2)), k=1)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"path": "*.py"}, {"dog.py"}),
        ({"path": ["*.py", "moon.md"]}, {"dog.py", "moon.md"}),
        ({"language": "python"}, {"dog.py"}),
        ({"language": ["markdown"]}, {"moon.md", "river.md", "house.md"}),
        ({"modality": "image"}, {"red.png"}),
        ({"where": "year>=2026"}, set()),
        ({"where": ["year>=2025", "team=search"], "modality": "code"}, {"dog.py"}),
    ],
)
def test_filters_are_keywords(
    index: Index, notes: Path, monkeypatch: pytest.MonkeyPatch, filters: Any, expected: set[str]
) -> None:
    monkeypatch.chdir(notes)
    assert set(names(index.search("about", **filters))) == expected


def test_words_count_unless_only_vectors_shall(index: Index) -> None:
    hits = index.search("moon")
    assert names(hits)[0] == "moon.md" and hits[0].bm25
    assert all(hit.bm25 is None for hit in index.search("moon", vectors_only=True))


def test_a_picture_is_found_by_its_name(index: Index) -> None:
    assert names(index.search("red"))[0] == "red.png"


def test_a_quoted_phrase_stands_in_every_hit(index: Index) -> None:
    assert {name for name in names(index.search('"about the moon"', k=9))} == {"moon.md"}
    assert index.search('"the moon about"') == []


def test_hits_below_the_least_score_are_left_out(index: Index) -> None:
    every = index.search("moon", k=9)
    least = every[0].score
    assert all(0 <= hit.score <= 1 for hit in every)
    assert index.search("moon", k=9, min_score=least) == [hit for hit in every if hit.score >= least]
    with pytest.raises(ItemError, match="min_score is 2: expected a probability from 0 to 1"):
        index.search("moon", min_score=2)


def test_vectors_are_searched_without_encoding(index: Index) -> None:
    base = index.model.encode(["about the moon", "about the river"])
    before = len(index.model.batches)
    plain = index.search_vectors(base, k=2)
    mixed = index.search_vectors(base, ["moon", "river"], mode="symmetric", k=2)
    assert [names(hits)[0] for hits in (*plain, *mixed)] == ["moon.md", "river.md"] * 2
    assert len(index.model.batches) == before
    assert plain == index.search(["about the moon", "about the river"], k=2, vectors_only=True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mode": "fuzzy"}, "unknown search mode 'fuzzy': choose one of retrieval, symmetric"),
        ({"k": 0}, "k is 0: ask for at least one result"),
        ({"language": "pyton"}, "did you mean python"),
        ({"modality": "sound"}, "choose one of text, code, image"),
        ({"where": "year=>1"}, "there is no =>"),
    ],
)
def test_a_wrong_search_is_a_clear_error_before_anything_is_encoded(
    index: Index, options: Any, says: str
) -> None:
    before = len(index.model.batches)
    with pytest.raises(ItemError, match=says):
        index.search("words", **options)
    assert len(index.model.batches) == before


def test_a_picture_as_a_query_has_no_words(index: Index, notes: Path) -> None:
    by_words, by_picture = index.search(["moon", notes / "red.png"])
    assert by_words[0].bm25 is not None and by_picture[0].bm25 is None


def test_words_of_an_earlier_version_do_not_count_until_they_are_renewed(fresh: Open, notes: Path) -> None:
    with fresh() as index:
        index.add([notes])
        found = index.search("red")
        index.store.set_meta(replace(index.meta, words=1))
        with pytest.warns(UserWarning, match="words .* of an earlier version"):
            assert index.search("red")[0].bm25 is None
        before = len(index.model.encoded)
        assert index.add([notes]).unchanged == 5
        assert len(index.model.encoded) == before and index.search("red") == found


def test_the_report_names_every_skipped_file(fresh: Open, notes: Path) -> None:
    with fresh() as index:
        report = index.add([notes])
        assert (report.added, index.count()) == (5, 5)
        assert [(one.path, one.reason) for one in report.skipped] == [(notes / "empty.md", "empty")]
        assert index.add(str(notes)).unchanged == 5


def test_entries_are_the_chunks_of_one_file(index: Index, notes: Path) -> None:
    (entry,) = index.entries(notes / "red.png")
    assert entry.modality == "image"
    assert index.entries("/none.md") == []


def test_stats_count_files_chunks_and_languages(index: Index) -> None:
    stats = index.stats()
    assert (stats.files, stats.incomplete) == (5, 0)
    assert stats.chunks == {"code": 1, "image": 1, "text": 3}
    assert stats.languages == {"markdown": 3, "python": 1}
    assert stats.bytes is None or stats.bytes > 1000


# -- writing -----------------------------------------------------------------------------------------------


def test_what_is_deleted_is_found_no_more(fresh: Open, notes: Path) -> None:
    with fresh() as index:
        index.add(notes)
        assert index.delete(notes / "moon.md") == 1
        assert "moon.md" not in names(index.search("about the moon"))
        with pytest.raises(DataError, match="nothing in the index lies at"):
            index.delete([notes / "river.md", notes / "moon.md"])
        assert index.delete([notes, notes / "river.md"]) == 4
        assert index.search("about") == []


def test_an_index_is_there_when_it_is_opened_again(fresh: Open, notes: Path) -> None:
    with fresh() as index:
        index.add(notes)
    with fresh() as index:
        assert names(index.search("about the house", k=1)) == ["house.md"]


def test_a_file_moved_gets_new_fields_without_being_encoded(fresh: Open, model: Any, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("some words")
    with fresh() as index:
        index.add(tmp_path, fields={"team": "x"})
        (tmp_path / "a.md").rename(tmp_path / "b.md")
        report = index.add(tmp_path, fields={"year": 2025})
        assert (report.moved, report.chunks) == (1, 0)
        index.add(tmp_path, fields={"team": ""})
        (entry,) = index.entries(os.path.realpath(tmp_path / "b.md"))
        assert (entry.fields, len(model.encoded)) == ({"year": 2025}, 1)


def test_nothing_is_left_where_a_path_was_wrong(fresh: Open, tmp_path: Path) -> None:
    with fresh() as index:
        with pytest.raises(DataError, match="no file or folder at"):
            index.add([tmp_path, tmp_path / "none"])
        with pytest.raises(StoreError, match="no index at"):
            index.search("words")
    with pytest.raises(StoreError, match="no index at"):
        fresh(read_only=True)


def test_a_closed_index_says_so(fresh: Open, notes: Path) -> None:
    index = fresh()
    index.add(notes)
    index.close()
    index.close()
    for use in (index.count, index.stats, lambda: index.search("x"), lambda: index.add(notes)):
        with pytest.raises(StoreError, match="has been closed"):
            use()
    assert "closed" in repr(index)


def test_read_only_searches_and_refuses_writes(fresh: Open, notes: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no index at"):
        fresh(read_only=True)
    with fresh() as index:
        index.add(notes)
    with fresh(read_only=True) as index:
        assert index.search("about", k=1)
        writes = (
            lambda: index.add(notes),
            lambda: index.delete(notes),
            index.compact,
            index.repair,
            lambda: index.verify(repair=True),
            lambda: index.import_file(tmp_path / "x.parquet"),
            lambda: index.copy_to(index),
        )
        for write in writes:
            with pytest.raises(StoreError, match="read_only=True"):
                write()
        assert index.count() == 5


# -- the model ---------------------------------------------------------------------------------------------


def test_work_without_vectors_loads_no_model(fresh: Open, notes: Path, tmp_path: Path) -> None:
    with fresh() as index:
        index.add(notes)

    def refuse() -> Any:
        pytest.fail("the model was loaded")

    with fresh(model=refuse) as index:
        index.stats()
        index.count()
        index.delete(notes / "moon.md")
        if index.store.__class__.__name__ == "FolderStore":
            assert index.verify().intact
            index.compact()
        pytest.importorskip("pyarrow")
        assert index.export(tmp_path / "x.parquet") == 4


def test_a_model_is_loaded_once_and_when_it_is_needed(fresh: Open, notes: Path, model: Any) -> None:
    loaded: list[Any] = []

    def load() -> Any:
        loaded.append(model)
        return model

    with fresh(model=load) as index:
        assert not loaded
        index.add(notes)
        index.search("about")
    assert len(loaded) == 1


def test_another_base_is_refused_when_it_is_known(fresh: Open, notes: Path, tiny_model: Any) -> None:
    with fresh() as index:
        index.add(notes)
    other = tiny_model()
    other.base_id = "other"
    says = r"holds vectors of base fake \(16 dimensions\), the model makes other .* give the bundle"
    with pytest.raises(StoreError, match=says):
        fresh(model=other)
    with fresh(model=lambda: other) as index:
        for use in (lambda: index.search("x"), lambda: index.add(notes)):
            with pytest.raises(StoreError, match=says):
                use()
    with fresh() as index:  # which the refusals have let go of
        assert index.count() == 5


def with_tower(model: Any, name: str) -> Any:
    """`model` as a bundle whose image encoder is `name` makes it."""
    spec = SimpleNamespace(id="t", languages=(), multi_vector=None)
    model.bundle = SimpleNamespace(
        id=name,
        tiers={"small": {"text": spec}},
        image=SimpleNamespace(id=name),
        mappers={},
        dims=(16,),
        look_tier="",
    )
    model.name, model.tier = f"bundle {name}", "small"
    return model


def test_pictures_of_two_image_encoders_never_share_an_index(
    fresh: Open, notes: Path, tiny_model: Any, tmp_path: Path
) -> None:
    old, new = (with_tower(tiny_model(), name) for name in ("old", "new"))
    with fresh(model=old) as index:
        index.add(notes / "moon.md")
    with fresh(model=new) as index:  # it holds no picture yet
        index.search("about")
        assert index.meta.provenance.encoders["image"] == "old"  # a search writes nothing
        index.add(notes / "red.png")
        assert index.meta.provenance.encoders["image"] == "new"
    with pytest.raises(
        StoreError, match="holds 1 pictures by the image encoder new, and that of bundle old is old"
    ):
        fresh(model=old)
    with unbraid.open_index(tmp_path / "other", model=old) as other, fresh(model=new) as index:
        other.add(notes / "red.png")
        with pytest.raises(StoreError, match="image encoder old, and that of bundle old is new"):
            index.copy_to(other)


def test_options_of_a_new_index_are_kept(fresh: Open, notes: Path) -> None:
    with pytest.raises(StoreError, match="one of float32, float16"):
        fresh(numbers="int4")
    with fresh(numbers="float16") as index:
        index.add(notes)
        assert str(index.meta.storage) == "16 dimensions in float16 with auto candidates"
    with fresh(numbers="float16") as index:
        assert index.count() == 5
    with pytest.raises(StoreError, match="keeps 16 dimensions in float16 .* leave these options out"):
        fresh(candidates="int8")
    with pytest.raises(StoreError, match="one of float32, float16"):
        fresh(numbers="int4")


# -- to and from other places ------------------------------------------------------------------------------


def test_an_index_is_copied_exported_and_imported_as_it_is(
    index: Index, notes: Path, tmp_path: Path, tiny_model: Any
) -> None:
    pytest.importorskip("pyarrow")
    told: list[int] = []
    assert index.export(tmp_path / "x.parquet", on_progress=told.append) == sum(told) == 5
    with (
        unbraid.open_index(tmp_path / "copy", model=tiny_model()) as copy,
        unbraid.open_index(tmp_path / "import", model=tiny_model()) as imported,
    ):
        assert index.copy_to(copy) == 0
        assert imported.import_file(tmp_path / "x.parquet") == 5
        for other in (copy, imported):
            # BM25 of two engines differs in the last digits.
            by_vector = [one.search("about the moon", vectors_only=True) for one in (other, index)]
            assert by_vector[0] == by_vector[1]
            assert names(other.search("about the moon")) == names(index.search("about the moon"))
            assert other.meta.provenance == index.meta.provenance
    with pytest.raises(DataError, match="ends in .parquet"):
        index.export(tmp_path / "x.csv")


def test_an_import_into_another_base_is_refused(index: Index, tmp_path: Path, tiny_model: Any) -> None:
    pytest.importorskip("pyarrow")
    index.export(tmp_path / "x.parquet")
    other = tiny_model()
    other.base_id = "other"
    with unbraid.open_index(tmp_path / "other", model=other) as target:
        target.add(tmp_path)
        with pytest.raises(StoreError, match="holds vectors of base other"):
            target.import_file(tmp_path / "x.parquet")


# -- where it is -------------------------------------------------------------------------------------------


def test_a_place_is_a_folder_or_a_server() -> None:
    for wrong in ({}, {"path": "a", "qdrant": "http://b"}, {"path": "a", "collection": "c"}):
        with pytest.raises(StoreError, match="give either|goes with"):
            unbraid.open_index(**wrong)


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.md").write_text("years of work")
    with pytest.raises(StoreError, match="is not an unbraid index"):
        unbraid.open_index(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.md"]


def test_an_index_open_elsewhere_is_searched_and_written(tmp_path: Path, notes: Path, model: Any) -> None:
    with unbraid.open_index(tmp_path / "ix", model=model) as index:
        index.add(notes)
        with unbraid.open_index(tmp_path / "ix", model=model) as other:
            assert other.search("moon") == index.search("moon")
            assert other.stats() == index.stats()
            (notes / "new.md").write_text("a comet")
            other.add(notes)
            assert index.search("comet")[0].path == (notes / "new.md").as_posix()
            with pytest.raises(
                StoreError, match=rf"cannot verify .*this process already \(pid {os.getpid()}\)"
            ):
                other.verify()


def test_verify_repairs_a_damaged_index_that_stays_open(tmp_path: Path, notes: Path, model: Any) -> None:
    with unbraid.open_index(tmp_path / "ix", model=model) as index:
        index.add(notes)
        entries, vectors = index.store.file((notes / "moon.md").as_posix())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("unbraid.index.store.checksum.checksum", lambda payload, vector: "0" * 16)
            index.store.upsert(entries, vectors)
        found = index.verify(repair=True)
        assert [item.path for item in found.damaged] == [(notes / "moon.md").as_posix()]
        assert found.repair is not None and found.repair.encoded == [(notes / "moon.md").as_posix()]
        assert index.verify().intact
        assert names(index.search("about the moon", k=1)) == ["moon.md"]
    assert read_meta(tmp_path / "ix").shard == "shard-2"


WORDS = st.lists(st.sampled_from("moon river house dog cat red green blue".split()), min_size=1, max_size=4)


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(WORDS.map(" ".join), min_size=1, max_size=6, unique=True))
def test_whatever_is_added_is_found_by_its_own_words(
    index: Index, tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("texts")
    for number, text in enumerate(texts):
        (folder / f"{number}.txt").write_text(text)
    try:
        assert index.add(folder).added == len(texts)
        for text in texts:
            best, *_ = index.search(text, path=folder, k=1, vectors_only=True)
            np.testing.assert_allclose(best.cosine, 1, atol=1e-5)
    finally:
        index.delete(folder)
