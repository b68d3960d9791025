"""Pairs from a folder without labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unbraid.custom_mapper.folder_pairs import count_kinds, folder_pairs
from unbraid.custom_mapper.function_pairs import function_pairs
from unbraid.custom_mapper.picture_pairs import picture_pairs
from unbraid.custom_mapper.section_pairs import section_pairs
from unbraid.errors import DataError
from unbraid.items import Code

LONG = "A section that is long enough to be found says a little more than one line of text does, and here it ends."
PYTHON = '''
class Cat:
    def feed(self, food, bowl):
        """Put food into the bowl of a cat.

        It returns what is left.
        """
        bowl.fill(food)  # to the brim
        return bowl.content - self.eat(bowl, limit=food.weight)
'''


@pytest.fixture
def folder(tmp_path):
    """Pairs of every kind, and what is to be left out."""
    (tmp_path / "a.md").write_text(
        f"# Feeding a cat\n{LONG} One.\n\n## Introduction\n{LONG} Two.\n\n## 1.2\n{LONG} Three.\n\n## Toys for cats\nNone.\n\n"
        f"## Where cats sleep\n\n![A cat that sleeps on a chair](pictures/cat.png)\n{LONG} Four.\n\n## Twice\n{LONG} Five."
    )
    (tmp_path / "b.rst").write_text(
        f"=====\nTwice\n=====\n\n{LONG} Six.\n\nHow dogs bark\n-------------\n\n{LONG} Seven.\n"
    )
    (tmp_path / "c.py").write_text(PYTHON)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "c.py").write_text(PYTHON)
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "pictures" / "cat.png")
    return tmp_path


def test_each_kind_is_found_once_and_what_says_nothing_is_not(folder):
    pairs = folder_pairs(folder)
    assert sorted(pairs.left) == [
        "A cat that sleeps on a chair",
        "Feeding a cat",
        "How dogs bark",
        "Put food into the bowl of a cat.",
        "Where cats sleep",
    ]
    assert count_kinds(pairs) == {"section": 3, "function": 1, "picture": 1}
    found = dict(zip(pairs.left, pairs.right, strict=True))
    assert found["Feeding a cat"] == f"{LONG} One."
    assert found["How dogs bark"] == f"{LONG} Seven."
    function = found["Put food into the bowl of a cat."]
    assert isinstance(function, Code) and "Put food" not in function and "bowl.fill(food)" in function
    assert found["A cat that sleeps on a chair"] == folder / "pictures" / "cat.png"


def test_pairs_of_a_file_share_a_group(folder):
    pairs = folder_pairs(folder)
    groups = dict(zip(pairs.left, pairs.groups(), strict=True))
    assert groups["Feeding a cat"] == groups["Where cats sleep"] == groups["A cat that sleeps on a chair"]
    assert len(np.unique(pairs.groups())) == 3
    rows = np.array([0, 2])
    assert np.array_equal(pairs.take(rows).groups(), pairs.groups()[rows])


def test_only_what_a_model_encodes_is_found(folder):
    assert count_kinds(folder_pairs(folder, ("text",))) == {"section": 3}


def test_a_picture_that_cannot_be_opened_is_left_out(folder):
    (folder / "pictures" / "cat.png").write_bytes(b"no picture")
    assert "picture" not in count_kinds(folder_pairs(folder))


def test_what_an_index_passes_over_is_not_read(folder):
    (folder / ".gitignore").write_text("b.rst\n")
    (folder / ".git").mkdir()
    assert "How dogs bark" not in folder_pairs(folder).left


def test_a_folder_without_pairs_a_file_and_nothing_are_refused(tmp_path):
    with pytest.raises(DataError, match="no file in it has headings"):
        folder_pairs(tmp_path)
    (tmp_path / "a.md").write_text(LONG)
    with pytest.raises(DataError, match="not a folder"):
        folder_pairs(tmp_path / "a.md")
    with pytest.raises(DataError, match="no file or folder"):
        folder_pairs(tmp_path / "gone")


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".md", "# Cats\n\nThey sleep.\n"),
        (".md", "Cats\n====\nThey sleep."),
        (".rst", ".. _cats:\n\n====\nCats\n====\n\nThey sleep.\n"),
        (".rst", "Cats\n----\nThey sleep.\n"),
        (".html", "<h1>Cats</h1><p>They sleep.</p>"),
        (".org", "* Cats\nThey sleep.\n"),
        (".tex", "\\section{Cats}\nThey sleep.\n"),
        (".1", ".TH X 1\n.SH Cats\nThey sleep.\n"),
        (".eml", "Subject: Cats\nContent-Type: text/plain\n\nThey sleep.\n"),
    ],
)
def test_a_section_is_shown_without_its_heading(suffix, text):
    assert list(section_pairs(text.encode(), suffix)) == [("Cats", "They sleep.")]


def test_keys_rows_and_code_have_no_sections():
    for suffix, text in (
        (".toml", "[cats]\na = 1\nb = 2\n"),
        (".csv", "a,b\n1,2\n"),
        (".py", PYTHON),
        (".txt", "Cats"),
    ):
        assert list(section_pairs(text.encode(), suffix)) == []


@pytest.mark.parametrize(
    ("suffix", "text", "said", "kept"),
    [
        (
            ".js",
            "// Feeds the cat.\n//\n// More.\nfunction feed(cat) {\n  return cat.eat();\n}\n",
            "Feeds the cat.",
            "function feed",
        ),
        (
            ".java",
            "class A {\n/**\n * Feeds the cat.\n * @param c a cat\n */\nvoid feed(Cat c) {\n c.eat();\n}\n"
            + "int a;\n" * 50
            + "}",
            "Feeds the cat.",
            "void feed",
        ),
        (
            ".rs",
            "/// Feeds the cat.\n#[inline]\nfn feed(cat: Cat) {\n  cat.eat()\n}\n",
            "Feeds the cat.",
            "#[inline]",
        ),
        (
            ".py",
            'def feed(cat):\n    """Feeds\n    the cat."""\n    return cat.eat()\n',
            "Feeds the cat.",
            "def feed(cat):",
        ),
    ],
)
def test_a_comment_or_docstring_describes_its_function(suffix, text, said, kept):
    found = [pair for pair in function_pairs(text, suffix) if pair[0]]
    assert [left for left, _ in found] == [said]
    assert found[0][1].startswith(kept) and "Feeds" not in found[0][1]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.md", "![A sleeping cat](cat.png 'title')"),
        ("a.md", '<img src="./cat.png?raw=1" alt="A sleeping cat">'),
        ("a.html", "<IMG alt='A sleeping cat' src='cat.png'>"),
        ("a.rst", ".. image:: cat.png\n   :width: 3\n   :alt: A sleeping cat\n"),
        ("a.rst", ".. figure:: cat.png\n   :alt: other\n\n   A sleeping cat\n"),
    ],
)
def test_captions_and_alternative_texts_belong_to_their_picture(tmp_path, name, text):
    (tmp_path / "cat.png").write_bytes(b"")
    assert list(picture_pairs(text, tmp_path / name, tmp_path)) == [("A sleeping cat", tmp_path / "cat.png")]


@pytest.mark.parametrize(
    "address", ["../cat.png", "http://a.b/cat.png", "cat.txt", "gone.png", "%00.png", "", "a" * 280 + ".png"]
)
def test_a_picture_elsewhere_is_no_pair(tmp_path, address):
    (tmp_path / "cat.png").write_bytes(b"")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "cat.txt").write_bytes(b"")
    assert list(picture_pairs(f"![A cat]({address})", tmp_path / "docs" / "a.md", tmp_path / "docs")) == []


@settings(max_examples=40)
@given(
    st.text("#=-*\"'/\\[]()<>!.:{}@ \n\tabcdefimgrtsxy"),
    st.sampled_from([".md", ".rst", ".html", ".py", ".js", ".c", ".tex", ".ipynb"]),
)
def test_any_text_gives_pairs_or_a_data_error(text, suffix):
    from pathlib import Path

    for find in (
        lambda: section_pairs(text.encode(), suffix),
        lambda: function_pairs(text, suffix),
        lambda: picture_pairs(text, Path("/gone/a").with_suffix(suffix), Path("/gone")),
    ):
        try:
            assert all(isinstance(left, str) and isinstance(right, str | Path) for left, right in find())
        except DataError:
            assert suffix == ".ipynb"


@pytest.mark.parametrize(
    "text", ["![" * 50_000, "<img " * 50_000, ".. image:: a\n" * 20_000, ".. figure:: a" + "\n  b" * 50_000]
)
def test_a_hostile_text_is_read_to_its_end(tmp_path, text):
    (tmp_path / "cat.png").write_bytes(b"")
    for name, last in (
        ("a.md", "\n![A cat](cat.png)"),
        ("a.rst", "\n\n.. image:: cat.png\n   :alt: A cat\n"),
    ):
        assert list(picture_pairs(text + last, tmp_path / name, tmp_path))[-1] == (
            "A cat",
            tmp_path / "cat.png",
        )
