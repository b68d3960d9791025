import gzip
import json

import pytest

from unbraid.distill.data.item_sources import HELD_OUT, SOURCES, ItemSource, language_tag
from unbraid.distill.data.member_items import (
    align_translations,
    held_out_texts,
    ordered_items,
    with_english_sides,
    write_items,
)
from unbraid.distill.data.training_items import TrainingItem, file_items


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


def pairs(count, **more):
    return [{"anchor": f"question {n}", "positive": f"answer number {n}", **more} for n in range(count)]


def test_no_source_is_trained_on_and_held_out():
    trained = {source.file for source in SOURCES}
    both = {held.file for held in HELD_OUT if held.file in trained}
    assert both == {
        "text/medquad.train",
        "sts/sts12-16",
        "xling/docs_md",
    }  # split by collection, set and project
    row = {"source": "1_CancerGov_QA", "set": "2014/images", "src": "owasp-top10-2021"}
    for file in both:
        assert not next(source for source in SOURCES if source.file == file).keep(row)
        assert all(held.keep(row) for held in HELD_OUT if held.file == file)


def test_no_source_is_under_a_licence_for_research_alone():
    assert not any("py_docstrings" in source.file for source in SOURCES)


@pytest.mark.parametrize(
    ("tag", "language"), [("deu", "de"), ("zho-CN", "zh"), ("pt_BR", "pt"), ("sw", "sw"), ("eng", "en")]
)
def test_a_tag_becomes_a_language(tag, language):
    assert language_tag(tag) == language


def test_a_pair_stays_together_and_code_keeps_its_description(tmp_path):
    write(tmp_path / "code/a.jsonl.gz", pairs(20))
    items = ordered_items([ItemSource("code/a", "MIT", "code", ("anchor",), ("positive",))], tmp_path, seed=1)
    assert {item.modality for item in items} == {"text", "code"}
    for one, other in zip(items[::2], items[1::2], strict=True):
        assert other.anchor == one.text and other.modality == "code"


def test_a_translation_carries_its_english_side_which_is_an_item_too(tmp_path):
    write(tmp_path / "x.jsonl.gz", [{"anchor": "the cat", "positive": "die Katze", "lang": "deu"}])
    source = ItemSource("x", "MIT", "foreign", ("positive",), language="row", english="anchor")
    assert ordered_items([source], tmp_path, seed=1) == [
        TrainingItem("the cat", "text"),
        TrainingItem("die Katze", "text", language="de", english="the cat"),
    ]


def test_the_same_seed_gives_the_same_order_and_another_seed_another(tmp_path):
    write(tmp_path / "a.jsonl.gz", pairs(40))
    source = ItemSource("a", "MIT", "english", ("anchor", "positive"))
    once = ordered_items([source], tmp_path, seed=1)
    assert once == ordered_items([source], tmp_path, seed=1)
    assert once != ordered_items([source], tmp_path, seed=2)
    assert len(set(once)) == len(once)


def test_a_small_language_is_not_drowned_by_a_large_one(tmp_path):
    write(
        tmp_path / "l.jsonl.gz",
        pairs(3000, lang="de")
        + [{"anchor": f"a {n}", "positive": f"b {n}", "lang": "el"} for n in range(100)],
    )
    source = ItemSource("l", "MIT", "foreign", ("positive",), language="row")
    first = ordered_items([source], tmp_path, seed=1)[:150]
    assert sum(item.language == "el" for item in first) > 25  # 5 if rows were counted


def test_a_text_of_a_dev_set_is_no_item_however_it_is_written(tmp_path):
    write(tmp_path / "code/mbpp.jsonl.gz", [{"anchor": "Add two numbers.", "positive": "a+b"}])
    write(tmp_path / "a.jsonl.gz", [{"anchor": "add two NUMBERS", "positive": "something else"}])
    assert "addtwonumbers" in held_out_texts(tmp_path)
    source = ItemSource("a", "MIT", "english", ("anchor", "positive"))
    assert [item.text for item in ordered_items([source], tmp_path, seed=1)] == ["something else"]


def test_an_item_is_what_each_kind_of_member_labels():
    german = TrainingItem("die Katze", "text", language="de", english="the cat")
    assert german.in_english() == TrainingItem("the cat", "text")
    assert TrainingItem("die Katze", "text", language="de").in_english() is None
    assert TrainingItem("x()", "code", language="de").in_english().modality == "code"


def test_translations_of_a_graded_file_are_aligned_by_scores():
    scores = [0.1, 0.5, 0.52, 0.9, 0.3, 0.7, 0.71, 0.2, 0.6, 0.8]
    english = [{"a": f"e{n}", "score": score} for n, score in enumerate(scores)]
    foreign = [{"a": f"f{n}", "score": score} for n, score in enumerate(scores) if n != 4]
    found = [(one["a"], other["a"]) for one, other in align_translations(english, foreign)]
    assert found == [(f"e{n}", f"f{n}") for n in (0, 1, 2, 3, 5, 6, 7, 8, 9)]


def test_sentences_of_stsb_get_their_english_side(tmp_path):
    rows = [{"a": f"cat {n}", "b": f"dog {n}", "score": n / 10} for n in range(6)]
    write(tmp_path / "sts/stsb.en.train.jsonl.gz", rows)
    write(
        tmp_path / "sts/stsb.de.train.jsonl.gz",
        [{"a": f"Katze {n}", "b": f"Hund {n}", "score": n / 10} for n in range(6)],
    )
    items = [TrainingItem(text, "text", language="de") for text in ("Hund 3", "anders")]
    assert [item.english for item in with_english_sides(items, tmp_path, ["de"])] == ["dog 3", ""]


def test_the_file_gives_the_items_back_byte_for_byte_the_same(tmp_path):
    items = [
        TrainingItem("die Katze", "text", language="de", english="the cat"),
        TrainingItem("f()", "code", anchor="call f"),
    ]
    path = tmp_path / "items.jsonl.gz"
    write_items(path, items)
    first = path.read_bytes()
    write_items(path, items)
    assert path.read_bytes() == first
    assert file_items(path) == items and file_items(path, most=1) == items[:1]
