"""The whole way, by its own commands: v4's layout -> labels -> base space -> students -> mappers -> ONNX -> search.

The same commands as with the real teacher on a GPU, on random weights and made-up data.
"""

import io
import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from unbraid.cli import main as cli
from unbraid.distill import smoke_data
from unbraid.training import record
from unbraid.training.torchvision_shim import ensure_torchvision

ensure_torchvision()

STAGES = {"labels", "base space", "small", "nano", "image", "mappers", "bundle"}


class Result:
    def __init__(self, code: int, out: str) -> None:
        self.code, self.out = code, out


def unbraid(*words: object) -> Result:
    """Run the command in this process."""
    with pytest.MonkeyPatch.context() as patch:
        out = io.StringIO()
        patch.setattr(sys, "argv", ["unbraid", *map(str, words)])
        patch.setattr(sys, "stdout", out)
        with pytest.raises(SystemExit) as stop:
            cli.main()
    return Result(int(stop.value.code or 0), out.getvalue())


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Iterator[Path]:
    """Half of what `make smoke` takes, but enough functions that some are held out."""
    with pytest.MonkeyPatch.context() as patch:
        for name, count in (("PAIRS", 100), ("GRADED", 100), ("PICTURES", 20)):
            patch.setattr(smoke_data, name, count)
        yield smoke_data.write_smoke(tmp_path_factory.mktemp("smoke"))


def distill(data: Path, folder: Path) -> Result:
    return unbraid(
        "train", "distill", "smoke", "--data", data, "--run", folder / "run", "--out", folder / "bundle"
    )


def bundle_id(folder: Path) -> str:
    return json.loads((folder / "bundle" / "bundle.json").read_text())["id"]


@pytest.fixture(scope="module")
def made(data, tmp_path_factory) -> Path:
    """A folder with run/ and bundle/, made without a stop."""
    folder = tmp_path_factory.mktemp("made")
    result = distill(data, folder)
    assert result.code == 0, result.out
    (folder / "said").write_text(result.out)
    return folder


def test_the_plan_and_every_stage_are_told(made):
    said = (made / "said").read_text()
    assert "texts, 198 code, 16 pictures; " in said  # two of the code rows are held out
    assert {line.split(":")[0] for line in said.splitlines()} >= STAGES
    assert "4 passes of 64 dimensions" in said
    for name in ("ceiling.json", "ceiling.png", "small/curves.png", "nano/curves.png", "image/curves.png"):
        assert (made / "run" / name).is_file()


def test_labels_hold_pictures_and_every_route(made, data):
    from unbraid.distill.data.captioned_pictures import members
    from unbraid.distill.labels.label_store import read_description, read_shards

    shards = list(read_shards(made / "run" / "labels"))
    modalities = [modality for shard in shards for modality in shard.modalities]
    assert set(modalities) == {"text", "code", "image"}
    trained = [not member.dev for member in members(data, "image/drawn_graphics")]
    assert modalities.count("image") == sum(trained) == 16
    expected = ["code", "retrieval.passage", "retrieval.query", "text-matching"]
    assert read_description(made / "run" / "labels")["routes"] == expected


def test_an_index_of_texts_code_and_pictures_is_searched(made, data, tmp_path):
    place = tmp_path / "stuff"
    place.mkdir()
    (place / "cat.md").write_text("The cat paints a map today.\n")
    (place / "river.md").write_text("The river follows a garden outside.\n")
    (place / "song.py").write_text("def names_song(child):\n    return child.names('song')\n")
    with tarfile.open(data / "image" / "drawn_graphics.tar") as archive:
        archive.extract("1.png", place, filter="data")
    bundle = made / "bundle"
    assert unbraid("index", place, "--into", tmp_path / "index", "--model", bundle).code == 0
    text = "The cat paints a map today."
    found = unbraid(
        *("search", text, "--in", tmp_path / "index", "--mode", "symmetric", "--json", "--model", bundle)
    )
    hits = [json.loads(line) for line in found.out.splitlines()]
    assert hits[0]["path"].endswith("cat.md")
    assert {hit["modality"] for hit in hits} == {"text", "code", "image"}
    for mode, query in (("retrieval", "who paints the map"), ("code", "names the song")):
        result = unbraid(
            *("search", query, "--in", tmp_path / "index", "--mode", mode, "--model", bundle),
            *("--min-score", "0"),  # weights are random
        )
        assert (result.code, len(result.out.splitlines()) >= 4) == (0, True)


def test_the_ceiling_of_its_labels_on_its_sets(made, data, tmp_path):
    result = unbraid(
        *("train", "ceiling", made / "run" / "labels", data / "text" / "pairs.jsonl.gz"),
        *("--teacher", data / "teacher", "--limit", 20, "--out", tmp_path),
    )
    assert result.code == 0
    rows = json.loads((tmp_path / "ceiling.json").read_text())["datasets"]
    teacher, read_out = rows[0], rows[2]
    assert teacher["system"] == "teacher, 64 dims"
    # The stack of four routes has 256 dimensions, so the base loses nothing.
    assert read_out["system"] == "base + read-out, 512 dims"
    assert read_out["scores"]["nDCG@10"]["value"] == pytest.approx(
        teacher["scores"]["nDCG@10"]["value"], abs=0.05
    )


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


def test_a_run_that_is_stopped_in_every_stage_makes_the_same_bundle(made, data, tmp_path, monkeypatch):
    from unbraid.distill import fit_mappers, train_image, train_static, train_text
    from unbraid.distill import pipeline as run
    from unbraid.distill.labels import write_labels as label
    from unbraid.distill.space import ceiling_report

    def stopping(module, name, calls):
        """`module.name` raises in the call after `calls`."""
        whole, seen = getattr(module, name), []

        def stop(*words, **named):
            if len(seen) == calls:
                raise Killed
            seen.append(None)
            return whole(*words, **named)

        return module, name, stop

    monkeypatch.setattr(record, "draw_curves", lambda *_: None)  # takes longer than the training
    monkeypatch.setattr(train_text, "SAVE_EVERY", 4)
    monkeypatch.setattr(train_static, "SAVE_EVERY", 4)
    for module, name, calls in (
        (label, "_label_chunk", 1),
        (run, "fit_space", 0),
        (ceiling_report, "route_ceilings", 0),
        (train_text, "student_loss", 6),
        (train_static, "student_loss", 6),
        (train_image, "caption_nce", 3),
        (fit_mappers, "fit_mode", 1),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(*stopping(module, name, calls))
            with pytest.raises(Killed):
                distill_once(data, tmp_path)
    assert not (tmp_path / "bundle").exists()
    assert distill(data, tmp_path).code == 0
    assert bundle_id(tmp_path) == bundle_id(made)


def distill_once(data: Path, folder: Path) -> None:
    """The stages alone, without the estimate before and the export behind them."""
    from unbraid.distill.pipeline import run_stages
    from unbraid.distill.recipe import read_recipe

    list(run_stages(read_recipe(Path("smoke")), data, folder / "run"))


def test_the_data_are_the_same_every_time(data, tmp_path):
    from unbraid.io.jsonl import read_rows

    again = smoke_data.write_smoke(tmp_path)
    for name in ("teacher/model-00001-of-00002.safetensors", "backbone/model.safetensors"):
        assert (again / name).read_bytes() == (data / name).read_bytes()
    for name in ("text/pairs", "sts/graded", "code/functions", "image/drawn_graphics"):
        first, second = (
            [line.row for line in read_rows(place / f"{name}.jsonl.gz")] for place in (data, again)
        )
        assert first == second


def test_students_reach_for_their_targets_from_random_weights(made):
    curves = json.loads((made / "run" / "small" / "record.json").read_text())["curves"]
    assert np.isfinite(curves["loss"]).all()
    assert np.mean(curves["loss"][-5:]) < np.mean(curves["loss"][:5])
