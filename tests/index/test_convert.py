import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unbraid.embedder import Embedder
from unbraid.errors import StoreError
from unbraid.index.store.entry import Entry
from unbraid.index.store.folder_store import FolderStore
from unbraid.index.store.meta import meta_of_model, read_meta
from unbraid.index.store.storage import Storage
from unbraid.index.transfer.base_converter import Quality
from unbraid.index.transfer.convert import Converter, convert_index, doubts, fit
from unbraid.index.transfer.shared_items import Pairs, item_of, kinds_of, make_pairs
from unbraid.items import Code
from unbraid.loading import open_index
from unbraid.vectors import normalize

WORDS = "the a of and to in is was cat dog house river red green bright moon search vector model code".split()
RNG = np.random.default_rng(0)
TURN = np.linalg.qr(RNG.standard_normal((512, 512)))[0].astype(np.float32)


class Turned:
    """A newer bundle: the old one's vectors, all turned alike, so that a converter can be exact."""

    name, base_id, dim, tier = "turned 2", "turned", 512, "small"

    def __init__(self, model: Embedder) -> None:
        self.model = model
        self.bundle = replace(model.bundle, base_id="turned")
        self.modalities, self.search_modes = model.modalities, model.search_modes
        self.multilingual_tier = model.multilingual_tier
        self.route, self.max_tokens, self.count_tokens = model.route, model.max_tokens, model.count_tokens

    def encode(self, items, **options) -> np.ndarray:
        return normalize(self.model.encode(items, **options) @ TURN.T)

    def map(self, base, task) -> np.ndarray:
        return self.model.map(normalize(base @ TURN), task)

    def matrix(self, task) -> np.ndarray:
        return self.model.matrix(task) @ TURN.T


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 files of one text, 10 of code with two definitions, 4 pictures."""
    folder = Path(os.path.realpath(tmp_path_factory.mktemp("notes")))
    for number in range(120):
        (folder / f"{number}.txt").write_text(" ".join(RNG.choice(WORDS, 12)) + f" {number}\n")
    for number in range(10):
        body = "\n\n".join(
            f"def {word}_{number}():\n" + "\n".join(f"    {word} = {word} + {n}" for n in range(30))
            for word in RNG.choice(WORDS, 2, replace=False)
        )
        (folder / f"{number}.py").write_text(body + "\n")
    for number in range(4):
        Image.fromarray(RNG.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def store(notes: Path, embedder: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FolderStore]:
    folder = tmp_path_factory.mktemp("old") / "ix"
    with open_index(folder, model=embedder) as opened:
        opened.add(notes)
        yield opened.store


@pytest.fixture(scope="module")
def new(embedder: Embedder) -> Turned:
    return Turned(embedder)


@pytest.fixture(scope="module")
def pairs(store: FolderStore, new: Turned) -> Pairs:
    return make_pairs(store, new, count=2000)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def converter(store: FolderStore, pairs: Pairs) -> Converter:
    return fit(pairs)


def test_pairs_are_what_is_stored_and_what_the_new_bundle_makes_of_the_same(pairs) -> None:
    assert pairs.kinds.count("text") == 120 and pairs.kinds.count("image") == 4
    assert pairs.kinds.count("code") >= 20
    np.testing.assert_allclose(pairs.new, pairs.old @ TURN.T, atol=1e-5)


def test_kinds_share_the_pairs_and_the_rest_goes_to_who_has_more(store, new) -> None:
    counts: list[int] = []
    kinds = make_pairs(store, new, count=34, on_progress=counts.append).kinds  # type: ignore[arg-type]
    assert [kinds.count(kind) for kind in ("image", "code", "text")] == [4, 15, 15]
    assert sum(counts) == 34


def test_texts_are_kept_in_the_index_and_pictures_are_not(store, notes, tmp_path) -> None:
    gone = str(tmp_path / "gone")
    for name, modality in (("0.txt", "text"), ("0.py", "code"), ("0.png", "image")):
        entry = store.file((notes / name).as_posix())[0][0]
        item = item_of(replace(entry, path=gone))
        assert entry.modality == modality
        assert item == (None if modality == "image" else entry.text)
        assert isinstance(item, Code) == (modality == "code")
    assert item_of(entry) == notes / "0.png"
    (tmp_path / "gone").write_bytes(b"another picture")
    assert item_of(replace(entry, path=gone)) is None


def test_no_text_is_in_two_pairs(embedder, new, tmp_path) -> None:
    entries = [Entry(f"/{n}.md", "text", 1, 1, f"moon {n % 3}", f"s{n}", 1, 1, 0, 1) for n in range(9)]
    with FolderStore.create(tmp_path / "ix", meta_of_model(embedder)) as store:
        store.upsert(entries, embedder.encode([entry.text for entry in entries]))
        pairs = make_pairs(store, new, count=100)
    assert len(pairs.kinds) == 3
    with pytest.raises(StoreError, match="too few items .*3 pairs"):
        fit(pairs)


def test_a_converted_index_is_as_if_it_had_been_encoded_again(store, new, converter, notes, tmp_path) -> None:
    assert converter.quality["text"].nearest > 0.95
    counts: list[int] = []
    done = convert_index(store, tmp_path / "new", new, converter, counts.append)
    assert done.items == sum(counts) == store.count() and done.damaged == done.left_out == 0
    with (
        open_index(tmp_path / "new", model=new) as converted,
        open_index(tmp_path / "again", model=new) as again,
    ):
        again.add(notes)
        assert converted.store.files() == again.store.files()
        queries = ["the moon", "red river", "bright cat house"]
        for left, right in zip(*(one.search(queries, k=5) for one in (converted, again)), strict=True):
            assert left[0].path == right[0].path
        for entries, vectors, _ in converted.store.items():
            for entry, vector in zip(entries, vectors, strict=True):
                same, rows = again.store.file(entry.path)
                same = [replace(one, tier="") for one in same]  # a converted vector comes from no tier
                assert entry in same
                assert rows[same.index(entry)] @ vector > 0.9
        report = converted.add(notes)
        assert (report.added, report.changed, report.unchanged) == (0, 0, 134)  # goes on from there


def test_a_converted_index_says_what_it_is(store, new, converter, pairs, tmp_path) -> None:
    convert_index(store, tmp_path / "new", new, converter, lambda count: None)
    about = read_meta(tmp_path / "new")
    assert (about.base_id, about.provenance.bundle) == ("turned", "turned 2")
    origin = about.provenance.converted
    assert (origin["base_id"], origin["converter"]) == (store.meta.base_id, converter.id)
    assert origin["encoders"] == store.meta.provenance.encoders
    assert (origin["pairs"], origin["quality"]["text"]["items"]) == (len(pairs.kinds), 120)


def test_a_kind_can_be_left_for_the_next_indexing(store, new, converter, notes, tmp_path) -> None:
    done = convert_index(store, tmp_path / "new", new, converter, lambda count: None, leave_out=("image",))
    assert done.left_out == 4
    with open_index(tmp_path / "new", model=new) as converted:
        assert kinds_of(converted.store).keys() == {"text", "code"}
        assert converted.add(notes).added == 4


def test_short_storage_stays_short(embedder, new, tmp_path) -> None:
    entry = Entry("/a.md", "text", 1, 1, "moon", "s", 1, 1, 0, 1)
    storage = Storage(64, "float16")
    converter = Converter(TURN, {}, 0)
    with FolderStore.create(tmp_path / "ix", meta_of_model(embedder, storage)) as store:
        store.upsert([entry], embedder.encode(["the moon"]))
        convert_index(store, tmp_path / "new", new, converter, lambda count: None)
    assert read_meta(tmp_path / "new").storage == storage


def test_a_stop_leaves_no_index(store, new, converter, tmp_path) -> None:
    def stop(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_index(store, tmp_path / "new", new, converter, stop)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "new.new").mkdir()  # as a kill -9 leaves it
    (tmp_path / "new.new" / "unbraid.json").write_text("{}")
    convert_index(store, tmp_path / "new", new, converter, lambda count: None)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    with pytest.raises(StoreError, match="exists already"):
        convert_index(store, tmp_path / "new", new, converter, lambda count: None)


def test_what_is_unknown_or_poor_is_a_doubt() -> None:
    good, poor = Quality(100, 0.9, 0.8, 0.99), Quality(100, 0.9, 0.3, 0.8)
    converter = Converter(TURN, {"text": good, "code": poor}, 200)
    assert doubts(converter, ["text"]) == []
    assert "more than 5%" in doubts(converter, ["text", "code"])[0]
    assert "nothing is known of image" in doubts(converter, ["image"])[0]
