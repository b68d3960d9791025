import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.index.files.front_matter import front_matter_end, front_matter_fields
from unbraid.index.files.read import read_file
from unbraid.index.files.read_markdown import markdown_headings


def headings(text: str) -> list[tuple[int, int, str]]:
    return list(markdown_headings(text.split("\n")))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# A\n\n## B `x` ##\n", [(0, 1, "A"), (2, 2, "B `x`")]),
        ("````\n```\n# no\n```\n````\n# A", [(5, 1, "A")]),  # a longer fence holds a shorter one
        ("```python title='x'\n# no\n```\n# A", [(3, 1, "A")]),
        ("```\n# no\n``` python\n# no\n```\n# A", [(5, 1, "A")]),  # a closing fence has no info string
        ("text ```code``` text\n# A", [(1, 1, "A")]),
        ("```one line```\n# A", [(1, 1, "A")]),
        ("~~~\n```\n# no\n~~~\n# A", [(4, 1, "A")]),
        ("---\ntitle: x\n# no: comment\n---\n# A", [(4, 1, "A")]),
        ("+++\n# no\n+++\n# A", [(3, 1, "A")]),
        ("<!--\n# no\n-->\n# A", [(3, 1, "A")]),
        ("Title\n=====\n\ntext\n\nTwo\nlines\n---\n", [(0, 1, "Title"), (5, 2, "Two lines")]),
        ("a | b\n--- | ---\n1 | 2\n", []),
        ("    # no\n\n# A", [(2, 1, "A")]),
        ("#no\n\n\\# no\n\n# A", [(4, 1, "A")]),
        ("> # quoted\n\n- # listed\n\n# A", [(4, 1, "A")]),
        ("- item\n\n  ```\n  # no\n  ```\n\n# A", [(6, 1, "A")]),
        ("# \n\n# A", [(0, 1, ""), (2, 1, "A")]),
    ],
)
def test_headings_are_those_of_commonmark(text, found):
    assert headings(text) == found


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["#", " ", "```", "~~~", "a", "\n", "\n\n", "---", "<!--", "-->", "> ", "- ", "\t", "=="]
        )
    )
)
def test_any_text_has_headings_at_its_lines(parts):
    text = "".join(parts)
    for line, level, _ in headings(text):
        assert 0 <= line <= text.count("\n")
        assert 1 <= level <= 6


@pytest.mark.parametrize(
    "text", [">" * 20_000, "- " * 20_000, "[" * 20_000, "[a]: b\n" * 5_000, "```\n" * 10_001, "#\n" * 20_000]
)
def test_odd_text_takes_no_longer(text):
    start = time.process_time()
    headings(text + "\n# A")
    assert time.process_time() - start < 10


# -- front matter ------------------------------------------------------------------------------------------


def fields(text: str) -> dict[str, object]:
    return dict(read_file(text.encode(), ".md").fields)


def test_front_matter_gives_fields_as_they_are_written():
    text = (
        "---\ntitle: My notes\ntags: [red, blue]\nauthors:\n  - Ada\n  - Bob\ndate: 2024-05-01\nzip: 00123\n"
        "version: 1.10\nyear: 2024\ndraft: false\nnothing:\nnested: {a: 1}\n2x: bad name\n---\n# A\n"
    )
    assert fields(text) == {
        "title": "My notes",
        "tags": ["red", "blue"],
        "authors": ["Ada", "Bob"],
        "date": "2024-05-01",
        "zip": "00123",
        "version": "1.10",
        "year": 2024,
        "draft": "false",
    }


def test_front_matter_may_be_toml():
    assert fields('+++\ntitle = "A"\ndate = 2024-05-01\ntags = ["x"]\ndraft = true\n+++\n') == {
        "title": "A",
        "date": "2024-05-01",
        "tags": ["x"],
        "draft": "true",
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "---\n",
        "text\n---\na: b\n---\n",
        "---\nnever closed\n# A",
        "---\n- a\n- b\n---\n",
        "---\na: [\n---\n",
        "---\n" + "[" * 5000 + "\n---\n",
        "---\na: &a [*a]\n---\n",
        "---\na: !!python/object:os.system x\n---\n",
        "---\n" + "a: b\n" * 300 + "---\n",
    ],
)
def test_what_is_no_front_matter_gives_none(text):
    assert fields(text) in ({}, {"a": "x"})


def test_front_matter_is_only_read_from_markdown():
    assert read_file(b"---\na: b\n---\n", ".txt").fields == {}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["a", ": ", "\n", "- ", "[", "]", "{", "}", "&x ", "*x", "!!", "'", '"', "|", ">", "#", "%", "@"]
        )
    )
)
def test_any_front_matter_is_read_or_passed_over(parts):
    lines = ["---", *"".join(parts).split("\n"), "---"]
    assert front_matter_end(lines)
    for value in front_matter_fields(lines).values():
        assert isinstance(value, str | int | list)
