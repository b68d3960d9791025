"""Adapters from a recipe and data files: trained, chosen, resumed, saved and loaded again."""

import gzip
import io
import json
import random
import shutil
import tarfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from peft import PeftModel
from PIL import Image
from safetensors.torch import load_file

from unbraid.errors import DataError
from unbraid.items import Code
from unbraid.teacher import load
from unbraid.teacher.adapter_file import WEIGHTS, lora_tensors
from unbraid.teacher.adapters import all_stages, read_recipe, train_adapters, train_stage
from unbraid.teacher.adapters.adapter_recipe import PAIR
from unbraid.teacher.loading import load_trainable
from unbraid.teacher.model import Backbone, lora_config
from unbraid.teacher.routes import TASK_ADAPTERS
from unbraid.training import loop, record
from unbraid.training.data_split import is_dev

WORDS = "cat dog house river red green bright moon search vector model code def return self the of in".split()
OTHER = dict(zip(WORDS, WORDS[7:] + WORDS[:7], strict=True))  # the positive of a word
RECIPE = """
name = "tiny"
version = "1"
seed = 5
backbone = "{backbone}"
rank = 4
alpha = 4
dropout = 0.1
prefixes = [32]
max_tokens = 16
batch_tokens = 64
scales = [1.0, 0.7, 0.4]
false_negative = 1.5  # to the random backbone all texts are alike
card = ["A sentence for the card."]

[[source]]
file = "text.jsonl.gz"
licence = "licence of text"

[[source]]
file = "code.jsonl.gz"
kind = "code"
licence = "licence of code"

[[source]]
file = "graded.jsonl.gz"
kind = "graded"
licence = "licence of graded"

[[source]]
file = "held_text.jsonl.gz"
licence = "licence of held text"

[[source]]
file = "held_code.jsonl.gz"
kind = "code"
licence = "licence of held code"

[[source]]
file = "graded.jsonl.gz"
alias = "held graded"
sets = ["held"]
kind = "graded"
licence = "licence of held graded"

[pair]
sources = ["text.jsonl.gz", "code.jsonl.gz"]
steps = 20
batch = 8
learning_rate = 2e-2

[task.retrieval]
sources = ["text.jsonl.gz"]
held_out = ["held_text.jsonl.gz"]
steps = 4
batch = 8
negatives = 1
check_every = 2

[task.text-matching]
sources = ["graded.jsonl.gz"]
held_out = ["held graded"]
steps = 4
batch = 8
check_every = 3

[task.code]
sources = ["code.jsonl.gz"]
held_out = ["held_code.jsonl.gz"]
steps = 4
batch = 8
negatives = 1
check_every = 4
"""


def write_rows(path: Path, rows) -> None:
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def write_data(folder: Path) -> Path:
    """Two words and the two that go with them; graded pairs share none, one or both words."""
    rng = random.Random(0)
    couples = rng.sample([(a, b) for a in WORDS for b in WORDS if a != b], 160)

    def rows(part, form="{} {} to"):
        return [{"anchor": f"{a} {b}", "positive": form.format(OTHER[a], OTHER[b])} for a, b in part]

    held = rows(couples[40:60])
    shouted = {"anchor": held[0]["anchor"].upper(), "positive": "self"}  # must not be trained on
    write_rows(folder / "text.jsonl.gz", [*rows(couples[:40]), shouted])
    write_rows(folder / "held_text.jsonl.gz", held)
    write_rows(folder / "code.jsonl.gz", rows(couples[60:100], "def {}(): return {}"))
    write_rows(folder / "held_code.jsonl.gz", rows(couples[100:120], "def {}(): return {}"))
    graded = []
    for number, (a, b) in enumerate(couples[120:160]):
        other = (f"{b} {a} the", f"{a} moon", "river of code")[number % 3]
        kind = "held" if number >= 25 else "train"
        graded.append(
            {"a": f"{a} {b} {kind}", "b": f"{other} {kind}", "score": 2.0 - number % 3, "set": kind}
        )
    write_rows(folder / "graded.jsonl.gz", graded)
    return folder


class Trained(NamedTuple):
    run: Path
    said: list[str]
    backbone: Backbone
    copies: Path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def small_bert(tiny_bert, tmp_path_factory):
    """A random BERT of one layer, narrow enough to train in seconds."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("small-bert")
    torch.manual_seed(0)
    config = BertConfig.from_pretrained(tiny_bert)
    config.update({"hidden_size": 64, "num_attention_heads": 2, "initializer_range": 0.12})
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    shutil.copy(tiny_bert / "tokenizer.json", folder)
    return folder


@pytest.fixture(scope="module")
def recipe(small_bert, tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE.format(backbone=small_bert))
    whole = read_recipe(path)
    sources = [
        replace(one, sets=("train",)) if one.name == "graded.jsonl.gz" else one for one in whole.source
    ]
    return replace(whole, source=tuple(sources))


@pytest.fixture(scope="module")
def trained(recipe, data, tmp_path_factory):
    """A finished run, what it said, the backbone that it was made on, and copies of the run's folder on the way."""
    run, copies, backbones = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("copies"), []

    def before(owner, name, **moments):
        """Copy the folder before the calls of `owner.name` whose numbers `moments` gives."""
        calls, whole = [], getattr(owner, name)

        def copying(*arguments, **options):
            for moment, number in moments.items():
                if number == len(calls):
                    shutil.copytree(run, copies / moment)
            calls.append(None)
            return whole(*arguments, **options)

        patch.setattr(owner, name, copying)

    def loading(*arguments, **options):
        found = load_trainable(*arguments, **options)
        backbones.append(found[0])
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(all_stages, "load_trainable", loading)
        patch.setattr(train_stage, "SAVE_EVERY", 3)
        before(train_stage, "draw_batch", pair=17, retrieval=22, text_matching=28)
        before(loop, "save_checkpoint", checkpoint=8)  # 7 of the pair stage, one of retrieval
        before(all_stages, "write_record", record=1)
        said = list(train_adapters(recipe, data, run, device="cpu"))
    return Trained(run, said, backbones[0], copies)


@pytest.fixture
def no_pictures(monkeypatch):
    """Drawing the curves takes longer than tiny adapters."""
    monkeypatch.setattr(record, "draw_curves", lambda *_: None)


def short(recipe, **fields):
    """The recipe with one or two steps a stage."""
    tasks = {name: replace(one, steps=2, check_every=1) for name, one in recipe.task.items()}
    return replace(recipe, pair=replace(recipe.pair, steps=1), task=tasks, **fields)


def result(run, name):
    return json.loads((run / name / "record.json").read_text())["results"]


def interrupt_after(monkeypatch, steps):
    """Stop as by Ctrl-C in the step after `steps`, counted over the stages."""
    calls, whole = [], train_stage.draw_batch

    def stopping(*arguments, **options):
        calls.append(None)
        if len(calls) > steps:
            raise KeyboardInterrupt
        return whole(*arguments, **options)

    monkeypatch.setattr(train_stage, "draw_batch", stopping)


def assert_same_adapters(run, expected):
    assert (run / "adapters" / WEIGHTS).read_bytes() == (expected / "adapters" / WEIGHTS).read_bytes()
    for name in (PAIR, *TASK_ADAPTERS):
        found, whole = (torch.load(one / name / "adapter.pt", weights_only=True) for one in (run, expected))
        assert all(torch.equal(found[key], whole[key]) for key in whole)


# -- a whole run ---------------------------------------------------------------------------------------------


def test_one_command_trains_the_pair_adapter_and_a_copy_for_each_task(trained):
    run, said = trained.run, trained.said
    assert [line.partition(":")[0] for line in said] == [PAIR, *TASK_ADAPTERS, "adapters"]
    written = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert {one for one in written if not one.startswith("vectors")} == {
        *(
            f"{name}/{file}"
            for name in (PAIR, *TASK_ADAPTERS)
            for file in ("adapter.pt", "record.json", "curves.png")
        ),
        *(f"adapters/{file}" for file in ("adapter_config.json", WEIGHTS, "projector.safetensors")),
        *(f"adapters/{file}" for file in ("README.md", "recipe.json")),
    }


def test_the_loss_of_the_pair_stage_falls(trained):
    curve = json.loads((trained.run / PAIR / "record.json").read_text())["curves"]["loss"]
    assert len(curve) == 20
    assert np.mean(curve[-4:]) < 0.92 * np.mean(curve[:4])


def test_an_adapter_gains_on_pairs_that_it_never_saw(trained):
    """The words of a pair go together in the same way everywhere."""
    for name, source in (("retrieval", "held_text.jsonl.gz"), ("code", "held_code.jsonl.gz")):
        found = result(trained.run, name)
        assert found["kept"]["scores"][source] > found["unadapted"][source] + 0.05


def test_tasks_start_from_the_pair_adapter(recipe, data, trained, tmp_path, monkeypatch, no_pictures):
    """With a rate of zero a task's adapter is the pair's."""
    still = {name: replace(one, learning_rate=0.0, steps=1) for name, one in recipe.task.items()}
    list(train_adapters(replace(recipe, task=still, scales=(1.0,)), data, tmp_path, device="cpu"))
    pair = torch.load(trained.run / PAIR / "adapter.pt", weights_only=True)
    for name in TASK_ADAPTERS:
        found = torch.load(tmp_path / name / "adapter.pt", weights_only=True)
        assert all(torch.equal(found[key], pair[key]) for key in pair)


def test_the_backbone_itself_is_not_changed(trained, small_bert):
    stored = load_file(small_bert / "model.safetensors")
    found = {
        name.replace(".base_layer", ""): tensor
        for name, tensor in trained.backbone.model.state_dict().items()
        if "lora_" not in name
    }
    assert found.keys() == stored.keys()
    assert all(torch.equal(found[name], stored[name]) for name in stored)


@pytest.mark.parametrize("name", [PAIR, "retrieval"])
def test_texts_that_judge_any_stage_are_not_trained_on(trained, data, name):
    with gzip.open(data / "text.jsonl.gz", "rt") as file:
        rows = [row for row in map(json.loads, file) if not is_dev(row)]
    assert rows[-1]["anchor"].isupper()
    assert result(trained.run, name)["pairs"]["text.jsonl.gz"] == len(rows) - 1


def test_held_out_scores_are_taken_as_often_as_asked_for(trained):
    tried = {
        name: [(one["step"], one["scale"]) for one in result(trained.run, name)["tried"]]
        for name in TASK_ADAPTERS
    }
    weaker = [(4, 0.7), (4, 0.4)]
    assert tried == {
        "retrieval": [(2, 1.0), (4, 1.0), *weaker],
        "text-matching": [(3, 1.0), (4, 1.0), *weaker],
        "code": [(4, 1.0), *weaker],
    }


def test_held_out_scores_are_taken_without_dropout(recipe, data, tmp_path, monkeypatch, no_pictures):
    modes, whole = [], train_stage.heldout_scores

    def scoring(model, *arguments, **options):
        modes.append(any(module.training for module in model.modules()))
        return whole(model, *arguments, **options)

    monkeypatch.setattr(train_stage, "heldout_scores", scoring)
    list(train_adapters(short(recipe), data, tmp_path, device="cpu"))
    assert len(modes) == 3 * 4 and not any(modes)


def test_bfloat16_products_leave_finite_float32_adapters(recipe, data, trained, tmp_path, no_pictures):
    list(train_adapters(short(recipe, dtype="bfloat16"), data, tmp_path, task="code", device="cpu"))
    tensors = torch.load(tmp_path / "code" / "adapter.pt", weights_only=True)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
    losses = [
        json.loads((run / PAIR / "record.json").read_text())["curves"]["loss"][0]
        for run in (tmp_path, trained.run)
    ]
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=0.05)


# -- what comes out ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def teacher(trained):
    return load(trained.run / "adapters", device="cpu")


def test_the_adapters_are_loaded_by_their_folder(teacher):
    vectors = teacher.encode(["cat dog", Code("def cat(): return dog")], ["query", "code"])
    assert vectors.shape == (2, 64)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_the_tasks_of_trained_adapters_differ(teacher):
    of_task = [teacher.encode(["cat dog"], task)[0] for task in ("query", "symmetric", "code")]
    assert max(np.abs(a - b).max() for a in of_task for b in of_task) > 1e-3
    assert all(np.abs(a - b).max() > 1e-4 for n, a in enumerate(of_task) for b in of_task[:n])


@pytest.mark.parametrize(
    ("name", "task"), [("retrieval", "query"), ("text-matching", "symmetric"), ("code", "code")]
)
def test_a_loaded_adapter_encodes_as_the_trained_one(teacher, trained, recipe, name, task):
    from unbraid.teacher.adapters.adapter_vectors import vectors_of

    backbone, reader, routes = load_trainable(recipe.backbone, device="cpu", dtype="float32", max_tokens=16)
    model = PeftModel(backbone, lora_config(backbone.model, rank=4, alpha=4), adapter_name=name).eval()
    train_stage.copy_tensors(
        torch.load(trained.run / name / "adapter.pt", weights_only=True), lora_tensors(model, name)
    )
    texts = ["cat dog", "the red house"]
    expected = vectors_of(model, reader.read_texts(texts, [routes[task]] * 2), batch_tokens=64, what="test")
    np.testing.assert_allclose(teacher.encode(texts, task), expected, atol=2e-3)  # they are saved as float16


def test_the_card_names_every_licence_and_what_its_source_was_for(trained):
    card = (trained.run / "adapters" / "README.md").read_text()
    for name in ("text", "code", "graded"):
        assert f"- {name}.jsonl.gz, trained on: licence of {name}\n" in card
    for name in ("held_text.jsonl.gz", "held_code.jsonl.gz", "held graded"):
        assert f"- {name}, held out: licence of {name.removesuffix('.jsonl.gz').replace('_', ' ')}\n" in card


def test_the_card_has_the_held_out_scores_of_what_was_kept(trained):
    card = (trained.run / "adapters" / "README.md").read_text()
    for name in TASK_ADAPTERS:
        found = result(trained.run, name)
        kept = found["kept"]
        for source, score in kept["scores"].items():
            before = found["unadapted"][source]
            shown = [name, f"{kept['step']}, {kept['scale']}", source, f"{before:.3f}", f"{score:.3f}"]
            assert f"| {' | '.join(shown)} |" in card
    assert "A sentence for the card." in card and "Not measured" in card


def test_scores_are_shown_in_the_card_and_nothing_is_trained_again(recipe, data, trained, monkeypatch):
    run = trained.run
    before = (run / "adapters" / WEIGHTS).read_bytes()
    monkeypatch.setattr(
        all_stages, "train_stage", lambda *_, **__: pytest.fail("a finished stage was run again")
    )
    said = list(train_adapters(recipe, data, run, device="cpu", scores="| a table |\n"))
    assert len(said) == 5
    assert "| a table |\n" in (run / "adapters" / "README.md").read_text()
    assert (run / "adapters" / WEIGHTS).read_bytes() == before


# -- interruption --------------------------------------------------------------------------------------------


def test_an_interrupted_run_ends_with_the_adapters_of_an_uninterrupted_one(
    recipe, data, trained, tmp_path, monkeypatch, no_pictures
):
    with monkeypatch.context() as patch:
        patch.setattr(train_stage, "SAVE_EVERY", 5)
        interrupt_after(patch, 17)
        with pytest.raises(KeyboardInterrupt):
            list(train_adapters(recipe, data, tmp_path, device="cpu"))
    assert not (tmp_path / PAIR).exists()
    torch.manual_seed(99)
    list(train_adapters(recipe, data, tmp_path, device="cpu"))
    assert_same_adapters(tmp_path, trained.run)


@pytest.mark.parametrize("moment", ["pair", "retrieval", "text_matching", "checkpoint", "record"])
def test_a_run_killed_at_any_moment_ends_as_an_uninterrupted_one(
    recipe, data, trained, tmp_path, no_pictures, moment
):
    """A killed process leaves the files that were there at that moment, and nothing else."""
    run = shutil.copytree(trained.copies / moment, tmp_path / "run")
    list(train_adapters(recipe, data, run, device="cpu"))
    assert_same_adapters(run, trained.run)
    for name in (PAIR, *TASK_ADAPTERS):
        assert result(run, name) == result(trained.run, name)


def test_tasks_trained_one_by_one_are_put_together_as_in_one_run(
    recipe, data, trained, tmp_path, no_pictures
):
    """In another order, as processes that run at once may end."""
    for task in ("code", "retrieval", "text-matching"):
        said = list(train_adapters(recipe, data, tmp_path, task=task, device="cpu"))
        assert said == [f"{name}: {tmp_path / name}" for name in (PAIR, task)]
        assert not (tmp_path / "adapters").exists()
    list(train_adapters(recipe, data, tmp_path, device="cpu"))
    assert_same_adapters(tmp_path, trained.run)


def test_a_single_task_that_the_recipe_has_not_is_refused(recipe, data, tmp_path):
    with pytest.raises(DataError, match="no task 'pair': expected one of retrieval, text-matching, code"):
        list(train_adapters(recipe, data, tmp_path, task="pair", device="cpu"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda one: replace(one, rank=2), "rank"),
        (lambda one: replace(one, seed=6, false_negative=0.9), "seed, false_negative"),
        (lambda one: replace(one, pair=replace(one.pair, steps=21)), "pair"),
        (lambda one: replace(one, source=one.source[:-1]), "source"),
        (
            lambda one: replace(one, task={**one.task, "code": replace(one.task["code"], steps=5)}),
            r"task\.code",
        ),
    ],
)
def test_another_recipe_in_the_same_run_is_refused_with_what_changed(recipe, data, trained, change, named):
    with pytest.raises(DataError, match=f"record.json: made with another {named} than"):
        list(train_adapters(change(recipe), data, trained.run, device="cpu"))


def test_another_version_in_the_same_run_is_taken(recipe, data, trained):
    list(train_adapters(replace(recipe, version="1.1"), data, trained.run, device="cpu"))
    assert "# tiny 1.1:" in (trained.run / "adapters" / "README.md").read_text()


@pytest.mark.parametrize(
    "fields", [{"alpha": 8}, {"prefixes": (128,)}, {"false_negative": 0.9}, {"max_tokens": 8}], ids=str
)
def test_an_interrupted_stage_is_not_gone_on_with_under_another_recipe(
    recipe, data, trained, tmp_path, fields
):
    shutil.copy(trained.copies / "pair" / "pair.checkpoint.pt", tmp_path)
    with pytest.raises(DataError, match="saved under other settings"):
        list(train_adapters(replace(recipe, **fields), data, tmp_path, device="cpu"))


def test_vectors_of_another_backbone_are_not_taken_from_the_cache(
    recipe, data, small_bert, tmp_path, monkeypatch
):
    """A run that was stopped before its first checkpoint may be started again with another one."""
    other = tmp_path / "other"
    other.mkdir()
    for file in small_bert.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    seen, whole = [], all_stages.encode_pairs

    def encoding(*arguments, **options):
        seen.append(options["cache"])
        return whole(*arguments, **options)

    monkeypatch.setattr(all_stages, "encode_pairs", encoding)
    interrupt_after(monkeypatch, 0)
    for changed in (recipe, replace(recipe, backbone=str(other)), replace(recipe, max_tokens=8)):
        with pytest.raises(KeyboardInterrupt):
            list(train_adapters(changed, data, tmp_path / "run", device="cpu"))
    assert len(set(seen)) == 3


# -- what is kept ------------------------------------------------------------------------------------------------


def offered(tolerance, *versions):
    """What is kept of versions (scores of two sources); the backbone has 0.5 and 0.5."""
    best = train_stage.BestVersion({"a": 0.5, "b": 0.5}, tolerance)
    for number, (a, b) in enumerate(versions):
        tensors = {("layer", "B"): torch.tensor([float(number)])}
        best.offer({"a": a, "b": b}, tensors, step=number, scale=1.0)
    assert best.tensors["layer", "B"].item() == best.about["step"]
    return best.report()


def test_the_largest_mean_gain_within_the_tolerance_is_kept():
    found = offered(0.01, (0.52, 0.52), (0.495, 0.60), (0.48, 0.90), (0.51, 0.51))
    assert (found["kept"]["step"], found["safe"]) == (1, True)


def test_of_equal_versions_the_first_is_kept():
    assert offered(0.01, (0.52, 0.54), (0.54, 0.52))["kept"]["step"] == 0


def test_where_nothing_is_within_the_tolerance_the_least_bad_is_kept():
    found = offered(0.01, (0.40, 0.90), (0.45, 0.48), (0.30, 0.99))
    assert (found["kept"]["step"], found["safe"]) == (1, False)


def test_a_safe_version_goes_before_any_that_is_not():
    assert offered(0.01, (0.48, 0.9), (0.5, 0.5))["kept"]["step"] == 1


def test_a_run_in_which_nothing_is_good_enough_says_so(recipe, data, tmp_path, no_pictures):
    list(train_adapters(short(recipe, tolerance=-1.0), data, tmp_path, device="cpu"))
    for name in TASK_ADAPTERS:
        found = result(tmp_path, name)
        least = [one["least gain"] for one in found["tried"]]
        best = found["tried"][least.index(max(least))]
        assert not found["safe"] and found["kept"]["scores"] == best["scores"]


# -- recipes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('sources = ["graded.jsonl.gz"]', 'sources = ["none.gz"]', r"text-matching: none\.gz used without"),
        ('held_out = ["held graded"]', 'held_out = ["none"]', "text-matching: none used without"),
        ('["held_text.jsonl.gz"]', '["text.jsonl.gz"]', r"retrieval: text\.jsonl\.gz is both trained on and"),
        ('["held_code.jsonl.gz"]', '["text.jsonl.gz"]', r"code: text\.jsonl\.gz is both trained on and"),
        ("rank = 4", "rang = 4", "unknown field `rang`"),
        ("rank = 4", 'rank = "4"', "rank: Expected `int`, got `str`"),
        ("[task.code]", "[task.colour]", "colour"),
        ('kind = "code"', 'kind = "sound"', "sound"),
        ('licence = "licence of text"', "", "licence"),
        ("[pair]", "[pairs]", "unknown field `pairs`"),
        ("seed = 5", "seed = ", "not a readable recipe"),
        ("steps = 20", "steps = 0", "pair: expected sources, and steps, batch"),
        ("check_every = 4", "check_every = 0", "code: expected sources, and steps, batch and check_every"),
        ('sources = ["graded.jsonl.gz"]', "sources = []", "text-matching: expected sources"),
        ('alias = "held graded"\n', "", r"two sources are named graded\.jsonl\.gz: give one an alias"),
        (RECIPE[RECIPE.index("[task.retrieval]") :], "", r"there is no \[task\.NAME\]"),
    ],
)
def test_a_mistake_in_a_recipe_is_refused(tmp_path, old, new, said):
    (tmp_path / "r.toml").write_text(RECIPE.replace(old, new))
    with pytest.raises(DataError, match=said):
        read_recipe(tmp_path / "r.toml")


def test_the_starter_recipe_states_a_licence_for_every_file_it_uses():
    starter = read_recipe(Path("starter"))
    licences = {source.name: source.licence.strip() for source in starter.source}
    used = {name for one in starter.stages.values() for name in (*one.sources, *one.held_out)}
    assert len(licences) == len(starter.source) and all(licences.values())
    assert used == set(licences)
    assert set(starter.task) == set(TASK_ADAPTERS)


def test_data_that_is_absent_is_named(recipe, tmp_path):
    with pytest.raises(DataError, match=r"text\.jsonl\.gz"):
        list(train_adapters(recipe, tmp_path / "none", tmp_path / "run", device="cpu"))


# -- a backbone that reads pictures ------------------------------------------------------------------------------


def write_pictures(folder: Path) -> None:
    """Twelve squares with captions, two of them dev, in NAME.jsonl.gz and NAME.tar."""
    rows = []
    with tarfile.open(folder / "photos.tar", "w") as tar:
        for number in range(12):
            stream = io.BytesIO()
            Image.new("RGB", (56, 28 * (1 + number % 3)), (20 * number, 255 - 20 * number, 90)).save(
                stream, "PNG"
            )
            entry = tarfile.TarInfo(f"small/{number}.png")
            entry.size = len(stream.getvalue())
            tar.addfile(entry, io.BytesIO(stream.getvalue()))
            caption = f"{WORDS[number]} {WORDS[number + 1]} picture"
            rows.append({"file": entry.name, "split": "dev" if number < 2 else "train", "caption": caption})
    write_rows(folder / "photos.jsonl.gz", rows)


def test_a_qwen_checkpoint_is_trained_with_pictures_and_loaded(recipe, tiny_v4, tmp_path, no_pictures):
    data, run = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    write_data(data)
    write_pictures(data)
    path = tmp_path / "v4.toml"
    photos = '[[source]]\nfile = "photos.jsonl.gz"\nkind = "picture"\nanchor = "caption"\nlicence = "CC0"\n\n[pair]'
    text = RECIPE.format(backbone=tiny_v4).replace("[pair]", photos)
    path.write_text(
        text.replace('["text.jsonl.gz", "code.jsonl.gz"]', '["text.jsonl.gz", "photos.jsonl.gz"]').replace(
            "prefixes = [32]", "prefixes = [16]\ngradient_cache = true"
        )
    )
    stages = short(read_recipe(path))
    list(train_adapters(replace(stages, pair=replace(stages.pair, steps=2)), data, run, device="cpu"))
    assert result(run, PAIR)["pairs"]["photos.jsonl.gz"] == 10
    teacher = load(run / "adapters", device="cpu")
    picture = Image.new("RGB", (56, 56), "red")
    vectors = teacher.encode(["cat dog", picture, "cat dog"], ["query", "document", "symmetric"])
    assert vectors.shape == (3, 64) and not np.allclose(vectors[0], vectors[2], atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    published = load(tiny_v4, device="cpu").encode(["cat dog"], "query")
    assert not np.allclose(vectors[:1], published, atol=1e-2)  # not the checkpoint's own adapters
    assert [len(one) for one in teacher.encode([picture], "document", multi_vector=True)] == [
        len(teacher.reader.read_picture(picture).ids)
    ]
