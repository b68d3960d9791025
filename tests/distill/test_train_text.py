import json
import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from safetensors.torch import load_file
from tokenizers import Tokenizer

from unbraid.base_encoders.text_encoder import load_backbone, load_text_encoder, start_text_encoder
from unbraid.distill import train_text as stage
from unbraid.distill.data.dev_sets import DevSet
from unbraid.distill.data.text_set import TextSet, held_out_cosine, tensors
from unbraid.distill.data.training_items import TrainingItem
from unbraid.distill.labels.label_shard import Labels
from unbraid.distill.labels.label_store import Description, open_labels
from unbraid.distill.recipe import Recipe, TextTraining
from unbraid.distill.space.base_space import fit_base_space, load_base_space
from unbraid.distill.train_text import epoch_batches, start, train_text
from unbraid.errors import DataError
from unbraid.training.schedule import learning_rate_factor
from unbraid.training.torchvision_shim import ensure_torchvision
from unbraid.vectors import normalize

ensure_torchvision()

WORDS = [f"word{number}" for number in range(20)]
WIDTH = 32
TRAINING = TextTraining(
    layers=(0, 2),
    max_tokens=12,
    batch=64,
    neighbours=16,
    batch_tokens=100,  # several passes a step
    epochs=(6,),
    learning_rate=1e-2,
    projection_learning_rate=1e-2,
)


def recipe(training=TRAINING, precision="float32"):
    return Recipe("tiny", "1", 5, dtype=precision, text={"small": training})


def teacher_vectors(texts):
    """Two routes: sums of a text's random word vectors, different ones for each route."""
    rng = np.random.default_rng(0)
    vectors = {}
    for route in ("match", "search"):
        of_word = dict(zip(WORDS, rng.standard_normal((len(WORDS), WIDTH)), strict=True))
        summed = np.array([sum(of_word[word] for word in text.split()) for text in texts])
        vectors[route] = normalize(summed).astype(np.float16)
    return vectors


@pytest.fixture(scope="module")
def backbone(word_backbone):
    """A random BERT of four layers, with a little dropout, and its tokenizer."""
    return word_backbone(
        WORDS,
        hidden_size=WIDTH,
        num_hidden_layers=4,
        intermediate_size=64,
        max_position_embeddings=16,
        initializer_range=0.2,
        hidden_dropout_prob=0.02,
        attention_probs_dropout_prob=0.02,
    )


def labelled(texts, modality="text", anchors=None):
    """Labels of `texts`; a text that comes twice is two items here."""
    n = len(texts)
    keys = [f"{modality} {row} {text}" for row, text in enumerate(texts)]
    return Labels(texts, [modality] * n, anchors or [""] * n, teacher_vectors(texts), keys)


def write_store(folder, *shards):
    with open_labels(folder, Description("fake", {}, tuple(shards[0].vectors), WIDTH)) as store:
        store.want({key for shard in shards for key in shard.keys})
        for shard in shards:
            store.append(shard)


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    """300 labelled texts in two shards."""
    folder = tmp_path_factory.mktemp("labels")
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(1, 4))) for _ in range(300)]
    shard = labelled(texts)
    write_store(folder, shard.take(range(150)), shard.take(range(150, 300)))
    return folder


@pytest.fixture(scope="module")
def trained(labels, backbone, tmp_path_factory):
    """A finished run and the encoder that it returned."""
    run = tmp_path_factory.mktemp("run")
    return run, train_text(recipe(), "small", labels, run, backbone=backbone)


def interrupt_after(monkeypatch, steps):
    """Make training stop as by Ctrl-C in the step after `steps`."""
    calls, whole = [], stage.student_loss

    def stopping(*arguments, **weights):
        calls.append(None)
        if len(calls) > steps:
            raise KeyboardInterrupt
        return whole(*arguments, **weights)

    monkeypatch.setattr(stage, "student_loss", stopping)


# -- a whole run ---------------------------------------------------------------------------------------------


def test_training_lowers_the_loss_and_raises_the_held_out_cosine(trained):
    run, _ = trained
    curves = json.loads((run / "small" / "record.json").read_text())["curves"]
    assert len(curves["loss"]) > 30
    assert np.mean(curves["loss"][-5:]) < 0.6 * np.mean(curves["loss"][:5])
    assert curves["held-out cosine"][-1] > 0.4  # an untrained encoder's is near 0


def test_a_run_leaves_encoder_tokenizer_record_curves_and_base_space(trained):
    run, _ = trained
    written = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert written == {
        "base_space.safetensors",
        "small/backbone/config.json",
        "small/backbone/model.safetensors",
        "small/curves.png",
        "small/encoder.json",
        "small/projection.safetensors",
        "small/record.json",
        "small/tokenizer.json",
    }


def test_the_record_says_what_was_trained_on(trained):
    run, _ = trained
    record = json.loads((run / "small" / "record.json").read_text())
    assert record["results"]["items"] == 300
    assert record["results"]["energy kept by base"] == load_base_space(run / "base_space.safetensors").kept
    assert record["recipe"]["text"]["small"]["layers"] == [0, 2]


def test_the_saved_encoder_is_the_one_returned(trained):
    run, encoder = trained
    ids, mask = torch.tensor([[2, 5, 9, 3]]), torch.ones(1, 4, dtype=torch.long)
    assert not encoder.training  # no dropout for whoever encodes with it
    torch.testing.assert_close(load_text_encoder(run / "small").eval()(ids, mask), encoder(ids, mask))


def test_the_saved_tokenizer_truncates_and_does_not_pad(trained):
    run, _ = trained
    tokenizer = Tokenizer.from_file(str(run / "small" / "tokenizer.json"))
    assert len(tokenizer.encode(" ".join(WORDS)).ids) == TRAINING.max_tokens
    assert tokenizer.padding is None


def test_bfloat16_training_keeps_float32_weights(labels, backbone, tmp_path):
    training = TextTraining(layers=(0,), max_tokens=12, batch_tokens=400, epochs=(1,))
    encoder = train_text(recipe(training, "bfloat16"), "small", labels, tmp_path, backbone=backbone)
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    assert all(torch.isfinite(parameter).all() for parameter in encoder.parameters())


def test_unseen_sets_are_scored_before_and_while_training(labels, backbone, tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "SAVE_EVERY", 3)
    texts = [TrainingItem(f"word1 {word}", "text") for word in WORDS]
    unseen = [DevSet("new", "retrieval", "en", texts[:4], texts, [{0}, {1}, {2}, {3}])]
    short = recipe(replace(TRAINING, epochs=(1,)))
    train_text(short, "small", labels, tmp_path, backbone=backbone, unseen=unseen)
    curves = json.loads((tmp_path / "small" / "record.json").read_text())["curves"]
    scored = 2 + (len(curves["loss"]) - 1) // 3
    assert curves["new"] == [1.0] * scored and len(curves["held-out cosine"]) == scored


def test_each_tier_has_its_own_folder_and_training(labels, backbone, tmp_path):
    base = replace(TRAINING, layers=(1,), epochs=(1,))
    both = Recipe("tiny", "1", 5, dtype="float32", text={"small": TRAINING, "base": base})
    encoder = train_text(both, "base", labels, tmp_path, backbone=backbone)
    assert len(encoder.backbone.encoder.layer) == 1
    assert (tmp_path / "base" / "record.json").exists() and not (tmp_path / "small").exists()


@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_embeddings_stay_as_they_were_pre_trained(frozen, labels, backbone, tmp_path):
    training = replace(TRAINING, epochs=(1,), frozen_embeddings=frozen)
    encoder = train_text(recipe(training), "small", labels, tmp_path, backbone=backbone)
    before = load_backbone(backbone)
    same = [
        torch.equal(encoder.backbone.state_dict()[name], weight)
        for name, weight in before.state_dict().items()
        if name.startswith("embeddings") and name.endswith("weight")
    ]
    assert all(same) if frozen else not any(same)
    layer = "encoder.layer.0.output.dense.weight"
    assert not torch.equal(encoder.backbone.state_dict()[layer], before.state_dict()[layer])


def test_the_weights_kept_are_the_running_average(labels, backbone, tmp_path, monkeypatch):
    """After the first step it is the weights; then each step takes it a share of the way to the new ones."""
    monkeypatch.setattr(stage, "SAVE_EVERY", 1)
    measured = []

    def measure(encoder, *_):
        measured.append({name: weight.clone() for name, weight in encoder.state_dict().items()})
        return 0.0

    monkeypatch.setattr(stage, "held_out_cosine", measure)
    training = replace(TRAINING, epochs=(1,))
    train_text(recipe(training), "small", labels, tmp_path / "last", backbone=backbone)
    steps, measured = measured[1:], []  # the first ones are those before training
    averaged = replace(training, average=0.75)
    encoder = train_text(recipe(averaged), "small", labels, tmp_path / "average", backbone=backbone)
    for name, weight in encoder.named_parameters():
        expected = steps[0][name]
        for after in steps[1:]:
            expected = 0.75 * expected + 0.25 * after[name]
        torch.testing.assert_close(weight.detach(), expected, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(encoder.projection.weight, steps[-1]["projection.weight"], atol=1e-4)
    assert torch.equal(measured[-1]["projection.weight"], encoder.projection.weight)  # it is what is scored


# -- interruption ------------------------------------------------------------------------------------------------


def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(
    trained, labels, backbone, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(stage, "SAVE_EVERY", 7)
        interrupt_after(patch, 17)  # three steps after a checkpoint
        with pytest.raises(KeyboardInterrupt):
            train_text(recipe(), "small", labels, tmp_path, backbone=backbone)
    assert (tmp_path / "small.checkpoint.pt").exists() and not (tmp_path / "small").exists()
    torch.manual_seed(99)
    train_text(recipe(), "small", labels, tmp_path, backbone=backbone)
    for file in ("backbone/model.safetensors", "projection.safetensors"):
        resumed, whole = load_file(tmp_path / "small" / file), load_file(trained[0] / "small" / file)
        assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    record, expected = (
        json.loads((run / "small" / "record.json").read_text()) for run in (tmp_path, trained[0])
    )
    assert record["curves"]["loss"] == expected["curves"]["loss"]


def test_an_interrupted_average_ends_with_the_weights_of_an_uninterrupted_one(
    labels, backbone, tmp_path, monkeypatch
):
    averaged = recipe(replace(TRAINING, epochs=(1, 1), average=0.9))
    monkeypatch.setattr(stage, "SAVE_EVERY", 7)
    whole = train_text(averaged, "small", labels, tmp_path / "whole", backbone=backbone)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 10)
        with pytest.raises(KeyboardInterrupt):
            train_text(averaged, "small", labels, tmp_path / "resumed", backbone=backbone)
    torch.manual_seed(99)
    resumed = train_text(averaged, "small", labels, tmp_path / "resumed", backbone=backbone)
    weights = resumed.state_dict()
    assert all(torch.equal(weights[name], weight) for name, weight in whole.state_dict().items())
    record, expected = (
        json.loads((tmp_path / run / "small" / "record.json").read_text()) for run in ("resumed", "whole")
    )
    assert record["curves"] == expected["curves"]


def test_a_finished_run_leaves_no_checkpoint(trained):
    assert not list(trained[0].glob("*checkpoint*"))


def test_the_base_space_of_a_run_stays(labels, backbone, tmp_path, monkeypatch):
    """Images and mappers of the run were made for it."""
    fit_base_space([teacher_vectors(["word1 word2", "word3"])], seed=8).save(
        tmp_path / "base_space.safetensors"
    )
    before = (tmp_path / "base_space.safetensors").read_bytes()
    interrupt_after(monkeypatch, 0)
    with pytest.raises(KeyboardInterrupt):
        train_text(recipe(), "small", labels, tmp_path, backbone=backbone)
    assert (tmp_path / "base_space.safetensors").read_bytes() == before


# -- refusals ------------------------------------------------------------------------------------------------------


def test_training_without_labels_says_what_to_run(backbone, tmp_path):
    with pytest.raises(DataError, match="unbraid train label"):
        train_text(recipe(), "small", tmp_path / "labels", tmp_path / "run", backbone=backbone)


def test_too_few_items_are_refused_with_their_number(backbone, tmp_path):
    write_store(tmp_path, labelled(WORDS[:9]))
    with pytest.raises(DataError, match="9 labelled items, at least 10"):
        train_text(recipe(), "small", tmp_path, tmp_path / "run", backbone=backbone)


# -- the untrained student -----------------------------------------------------------------------------------------


def started(backbone, config, n=240):
    """The untrained student, its data, and pooled vectors and targets float64 of the items that it is fitted to."""
    rng = np.random.default_rng(0)
    ids = [[2, *rng.integers(4, 24, rng.integers(1, 6)), 3] for _ in range(n)]
    data = TextSet(
        [list(map(int, one)) for one in ids], normalize(rng.standard_normal((n, 512))).astype(np.float16)
    )
    encoder = start(config, backbone, data, torch.float32)
    every, mask, target = tensors(data, range(data.held_out, n))
    with torch.no_grad():
        return encoder, data, encoder.pooled(every, mask).double().numpy(), target.double().numpy()


def weights_of(encoder):
    return (
        encoder.projection.weight.detach().double().numpy(),
        encoder.projection.bias.detach().double().numpy(),
    )


@pytest.mark.parametrize("pooled_layers", [1, 3])
def test_an_isometric_start_keeps_all_cosines_of_the_centred_pooled_vectors(pooled_layers, backbone):
    config = TextTraining(layers=(), start="isometry", pooled_layers=pooled_layers)
    encoder, data, pooled, _ = started(backbone, config)
    assert pooled.shape[1] == pooled_layers * WIDTH
    centred = normalize(pooled - pooled.mean(0))
    every, mask, _ = tensors(data, range(data.held_out, len(data.ids)))
    with torch.no_grad():
        found = encoder(every, mask).double().numpy()
    np.testing.assert_allclose(found @ found.T, centred @ centred.T, atol=1e-4)


def test_no_other_isometry_comes_nearer_to_the_targets(backbone):
    encoder, _, pooled, target = started(backbone, TextTraining(layers=(0,), start="isometry"))
    weight, bias = weights_of(encoder)
    np.testing.assert_allclose(weight.T @ weight, np.eye(WIDTH), atol=1e-5)
    np.testing.assert_allclose(bias, -weight @ pooled.mean(0), atol=1e-5)
    nearness = np.sum(target * (pooled @ weight.T + bias))
    rng = np.random.default_rng(1)
    for size in (0.01, 0.3, 10):
        other = np.linalg.qr(weight + size * rng.standard_normal(weight.shape))[0]
        signs = np.sign(np.diag(other.T @ weight))
        assert np.sum(target * ((pooled - pooled.mean(0)) @ (other * signs).T)) < nearness


def test_a_ridge_start_is_the_best_linear_fit(backbone):
    encoder, _, pooled, target = started(backbone, TextTraining(layers=(0, 2), start="ridge"))
    centred, (weight, bias) = pooled - pooled.mean(0), weights_of(encoder)
    penalty = stage.START_RIDGE * pooled.var() * len(pooled)
    above = np.concatenate([centred, np.sqrt(penalty) * np.eye(centred.shape[1])])
    right = np.concatenate([target, np.zeros((centred.shape[1], 512))])
    np.testing.assert_allclose(weight, np.linalg.lstsq(above, right, rcond=None)[0].T, atol=1e-4)
    np.testing.assert_allclose(bias, target.mean(0) - weight @ pooled.mean(0), atol=1e-4)


def test_a_linear_teacher_is_met_before_any_training(backbone):
    encoder, data, *_ = started(backbone, TextTraining(layers=()), n=600)
    every, mask, _ = tensors(data, range(600))
    with torch.no_grad():
        pooled = encoder.pooled(every, mask).double().numpy()
    target = (pooled - pooled.mean(0)) @ np.random.default_rng(1).standard_normal((3 * WIDTH, 512))
    linear = TextSet(data.ids, normalize(target).astype(np.float16))
    assert held_out_cosine(start(TextTraining(layers=()), backbone, linear, torch.float32), linear) > 0.9


def test_a_narrowed_student_has_the_neurons_that_the_recipe_says(backbone):
    encoder, *_ = started(backbone, TextTraining(layers=(0,), feed_forward=8))
    assert encoder.backbone.encoder.layer[0].intermediate.dense.out_features == 8


# -- batches -------------------------------------------------------------------------------------------------------


def neighbour_set(n, *, dim=8, seed=0, length=4):
    """Items of `length` tokens, or of lengths, with random unit targets."""
    lengths = [length] * n if isinstance(length, int) else length
    targets = normalize(np.random.default_rng(seed).standard_normal((n, dim))).astype(np.float16)
    return TextSet([[1] * tokens for tokens in lengths], targets)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(10, 200),
    batch=st.integers(1, 80),
    neighbours=st.integers(1, 40),
    seed=st.integers(0, 9),
    epoch=st.integers(0, 9),
    same=st.booleans(),
)
def test_an_epoch_has_every_trained_item_once_in_leaves_of_near_ones(n, batch, neighbours, seed, epoch, same):
    data = neighbour_set(n)
    if same:
        data.targets[:] = data.targets[0]  # nothing tells the items apart
    config = TextTraining(batch=batch, neighbours=neighbours)
    batches = list(epoch_batches(data, config, seed, epoch))
    assert Counter(row for rows in batches for row in rows) == Counter(range(data.held_out, n))
    assert all(type(row) is int for row in batches[0])
    assert all(0 < len(rows) <= max(batch, neighbours) for rows in batches)
    assert batches == list(epoch_batches(data, config, seed, epoch))


@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 200), size=st.integers(1, 40), seed=st.integers(0, 9))
def test_leaves_part_the_rows_in_groups_of_nearly_the_same_size(n, size, seed):
    rows = np.random.default_rng(seed).permutation(300)[:n]
    leaves = stage._leaves(neighbour_set(300).targets, rows, size, np.random.default_rng(seed))
    assert sorted(np.concatenate(leaves).tolist()) == sorted(rows.tolist())
    sizes = [len(leaf) for leaf in leaves]
    assert max(sizes) <= size and (n <= size or min(sizes) >= (size + 1) // 2)


def mean_cosine(targets, groups):
    """Between different rows of a group."""
    found = [(targets[rows].astype(float).sum(0) ** 2).sum() - len(rows) for rows in groups if len(rows) > 1]
    return sum(found) / sum(len(rows) * (len(rows) - 1) for rows in groups)


def test_neighbours_are_nearer_to_each_other_than_to_random_rows():
    data = neighbour_set(1100)
    rows = np.arange(data.held_out, 1100)
    leaves = stage._leaves(data.targets, rows, 16, np.random.default_rng(0))
    assert mean_cosine(data.targets, leaves) > 0.3 > mean_cosine(data.targets, [rows]) + 0.25


def test_near_duplicates_meet_in_a_batch():
    """Sixty topics of ten items each: most of an item's leaf is of its topic."""
    rng = np.random.default_rng(0)
    topics = np.repeat(rng.standard_normal((60, 16)), 10, axis=0)
    data = TextSet(
        [[1]] * 600, normalize(topics + 0.05 * rng.standard_normal(topics.shape)).astype(np.float16)
    )
    batches = list(epoch_batches(data, TextTraining(batch=8, neighbours=8), 0, 0))
    assert mean_cosine(data.targets, batches) > 0.6


def test_the_next_epoch_has_another_tree_and_so_has_another_seed():
    data = neighbour_set(400)
    config = TextTraining(batch=16, neighbours=16)  # a leaf is a batch
    trees = [
        {frozenset(rows) for rows in epoch_batches(data, config, seed, epoch)}
        for seed, epoch in ((0, 0), (0, 1), (1, 0))
    ]
    assert all(len(one & other) < 3 for one, other in pairwise(trees))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_an_epoch_takes_the_share_of_long_items_that_the_recipe_says(share):
    long = stage.LONG + 1
    data = neighbour_set(4000, length=[stage.LONG, long] * 2000)
    config = TextTraining(long_share=share)
    taken = [{row for rows in epoch_batches(data, config, 3, epoch) for row in rows} for epoch in (0, 0, 1)]
    trained = range(data.held_out, 4000)
    assert {row for row in trained if len(data.ids[row]) < long} <= taken[0]
    count = sum(len(data.ids[row]) == long for row in taken[0])
    assert count / (len(trained) / 2) == pytest.approx(share, abs=0.04 * (0 < share < 1))
    assert taken[0] == taken[1] and (taken[0] != taken[2] or share in (0, 1))


def test_each_cycle_warms_up_and_peaks_at_half_the_last_ones_rate():
    rates = [learning_rate_factor(step, ends=[100, 150], warmup=0.1) for step in range(151)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates[:100]) == pytest.approx(0.98, abs=0.02)
    assert rates[99] < 0.001
    assert max(rates[100:150]) == pytest.approx(0.49, abs=0.02)
    assert rates[150] == pytest.approx(0)


# -- mixing with the start ------------------------------------------------------------------------------------------


def test_the_share_that_scores_best_is_kept_and_mixes_every_weight(backbone):
    encoder = start_text_encoder(backbone, 16)
    begun = {name: weight.clone() for name, weight in encoder.state_dict().items()}
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.add_(1.0)

    def measure(mixed):
        """Kinds count alike, and sets that are no mean do not count: best at a share of .5."""
        moved = float((mixed.projection.bias.detach() - begun["projection.bias"]).mean())
        return {"a": moved, "sts, mean": -abs(moved - 0.5), "code, mean": 0.1}

    assert stage.best_share(encoder, begun, (1.0, 0.75, 0.5), measure) == 0.5
    for name, weight in encoder.state_dict().items():
        if weight.is_floating_point():
            torch.testing.assert_close(weight, begun[name] + 0.5)


def test_one_share_is_taken_without_measuring(backbone):
    encoder = start_text_encoder(backbone, 16)
    begun = {name: torch.zeros_like(weight) for name, weight in encoder.state_dict().items()}
    before = {name: weight.clone() for name, weight in encoder.state_dict().items()}

    def measure(_):
        raise AssertionError("measured")

    assert stage.best_share(encoder, begun, (1.0,), measure) == 1.0
    assert all(torch.equal(weight, before[name]) for name, weight in encoder.state_dict().items())


def test_a_ridge_start_knows_the_mean_of_targets_that_are_not_centred(backbone):
    """Targets that all lie around one direction: a projection of centred vectors alone would miss it."""
    rng = np.random.default_rng(0)
    ids = [[2, 3 + number % 17, 4 + number % 13] for number in range(400)]
    target = rng.standard_normal((400, 512)) * 0.01
    target[:, 3] += 1
    data = TextSet(ids, (target / np.linalg.norm(target, axis=1, keepdims=True)).astype(np.float16))
    started = stage.start(TextTraining(layers=()), backbone, data, torch.float32)
    assert held_out_cosine(started, data) > 0.95
