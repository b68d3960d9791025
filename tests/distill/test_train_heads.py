import dataclasses
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from typer.testing import CliRunner

import unbraid
from unbraid.base_encoders.multi_vector_head import HEAD_FOLDER, late_interaction, load_multi_vector_head
from unbraid.cli.main import app
from unbraid.distill import train_heads as stage
from unbraid.distill.data.head_pairs import head_pairs, pair_of
from unbraid.distill.data.token_states import TokenStates, token_states
from unbraid.distill.head_loss import Texts, head_loss, root_idf, shared_words, states_scores
from unbraid.distill.labels.label_shard import Labels, text_key
from unbraid.distill.labels.label_store import Description, open_labels
from unbraid.distill.recipe import HeadTraining, Look, Recipe, Source, read_recipe
from unbraid.distill.train_heads import draw, inverse_frequencies, nearest, train_heads
from unbraid.errors import BundleError, DataError
from unbraid.export import export_heads
from unbraid.multi_vector.maxsim import maxsim
from unbraid.multi_vector.token_vectors import TokenVectors
from unbraid.training.record import recipe_table
from unbraid.vectors import normalize

TEXTS, CODE = "text/pairs.jsonl.gz", "code/pairs.jsonl.gz"
TRAINING = HeadTraining(
    tiers=("small",),
    texts=(TEXTS,),
    code=(CODE,),
    dim=8,
    inner=32,
    hidden=16,
    steps=4,
    groups=2,
    neighbours=3,
)


def recipe(**changes) -> Recipe:
    sources = (Source(TEXTS, "MIT"), Source(CODE, "MIT"))
    return Recipe("with-heads", "2", 5, head=replace(TRAINING, **changes), source=sources)


@pytest.fixture(scope="module")
def data(tmp_path_factory, write_rows):
    folder = tmp_path_factory.mktemp("data")
    words = "cat dog house river red green bright moon search vector model".split()
    rng = np.random.default_rng(0)
    for name in (TEXTS, CODE):
        rows = [" ".join(rng.choice(words, 6)) for _ in range(40)]
        write_rows(
            folder / name, [{"anchor": f"{row[:9]} {n}", "positive": row} for n, row in enumerate(rows)]
        )
    return folder


@pytest.fixture(scope="module")
def model(bundle_folder):
    return unbraid.load(bundle_folder, threads=1)


@pytest.fixture(scope="module")
def made(data, model, tmp_path_factory):
    """A run of `train_heads`, and the tiny bundle with its head."""
    folder = tmp_path_factory.mktemp("heads")
    train_heads(recipe(), data, folder / "run", model, None)
    export_heads(recipe_table(recipe()), folder / "run", model, folder / "bundle")
    return folder


def test_every_file_but_the_head_and_what_describes_it_stays_byte_for_byte(made, bundle_folder):
    new = {path.name: path.read_bytes() for path in (made / "bundle").iterdir()}
    old = {path.name: path.read_bytes() for path in bundle_folder.iterdir()}
    assert set(new) == set(old)
    changed = {name for name in old if new[name] != old[name]}
    heads = {f"text.multi_vector.{precision}.onnx" for precision in ("int8", "fp32")}
    assert changed == {*heads, "parity.json", "README.md", "bundle.json"}


def test_the_new_bundle_gives_the_trained_vectors_and_the_old_base_vectors(made, model):
    with_head = unbraid.load(made / "bundle", precision="fp32", threads=1)
    texts = ["the red house", "search"]
    assert (
        with_head.encode(texts) == unbraid.load(model.bundle.folder, precision="fp32").encode(texts)
    ).all()
    assert with_head.base_id == model.base_id
    head = load_multi_vector_head(made / "run" / "small" / HEAD_FOLDER)
    assert with_head.bundle.text["text"].multi_vector.dim == head.projection.out_features
    old = unbraid.load(model.bundle.folder, precision="fp32").encode(texts, multi_vector=True)
    assert not np.allclose(with_head.encode(texts, multi_vector=True)[0], old[0], atol=0.1)


def test_the_card_and_the_record_say_how_the_head_was_made(made, model):
    card = (made / "bundle" / "README.md").read_text()
    assert "- Multi-vectors of small: one more transformer layer on frozen token states, to 8 numbers" in card
    assert f"- {TEXTS}: MIT" in card
    record = json.loads((made / "run" / "small" / HEAD_FOLDER / "record.json").read_text())
    assert record["results"]["pairs"] > 60
    assert record["results"]["encoder"] == model.bundle.tiers["small"]["text"].id
    assert len(record["curves"]["loss"]) == 4
    assert all(0 < value <= 1 for value in record["curves"]["held-out MRR"])


def copied_run(made, folder, encoder):
    """The run of `made` in `folder`, its record with another encoder, or with none."""
    shutil.copytree(made / "run" / "small", folder / "small")
    path = folder / "small" / HEAD_FOLDER / "record.json"
    record = json.loads(path.read_text())
    record["results"].pop("encoder")
    if encoder:
        record["results"]["encoder"] = encoder
    path.write_text(json.dumps(record))
    return folder


def test_a_head_of_another_encoder_is_not_exported(made, model, tmp_path):
    run = copied_run(made, tmp_path / "run", "abc")
    with pytest.raises(
        DataError, match=r"trained on text encoder abc, and that of tier small .* another --run"
    ):
        export_heads(recipe_table(recipe()), run, model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_record_that_names_no_encoder_is_accepted(made, model, tmp_path):
    run = copied_run(made, tmp_path / "run", None)
    export_heads(recipe_table(recipe()), run, model, tmp_path / "out")
    assert unbraid.load(tmp_path / "out").bundle.text["text"].multi_vector is not None


def test_only_heads_that_the_recipe_names_are_exported(made, model, tmp_path):
    run = copied_run(made, tmp_path / "run", None)
    with pytest.raises(DataError, match="no trained head"):
        export_heads(recipe_table(recipe(tiers=("base",))), run, model, tmp_path / "none")
    shutil.copytree(run / "small", run / "nano")
    export_heads(recipe_table(recipe()), run, model, tmp_path / "out")
    tiers = unbraid.load(tmp_path / "out").bundle.tiers
    assert tiers["nano"]["text"].multi_vector is None and tiers["small"]["text"].multi_vector is not None


def stop_in_step_four(data, model, run, monkeypatch):
    """Train in `run` until a checkpoint of two steps is there."""
    monkeypatch.setattr(stage, "SAVE_EVERY", 2)
    calls = []

    def stop(*given):
        calls.append(given)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return head_loss(*given)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(stage, "head_loss", stop)
        train_heads(recipe(), data, run, model, None)


def test_a_checkpoint_on_another_encoder_is_not_resumed(data, model, tmp_path, monkeypatch):
    stop_in_step_four(data, model, tmp_path, monkeypatch)
    tiers = model.bundle.tiers
    specs = {kind: dataclasses.replace(spec, id="abc") for kind, spec in tiers["small"].items()}
    other = SimpleNamespace(
        name="other", bundle=SimpleNamespace(folder=model.bundle.folder, tiers={"small": specs})
    )
    with pytest.raises(DataError, match="checkpoint"):
        train_heads(recipe(), data, tmp_path, other, None)


def test_a_stopped_training_ends_with_the_same_weights(made, data, model, tmp_path, monkeypatch):
    stop_in_step_four(data, model, tmp_path, monkeypatch)
    train_heads(recipe(), data, tmp_path, model, None)
    weights = (made / "run" / "small" / HEAD_FOLDER / "head.safetensors").read_bytes()
    assert (tmp_path / "small" / HEAD_FOLDER / "head.safetensors").read_bytes() == weights


def test_the_command_trains_and_exports(data, bundle_folder, tmp_path):
    table = recipe_table(recipe(steps=2))["head"]
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    sources = [f'[[source]]\nfile = "{name}"\nlicence = "MIT"' for name in (TEXTS, CODE)]
    text = "\n".join(['name = "own"', 'version = "1"', "seed = 1", "[head]", *lines, *sources])
    (tmp_path / "own.toml").write_text(text)
    given = ["--bundle", bundle_folder, "--data", data, "--run", tmp_path / "run", "--out", tmp_path / "out"]
    result = CliRunner().invoke(app, ["train", "heads", str(tmp_path / "own.toml"), *map(str, given)])
    assert result.exit_code == 0, result.output
    assert unbraid.load(tmp_path / "out").name == "own 1"


def test_wrong_recipes_and_bundles_are_refused(data, model, tmp_path):
    with pytest.raises(DataError, match="no table"):
        train_heads(Recipe("a", "1", 1), data, tmp_path, model, None)
    with pytest.raises(BundleError, match="no tier base"):
        train_heads(recipe(tiers=("base",)), data, tmp_path, model, None)
    with pytest.raises(DataError, match="no pairs"):
        train_heads(recipe(texts=(), code=()), data, tmp_path, model, None)
    with pytest.raises(DataError, match="no trained head"):
        export_heads(recipe_table(recipe()), tmp_path / "empty", model, tmp_path / "out")
    with pytest.raises(DataError, match="anchor and positive"):
        pair_of({"query": "a"})


def test_the_shipped_recipe_names_the_licence_of_every_file():
    assert read_recipe(stage.Path("heads")).head.tiers == ("base", "small")


def test_labels_of_some_texts_are_found(data, tmp_path):
    pairs = head_pairs(TRAINING, data, None, 5)
    assert not pairs.labelled.any()
    row = pairs.kinds.index("code")
    query, document = pairs.queries[row], pairs.documents[row]
    vectors = {"code": np.eye(2, 4, dtype=np.float16), "query": np.ones((2, 4), np.float16)}
    keys = [text_key("text", query), text_key("code", document)]
    about = Description(
        "t", {}, ("code", "query"), 4, {"code": "code", "query": "query", "document": "query"}
    )
    with open_labels(tmp_path, about) as store:
        store.want(set(keys))
        store.append(Labels([query, document], ["text", "code"], ["", ""], vectors, keys))
    found = head_pairs(TRAINING, data, tmp_path, 5)
    (place,) = np.flatnonzero(found.labelled)
    assert found.queries[place] == query
    assert found.teacher[1][place].tolist() == [0, 1, 0, 0]


def test_no_text_is_in_two_pairs_and_dev_rows_are_left_out(tmp_path, write_rows):
    rows = [{"title": "a", "text": "b"}, {"title": "a", "text": "c"}, {"title": "d", "text": "b"}]
    rows += [{"title": f"t {n}", "text": f"x {n}"} for n in range(100)]
    write_rows(tmp_path / TEXTS, rows)
    pairs = head_pairs(replace(TRAINING, code=()), tmp_path, None, 5)
    texts = [*pairs.queries, *pairs.documents]
    assert len(texts) == len(set(texts))
    assert len(pairs.queries) < 101


def test_late_interaction_is_that_of_the_runtime():
    rng = np.random.default_rng(1)
    query = normalize(rng.standard_normal((3, 5, 8)))
    weights = rng.uniform(0.1, 1, (3, 5)).astype(np.float32)
    document = normalize(rng.standard_normal((2, 6, 8)))
    mask = np.ones((2, 6), bool)
    mask[1, 4:] = False
    found = late_interaction(*map(torch.from_numpy, (query, weights, document, mask))).numpy()
    documents = [document[0], document[1][:4]]
    for row in range(3):
        one = TokenVectors(query[row], weights[row], np.arange(5))
        assert np.allclose(found[row], maxsim(one, documents), atol=1e-6)


def test_scores_of_whole_states_are_late_interaction_of_what_is_left_without_the_mean(model, tmp_path):
    encoder = stage.TextRuntime(model.bundle.folder, model.bundle.text["text"], None)
    ids, _ = encoder.tokenize(["the cat", "a red house in the moon", "dog"])
    states = token_states(encoder, ids, tmp_path)
    special = encoder.reader.frame
    idf = inverse_frequencies(ids, special, encoder.tokenizer.get_vocab_size())
    mean = np.random.default_rng(0).standard_normal(32).astype(np.float32) / 10
    found = states_scores(Texts(states, states, idf, special), [0, 1, 2], torch.from_numpy(mean))

    def tokens(row: int) -> TokenVectors:
        words = ~np.isin(ids[row], special)
        vectors = normalize(normalize(states[row].astype(np.float32)[words]) - mean)
        kept = np.asarray(ids[row])[words]
        return TokenVectors(vectors, root_idf(idf[kept]), kept)

    every = [tokens(row) for row in range(3)]
    for row, one in enumerate(every):
        assert np.allclose(found[row], maxsim(one, [other.vectors for other in every]), atol=1e-5)
    assert found[0, 0] == pytest.approx(1, abs=1e-5)


def test_whole_states_are_kept_where_the_recipe_wants_it(data, model, tmp_path):
    for weight in (0.0, 1.0):
        folder = tmp_path / str(weight)
        train_heads(recipe(states_weight=weight, steps=3), data, folder, model, None)
        record = json.loads((folder / "small" / HEAD_FOLDER / "record.json").read_text())
        *_, states = record["results"]["factors"]
        assert (states != 20) == bool(weight)


def test_a_head_whose_vectors_are_stored_learns_beside_the_base_vectors_of_an_index(
    data, model, tmp_path, monkeypatch
):
    plan = replace(recipe(steps=2), look_tier="small", look={"small": Look(3.0)})
    asked, seen = [], []

    class OtherTier:
        """Sends every text to another tier, whose vectors are all alike."""

        bundle, name = model.bundle, model.name

        def route(self, items, **given):
            return [SimpleNamespace(tier="base")] * len(items)

        def encode(self, items, **given):
            asked.append((given["side"], len(items)))
            return np.full((len(items), 512), 512**-0.5, np.float32)

    keep = stage.head_loss
    monkeypatch.setattr(stage, "head_loss", lambda *given: seen.append(given[2]) or keep(*given))
    train_heads(plan, data, tmp_path / "run", OtherTier(), None)
    sides, counts = zip(*asked, strict=True)
    assert sides == ("query", "document") and counts[0] == counts[1] > 60
    assert all((side.base == np.float32(512**-0.5)).all() for side in (seen[0].queries, seen[0].documents))
    train_heads(plan, data, tmp_path / "run", OtherTier(), None)  # finished
    assert len(asked) == 2
    with pytest.raises(DataError, match="look_tier"):
        train_heads(replace(plan, look_tier=""), data, tmp_path / "run", OtherTier(), None)
    export_heads(recipe_table(plan), tmp_path / "run", model, tmp_path / "out")
    bundle = unbraid.load(tmp_path / "out").bundle
    assert bundle.look_tier == "small" and bundle.text["text"].multi_vector.look == 3.0


def test_documents_of_the_heads_own_tier_keep_its_vectors(data, model):
    pairs = head_pairs(TRAINING, data, None, 5)
    zeros = TokenStates([], np.zeros(0), [[]], np.zeros((len(pairs.queries), 512), np.float32))
    found = stage.beside_other_tiers(Texts(zeros, zeros, np.zeros(1), []), pairs, model, model.tier)
    assert not found.documents.base.any() and not found.queries.base.any()


def test_what_a_recipe_says_of_a_second_look_is_of_its_own_heads(tmp_path):
    text = 'name = "a"\nversion = "1"\nseed = 1\nlook_tier = "multi"\n[head]\ntiers = ["base"]\n'
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(DataError, match=r"names multi, and \[head\] trains \['base'\]"):
        read_recipe(tmp_path / "own.toml")


@pytest.mark.parametrize("counts", ["tokens = 0", "tokens = 1000", "whole = -1"])
def test_what_a_second_look_cannot_count_is_refused_before_the_training(tmp_path, counts):
    text = f'name = "a"\nversion = "1"\nseed = 1\n[look.base]\n{counts}\n[head]\ntiers = ["base"]\n'
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(DataError, match="expected tokens over 0, whole from 0"):
        read_recipe(tmp_path / "own.toml")


def test_shared_words_are_weighed_by_how_rare_they_are():
    documents = [[2, 10, 11, 3], [2, 10, 12, 3], [2, 10, 13, 3]]
    idf = inverse_frequencies(documents, [2, 3], 20)
    assert idf[2] == 0
    assert idf[10] < idf[11]
    shared = shared_words([[2, 10, 11, 3]], documents, idf)
    assert shared[0, 0] == pytest.approx(1)
    assert shared[0, 1] == pytest.approx(idf[10] / (idf[10] + idf[11]))


def test_neighbours_are_of_the_same_kind_and_never_the_pair_itself(unit):
    kinds = ["text"] * 30 + ["code"] * 20
    found = nearest(unit(50, 8, seed=1), unit(50, 8, seed=2), kinds)
    for row, near in enumerate(found):
        assert row not in near
        assert {kinds[one] for one in near} == {kinds[row]}
        assert len(set(near.tolist())) == len(near) == min(48, kinds.count(kinds[row]) - 1)


def test_a_batch_of_usable_rows_has_no_other_where_there_are_any():
    near = [np.asarray([1, 2, 3]), np.asarray([0, 2, 3]), np.asarray([0, 1, 3]), np.asarray([0, 1, 2])]
    usable = np.asarray([True, True, False, False])
    rng = np.random.default_rng(0)
    assert set(draw(rng, [np.arange(4)], near, usable, 2)) == {0, 1}
    assert draw(rng, [np.asarray([3])], near, np.zeros(4, bool), 2) == [3]


def test_states_are_read_back_from_disk(model, tmp_path):
    encoder = stage.TextRuntime(model.bundle.folder, model.bundle.text["text"], None)
    ids, _ = encoder.tokenize(["the cat", "a red house in the moon", "dog"])
    first = token_states(encoder, ids, tmp_path)
    again = token_states(encoder, ids, tmp_path)
    assert [len(first[row]) for row in range(3)] == [len(one) for one in ids]
    assert all((first[row] == again[row]).all() for row in range(3))
    assert np.allclose(first.base, model.encode_tokens(ids), atol=1e-6)
