from pathlib import Path

import pytest

from unbraid.distill.data.item_sources import SOURCES
from unbraid.distill.recipe import ImageTraining, Source, TextTraining, read_recipe, recipe_licences
from unbraid.errors import DataError
from unbraid.training.record import recipe_table

SMALL = """
name = "small"
version = "1"
seed = 3
teacher = "minilm"
items = 10
dtype = "float32"

[[source]]
file = "a.jsonl.gz"
text = ["anchor", "positive"]
licence = "MIT"
"""


@pytest.fixture
def written(tmp_path):
    """Writes a recipe's text and returns its path."""

    def write(text):
        path = tmp_path / "recipe.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="module")
def starter():
    return read_recipe(Path("starter"))


# -- reading -------------------------------------------------------------------------------------------------


def test_a_recipe_is_read_into_its_types(written):
    recipe = read_recipe(written(SMALL))
    assert (recipe.name, recipe.seed, recipe.items) == ("small", 3, 10)
    assert recipe.source == (Source("a.jsonl.gz", "MIT", text=("anchor", "positive")),)


def test_what_a_recipe_leaves_out_has_its_default(written):
    recipe = read_recipe(written(SMALL))
    assert (recipe.text, recipe.image, recipe.mapper) == ({"small": TextTraining()}, ImageTraining(), {})


def test_a_whole_number_is_good_enough_for_a_share(written):
    recipe = read_recipe(written(SMALL + "[text.small]\nkl_weight = 1\n"))
    found = recipe.text["small"].kl_weight
    assert found == 1.0 and isinstance(found, float)


def test_each_tier_of_text_has_its_own_training(written):
    tiers = '[text.small]\n[text.base]\nlayers = []\nstart = "isometry"\n[text.multi]\nvocabulary = 9\n'
    recipe = read_recipe(written(SMALL + tiers))
    assert recipe.text == {
        "small": TextTraining(),
        "base": TextTraining(layers=(), start="isometry"),
        "multi": TextTraining(vocabulary=9),
    }
    assert recipe_table(recipe)["text"]["multi"]["vocabulary"] == 9


@pytest.mark.parametrize("names", [[], ["mbpp", "stsb.en", "jsquad.ja"], ["afriqa.hau", "mgsm.de"]])
def test_unseen_sets_are_named_as_dev_sets_are(names, written):
    assert read_recipe(written(f"unseen = {names}" + SMALL)).unseen == tuple(names)


@pytest.mark.parametrize("name", ["squad", "mbpp.py", "afriqa", "afriqa.", "stsb.xx", ""])
def test_an_unseen_set_that_there_is_not_is_refused_by_name(name, written):
    with pytest.raises(DataError, match=rf"recipe.toml: unseen: no dev set {name}: .*mbpp.*afriqa\.LANG"):
        read_recipe(written(f'unseen = ["mbpp", "{name}"]' + SMALL))


@pytest.mark.parametrize(
    ("tiers", "message"),
    [
        ("[text.base]\n[text.multi]\n", r"\[text.base\], \[text.multi\] without \[text.small\]"),
        ("[text]\n", r"\[text\] without \[text.small\]: .*add it"),
    ],
)
def test_a_recipe_without_the_small_tier_is_refused(tiers, message, written):
    with pytest.raises(DataError, match=message):
        read_recipe(written(SMALL + tiers))


def test_a_recipe_in_the_working_folder_comes_before_the_shipped_one(written, monkeypatch, tmp_path):
    written(SMALL).rename(tmp_path / "starter")
    monkeypatch.chdir(tmp_path)
    assert read_recipe(Path("starter")).name == "small"


def test_a_folder_of_the_same_name_does_not_hide_the_shipped_recipe(monkeypatch, tmp_path):
    (tmp_path / "starter").mkdir()
    monkeypatch.chdir(tmp_path)
    assert read_recipe(Path("starter")).name == "starter"


def test_a_recipe_may_name_members_in_place_of_a_teacher(written):
    joined = SMALL.replace('teacher = "minilm"', "members = {e5 = 1, mpnet = 0.5}")
    recipe = read_recipe(written(joined))
    assert (recipe.members, recipe.teacher) == ({"e5": 1.0, "mpnet": 0.5}, "")
    assert recipe_licences(recipe).keys() >= {"a.jsonl.gz", f"{SOURCES[0].file}.jsonl.gz"}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ('teacher = "minilm"\nmembers = {e5 = 1}', "names the teacher minilm and members: expected one"),
        ("members = {e6 = 1, e5 = 1}", "unknown member e6: expected some of .*e5"),
    ],
)
def test_members_that_there_are_not_and_a_teacher_beside_them_are_refused(members, message, written):
    with pytest.raises(DataError, match=message):
        read_recipe(written(SMALL.replace('teacher = "minilm"', members)))


MAPPER = '[mapper.code]\nkind = "linear"\nloss = "ranking"\nfiles = ["a"]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            SMALL + "epochs = 3",
            r"recipe.toml: source\[0\]: .* unknown field `epochs`; known fields: file, licence",
        ),
        ("epochs = 3" + SMALL, "recipe.toml: .* unknown field `epochs`; known fields: name, version"),
        (
            SMALL + "[text.small]\nepoch = 3",
            r"recipe.toml: text\[\.\.\.\]: .* unknown field `epoch`; known fields: backbone, layers",
        ),
        (SMALL + "[text.large]", r"recipe.toml: key in text: .*'large': expected small, base, multi"),
        (SMALL + '[text.small]\nstart = "random"', "'random': expected ridge, isometry"),
        (SMALL + "[image]\nepochz = 3", r"recipe.toml: image: .* unknown field `epochz`"),
        (
            SMALL + MAPPER + "ranks = 3",
            r"recipe.toml: mapper\[\.\.\.\]: .* unknown field `ranks`; known fields: kind",
        ),
        (SMALL.replace("seed = 3", ""), "recipe.toml: .* required field `seed`"),
        (SMALL.replace('licence = "MIT"', ""), r"recipe.toml: source\[0\]: .* required field `licence`"),
        (SMALL + MAPPER.replace('loss = "ranking"', ""), "mapper.*: .* required field `loss`"),
        (SMALL.replace("seed = 3", 'seed = "3"'), r"recipe.toml: seed: Expected `int`, got `str`"),
        (SMALL.replace("seed = 3", "seed = true"), r"recipe.toml: seed: Expected `int`, got `bool`"),
        (SMALL.replace("float32", "float16"), r"dtype: .*'float16': expected auto, float32, bfloat16"),
        (
            SMALL.replace('["anchor", "positive"]', '"anchor"'),
            r"source\[0\].text: Expected `array`, got `str`",
        ),
        (SMALL.replace('"positive"]', "7]"), r"source\[0\].text\[1\]: Expected `str`, got `int`"),
        (
            SMALL + "[text.small]\nbatch_tokens = 2.5",
            r"text\[...\].batch_tokens: Expected `int`, got `float`",
        ),
        (SMALL + MAPPER.replace("linear", "liner"), "kind: .*'liner': expected linear, low-rank, gated"),
        (SMALL + MAPPER.replace("ranking", "rank"), "loss: .*'rank': expected ranking, cosent"),
        (
            SMALL + MAPPER.replace("mapper.code", "mapper.codes"),
            "mapper: .*'codes': expected retrieval, symmetric, code",
        ),
        (SMALL.replace("[[source]]", "[source]"), r"source: Expected `array`, got `object`"),
        ("text = 3" + SMALL, r"recipe.toml: text: Expected `object`, got `int`"),
        ("mapper = []" + SMALL, r"recipe.toml: mapper: Expected `object`, got `array`"),
    ],
)
def test_a_mistake_is_refused_with_its_place(text, message, written):
    with pytest.raises(DataError, match=message):
        read_recipe(written(text))


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_file_that_is_not_toml_is_refused_by_name(content, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)
    with pytest.raises(DataError, match="recipe.toml: not a readable recipe"):
        read_recipe(path)


def test_a_missing_recipe_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"no\.toml"):
        read_recipe(tmp_path / "no.toml")


def test_the_table_of_a_recipe_holds_every_value_as_plain_data(starter):
    table = recipe_table(starter)
    assert table["mapper"]["code"]["kind"] == "linear"
    assert table["source"][0]["licence"] == starter.source[0].licence


@pytest.mark.parametrize("name", ["starter", "tower", "smoke", "v4"])
def test_every_shipped_recipe_is_read(name):
    assert "small" in read_recipe(Path(name)).text


# -- the shipped starter ---------------------------------------------------------------------------------------


def test_the_starter_has_no_source_that_forbids_shipped_weights(starter):
    used = [source.file for source in starter.source]
    used += [file for mapper in starter.mapper.values() for file in mapper.files]
    assert not [file for file in used if "py_docstrings" in file]


def test_every_source_of_the_starter_names_a_licence(starter):
    assert all(source.licence.strip() for source in starter.source)


def test_everything_the_starter_trains_on_is_among_its_licensed_sources(starter):
    licensed = recipe_licences(starter).keys()
    assert {file for mapper in starter.mapper.values() for file in mapper.files} <= licensed
    assert {f"{name}.jsonl.gz" for name in starter.image.photos} <= licensed


def test_no_file_of_the_starter_is_a_test_split(starter):
    assert not [source.file for source in starter.source if "test" in source.file]


def test_the_starter_fits_all_three_search_modes(starter):
    assert set(starter.mapper) == {"retrieval", "symmetric", "code"}


def test_a_file_without_a_stated_licence_is_refused(tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'name = "a"\nversion = "1"\nseed = 1\nteacher = "minilm"\nitems = 0\ndtype = "float32"\n'
        '[mapper.code]\nkind = "linear"\nloss = "ranking"\nfiles = ["code/x.jsonl.gz"]\n'
    )
    with pytest.raises(DataError, match=r"code/x\.jsonl\.gz used without a \[\[source\]\]"):
        read_recipe(recipe)


def test_published_weights_of_a_tower_need_their_licence(written):
    tower = '\n[image]\ntower = "timm:test_vit.r160_in1k"\n'
    with pytest.raises(
        DataError, match=r"timm:test_vit\.r160_in1k has published weights: state their licence"
    ):
        read_recipe(written(SMALL + tower))
    stated = read_recipe(written(SMALL.replace("seed", 'tower_licence = "Apache-2.0"\nseed', 1) + tower))
    assert stated.tower_licence == "Apache-2.0"


def test_a_tower_of_no_known_library_is_refused(written):
    with pytest.raises(DataError, match="unknown tower 'torchvision:resnet18'"):
        read_recipe(written(SMALL + '\n[image]\ntower = "torchvision:resnet18"\n'))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("shares = [0.0, 1.0]", r"shares of \[text.small\] are \[0.0, 1.0\]: expected numbers from 0 to 1"),
        ("shares = []", "expected numbers from 0 to 1"),
        ("shares = [0.5, 1.0]", "tries several shares, and no unseen set is named"),
    ],
)
def test_shares_that_cannot_be_chosen_from_are_refused(written, line, says):
    with pytest.raises(DataError, match=says):
        read_recipe(written(f"{SMALL}\n[text.small]\n{line}\n"))


def test_a_default_tier_that_is_not_trained_is_refused(written):
    with pytest.raises(DataError, match=r"is base, and there is no \[text.base\]"):
        read_recipe(written('query_tier = "base"\n' + SMALL))


def test_more_items_for_nano_need_members(written):
    with pytest.raises(DataError, match="nano.items are those of a joined teacher"):
        read_recipe(written(SMALL + "\n[nano]\nitems = 5\n"))
