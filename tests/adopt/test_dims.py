"""A bundle of any number of dimensions works in every room; the starter's 512 is assumed nowhere."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import unbraid
from tests.adopt.conftest import WORDS, tiny_tokenizer
from unbraid.adopt import adopt
from unbraid.cli.main import app
from unbraid.vectors import NUMBERS


@pytest.fixture(scope="module", params=[20, 384, 768, 1024])
def model(request, tmp_path_factory):
    """A static model with so many dimensions, as a bundle."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    folder = tmp_path_factory.mktemp("dims")
    tokenizer = tiny_tokenizer()
    rows = np.random.default_rng(0).standard_normal((len(tokenizer), request.param)).astype(np.float32)
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=rows)]).save(
        str(folder / "model")
    )
    adopt(folder / "model", folder / "bundle")
    found = unbraid.load(folder / "bundle", threads=1)
    assert found.dim == request.param
    return found


@pytest.fixture
def documents(tmp_path):
    """A file for each of a few words."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for word in WORDS[:8]:
        (folder / f"{word}.txt").write_text(f"{word} {word} {word}")
    return folder


@pytest.mark.parametrize("numbers", ["float32", "float16"])
@pytest.mark.parametrize("candidates", ["exact", "int8", "binary"])
def test_an_index_finds_the_nearest(numbers, candidates, model, documents, tmp_path):
    options = {"numbers": numbers, "candidates": candidates}
    with unbraid.open_index(tmp_path / "index", model=model, **options) as index:
        index.add([documents])
        for mode in model.search_modes:
            assert index.search("house", mode=mode, min_score=0)[0].path.endswith("house.txt")
    with unbraid.open_index(tmp_path / "index", model=model) as index:
        assert index.search("tree", min_score=0)[0].path.endswith("tree.txt")


@pytest.mark.parametrize("numbers", NUMBERS)
def test_vectors_in_every_kind_of_numbers(numbers, model):
    vectors = model.encode(["cat", "dog"], numbers=numbers)
    assert vectors.shape == (2, -(-model.dim // 8) if numbers == "binary" else model.dim)


def test_a_mapper_is_fitted_on_pairs(model, tmp_path):
    rows = [
        {"query": f"{one} {other}", "positive": f"{other} {one} file"}
        for one in WORDS[:8]
        for other in WORDS[8:16]
    ]
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("\n".join(map(json.dumps, rows)))
    mapper = unbraid.fit_mapper(model, pairs, "mine", progress=False)
    assert mapper.query.shape == (model.dim, model.dim)
    assert model.with_mapper(mapper).encode(["cat"], task=mapper.mode[0]).shape == (1, model.dim)


@pytest.mark.parametrize("command", [["info"], ["doctor"]])
def test_commands_that_look_at_a_bundle(command, model):
    options = ["--model"] if command == ["doctor"] else []
    result = CliRunner().invoke(app, [*command, *options, str(model.bundle.folder)])
    assert result.exit_code == 0, result.output


def test_the_server_answers_with_as_many(model):
    from starlette.testclient import TestClient

    from unbraid.serve import BundleEngine, Settings, create_app

    app = create_app(BundleEngine(model, workers=1), Settings())
    with TestClient(app, base_url="http://localhost") as client:
        answer = client.post("/v1/embeddings", json={"input": ["cat"]}).json()
    assert "data" in answer, answer
    assert len(answer["data"][0]["embedding"]) == model.dim
