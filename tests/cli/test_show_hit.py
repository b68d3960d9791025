import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.cli.show_hit import LINES, WIDTH, best_lines, mark, printable, readable
from unbraid.index import Hit
from unbraid.index.store.bm25 import word_terms


def hit(snippet: str, path: str = "/a.md") -> Hit:
    return Hit(1, 0.5, path, "text", 1, 9, snippet, 0.4)


def shown(*args, **options) -> list[str]:
    return [line.strip() for line in readable(hit(*args), **options).split("\n")[1:]]


def test_the_lines_with_most_words_of_the_query_are_shown():
    lines = [f"line {n}" for n in range(20)]
    lines[10] = "Kettles are red"
    assert shown("\n".join(lines), query="red kettle") == ["line 9", "Kettles are red", "line 11"]
    assert shown("\n".join(lines), query="red kettle", context=0) == ["Kettles are red"]
    assert len(shown("\n".join(lines), query="red kettle", context=4)) == 9
    assert shown("\n".join(lines)) == lines[:LINES]
    assert shown("\n\n only \n") == ["only"]


def test_the_words_of_the_query_are_marked_whatever_their_form():
    terms = word_terms("kettle getName")
    assert mark("two Kettles in get_name", terms) == "two \x1b[1mKettles\x1b[0m in \x1b[1mget_name\x1b[0m"
    assert mark("nothing here", terms) == "nothing here"
    assert "\x1b" not in readable(hit("a kettle"), "kettle")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kettle \x1b]0;title\x07\x1b[31mred", "kettle ·]0;title··[31mred"),
        ("a\x9b31mb", "a·31mb"),
        ("a\rb\u2028c\u202ed", "a·b·c·d"),
        ("tab\there", "tab here"),
        ("\udcff.md and \ud800", "\\xff.md and \\ud800"),
        ("žluťoučký 数据库", "žluťoučký 数据库"),
    ],
)
def test_nothing_that_steers_a_terminal_is_shown(text, expected):
    assert printable(text) == expected


@given(st.text(max_size=60), st.text(max_size=20), st.text(max_size=20))
def test_any_hit_is_readable(snippet, path, query):
    text = readable(hit(snippet, f"/{path}"), query)
    assert all(one.isprintable() or one in "\n \u00a0\u3000" or not one.isascii() for one in text)
    assert not any(one in text for one in "\x1b\x07\x9b\x7f\r\u2028\u202e")
    assert all(len(line) <= 12 + WIDTH for line in text.split("\n")[1:])
    text.encode("utf-8")


@given(st.lists(st.text("ab ", max_size=5), min_size=1, max_size=9), st.integers(1, 12))
def test_the_best_line_is_among_those_shown(lines, count):
    terms = word_terms("aa bb")
    best = best_lines(lines, terms, count)
    assert len(best) == min(count, len(lines))
    most = max(len(terms & word_terms(line)) for line in lines)
    assert max(len(terms & word_terms(line)) for line in best) == most
