"""The second pass of `add`, with a reader that knows what stands in each picture."""

import base64
import importlib
import io
import json
import os
import shutil
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pytest
from PIL import Image

from unbraid.errors import DataError
from unbraid.index import add as add_module
from unbraid.index.add import Report, add_files
from unbraid.index.files.read_words import Line
from unbraid.index.files.walk import resolve_roots
from unbraid.index.roots import plan
from unbraid.index.search.hit import Hit
from unbraid.index.search.search import search_vectors
from unbraid.index.store.filter import read_filter
from unbraid.index.store.folder_store import FolderStore

BOX = (0.1, 0.2, 0.9, 0.3)


class FakeReader:
    """Knows what stands in a picture by its colour; notes what it was asked to read."""

    words: ClassVar[dict[tuple[int, int, int], list[str]]] = {}
    asked: ClassVar[list[tuple[int, int, int]]] = []
    broken: str | None = None
    stop: int = 10**9  # pictures after which Ctrl-C comes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def fault(self) -> str | None:
        return self.broken

    def read(self, picture: bytes, tell: Callable[[str], None]) -> dict[int | None, list[Line]]:
        if len(self.asked) == self.stop:
            raise KeyboardInterrupt
        red, green, blue = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))[0, 0].tolist()
        self.asked.append((red, green, blue))
        said = self.words.get((red, green, blue), [])
        if said == ["hang"]:
            raise DataError("its words were not read: it takes over 30 seconds")
        return {None: [Line(text, BOX) for text in said]}


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> type[FakeReader]:
    fake = type("Fake", (FakeReader,), {"words": {}, "asked": []})
    monkeypatch.setattr(add_module, "can_read_words", lambda: True)
    monkeypatch.setattr(add_module, "WordReader", fake)
    return fake


@pytest.fixture
def root(tmp_path: Path, reader: type[FakeReader]) -> Path:
    """Three pictures: one says "red words", one hangs the reader, one says nothing."""
    folder = Path(os.path.realpath(tmp_path)) / "root"
    folder.mkdir()
    for name, colour in (("red", (255, 0, 0)), ("green", (0, 255, 0)), ("blue", (0, 0, 255))):
        Image.new("RGB", (20, 20), colour).save(folder / f"{name}.png")
    reader.words.update({(255, 0, 0): ["red words", "second line"], (0, 255, 0): ["hang"]})
    return folder


def add(store: FolderStore, model: Any, root: Path, **settings: bool) -> Report:
    known = store.files()
    planned = plan(resolve_roots([root]), [], settings, known, None)
    return add_files(store, model, planned, known, prune=True, progress=False)


def search(store: FolderStore, model: Any, query: str, modality: str | None = None) -> Sequence[Hit]:
    (hits,) = search_vectors(
        store, model, model.encode([query]), words=[query], filter=read_filter(modality=modality)
    )
    return hits


def test_words_are_found_with_their_place_as_one_hit_with_the_picture(
    root: Path, store: FolderStore, model: Any
) -> None:
    report = add(store, model, root)
    assert (report.added, report.words_read, report.words_found, report.chunks) == (3, 3, 1, 4)
    best = search(store, model, "red words")[0]
    assert (Path(best.path).name, best.modality, best.first_line) == ("red.png", "image", None)
    assert (best.snippet, best.boxes) == ("red words\nsecond line", [BOX, BOX])
    assert len(search(store, model, "red words")) == 3  # each picture once
    assert not search(store, model, "red words", "text")
    assert Path(search(store, model, "red words", "image")[0].path).name == "red.png"


def test_a_picture_can_be_searched_before_its_words_are_read(
    root: Path, store: FolderStore, model: Any, reader: type[FakeReader]
) -> None:
    reader.stop = 0
    report = add(store, model, root)
    assert report.interrupted and report.added == 3 and store.count() == 3


def test_each_picture_is_read_once_also_without_words_or_too_slow(
    root: Path, store: FolderStore, model: Any, reader: type[FakeReader]
) -> None:
    report = add(store, model, root)
    assert [(one.path.name, one.reason) for one in report.skipped] == [
        ("green.png", "its words were not read: it takes over 30 seconds")
    ]
    again = add(store, model, root)
    assert (again.unchanged, again.words_read, again.skipped) == (3, 0, []) and len(reader.asked) == 3


def test_moved_and_copied_pictures_keep_their_words(
    root: Path, store: FolderStore, model: Any, reader: type[FakeReader]
) -> None:
    shutil.copy(root / "red.png", root / "same.png")
    assert add(store, model, root).words_read == 4 and len(reader.asked) == 3  # the same content once
    (root / "red.png").rename(root / "moved.png")
    shutil.copy(root / "blue.png", root / "copy.png")
    report = add(store, model, root)
    assert (report.moved, report.words_read, len(reader.asked)) == (2, 0, 3)
    names = [Path(hit.path).name for hit in search(store, model, "red words") if hit.snippet]
    assert sorted(names) == ["moved.png", "same.png"]


def test_a_changed_picture_is_read_again_and_its_old_words_go(
    root: Path, store: FolderStore, model: Any, reader: type[FakeReader]
) -> None:
    add(store, model, root)
    Image.new("RGB", (30, 30), (0, 0, 255)).save(root / "red.png")
    assert add(store, model, root).words_read == 1 and store.count() == 3


def test_a_run_that_is_cut_off_keeps_what_it_read(
    root: Path, store: FolderStore, model: Any, reader: type[FakeReader], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = importlib.import_module("unbraid.index.add_words")
    monkeypatch.setattr(words, "WRITE_SECONDS", 0.0)
    reader.stop = 2
    assert add(store, model, root).interrupted
    reader.stop = 10**9
    assert add(store, model, root).words_read == 1 and len(reader.asked) == 3


@pytest.mark.parametrize("ocr", [True, False])
def test_without_the_extra_the_pictures_are_counted(
    root: Path, store: FolderStore, model: Any, monkeypatch: pytest.MonkeyPatch, ocr: bool
) -> None:
    monkeypatch.setattr(add_module, "can_read_words", lambda: False)
    report = add(store, model, root, ocr=ocr)
    assert (report.words_unread, report.words_read, report.added) == (3 if ocr else 0, 0, 3)
    monkeypatch.setattr(add_module, "can_read_words", lambda: True)
    assert add(store, model, root).words_read == 3


def test_damaged_models_are_told_once_and_nothing_is_marked(
    root: Path, store: FolderStore, model: Any, reader: type[FakeReader]
) -> None:
    reader.broken = "the model is damaged"
    report = add(store, model, root)
    assert (report.words_unread, report.words_fault, report.skipped) == (3, "the model is damaged", [])
    reader.broken = None
    assert add(store, model, root).words_read == 3


def test_pages_without_text_are_pictures_and_their_words_name_the_page(
    root: Path, store: FolderStore, model: Any, reader: type[FakeReader]
) -> None:
    pytest.importorskip("pypdfium2", reason="pip install 'unbraid[documents]'")
    first, second = (Image.new("RGB", (40, 60), colour) for colour in ((0, 0, 0), (255, 255, 255)))
    first.save(root / "scan.pdf", save_all=True, append_images=[second])
    reader.words[(255, 255, 255)] = ["white page"]
    add(store, model, root)
    entries = [
        (one.modality, one.first_line, one.snippet) for one in store.file((root / "scan.pdf").as_posix())[0]
    ]
    assert sorted(entries) == [("image", 1, ""), ("image", 2, ""), ("text", 2, "white page")]
    best = search(store, model, "white page")[0]
    assert (best.place.endswith("scan.pdf page 2"), best.modality, best.boxes) == (True, "text", [BOX])
    assert add(store, model, root).words_read == 0


def test_page_images_may_be_asked_for_later_and_stay(root: Path, store: FolderStore, model: Any) -> None:
    pytest.importorskip("pypdfium2", reason="pip install 'unbraid[documents]'")
    written = json.loads((Path(__file__).parent / "encrypted_pdfs.json").read_text())
    kind = "AES-256, empty user password"
    (root / "a.pdf").write_bytes(zlib.decompress(base64.b85decode(written[kind])))
    path = (root / "a.pdf").as_posix()
    add(store, model, root)
    assert [one.modality for one in store.file(path)[0]] == ["text"]
    report = add(store, model, root, page_images=True)
    assert (report.changed, report.unchanged) == (1, 3)
    assert sorted((one.modality, one.first_line) for one in store.file(path)[0]) == [
        ("image", 1),
        ("text", 1),
    ]
    assert add(store, model, root).unchanged == add(store, model, root, page_images=True).unchanged == 4
    hits = [hit for hit in search(store, model, "secret words") if hit.path == path]
    assert [(hit.modality, hit.first_line, hit.snippet) for hit in hits] == [("text", 1, "secret words")]
    (root / "a.pdf").write_bytes((root / "a.pdf").read_bytes() + b"\n")
    add(store, model, root)
    assert len(store.file(path)[0]) == 2
