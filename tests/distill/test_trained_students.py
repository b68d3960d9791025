import shutil

import pytest
import torch
from msgspec.structs import replace

from unbraid.base_encoders.text_encoder import load_text_encoder
from unbraid.distill.recipe import Recipe, StaticTraining, TextTraining
from unbraid.distill.trained_students import load_students

ENGLISH = ["The cat sleeps on the warm roof of the house.", "Where does the river flow in the winter?"]
GERMAN = ["Die Katze schläft auf dem warmen Dach.", "Wo fließt der Fluss im Winter?"]
CODE = ["readFile(schläft)", "return catHouse"]
RECIPE = Recipe(
    *("tiny", "1", 5),
    dtype="float32",
    text={"small": TextTraining(), "multi": TextTraining(split_identifiers=False)},
    nano=StaticTraining(),
)


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    """The tiny run with a tier multi of other weights."""
    folder = tmp_path_factory.mktemp("run") / "run"
    shutil.copytree(tiny.run, folder)
    encoder = load_text_encoder(folder / "small")
    torch.nn.init.normal_(encoder.projection.weight, generator=torch.Generator().manual_seed(1))
    encoder.save(folder / "multi")
    shutil.copy(folder / "small" / "tokenizer.json", folder / "multi")
    return folder


@pytest.fixture(scope="module")
def students(run):
    return load_students(RECIPE, run, dtype=torch.float32)


@pytest.fixture(scope="module")
def alone(run):
    """Without the tier multi."""
    text = {"small": RECIPE.text["small"]}
    return load_students(replace(RECIPE, text=text), run, dtype=torch.float32)


def same(one, other):
    return torch.allclose(one, other, atol=1e-5)


def test_there_is_a_student_for_each_tier(students, alone):
    assert list(students) == ["small", "multi", "nano"] and list(alone) == ["small", "nano"]


@pytest.mark.parametrize("tier", ["small", "nano"])
def test_texts_in_other_languages_are_given_to_multi_in_their_place(tier, students, alone):
    mixed = [GERMAN[0], ENGLISH[0], ENGLISH[1], GERMAN[1]]
    found = students[tier](mixed, "text")
    assert same(found[[1, 2]], alone[tier](ENGLISH, "text"))
    assert same(found[[0, 3]], students["multi"](GERMAN, "text"))
    assert same(students[tier](GERMAN, "text"), found[[0, 3]])
    assert not same(alone[tier](GERMAN, "text"), found[[0, 3]])


def test_multi_reads_every_text_itself(students, alone):
    assert not same(students["multi"](ENGLISH, "text"), alone["small"](ENGLISH, "text"))


@pytest.mark.parametrize("tier", ["small", "nano"])
def test_code_is_never_given_to_multi(tier, students, alone):
    assert same(students[tier](CODE, "code"), alone[tier](CODE, "code"))


def test_each_tier_reads_code_as_it_was_trained(students):
    split = ["return cat House"]
    assert same(students["small"](CODE[1:], "code"), students["small"](split, "code"))
    assert same(students["multi"](CODE[1:], "code"), students["multi"](CODE[1:], "text"))
    assert not same(students["multi"](CODE[1:], "code"), students["multi"](split, "code"))


def test_a_text_is_read_as_far_as_the_tokens_allow(run, students):
    short = load_students(RECIPE, run, dtype=torch.float32, max_tokens=4)
    texts = ["the cat", "the cat sleeps here", "the cat sleeps on the warm roof of the house"]
    near, far = (found["nano"](texts, "text") for found in (short, students))
    assert same(near, near[[0, 0, 0]]) and same(near[0], far[0]) and not same(far[1], far[2])
