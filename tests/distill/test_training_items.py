from msgspec.structs import replace

from unbraid.distill.data.training_items import TrainingItem, recipe_items, sentences, training_items
from unbraid.distill.recipe import Recipe, Source

DEV_OF_300 = [213, 217, 227]


def test_dev_rows_give_no_training_items(pairs):
    source = Source("pairs.jsonl.gz", "MIT", text=("anchor", "positive"))
    texts = {item.text for item in training_items((source,), pairs.parent, seed=0)}
    assert texts.isdisjoint(f"{side} {number}" for number in DEV_OF_300 for side in "qd")
    assert len(texts) == 2 * (300 - len(DEV_OF_300))


# -- sentences ---------------------------------------------------------------------------------------------------


def test_sentences_end_before_a_capital_or_a_digit():
    text = "The first of them ends here. The second one asks, does it? 3 is how the last begins!"
    assert sentences(text) == [
        "The first of them ends here.",
        "The second one asks, does it?",
        "3 is how the last begins!",
    ]


def test_an_abbreviation_before_a_small_letter_ends_nothing():
    assert sentences("It holds, e.g. for numbers, i.e. for all of them.") == [
        "It holds, e.g. for numbers, i.e. for all of them."
    ]


def test_short_sentences_are_left_out():
    assert sentences("Yes. No. This one is long enough to be kept.") == [
        "This one is long enough to be kept."
    ]
    assert sentences("") == []


# -- items -------------------------------------------------------------------------------------------------------


def test_items_are_distinct(tmp_path, write_rows):
    write_rows(
        tmp_path / "a.jsonl.gz", [{"text": "same"}, {"text": " same "}, {"text": "other"}, {"text": ""}]
    )
    source = Source("a.jsonl.gz", "MIT", text=("text",))
    items = training_items((source, source), tmp_path, seed=0)
    assert sorted(item.text for item in items) == ["other", "same"]


def test_code_and_text_of_the_same_characters_are_two_items(tmp_path, write_rows):
    write_rows(tmp_path / "a.jsonl.gz", [{"anchor": "exit", "positive": "exit"}])
    items = training_items(
        (Source("a.jsonl.gz", "MIT", text=("anchor",), code=("positive",)),), tmp_path, seed=0
    )
    assert set(items) == {TrainingItem("exit", "text"), TrainingItem("exit", "code", "exit")}


def test_code_that_is_no_positive_has_no_anchor(tmp_path, write_rows):
    write_rows(tmp_path / "a.jsonl.gz", [{"anchor": "int x;", "positive": "var x;"}])
    assert training_items((Source("a.jsonl.gz", "MIT", code=("anchor",)),), tmp_path, seed=0) == [
        TrainingItem("int x;", "code")
    ]


def test_code_without_a_description_is_an_item_too(tmp_path, write_rows):
    write_rows(tmp_path / "a.jsonl.gz", [{"positive": "var x;"}])
    assert training_items((Source("a.jsonl.gz", "MIT", code=("positive",)),), tmp_path, seed=0) == [
        TrainingItem("var x;", "code")
    ]


def test_a_lone_surrogate_becomes_the_replacement_character(tmp_path, write_rows):
    write_rows(tmp_path / "a.jsonl.gz", [{"text": "cut \ud83d here", "x": 1}])
    (item,) = training_items((Source("a.jsonl.gz", "MIT", text=("text",)),), tmp_path, seed=0)
    assert item.text == "cut \ufffd here"


def test_sentences_of_a_text_are_items_beside_it(tmp_path, write_rows):
    text = "A first sentence of some length. A second sentence of some length."
    write_rows(tmp_path / "a.jsonl.gz", [{"text": text}])
    source = Source("a.jsonl.gz", "MIT", text=("text",), sentences=True)
    assert {item.text for item in training_items((source,), tmp_path, seed=0)} == {text, *sentences(text)}


def test_the_seed_decides_the_order_of_the_items(pairs):
    sources = (Source("pairs.jsonl.gz", "MIT", text=("anchor",)),)
    first, again, other = (training_items(sources, pairs.parent, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert set(first) == set(other)


def test_a_recipes_items_are_the_first_of_its_sources(pairs):
    sources = (Source("pairs.jsonl.gz", "MIT", text=("anchor",)),)
    recipe = Recipe("tiny", "1", 3, items=5, source=sources)
    every = training_items(sources, pairs.parent, seed=3)
    assert recipe_items(recipe, pairs.parent) == every[:5]
    assert recipe_items(recipe, pairs.parent, most=7) == every[:7]
    assert recipe_items(replace(recipe, items=0), pairs.parent) == every
