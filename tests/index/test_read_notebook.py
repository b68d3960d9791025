import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.errors import DataError
from unbraid.index.files.read import read_chunks, read_text_chunks

WORDS = "the quick brown fox jumps over the lazy dog near the river bank "
BODY = "".join(f"    value_{n} = compute(other_{n}, {n})\n" for n in range(12))


def notebook(*cells: tuple[str, str], indent: int | None = 1, suffix: str = ".py") -> str:
    """A notebook of (type, source) cells, as Jupyter writes it: a string for each line."""
    written = [
        {"cell_type": kind, "metadata": {}, "source": source.splitlines(keepends=True)}
        | ({"outputs": [{"text": ["left out\n"]}], "execution_count": 1} if kind == "code" else {})
        for kind, source in cells
    ]
    metadata = {"language_info": {"file_extension": suffix}}
    return json.dumps(
        {"cells": written, "metadata": metadata, "nbformat": 4}, indent=indent, ensure_ascii=False
    )


def test_lines_are_those_of_the_file() -> None:
    text = notebook(("markdown", "# Rain\n\nBy month."), ("code", "import csv\nrows = []"))
    (part,) = read_text_chunks(text, ".ipynb")
    assert (
        part.snippet == "# Rain\n\nBy month.\n\nimport csv\nrows = []" and part.first_line and part.last_line
    )
    lines = text.split("\n")
    assert (lines[part.first_line - 1], lines[part.last_line - 1]) == (
        '    "# Rain\\n",',
        '    "rows = []"',
    )


def test_markdown_cells_are_text_and_code_cells_code_under_the_headings_above() -> None:
    text = notebook(
        ("markdown", f"# Rain\n\n{WORDS * 9}\n"),
        ("code", f"def load():\n{BODY}{BODY}"),
        ("markdown", f"## Plot\n\n{WORDS * 9}\n"),
        ("code", f"def plot():\n{BODY}"),
        ("raw", f"# no heading\n\n{WORDS * 9}\n"),
    )
    assert [(part.modality, part.context) for part in read_text_chunks(text, ".ipynb")] == [
        ("text", ()),
        ("code", ("Rain",)),
        ("code", ("Rain", "def load")),
        ("text", ("Rain",)),
        ("code", ("Rain", "Plot")),
        ("text", ("Rain", "Plot")),
    ]


def test_a_notebook_on_one_line_is_all_on_line_1() -> None:
    (part,) = read_text_chunks(notebook(("code", "a\nb"), indent=None), ".ipynb")
    assert (part.first_line, part.last_line, part.snippet) == (1, 1, "a\nb")


def test_a_source_that_is_one_string_is_read_too() -> None:
    text = '{"cells": [\n{"cell_type": "code",\n"source": "a\\nb"}]}'
    (part,) = read_text_chunks(text, ".ipynb")
    assert (part.first_line, part.last_line, part.snippet) == (3, 3, "a\nb")


def test_another_language_is_cut_by_its_own_grammar() -> None:
    pytest.importorskip("tree_sitter")
    method = "  m{}() {{\n" + BODY + "  }}\n\n"
    text = notebook(
        ("code", "class A {\n" + (method.format(1) + method.format(2)).replace("}}", "}") + "}\n"),
        suffix=".js",
    )
    assert [part.context for part in read_text_chunks(text, ".ipynb")] == [(), ("class A",)]


def test_what_json_can_spell_and_utf8_cannot_is_replaced() -> None:
    (part,) = read_text_chunks(
        '{"cells": [{"cell_type": "code", "source": ["a\\ud800b\\u0000c"]}]}', ".ipynb"
    )
    assert part.snippet == "a\ufffdb c"


@pytest.mark.parametrize(
    "text",
    ["", "no", "[]", "{}", '{"cells": 1}', '{"worksheets": []}', "[" * 100_000, '{"cells": [', "1e999"],
)
def test_what_is_no_notebook_is_named_broken(text: str) -> None:
    with pytest.raises(DataError, match="^broken notebook$"):
        read_text_chunks(text, ".ipynb")


def test_a_notebook_without_cells_has_no_chunk() -> None:
    assert (
        read_text_chunks('{"cells": []}', ".ipynb")
        == read_text_chunks('{"cells": [1, {}, {"source": 5}]}', ".ipynb")
        == []
    )


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["source", "cell_type", "x"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(values | st.fixed_dictionaries({"cell_type": values, "source": values}), max_size=4))
def test_any_cells_are_read(cells: list[Any]) -> None:
    text = json.dumps({"cells": cells}, indent=1)
    for part in read_text_chunks(text, ".ipynb"):
        assert part.snippet.strip() and part.first_line and part.last_line
        assert 1 <= part.first_line <= part.last_line <= text.count("\n") + 1


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["markdown", "code", "raw"]), st.text("ab #\n`é", max_size=60)), max_size=5
    )
)
def test_every_word_of_every_cell_is_in_a_chunk(cells: list[tuple[str, str]]) -> None:
    parts = read_text_chunks(notebook(*cells), ".ipynb")
    words = "".join(source for _, source in cells)
    assert "".join("".join(part.snippet for part in parts).split()) == "".join(words.split())


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_are_told_apart(data: bytes) -> None:
    with pytest.raises(DataError, match="^(binary|broken notebook)$"):
        read_chunks(data, ".ipynb")


def test_a_notebook_of_format_3_is_read_as_one_of_format_4() -> None:
    cells = [
        {"cell_type": "heading", "level": 2, "source": ["Rain"]},
        {"cell_type": "code", "input": ["rows = load()\n", "print(rows)"], "outputs": [{"text": "left out"}]},
    ]
    text = json.dumps({"nbformat": 3, "worksheets": [{"cells": cells}, {}, 5]}, indent=1)
    (part,) = read_text_chunks(text, ".ipynb")
    assert part.snippet == "## Rain\n\nrows = load()\nprint(rows)"
    assert part.first_line and text.split("\n")[part.first_line - 1].strip() == '"Rain"'
