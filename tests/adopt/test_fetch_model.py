"""A hub id: settings first, weights after the size is known to fit, code never."""

import fnmatch
import json
import shutil
from types import SimpleNamespace

import huggingface_hub
import pytest

from unbraid.adopt.model_files import INDEX
from unbraid.adopt.read_model import read_model
from unbraid.errors import AdoptError


@pytest.fixture
def hub(published, tmp_path, monkeypatch):
    """A hub with one repository, whose snapshot holds what was asked for. Its patterns are noted."""
    files = {path.relative_to(published).as_posix(): path for path in published.rglob("*") if path.is_file()}
    (tmp_path / "modeling.py").write_text("raise SystemExit")
    files |= {"modeling.py": tmp_path / "modeling.py", "pytorch_model.bin": tmp_path / "modeling.py"}
    snapshot, asked = tmp_path / "snapshots" / "0123abc", []

    def download(name, revision, allow_patterns, local_dir):
        asked.append((name, revision))
        for file, path in files.items():
            if any(fnmatch.fnmatch(file, pattern) for pattern in allow_patterns):
                (snapshot / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, snapshot / file)
        return str(snapshot)

    class Hub:
        def model_info(self, name, *, revision, files_metadata, timeout):
            sizes = {file: path.stat().st_size for file, path in files.items()}
            assert files_metadata and timeout
            return SimpleNamespace(
                siblings=[SimpleNamespace(rfilename=file, size=size) for file, size in sizes.items()]
            )

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return snapshot, asked, files


def test_a_model_of_a_hub_has_its_own_name_and_brings_no_code(hub):
    snapshot, asked, _ = hub
    found = read_model("org/tiny-mean", revision="v1")
    assert found.name == "tiny-mean" and found.text.dim == 64
    assert set(asked) == {("org/tiny-mean", "v1")}
    names = {path.name for path in snapshot.rglob("*")}
    assert "model.safetensors" in names and not names & {"modeling.py", "pytorch_model.bin"}


def test_what_is_too_large_is_refused_before_its_weights_are_fetched(hub, tmp_path):
    snapshot, asked, files = hub
    index = tmp_path / INDEX
    index.write_text(
        json.dumps(
            {"metadata": {"total_size": 14e9}, "weight_map": {"w": "model-00001-of-00002.safetensors"}}
        )
    )
    files[INDEX] = index
    with pytest.raises(AdoptError, match="GB of memory"):
        read_model("org/large")
    assert len(asked) == 1 and not list(snapshot.glob("*.safetensors"))


@pytest.mark.parametrize("name", ["model.safetensors", "0_Transformer/model.safetensors"])
def test_a_single_file_is_refused_before_it_is_fetched(name, hub, tmp_path):
    snapshot, asked, files = hub
    with (tmp_path / "large").open("wb") as file:
        file.truncate(28_000_000_000)  # a hole: no disk is used
    files[name] = tmp_path / "large"
    with pytest.raises(AdoptError, match="GB of memory"):
        read_model("org/large")
    assert len(asked) == 1 and not list(snapshot.rglob("*.safetensors"))


def test_a_hub_that_tells_no_sizes_gives_the_model_all_the_same(hub, monkeypatch):
    def unreachable():
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "HfApi", unreachable)
    assert read_model("org/tiny-mean").text.dim == 64
