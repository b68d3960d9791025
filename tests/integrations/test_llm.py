import json
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import llm
import numpy as np
import pytest
from click.testing import CliRunner
from llm.cli import cli

import unbraid
from unbraid.integrations import llm as plugin
from unbraid.integrations.llm import UnbraidModel
from unbraid.integrations.side_encoder import SideEncoder

ROOT = Path(__file__).parent.parent.parent
TEXTS = ["the cat sleeps", "a dog in the house"]


@pytest.fixture
def run(monkeypatch, tmp_path, model):
    """`run("embed", ...)`: what `llm` prints. Its models are the plugin's, of the tiny bundle in place of the starter."""
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path / "llm"))
    monkeypatch.setattr(plugin, "SideEncoder", lambda mode="retrieval": SideEncoder(model, mode))

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 0, result.output
        return result.output

    return run


def test_the_entry_point_is_declared_and_installed():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["llm"]
    assert declared == {"unbraid": plugin.__name__}
    assert plugin.__name__ in [one.value for one in entry_points(group="llm")]


def test_queries_documents_and_code_are_models(run, embedder):
    expected = {
        "unbraid": embedder.encode(TEXTS[:1], task="document"),
        "unbraid-document": embedder.encode(TEXTS[:1], task="document"),
        "unbraid-query": embedder.encode(TEXTS[:1], task="query"),
        "unbraid-code": embedder.encode([unbraid.Code(TEXTS[0])], task="code"),
        "unbraid-code-query": embedder.encode(TEXTS[:1], task="code"),
    }
    for name, vectors in expected.items():
        assert np.allclose(json.loads(run("embed", "-m", name, "-c", TEXTS[0])), vectors[0], atol=1e-6), name


def test_a_collection_of_pictures_is_found_by_a_picture(run, picture):
    run("embed-multi", "pictures", "--files", str(picture.parent), "*.png", "--binary", "-m", "unbraid")
    found = json.loads(run("similar", "pictures", "--binary", "-i", str(picture)))
    assert (found["id"], found["score"]) == (picture.name, pytest.approx(1, abs=1e-5))
    assert json.loads(run("similar", "pictures", "-c", "the cat"))["id"] == picture.name


def test_texts_and_pictures_keep_their_order_over_batches(model, picture, sides):
    items = [*TEXTS * 60, picture.read_bytes()]
    found = list(UnbraidModel("tiny", SideEncoder(model), "document").embed_multi(items))
    assert np.allclose(found, [*sides.documents(TEXTS * 60), *sides.documents([picture])], atol=1e-5)


def test_nothing_is_loaded_to_list_the_models(run, monkeypatch):
    monkeypatch.setattr("unbraid.integrations.side_encoder.load", lambda _: pytest.fail("loaded"))
    assert "unbraid-query" in run("embed-models", "list")
    assert isinstance(llm.get_embedding_model("unbraid"), UnbraidModel)
