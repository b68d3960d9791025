import json
import random
from collections import Counter

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from unbraid.base_encoders.text_encoder import load_text_encoder, start_text_encoder
from unbraid.distill import train_text as stage
from unbraid.distill.data.text_set import tensors, text_set, text_tokenizer
from unbraid.distill.labels.label_shard import Labels
from unbraid.distill.labels.label_store import Description, open_labels
from unbraid.distill.recipe import ImageTraining, Recipe, TextTraining
from unbraid.distill.space.base_space import fit_base_space, load_base_space
from unbraid.distill.train_text import train_text
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
    batch_tokens=400,
    epochs=(12,),
    learning_rate=1e-2,
    projection_learning_rate=1e-2,
)


def recipe(training=TRAINING, precision="float32"):
    return Recipe("tiny", "1", 5, "fake", 0, precision, (), training, ImageTraining(), {})


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
    return run, train_text(recipe(), labels, run, backbone=backbone)


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
    curves = json.loads((run / "text" / "record.json").read_text())["curves"]
    assert len(curves["loss"]) > 30
    assert np.mean(curves["loss"][-5:]) < 0.6 * np.mean(curves["loss"][:5])
    assert curves["held-out cosine"][-1] > 0.4  # an untrained encoder's is near 0


def test_a_run_leaves_encoder_tokenizer_record_curves_and_base_space(trained):
    run, _ = trained
    written = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert written == {
        "base_space.safetensors",
        "text/backbone/config.json",
        "text/backbone/model.safetensors",
        "text/curves.png",
        "text/encoder.json",
        "text/projection.safetensors",
        "text/record.json",
        "text/tokenizer.json",
    }


def test_the_record_says_what_was_trained_on(trained):
    run, _ = trained
    record = json.loads((run / "text" / "record.json").read_text())
    assert record["results"]["items"] == 300
    assert record["results"]["energy kept by base"] == load_base_space(run / "base_space.safetensors").kept
    assert record["recipe"]["text"]["layers"] == [0, 2]


def test_the_saved_encoder_is_the_one_returned(trained):
    run, encoder = trained
    ids, mask = torch.tensor([[2, 5, 9, 3]]), torch.ones(1, 4, dtype=torch.long)
    assert not encoder.training  # no dropout for whoever encodes with it
    torch.testing.assert_close(load_text_encoder(run / "text").eval()(ids, mask), encoder(ids, mask))


def test_the_saved_tokenizer_truncates_and_does_not_pad(trained):
    run, _ = trained
    tokenizer = Tokenizer.from_file(str(run / "text" / "tokenizer.json"))
    assert len(tokenizer.encode(" ".join(WORDS)).ids) == TRAINING.max_tokens
    assert tokenizer.padding is None


def test_bfloat16_training_keeps_float32_weights(labels, backbone, tmp_path):
    training = TextTraining(layers=(0,), max_tokens=12, batch_tokens=400, epochs=(1,))
    encoder = train_text(recipe(training, "bfloat16"), labels, tmp_path, backbone=backbone)
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    assert all(torch.isfinite(parameter).all() for parameter in encoder.parameters())


# -- interruption ------------------------------------------------------------------------------------------------


def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(
    trained, labels, backbone, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(stage, "SAVE_EVERY", 7)
        interrupt_after(patch, 17)  # three steps after a checkpoint
        with pytest.raises(KeyboardInterrupt):
            train_text(recipe(), labels, tmp_path, backbone=backbone)
    assert (tmp_path / "text.checkpoint.pt").exists() and not (tmp_path / "text").exists()
    torch.manual_seed(99)
    train_text(recipe(), labels, tmp_path, backbone=backbone)
    for file in ("backbone/model.safetensors", "projection.safetensors"):
        resumed, whole = load_file(tmp_path / "text" / file), load_file(trained[0] / "text" / file)
        assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    record, expected = (
        json.loads((run / "text" / "record.json").read_text()) for run in (tmp_path, trained[0])
    )
    assert record["curves"]["loss"] == expected["curves"]["loss"]


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
        train_text(recipe(), labels, tmp_path, backbone=backbone)
    assert (tmp_path / "base_space.safetensors").read_bytes() == before


# -- refusals ------------------------------------------------------------------------------------------------------


def test_training_without_labels_says_what_to_run(backbone, tmp_path):
    with pytest.raises(DataError, match="unbraid train label"):
        train_text(recipe(), tmp_path / "labels", tmp_path / "run", backbone=backbone)


def test_too_few_items_are_refused_with_their_number(backbone, tmp_path):
    write_store(tmp_path, labelled(WORDS[:9]))
    with pytest.raises(DataError, match="9 labelled items, at least 10"):
        train_text(recipe(), tmp_path, tmp_path / "run", backbone=backbone)


# -- targets and batches -------------------------------------------------------------------------------------------


def set_of(lengths):
    return stage.TextSet([[1] * length for length in lengths], np.zeros((len(lengths), 1), np.float16))


def test_the_untrained_students_projection_is_the_best_for_what_it_pools(backbone):
    torch.manual_seed(0)
    encoder = start_text_encoder(backbone, 512).eval()
    ids = [[2, 3 + number % 17, 4 + number % 13] for number in range(400)]
    data = stage.TextSet(ids, np.zeros((400, 512), np.float16))
    every, mask, _ = tensors(data, range(400))
    with torch.no_grad():
        pooled = encoder.pooled(every, mask).double()
    target = pooled @ torch.randn(3 * WIDTH, 512, generator=torch.Generator().manual_seed(1)).double()
    data = stage.TextSet(ids, torch.nn.functional.normalize(target, dim=-1).numpy().astype(np.float16))
    started = stage._start(TextTraining(layers=()), backbone, data)
    assert stage.held_out_cosine(started, data) > 0.9


def test_a_narrowed_student_has_the_neurons_that_the_recipe_says(backbone):
    data = stage.TextSet([[2, 3, 4]] * 40, np.ones((40, 512), np.float16))
    started = stage._start(TextTraining(layers=(0,), feed_forward=8), backbone, data)
    assert started.backbone.encoder.layer[0].intermediate.dense.out_features == 8


def code_set(backbone, share):
    """One described snippet (the description in a later shard), one whose description is not labelled."""
    texts, code = ["word1 word2", "word3"], ["word4 word5", "word6"]
    anchors = ["word3", "word7 word8"]
    shards = [labelled(code, "code", anchors), labelled(texts)]
    space = fit_base_space([teacher_vectors(WORDS)], seed=0)
    tokenizer = text_tokenizer(backbone / "tokenizer.json", 12)
    own = space.project(teacher_vectors(code + texts))
    return text_set(shards, space, tokenizer, share).targets.astype(np.float32), own


def test_a_snippets_target_leans_on_its_description(backbone):
    targets, own = code_set(backbone, 0.25)
    np.testing.assert_allclose(targets[0], normalize(0.75 * own[0] + 0.25 * own[3]), atol=1e-3)


def test_texts_and_snippets_without_a_labelled_description_keep_their_own_target(backbone):
    targets, own = code_set(backbone, 0.25)
    np.testing.assert_allclose(targets[1:], own[1:], atol=1e-3)


def test_an_anchor_share_of_zero_changes_no_target(backbone):
    targets, own = code_set(backbone, 0.0)
    np.testing.assert_allclose(targets, own, atol=1e-3)


def test_code_is_tokenized_with_its_names_split(backbone):
    shard = Labels(["word1Word2"], ["code"], [""], teacher_vectors(["word1"]), ["key"])
    tokenizer = text_tokenizer(backbone / "tokenizer.json", 12)
    space = fit_base_space([teacher_vectors(WORDS)], seed=0)
    (ids,) = text_set([shard], space, tokenizer, 0.5).ids
    assert ids == tokenizer.encode("word1 Word2").ids


def test_pictures_are_left_out_of_the_text_students_items(backbone):
    """Their text is where they came from, which says nothing of what they show."""
    tokenizer = text_tokenizer(backbone / "tokenizer.json", 12)
    space = fit_base_space([teacher_vectors(WORDS)], seed=0)
    shards = [labelled(["word5"], "image"), labelled(["word1"]), labelled(["word2"], "code", ["word1"])]
    with_pictures = text_set(shards, space, tokenizer, 0.5)
    without = text_set(shards[1:], space, tokenizer, 0.5)
    assert with_pictures.ids == without.ids
    np.testing.assert_array_equal(with_pictures.targets, without.targets)


@pytest.mark.parametrize(("items", "held_out"), [(9, 0), (10, 1), (300, 30), (10_240, 1024), (50_000, 1024)])
def test_a_tenth_is_held_out_up_to_1024(items, held_out):
    assert set_of([1] * items).held_out == held_out


def test_an_epoch_trains_on_every_item_once_but_the_held_out_ones(monkeypatch):
    monkeypatch.setattr(stage, "POOL", 64)
    data = set_of([1 + number % 12 for number in range(200)])
    batches = list(stage.epoch_batches(data, recipe(), 0))
    assert Counter(row for batch in batches for row in batch) == Counter(range(20, 200))


def test_batches_keep_to_the_token_budget_and_the_largest_batch():
    data = set_of([1 + number % 12 for number in range(2000)])
    for batch in stage.epoch_batches(data, recipe(TextTraining(batch_tokens=1000)), 0):
        assert len(batch) <= stage.LARGEST_BATCH
        assert len(batch) * max(len(data.ids[row]) for row in batch) <= 1000


def test_epochs_differ_and_a_seed_repeats_them():
    data = set_of([1 + number % 12 for number in range(200)])
    first, again, second = (list(stage.epoch_batches(data, recipe(), epoch)) for epoch in (0, 0, 1))
    assert first == again != second


def test_each_cycle_warms_up_and_peaks_at_half_the_last_ones_rate():
    rates = [learning_rate_factor(step, ends=[100, 150], warmup=0.1) for step in range(151)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates[:100]) == pytest.approx(0.98, abs=0.02)
    assert rates[99] < 0.001
    assert max(rates[100:150]) == pytest.approx(0.49, abs=0.02)
    assert rates[150] == pytest.approx(0)
