"""`unbraid index` and its commands as a person or a script meets them."""

import json
import os
import signal
from pathlib import Path
from typing import NamedTuple

import pytest
import qdrant_edge as edge
from PIL import Image

from unbraid.index.store.entry import point_id
from unbraid.index.store.file_hashes import write_file_hashes
from unbraid.index.store.folder_store import FolderStore
from unbraid.index.store.shared_store import SharedStore
from unbraid.loading import open_index


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def unbraid(command):
    """Run the command in this process."""
    return lambda *words: Result(*command(*words))


@pytest.fixture
def notes(tmp_path) -> Path:
    folder = Path(os.path.realpath(tmp_path)) / "notes"
    (folder / "sub").mkdir(parents=True)
    for name in ("moon.md", "sub/river.md", "sub/house.md"):
        (folder / name).write_text(f"The {Path(name).stem} is bright.\n")
    return folder


@pytest.fixture
def index(unbraid, notes, bundle_folder) -> Path:
    folder = notes.parent / "ix"
    assert unbraid("index", notes, "--into", folder, "--model", bundle_folder).code == 0
    return folder


def spoil(index: Path, path: Path) -> None:
    """Change the vector of a file of one chunk behind unbraid's back."""
    with open_index(index) as opened:
        (entry,) = opened.entries(path)
    identity = point_id(entry.path, entry.sha256, entry.chunk)
    shard = edge.EdgeShard.load(str(index / "shard"))
    shard.update(edge.UpdateOperation.update_vectors([edge.PointVectors(identity, [0.5] * 512)]))
    shard.flush()
    shard.close()
    edge.EdgeShard.load(str(index / "shard")).close()
    write_file_hashes(index, index / "shard", 3)


def test_the_default_command_takes_options_first_and_add_is_its_name(unbraid, notes, bundle_folder, tmp_path):
    words = ("--into", tmp_path / "a", "--model", bundle_folder, "--json", notes)
    first = json.loads(unbraid("index", *words).out)
    second = json.loads(unbraid("index", "add", *words).out)
    assert (first["added"], second["unchanged"], second["moved"]) == (3, 3, 0)


def test_a_folder_with_the_name_of_a_command_is_given_with_a_dot(unbraid, notes, bundle_folder, monkeypatch):
    monkeypatch.chdir(notes)
    (notes / "sub").rename(notes / "stats")
    report = unbraid("index", "./stats", "--into", "../ix", "--model", bundle_folder, "--json")
    assert json.loads(report.out)["added"] == 2


def test_help_shows_the_default_and_every_command(unbraid):
    text = unbraid("index", "--help").out
    assert "unbraid index PATH... --into FOLDER" in text
    assert all(
        name in text
        for name in "add stats verify compact export import delete push pull convert task-vectors".split()
    )
    assert unbraid("index").code == 2


def test_stats_tell_size_and_provenance(unbraid, index, embedder):
    about = json.loads(unbraid("index", "stats", index, "--json").out)
    assert (about["files"], about["chunks"], about["incomplete"]) == (3, {"text": 3}, 0)
    assert (about["base_id"], about["provenance"]["bundle"]) == (embedder.base_id, embedder.name)
    assert about["provenance"]["mappers"]["query"] == embedder.bundle.mappers["query"].id
    assert about["provenance"]["encoders"]["image"] == embedder.bundle.image.id
    text = unbraid("index", "stats", index).out
    assert "3 text" in text and embedder.name in text


def test_delete_takes_out_a_file_or_a_folder_that_may_be_gone_from_the_disk(unbraid, index, notes):
    (notes / "moon.md").unlink()
    gone = json.loads(unbraid("index", "delete", index, notes / "moon.md", "--json").out)
    assert (gone["files"], gone["total_chunks"]) == (1, 2)
    assert "2 files removed, 0 chunks left" in unbraid("index", "delete", index, notes / "sub").out
    nothing = unbraid("index", "delete", index, notes / "su")
    assert (nothing.code, nothing.out) == (2, "")
    assert "nothing in the index lies at" in nothing.err


def test_delete_after_ctrl_c_says_what_is_gone(unbraid, index, notes, monkeypatch):
    real = FolderStore.delete
    calls = []

    def delete(self, paths):
        if calls:
            raise KeyboardInterrupt
        calls.append(paths)
        real(self, paths)

    monkeypatch.setattr("unbraid.index.index.GROUP", 1)
    monkeypatch.setattr(FolderStore, "delete", delete)
    result = unbraid("index", "delete", index, notes)
    assert result.code == 130
    assert "1 file removed, 2 chunks left" in result.out and "run again for the rest" in result.err


def test_compact_keeps_everything_and_leaves_ctrl_c_as_it_was(unbraid, index, notes):
    unbraid("index", "delete", index, notes / "moon.md")
    usual = signal.getsignal(signal.SIGINT)
    about = json.loads(unbraid("index", "compact", index, "--json").out)
    assert about["bytes"] > 0 and signal.getsignal(signal.SIGINT) is usual
    assert json.loads(unbraid("index", "stats", index, "--json").out)["chunks"] == {"text": 2}
    assert "MB now in" in unbraid("index", "compact", index).out


def test_export_then_import_searches_the_same(unbraid, index, tmp_path, bundle_folder):
    pytest.importorskip("pyarrow")
    out, other = tmp_path / "o.parquet", tmp_path / "other"
    assert json.loads(unbraid("index", "export", index, out, "--json").out)["items"] == 3
    assert json.loads(unbraid("index", "import", out, other, "--json").out)["total_chunks"] == 3
    found = [
        unbraid("search", "moon", "--in", folder, "--model", bundle_folder, "--json").out
        for folder in (index, other)
    ]
    assert found[0] == found[1] != ""
    assert "3 chunks imported, 3 in" in unbraid("index", "import", out, other).out


def test_import_after_ctrl_c_says_what_is_in(unbraid, index, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    unbraid("index", "export", index, tmp_path / "o.parquet")
    real = SharedStore.upsert

    def upsert(self, entries, vectors):
        real(self, entries, vectors)
        if self.count() == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("unbraid.index.transfer.index_file.ROWS", 1)
    monkeypatch.setattr(SharedStore, "upsert", upsert)
    result = unbraid("index", "import", tmp_path / "o.parquet", tmp_path / "other")
    assert result.code == 130
    assert "1 chunks imported, 2 in" in result.out and "run again for the rest" in result.err
    monkeypatch.undo()


def test_verify_names_what_is_damaged_and_repair_encodes_it_again(unbraid, index, notes, bundle_folder):
    assert "3 chunks in" in unbraid("index", "verify", index).out
    spoil(index, notes / "moon.md")
    spoil(index, notes / "sub" / "river.md")
    (notes / "sub" / "river.md").unlink()
    found = unbraid("index", "verify", index)
    assert found.code == 1
    assert (
        f"damaged  {notes / 'moon.md'}:1-1 chunk 0: its vector or payload is not what was written"
        in found.out
    )
    assert f"unbraid index verify {index} --repair" in found.out
    repaired = unbraid("index", "verify", index, "--repair", "--model", bundle_folder, "--json")
    about = json.loads(repaired.out)
    assert repaired.code == 1  # something is lost
    assert (len(about["damaged"]), about["repair"]["encoded"]) == (2, [str(notes / "moon.md")])
    assert "cannot be read any more" in about["repair"]["lost"][0]["reason"]
    assert json.loads(unbraid("index", "verify", index, "--json").out)["items"] == 2


@pytest.mark.parametrize(
    ("name", "says"), [("out.csv", ".parquet"), ("no/out.parquet", "folder that exists")]
)
def test_an_export_to_a_wrong_place_is_refused(unbraid, index, tmp_path, name, says):
    result = unbraid("index", "export", index, tmp_path / name)
    assert (result.code, result.out) == (2, "") and says in result.err


def test_verify_of_a_broken_table_names_the_file_and_exits_with_1(unbraid, index):
    table = next(index.rglob("mutable_id_tracker.mappings"))
    table.write_bytes(b"\1" + table.read_bytes()[1:])
    result = unbraid("index", "verify", index)
    assert result.code == 1 and table.name in result.out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("stats", "{tmp}/none"), "no index at"),
        (("verify", "{tmp}/none"), "no index at"),
        (("import", "{tmp}/none.parquet", "{tmp}/new"), "none.parquet"),
        (("{tmp}", "--into", "{tmp}/a", "--index", "b"), "give one of --into"),
    ],
)
def test_wrong_use_is_one_clear_line(unbraid, tmp_path, words, says):
    result = unbraid("index", *(word.format(tmp=tmp_path) for word in words))
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert says in result.err
    assert not (tmp_path / "new").exists()


def test_an_index_of_another_bundle_says_what_to_do(unbraid, index, notes):
    result = unbraid("index", notes, "--into", index)  # with the starter
    assert result.code == 2
    assert "convert it: unbraid index convert INDEX --into ANOTHER_FOLDER" in result.err
    assert "encode again: unbraid index PATH... --into ANOTHER_FOLDER" in result.err


def test_unread_words_are_counted_with_what_helps(unbraid, notes, bundle_folder):
    Image.new("RGB", (30, 30), "red").save(notes / "p.png")
    said = unbraid("index", notes, "--into", notes.parent / "a", "--model", bundle_folder)
    assert "the words in 1 picture were not read; read them with: pip install 'unbraid[ocr]'" in said.out
    said = unbraid("index", notes, "--into", notes.parent / "b", "--model", bundle_folder, "--no-ocr")
    assert "not read" not in said.out
