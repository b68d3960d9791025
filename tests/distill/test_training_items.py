import gzip
import json

import pytest
from msgspec.structs import replace

from unbraid.distill.data.training_items import TrainingItem, recipe_items, sentences, training_items
from unbraid.distill.recipe import ImageTraining, Recipe, Source, TextTraining
from unbraid.errors import DataError
from unbraid.training.data_split import is_dev, rows, train_rows


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for line in lines:
            file.write((line if isinstance(line, str) else json.dumps(line)) + "\n")
    return path


@pytest.fixture
def pairs(tmp_path):
    """300 pairs, of which about 1 in 50 are dev."""
    return write(
        tmp_path / "pairs.jsonl.gz", [{"anchor": f"q {n}", "positive": f"d {n}"} for n in range(300)]
    )


DEV_OF_300 = [213, 217, 227]


# -- rows --------------------------------------------------------------------------------------------------------


def test_rows_come_in_the_order_of_the_file(tmp_path):
    path = write(tmp_path / "a.jsonl.gz", [{"text": "eins"}, {"text": "zwei ü 猫"}])
    assert list(rows(path)) == [{"text": "eins"}, {"text": "zwei ü 猫"}]


def test_a_file_may_be_plain(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one"}\n{"text": "two"}', encoding="utf-8")
    assert list(rows(path)) == [{"text": "one"}, {"text": "two"}]


@pytest.mark.parametrize("bad", ["{", "", "[1]", "7", "null", '{"a": "\x07"}'])
def test_a_bad_line_is_named(bad, tmp_path):
    path = write(tmp_path / "a.jsonl.gz", [{"text": "one"}, {"text": "two"}, bad, {"text": "four"}])
    with pytest.raises(DataError, match=r"a\.jsonl\.gz: line 3 cannot be read"):
        list(rows(path))


def test_a_line_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "one"}\n{"text": "\xff"}\n{"text": "three"}\n'))
    with pytest.raises(DataError, match="line 2 cannot be read"):
        list(rows(path))


def test_a_truncated_file_is_refused_with_the_line(tmp_path, pairs):
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(pairs.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"cut\.jsonl\.gz: line \d+ cannot be read"):
        list(rows(path))


@pytest.mark.parametrize("place", [0, 100, 400, -6], ids=["magic", "tables", "body", "checksum"])
def test_a_flipped_byte_is_refused_with_a_line(place, tmp_path, pairs):
    content = bytearray(pairs.read_bytes())
    content[place] ^= 0xFF
    path = tmp_path / "flipped.jsonl.gz"
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"flipped\.jsonl\.gz: line \d+ cannot be read"):
        list(rows(path))


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"no\.jsonl\.gz"):
        list(rows(tmp_path / "no.jsonl.gz"))


# -- the dev split -----------------------------------------------------------------------------------------------


def test_about_one_row_in_fifty_is_dev():
    assert 300 < sum(is_dev({"text": f"text {number}"}) for number in range(20_000)) < 500


def test_whether_a_row_is_dev_depends_only_on_its_first_text():
    for number in range(200):
        anchor = f"question {number}"
        expected = is_dev({"anchor": anchor})
        assert is_dev({"anchor": anchor, "positive": "x", "score": number}) == expected
        assert is_dev({"a": anchor, "b": "y"}) == is_dev({"query": anchor}) == expected


def test_the_dev_split_never_changes():
    """Scores of one version are comparable with the next one's only while the split stays."""
    assert [number for number in range(300) if is_dev({"anchor": f"q {number}"})] == DEV_OF_300


def test_pictures_are_dev_by_their_split():
    assert is_dev({"file": "a.jpg", "split": "dev"})
    assert not is_dev({"file": "a.jpg", "split": "train"})


def test_a_lone_surrogate_does_not_stop_the_split():
    assert isinstance(is_dev({"text": "\ud800"}), bool)


def test_dev_rows_are_never_training_rows(pairs):
    kept = train_rows(pairs)
    assert not any(is_dev(row) for row in kept)
    assert len(kept) == 300 - len(DEV_OF_300)


def test_dev_rows_give_no_training_items(pairs):
    source = Source("pairs.jsonl.gz", "MIT", text=("anchor", "positive"))
    texts = {item.text for item in training_items((source,), pairs.parent, seed=0)}
    assert texts.isdisjoint(f"{side} {number}" for number in DEV_OF_300 for side in "qd")
    assert len(texts) == 2 * (300 - len(DEV_OF_300))


def test_a_limit_takes_a_sample_that_the_seed_decides(pairs):
    sample = train_rows(pairs, limit=20, seed=1)
    assert len(sample) == 20
    assert sample == train_rows(pairs, limit=20, seed=1) != train_rows(pairs, limit=20, seed=2)


def test_a_limit_above_the_rows_takes_them_all(pairs):
    assert train_rows(pairs, limit=10_000) == train_rows(pairs)


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


def test_items_are_distinct(tmp_path):
    write(tmp_path / "a.jsonl.gz", [{"text": "same"}, {"text": " same "}, {"text": "other"}, {"text": ""}])
    source = Source("a.jsonl.gz", "MIT", text=("text",))
    items = training_items((source, source), tmp_path, seed=0)
    assert sorted(item.text for item in items) == ["other", "same"]


def test_code_and_text_of_the_same_characters_are_two_items(tmp_path):
    write(tmp_path / "a.jsonl.gz", [{"anchor": "exit", "positive": "exit"}])
    items = training_items(
        (Source("a.jsonl.gz", "MIT", text=("anchor",), code=("positive",)),), tmp_path, seed=0
    )
    assert set(items) == {TrainingItem("exit", "text"), TrainingItem("exit", "code", "exit")}


def test_code_that_is_no_positive_has_no_anchor(tmp_path):
    write(tmp_path / "a.jsonl.gz", [{"anchor": "int x;", "positive": "var x;"}])
    assert training_items((Source("a.jsonl.gz", "MIT", code=("anchor",)),), tmp_path, seed=0) == [
        TrainingItem("int x;", "code")
    ]


def test_code_without_a_description_is_an_item_too(tmp_path):
    write(tmp_path / "a.jsonl.gz", [{"positive": "var x;"}])
    assert training_items((Source("a.jsonl.gz", "MIT", code=("positive",)),), tmp_path, seed=0) == [
        TrainingItem("var x;", "code")
    ]


def test_a_lone_surrogate_becomes_the_replacement_character(tmp_path):
    write(tmp_path / "a.jsonl.gz", [{"text": "cut \ud83d here", "x": 1}])
    (item,) = training_items((Source("a.jsonl.gz", "MIT", text=("text",)),), tmp_path, seed=0)
    assert item.text == "cut \ufffd here"


def test_sentences_of_a_text_are_items_beside_it(tmp_path):
    text = "A first sentence of some length. A second sentence of some length."
    write(tmp_path / "a.jsonl.gz", [{"text": text}])
    source = Source("a.jsonl.gz", "MIT", text=("text",), sentences=True)
    assert {item.text for item in training_items((source,), tmp_path, seed=0)} == {text, *sentences(text)}


def test_the_seed_decides_the_order_of_the_items(pairs):
    sources = (Source("pairs.jsonl.gz", "MIT", text=("anchor",)),)
    first, again, other = (training_items(sources, pairs.parent, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert set(first) == set(other)


def test_a_recipes_items_are_the_first_of_its_sources(pairs):
    sources = (Source("pairs.jsonl.gz", "MIT", text=("anchor",)),)
    recipe = Recipe("tiny", "1", 3, "fake", 5, "float32", sources, TextTraining(), ImageTraining(), {})
    every = training_items(sources, pairs.parent, seed=3)
    assert recipe_items(recipe, pairs.parent) == every[:5]
    assert recipe_items(recipe, pairs.parent, most=7) == every[:7]
    assert recipe_items(replace(recipe, items=0), pairs.parent) == every
