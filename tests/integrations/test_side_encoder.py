import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import unbraid
from unbraid.errors import BundleError, ItemError
from unbraid.integrations import side_encoder
from unbraid.integrations.side_encoder import SideEncoder
from unbraid.items import Code

TEXTS = ["the cat sleeps", "getModel of the house"]


@pytest.fixture
def encoder(model):
    return SideEncoder(model)


def test_queries_and_documents_have_their_own_tasks(encoder, sides):
    assert np.array_equal(encoder.queries(TEXTS), sides.queries(TEXTS))
    assert np.array_equal(encoder.documents(TEXTS), sides.documents(TEXTS))
    assert not np.allclose(encoder.queries(TEXTS), encoder.documents(TEXTS))


def test_queries_go_to_the_tier_of_queries(tiers_folder):
    encoder, model = SideEncoder(str(tiers_folder)), unbraid.load(tiers_folder)
    assert model.query_tier != model.tier
    code = SideEncoder(str(tiers_folder), mode="code")  # its one task does not say the side
    assert np.array_equal(code.queries(TEXTS), model.encode(TEXTS, task="code", tier=model.query_tier))
    alike = SideEncoder(str(tiers_folder), mode="symmetric")
    assert np.array_equal(alike.queries(TEXTS), alike.documents(TEXTS))
    assert np.array_equal(encoder.queries(TEXTS), model.encode(TEXTS, task="query"))


def test_a_tier_encodes_both_sides(model, embedder):
    encoder = SideEncoder(model, tier="nano")
    assert np.array_equal(encoder.queries(TEXTS), embedder.encode(TEXTS, task="query", tier="nano"))
    assert np.array_equal(encoder.documents(TEXTS), embedder.encode(TEXTS, task="document", tier="nano"))


def test_in_mode_code_a_document_is_code_and_a_query_is_words(model, embedder):
    encoder = SideEncoder(model, mode="code")
    code = [Code(text) for text in TEXTS]
    as_code, as_text = (embedder.encode(items, task="code") for items in (code, TEXTS))
    assert not np.allclose(as_code, as_text)
    assert np.array_equal(encoder.documents(TEXTS), as_code)
    assert np.array_equal(encoder.queries(TEXTS), as_text)
    assert np.array_equal(encoder.queries(code), as_code)


def test_a_mode_may_be_the_file_of_a_mapper(model, embedder, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    query, document = rng.standard_normal((2, 512, 512)).astype(np.float32)
    unbraid.CustomMapper("own", embedder.base_id, query, document, {}).save(tmp_path / "own.mapper")
    monkeypatch.chdir(tmp_path)
    encoder = SideEncoder(model, mode="own.mapper")
    monkeypatch.chdir("/")
    mapped = embedder.encode(TEXTS, side="query") @ query.T
    mapped /= np.linalg.norm(mapped, axis=1, keepdims=True)
    assert np.allclose(encoder.queries(TEXTS), mapped, atol=1e-5)
    assert encoder.config()["mode"] == str(tmp_path / "own.mapper")


def test_dim_cuts_and_keeps_unit_length(model, encoder):
    short = SideEncoder(model, dim=64)
    vectors = short.documents(TEXTS)
    assert (short.dims, encoder.dims, vectors.shape) == (64, 512, (2, 64))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)


@pytest.mark.parametrize("items", [[], iter([])])
def test_no_items_give_no_vectors(encoder, items):
    assert encoder.documents(items).shape == (0, 512)


def test_the_bytes_of_a_picture_give_the_vector_of_its_file(encoder, picture):
    items = [picture.read_bytes(), "the cat", Image.open(picture), *[picture.read_bytes()] * 9]
    vectors = encoder.documents(items)
    alone = encoder.documents([picture])[0]
    assert np.allclose(vectors[[0, 2, *range(3, 12)]], alone, atol=1e-5)
    assert np.array_equal(vectors[1], encoder.documents(["the cat"])[0])


def test_bytes_that_are_no_picture_are_refused(encoder):
    with pytest.raises(unbraid.ImageError, match="picture"):
        encoder.documents([b"no picture"])


def test_an_unknown_mode_is_named_with_those_that_there_are(model):
    with pytest.raises(ItemError, match="'cod'.*retrieval, symmetric, code.*mapper"):
        SideEncoder(model, mode="cod").queries(TEXTS)


def test_a_model_is_loaded_once_for_all_threads(model, monkeypatch):
    calls = []
    monkeypatch.setattr(side_encoder, "load", lambda source: calls.append(source) or unbraid.load(source))
    side_encoder._load.cache_clear()
    side_encoder._load_mode.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        modes = ["retrieval", "symmetric", "code", "retrieval"] * 4
        shapes = list(pool.map(lambda mode: SideEncoder(model, mode=mode).queries(["a"]).shape, modes))
    assert (calls, set(shapes)) == ([model], {(1, 512)})


def test_nothing_is_loaded_before_it_is_needed(monkeypatch):
    monkeypatch.setattr(side_encoder, "load", lambda _: pytest.fail("loaded"))
    SideEncoder("not/there", mode="own.mapper")


def test_a_configuration_makes_the_same_vectors_in_another_folder(bundle_folder, monkeypatch):
    monkeypatch.chdir(bundle_folder.parent)
    encoder = SideEncoder(bundle_folder.name, "symmetric", 128, "nano")
    stored = json.dumps(encoder.config())
    monkeypatch.chdir("/")
    again = SideEncoder(**json.loads(stored))
    assert np.array_equal(again.documents(TEXTS), encoder.documents(TEXTS))


def test_the_starter_keeps_its_name():
    assert SideEncoder().config()["model"] == "starter"


def test_vectors_of_another_space_are_refused_on_both_sides(model):
    other = {**SideEncoder(model).config(), "mode": "symmetric"}
    for encode in (SideEncoder(**other).queries, SideEncoder(**other).documents):
        with pytest.raises(BundleError, match="stored vectors lie in space .* encode the items again"):
            encode(TEXTS)


def test_an_encoder_may_go_to_another_process(encoder):
    again = pickle.loads(pickle.dumps(encoder))
    assert np.array_equal(again.queries(TEXTS), encoder.queries(TEXTS))


def test_a_path_is_a_file_and_not_a_text(encoder, tmp_path):
    note = Path(tmp_path / "note.md")
    note.write_text("the cat sleeps")
    assert np.array_equal(encoder.documents([note]), encoder.documents(["the cat sleeps"]))
