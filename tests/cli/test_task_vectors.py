"""`unbraid index task-vectors` as a person or a script meets it."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from unbraid.custom_mapper.mapper_file import CustomMapper
from unbraid.index.store.checksum import to_payload
from unbraid.loading import open_index

RNG = np.random.default_rng(0)


@pytest.fixture
def index(command, tmp_path, bundle_folder) -> Path:
    notes = Path(os.path.realpath(tmp_path)) / "notes"
    notes.mkdir()
    for name in ("moon", "river", "house"):
        (notes / f"{name}.md").write_text(f"The {name} is bright.\n")
    assert command("index", notes, "--into", tmp_path / "ix", "--model", bundle_folder)[0] == 0
    return tmp_path / "ix"


def document_vectors(index: Path, out: Path, bundle: Path) -> tuple[object, ...]:
    return ("index", "task-vectors", index, "--task", "document", "--out", out, "--model", bundle)


def test_an_estimate_comes_first_and_can_be_all(command, index, tmp_path, bundle_folder) -> None:
    words = document_vectors(index, tmp_path / "v.npy", bundle_folder)
    code, out, err = command(*words, "--estimate", "--json")
    assert code == 0 and json.loads(out)["items"] == 3 and json.loads(out)["bytes"] > 3 * 2048
    assert err.startswith("3 items, about 0:00:0") and "MB free" in err
    assert not (tmp_path / "v.npy").exists()
    code, out, err = command(*words)
    assert (code, out) == (0, f"3 document vectors in {tmp_path / 'v.npy'}\n")
    assert err.startswith("3 items")
    assert np.load(tmp_path / "v.npy").shape == (3, 512)


def test_a_mapper_of_ones_own_needs_a_side_where_they_differ(
    command, index, tmp_path, bundle_folder, embedder
) -> None:
    matrices = [RNG.standard_normal((512, 512)).astype(np.float32) for _ in range(2)]
    CustomMapper("legal", embedder.base_id, *matrices).save(tmp_path / "legal.mapper")
    words = (
        "index",
        "task-vectors",
        index,
        "--task",
        tmp_path / "legal.mapper",
        "--out",
        tmp_path / "v.jsonl",
    )
    code, _, err = command(*words, "--model", bundle_folder)
    assert code == 2 and "--side query or --side document" in err
    code, out, _ = command(*words, "--side", "document", "--model", bundle_folder, "--dim", 64, "--json")
    assert code == 0 and json.loads(out) == {"items": 3, "damaged": 0, "file": str(tmp_path / "v.jsonl")}
    row = json.loads((tmp_path / "v.jsonl").read_text().splitlines()[0])
    assert (row["task"], len(row["vector"]), row["first_line"]) == ("legal-document", 64, 1)
    code, _, err = command(
        "index", "task-vectors", index, "--task", "query", "--side", "query", "--out", tmp_path / "v.npy"
    )
    assert code == 2 and "--side goes with" in err


def test_damaged_items_are_left_out_and_said(command, index, tmp_path, bundle_folder, monkeypatch) -> None:
    def wrong(*parts):
        return {**to_payload(*parts), "checksum": "0" * 16}

    with open_index(index) as opened:
        entries, vectors, _ = next(opened.store.items())
        monkeypatch.setattr("unbraid.index.store.edge.to_payload", wrong)
        opened.store.upsert(entries[:1], vectors[:1])
    monkeypatch.undo()
    words = document_vectors(index, tmp_path / "v.npy", bundle_folder)
    code, out, err = command(*words, "--json")
    assert code == 0 and json.loads(out)["items"] == 2
    assert f"unbraid: 1 damaged items were left out: unbraid index verify {index}" in err


@pytest.mark.parametrize("name", ["v.csv", "absent/v.npy"])
def test_a_file_that_cannot_be_written_is_refused_before_any_work(command, index, tmp_path, name) -> None:
    code, _, err = command("index", "task-vectors", index, "--task", "document", "--out", tmp_path / name)
    assert code == 2 and name in err and "items" not in err
