import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unbraid.errors import DataError
from unbraid.index.files.read import read_chunks, read_text_chunks

DRAWING = """<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10">
<title>Sales</title>
<style>text { fill: red }</style>
<path d="M0 0L10 10"/><text x="1">north</text><text x="2">so<tspan>uth</tspan></text>
<desc>A chart of two regions</desc>
</svg>
"""


def test_labels_titles_and_descriptions_are_text_and_paths_are_not() -> None:
    (chunk,) = read_chunks(DRAWING.encode(), ".svg")
    assert chunk.snippet.split("\n\n") == ["Sales", "north", "south", "A chart of two regions"]
    assert (chunk.first_line, chunk.last_line) == (3, 6)


@pytest.mark.parametrize("text", ["", "<svg><path d='M0 0'/></svg>", "<svg><script>alert(1)</script></svg>"])
def test_a_drawing_without_words_has_its_reason(text: str) -> None:
    with pytest.raises(DataError, match="^SVG without text$"):
        read_text_chunks(text, ".svg")


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(["<svg>", "</svg", "<text", ">", "word", "\n", "<!--", "<svg:text>", "'"])))
def test_any_text_is_read_or_has_its_reason(parts: list[str]) -> None:
    try:
        assert read_text_chunks("".join(parts), ".svg")
    except DataError as error:
        assert str(error) == "SVG without text"
