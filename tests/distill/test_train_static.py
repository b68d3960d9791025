"""The nano tier's training: closed form by dense algebra, and a whole run on a small language."""

import json
import random

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from unbraid.base_encoders.static_encoder import load_static_encoder
from unbraid.distill import static_closed_form
from unbraid.distill import train_static as stage
from unbraid.distill.data.encoded_items import EncodedItems
from unbraid.distill.data.text_set import text_tokenizer
from unbraid.distill.data.training_items import TrainingItem
from unbraid.distill.labels.label_shard import Labels
from unbraid.distill.labels.label_store import Description, open_labels
from unbraid.distill.recipe import Recipe, StaticTraining, TextTraining, read_recipe
from unbraid.distill.space.base_space import fit_base_space
from unbraid.distill.static_closed_form import factorize, fit_rows, prior_rows, token_shares
from unbraid.distill.train_static import train_static
from unbraid.errors import DataError
from unbraid.training.torchvision_shim import ensure_torchvision

ensure_torchvision()

WORDS = [f"word{number}" for number in range(30)]
WIDTH = 32
NANO = StaticTraining(width=24, epochs=8, batch=64)
RNG = np.random.default_rng(0)


def recipe(nano=NANO):
    text = {"small": TextTraining(max_tokens=8)}
    return Recipe("tiny", "1", 5, dtype="float32", text=text, nano=nano)


# -- closed form -----------------------------------------------------------------------------------------------


def test_shares_count_tokens_by_the_length_of_their_item():
    shares = token_shares([[0, 2, 2, 1], [3], []], 5)
    assert shares.toarray().tolist() == [[0.25, 0.25, 0.5, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]]
    assert shares.dtype == np.float32


def problem(items=60, tokens=20, dim=70):
    """Items of Zipf-like tokens, random targets and a random prior; `dim` is more than is solved at once."""
    weights = 1 / np.arange(1, tokens + 1)
    ids = [RNG.choice(tokens, size=RNG.integers(1, 9), p=weights / weights.sum()) for _ in range(items)]
    shares = token_shares([one.tolist() for one in ids], tokens)
    return shares, RNG.standard_normal((items, dim)), RNG.standard_normal((tokens, dim)).astype(np.float32)


@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_rows_are_the_solution_of_the_normal_equations(strength, monkeypatch):
    monkeypatch.setattr(static_closed_form, "ITERATIONS", 40)
    shares, targets, prior = problem()
    dense = shares.toarray().astype(np.float64)
    change = np.linalg.solve(dense.T @ dense + strength * np.eye(20), dense.T @ (targets - dense @ prior))
    found = fit_rows(shares, targets, prior, strength=strength)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, prior + change, atol=2e-4)


def test_a_token_that_is_never_seen_keeps_its_prior():
    shares, targets, prior = problem()
    shares = token_shares([[1, 2], [2, 3]], 20)
    found = fit_rows(shares, targets[:2], prior, strength=0.1)
    np.testing.assert_array_equal(found[4:], prior[4:])
    assert not np.allclose(found[1:4], prior[1:4])


def test_a_strong_ridge_stays_at_the_prior():
    shares, targets, prior = problem()
    np.testing.assert_allclose(fit_rows(shares, targets, prior, strength=1e6), prior, atol=1e-4)


def test_prior_rows_find_a_linear_map_of_the_embeddings():
    embeddings = RNG.standard_normal((20, 6)).astype(np.float32)
    wanted = embeddings @ RNG.standard_normal((6, 9))
    shares = token_shares([[token] for token in range(20)], 20)
    np.testing.assert_allclose(prior_rows(embeddings, shares, wanted), wanted, atol=1e-2)


def test_the_factors_are_the_nearest_of_their_width():
    rows, weights = RNG.standard_normal((40, 12)).astype(np.float32), RNG.random(40).astype(np.float32)
    table, projection = factorize(rows, weights, 5)
    values = np.linalg.svd(rows * np.sqrt(weights)[:, None], compute_uv=False)
    lost = (weights[:, None] * (rows - table @ projection.T) ** 2).sum()
    assert (table.shape, projection.shape) == ((40, 5), (12, 5))
    assert lost == pytest.approx((values[5:] ** 2).sum(), rel=1e-4)
    np.testing.assert_allclose(projection.T @ projection, np.eye(5), atol=1e-5)


def test_factors_of_full_width_lose_nothing():
    rows = RNG.standard_normal((40, 12)).astype(np.float32)
    table, projection = factorize(rows, np.ones(40, np.float32), 12)
    np.testing.assert_allclose(table @ projection.T, rows, atol=1e-4)


# -- a whole run -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def backbone(word_backbone):
    """A random BERT of one layer and its tokenizer."""
    return word_backbone(WORDS, hidden_size=16, num_hidden_layers=1, intermediate_size=16)


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    """400 texts of one to four words; a text's teacher vector is bent, so that no sum of rows is exact."""
    folder, rng = tmp_path_factory.mktemp("labels"), random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(1, 4))) for _ in range(400)]
    of_word = dict(zip(WORDS, np.random.default_rng(1).standard_normal((len(WORDS), WIDTH)), strict=True))
    summed = np.array([sum(of_word[word] for word in text.split()) for text in texts])
    vectors = np.tanh(summed)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    keys = [f"{row} {text}" for row, text in enumerate(texts)]
    shard = Labels(texts, ["text"] * 400, [""] * 400, {"plain": vectors.astype(np.float16)}, keys)
    with open_labels(folder, Description("fake", {}, ("plain",), WIDTH)) as store:
        store.want(set(keys))
        store.append(shard)
    return folder


def with_space(run):
    vectors = np.random.default_rng(2).standard_normal((100, WIDTH))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    run.mkdir(parents=True, exist_ok=True)
    fit_base_space([{"plain": vectors}], seed=0).save(run / "base_space.safetensors")
    return run


@pytest.fixture(scope="module")
def trained(labels, backbone, tmp_path_factory):
    run = with_space(tmp_path_factory.mktemp("run"))
    return run, train_static(recipe(), labels, run, backbone=backbone)


def record(run):
    return json.loads((run / "nano" / "record.json").read_text())


def test_training_gains_on_the_closed_form(trained):
    results = record(trained[0])["results"]
    assert results["items"] == 400 and results["ridge"] in stage.STRENGTHS
    assert results["held-out cosine"] > results["held-out cosine of the closed form"] > 0.8


def test_items_that_another_tier_encoded_are_learned_too(trained, labels, backbone, tmp_path):
    """A word that no label holds gets the direction that the other tier gives it."""
    target = np.zeros(512, np.float16)
    target[7] = 1
    items = [TrainingItem(f"word29 word{number % 29}", "text") for number in range(200)]
    more = EncodedItems(items, np.tile(target, (len(items), 1)))
    encoder = train_static(recipe(), labels, with_space(tmp_path), backbone=backbone, more=more)
    assert record(tmp_path)["results"]["items"] == 600
    tokenizer = text_tokenizer(backbone / "tokenizer.json", 8)
    ids = torch.tensor([tokenizer.encode("word29").ids])
    mask = torch.ones_like(ids)
    with torch.no_grad():
        learned, before = (float(one(ids, mask)[0, 7]) for one in (encoder, trained[1]))
    assert learned > 0.8 > before


def test_a_run_leaves_encoder_tokenizer_record_and_curves(trained):
    written = {str(path.relative_to(trained[0])) for path in trained[0].rglob("*") if path.is_file()}
    assert written == {
        "base_space.safetensors",
        *(f"nano/{name}" for name in ("static.safetensors", "encoder.json", "tokenizer.json")),
        *(f"nano/{name}" for name in ("record.json", "curves.png")),
    }
    assert record(trained[0])["recipe"]["nano"]["width"] == 24


def test_the_saved_encoder_is_the_one_returned(trained):
    run, encoder = trained
    ids, mask = torch.tensor([[2, 5, 9, 3]]), torch.ones(1, 4, dtype=torch.long)
    assert torch.equal(load_static_encoder(run / "nano")(ids, mask), encoder(ids, mask))
    assert encoder(ids, mask).shape == (1, 512)


def test_rows_do_not_grow_far_beyond_the_closed_form(trained, labels, backbone, tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "_fit", lambda *arguments: {})
    start = train_static(recipe(), labels, with_space(tmp_path), backbone=backbone)
    assert trained[1].table.norm(dim=1).max() < 2 * start.table.norm(dim=1).max()


def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(
    trained, labels, backbone, tmp_path, monkeypatch
):
    calls, whole = [], stage.student_loss

    def stopping(*arguments, **weights):
        calls.append(None)
        if len(calls) > 17:  # three steps after a checkpoint
            raise KeyboardInterrupt
        return whole(*arguments, **weights)

    run = with_space(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(stage, "SAVE_EVERY", 7)
        patch.setattr(stage, "student_loss", stopping)
        with pytest.raises(KeyboardInterrupt):
            train_static(recipe(), labels, run, backbone=backbone)
    assert (run / "nano.checkpoint.pt").exists() and not (run / "nano").exists()
    torch.manual_seed(99)
    train_static(recipe(), labels, run, backbone=backbone)
    resumed, expected = (load_file(one / "nano" / "static.safetensors") for one in (run, trained[0]))
    assert all(torch.equal(resumed[name], expected[name]) for name in expected)
    assert record(run)["curves"]["loss"] == record(trained[0])["curves"]["loss"]
    assert not (run / "nano.checkpoint.pt").exists()


# -- refusals --------------------------------------------------------------------------------------------------


def test_a_run_without_a_base_space_is_refused(labels, backbone, tmp_path):
    with pytest.raises(DataError, match=r"base_space\.safetensors: not found"):
        train_static(recipe(), labels, tmp_path, backbone=backbone)


def test_a_recipe_without_nano_is_refused(labels, backbone, tmp_path):
    with pytest.raises(DataError, match=r"tiny has no \[nano\]"):
        train_static(recipe(nano=None), labels, with_space(tmp_path), backbone=backbone)


@pytest.mark.parametrize(
    ("lines", "nano"),
    [("", None), ("[nano]\n", StaticTraining()), ("[nano]\nwidth = 64\n", StaticTraining(64))],
)
def test_a_recipe_may_have_a_nano_tier(lines, nano, tmp_path):
    head = 'name = "x"\nversion = "1"\nseed = 1\nteacher = "minilm"\nitems = 0\ndtype = "float32"\n'
    (tmp_path / "x.toml").write_text(head + lines)
    assert read_recipe(tmp_path / "x.toml").nano == nano


def test_a_nano_tier_of_another_type_is_refused(tmp_path):
    head = 'name = "x"\nversion = "1"\nseed = 1\nteacher = "minilm"\nitems = 0\ndtype = "float32"\n'
    (tmp_path / "x.toml").write_text(head + 'nano = "yes"\n')
    with pytest.raises(DataError, match=r"nano: Expected `object \| null`, got `str`"):
        read_recipe(tmp_path / "x.toml")
