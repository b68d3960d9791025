import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unbraid.errors import ItemError, UnbraidError
from unbraid.items import CODE_SUFFIXES, IMAGE_SUFFIXES, Code, check_items, item_modality, suffix_modality

PICTURE = Image.new("RGB", (2, 2))


@pytest.mark.parametrize(
    ("item", "modality"),
    [
        ("text", "text"),
        ("", "text"),
        (np.str_("text"), "text"),
        (Code("def f(): ..."), "code"),
        (PICTURE, "image"),
        (Path("a/read.me"), "text"),
        (Path("a/run.py"), "code"),
        (Path("a/cat.png"), "image"),
    ],
)
def test_the_type_of_an_item_tells_its_modality(item, modality):
    assert item_modality(item) == modality


@pytest.mark.parametrize(
    "item", [b"bytes", bytearray(b"x"), None, 7, 1.5, ["nested"], np.zeros((2, 2)), object()]
)
def test_another_type_is_named_and_refused(item):
    with pytest.raises(ItemError, match=f"cannot encode {type(item).__name__}: expected str, unbraid.Code"):
        item_modality(item)


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("README", "text"),
        ("notes.md", "text"),
        ("data.csv", "text"),
        (".py", "text"),  # a hidden file without a suffix
        ("archive.tar.gz", "text"),
        ("main.RS", "code"),
        ("types.d.ts", "code"),
        ("PHOTO.JPEG", "image"),
        ("a.b.webp", "image"),
    ],
)
def test_the_last_suffix_decides_in_any_case(name, modality):
    assert suffix_modality(Path(name)) == modality


def test_suffixes_are_lower_case_start_with_a_dot_and_mean_one_thing():
    assert not CODE_SUFFIXES & IMAGE_SUFFIXES
    assert all(
        suffix.startswith(".") and suffix == suffix.lower() for suffix in CODE_SUFFIXES | IMAGE_SUFFIXES
    )


def test_code_is_a_str_of_the_same_characters():
    assert Code("x = 1") == "x = 1"
    assert isinstance(Code("x"), str)


def test_code_shows_its_type():
    assert repr(Code("x = 'a'")) == """Code("x = 'a'")"""


def test_code_survives_pickling():
    assert type(pickle.loads(pickle.dumps(Code("x")))) is Code


@pytest.mark.parametrize("items", [[], ["a"], ("a", Code("b")), [PICTURE]])
def test_lists_and_tuples_are_returned_themselves(items):
    assert check_items(items) is items


@pytest.mark.parametrize("item", ["one text", Code("code"), Path("a.txt"), PICTURE, b"bytes"])
def test_a_single_item_is_told_to_be_wrapped(item):
    with pytest.raises(ItemError, match=rf"got one {type(item).__name__}: wrap it as \[item\]"):
        check_items(item)


@pytest.mark.parametrize("items", [None, 3, {"a"}, {"a": 1}, np.array([["a"]]), np.array("a")])
def test_what_has_no_order_or_is_a_table_is_refused(items):
    with pytest.raises(ItemError, match="encode takes a list of items, got"):
        check_items(items)


@pytest.mark.parametrize("items", [iter(["a", "b"]), (text for text in "ab"), np.array(["a", "b"])])
def test_arrays_and_generators_become_lists(items):
    assert check_items(items) == ["a", "b"]


def test_an_item_error_is_a_value_error_and_an_unbraid_error():
    assert issubclass(ItemError, ValueError)
    assert issubclass(ItemError, UnbraidError)


@pytest.mark.parametrize("text", [None, 5, b"x", ["x"]])
def test_code_is_made_of_a_str_only(text):
    with pytest.raises(ItemError, match="Code takes a str"):
        Code(text)
