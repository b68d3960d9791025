"""`unbraid index convert` as a person or a script meets it."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from unbraid.cli.convert import report
from unbraid.index.store.folder_store import FolderStore
from unbraid.index.store.meta import FORMAT, Meta, Provenance, read_meta
from unbraid.index.store.storage import Storage
from unbraid.index.transfer.base_converter import Quality
from unbraid.loading import open_index
from unbraid.vectors import normalize

WORDS = "the a of and to in is was cat dog house river red green bright moon search vector model code".split()


@pytest.fixture(scope="module")
def old(embedder, bundle_folder, tmp_path_factory) -> Path:
    """An index of 60 files as another bundle of 24 dimensions made it: a part of what the tiny one makes."""
    rng = np.random.default_rng(0)
    folder = Path(os.path.realpath(tmp_path_factory.mktemp("old")))
    (folder / "notes").mkdir()
    texts = {f"{number}.txt": " ".join(rng.choice(WORDS, 8)) + f" {number}" for number in range(60)}
    for name, text in texts.items():
        (folder / "notes" / name).write_text(text)
    with open_index(folder / "full", model=embedder) as full:
        full.add(folder / "notes")
        found = [(entries, vectors) for entries, vectors, _ in full.store.items()]
    made_with = Provenance("ancient 1", "b1", {"text": "e1"})
    turn = np.linalg.qr(rng.standard_normal((512, 24)))[0]
    meta = Meta(FORMAT, "ancient", 24, Storage(24), "0", provenance=made_with)
    with FolderStore.create(folder / "ix", meta) as store:
        for entries, vectors in found:
            store.upsert(entries, normalize(vectors @ turn))
    return folder / "ix"


def test_what_to_expect_comes_first_and_can_be_all(
    command, old, tmp_path, bundle_folder, monkeypatch
) -> None:
    words = ("index", "convert", old, "--into", tmp_path / "new", "--model", bundle_folder)
    code, out, _ = command(*words, "--estimate")
    assert code == 0 and "fitted on 60 items" in out and "| text  |         60 |     60 |" in out
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr("unbraid.index.transfer.convert.GOOD", 1.1)  # more than there is
    code, out, err = command(*words)
    assert code == 2 and "not converted: text would lose more" in err and "| text  |" in out
    assert not (tmp_path / "new").exists()
    code, out, _ = command(*words, "--force", "--json")
    about = json.loads(out)
    assert code == 0 and about["items"] == 60 and about["expected"]["text"]["items"] == 60
    assert read_meta(tmp_path / "new").provenance.converted["bundle"] == "ancient 1"
    code, out, _ = command("search", "moon", "--in", tmp_path / "new", "--model", bundle_folder, "--json")
    assert code == 0 and len(out.splitlines()) == 10
    code, out, _ = command("index", "stats", tmp_path / "new")
    assert code == 0 and "from ancient 1; of the nearest items kept: text" in out
    code, _, err = command(*words)
    assert code == 2 and "exists already" in err


def test_an_index_of_the_same_base_is_refused(command, old, tmp_path, bundle_folder) -> None:
    code, _, err = command(
        "index", "convert", old.parent / "full", "--into", tmp_path / "new", "--model", bundle_folder
    )
    assert code == 2 and "there is nothing to convert" in err


def test_an_unknown_kind_is_wrong_use(command, old, tmp_path, bundle_folder) -> None:
    words = ("index", "convert", old, "--into", tmp_path / "new", "--model", bundle_folder)
    code, _, err = command(*words, "--leave-out", "video")
    assert code == 2 and "--leave-out 'video'" in err


def test_the_table_has_a_row_for_a_kind_of_which_nothing_is_known() -> None:
    known = Quality(120, 0.9, 0.8123, 0.99)
    shown = report({"text": known}, {"text": 5000, "image": 7})
    lines = shown.splitlines()
    assert lines[2].split("|")[1:-1] == [
        cell
        for cell in (
            " text  ",
            "      5,000 ",
            "    120 ",
            "  0.900 ",
            "            0.812 ",
            "                 0.990 ",
        )
    ]
    assert lines[3].startswith("| image |          7 |    few |")
    assert len({len(line) for line in lines[:4]}) == 1
