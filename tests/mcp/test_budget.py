"""Answers within their tokens: what is kept, what is cut, what is counted."""

import re

from hypothesis import given
from hypothesis import strategies as st

from unbraid.mcp.answers import FoundHit, ReadLines, lines_text
from unbraid.mcp.budget import LINE, Shown, fit_hits, fit_lines, shortened, size

LINES = st.text('ab \n|"\\é中', max_size=120)


def count(texts):
    """Words and signs, as a tokenizer counts them."""
    return [len(re.findall(r"\w|[^\w\s]", text)) for text in texts]


def shown(text: str, match: str = "", place: str = "a.md:1-9") -> Shown:
    return Shown(FoundHit(path="a.md", first_line=1, last_line=9, score=0.5, text=text), place, match)


@given(st.lists(LINES, max_size=8), st.integers(200, 2000), st.text(max_size=30))
def test_hits_fit_and_none_is_lost_unsaid(texts, most, note):
    found = [shown(text, text[:3]) for text in texts]
    answer, text = fit_hits("/files", found, note, most, count)
    assert size(answer, text, count) <= most or not answer.hits
    assert len(answer.hits) + answer.left_out == len(texts)
    for hit, whole in zip(answer.hits, texts, strict=False):
        assert hit.text == whole if not hit.cut else hit.text in whole and hit.text != whole
    assert (f"{sum(hit.cut for hit in answer.hits)} cut" in answer.note) == any(
        hit.cut for hit in answer.hits
    )
    assert (f"{answer.left_out} more left out" in answer.note) == bool(answer.left_out)


def test_with_room_for_all_nothing_is_cut():
    answer, _ = fit_hits("/files", [shown("a\nb\nc")] * 3, "", 10_000, count)
    assert [hit.text for hit in answer.hits] == ["a\nb\nc"] * 3 and answer.note == ""


def test_the_best_hits_are_whole_and_the_rest_show_the_line_that_matches():
    lines = "\n".join(f"line {number} of the text" for number in range(12))
    answer, _ = fit_hits("/files", [shown(lines, "line 7 of")] * 4, "", 1000, count)
    cuts = [hit.cut for hit in answer.hits]
    assert len(cuts) == 4 and cuts == sorted(cuts) and set(cuts) == {False, True}
    assert all("line 7 of" in hit.text for hit in answer.hits)


@given(LINES, st.integers(1, 9))
def test_a_shortened_hit_is_so_many_lines_around_the_match(text, lines):
    found = shortened(shown(text, text[-3:]), lines).hit.text
    assert found in text and found.count("\n") + 1 == min(lines, text.count("\n") + 1)


def test_of_one_long_line_the_part_with_the_match_is_shown():
    found = shortened(shown("x" * 1000 + "here" + "y" * 1000, "here"), 1).hit
    assert len(found.text) == LINE and found.text.startswith("here") and found.cut


@given(st.lists(LINES, min_size=1, max_size=30), st.data())
def test_lines_fit_and_the_core_comes_first(lines, data):
    first = data.draw(st.integers(0, len(lines) - 1))
    last = data.draw(st.integers(first + 1, len(lines)))
    most = data.draw(st.integers(0, 3000))
    begin, end = fit_lines(lines, first, last, most, count)
    assert 0 <= begin <= first <= end <= len(lines)
    assert begin == first or end >= last  # context only beside the whole core
    kept = ReadLines(folder="", path="", text="\n".join(lines[begin:end]))
    empty = ReadLines(folder="", path="", text="")
    assert size(kept, lines_text(kept, ""), count) - size(empty, lines_text(empty, ""), count) <= most


def test_all_lines_are_kept_where_they_fit():
    assert fit_lines(["a"] * 5, 2, 3, 1000, count) == (0, 5)
