import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.cli.show_hit import LINES, WIDTH, mark, readable
from unbraid.index import Hit, Place
from unbraid.index.store.bm25 import word_terms
from unbraid.io.printable import printable


def hit(snippet: str, path: str = "/a.md", **more) -> Hit:
    return Hit(1, 0.5, path, "text", 1, 9, snippet, 0.4, **more)


def shown(found: Hit, **options) -> list[str]:
    return [line.strip() for line in readable(found, **options).split("\n")[1:]]


def test_the_lines_around_the_match_are_shown():
    lines = [f"line {n}" for n in range(20)]
    lines[10] = "Kettles are red"
    found = hit("\n".join(lines), match="Kettles are red")
    assert shown(found) == ["line 9", "Kettles are red", "line 11"]
    assert shown(found, context=0) == ["Kettles are red"]
    assert len(shown(found, context=4)) == 9
    assert shown(hit("\n".join(lines))) == lines[:LINES]
    assert shown(hit("\n\n only \n", match="only")) == ["only"]
    assert shown(hit("", match="")) == []


def test_a_match_at_the_end_of_a_long_line_is_seen():
    line = "x " * 200 + "Kettles are red. And blue."
    assert shown(hit(line, match="Kettles are red.")) == ["…Kettles are red. And blue."]
    assert shown(hit(line, match=("x " * 200).strip())) == [line[:WIDTH].strip()]


def test_a_match_without_a_word_of_the_query_is_marked_whole():
    found = hit("one\ntwo", match="two")
    assert "\x1b[1mtwo\x1b[0m" in readable(found, "kettle", marked=True)
    assert "\x1b[1mone\x1b[0m" not in readable(found, "kettle", marked=True)
    assert readable(found, "two", marked=True).count("\x1b[1m") == 1


def test_what_is_around_a_hit_and_where_its_copies_are():
    copies = [Place(f"/{n}.md", n, n + 1) for n in range(1, 6)]
    first, *_, last = readable(hit("text", within="Guide > Keys", copies=copies)).split("\n")
    assert first == "  1  0.500  /a.md:1-9  in Guide > Keys  (file not found)"
    assert last.strip() == "5 copies: /1.md:1-2, /2.md:2-3, /3.md:3-4, …"
    assert shown(hit("text", copies=copies[:1])) == ["text", "1 copy: /1.md:1-2"]


def test_a_file_that_is_gone_is_marked(tmp_path):
    file = tmp_path / "a.md"
    found = hit("text", str(file))
    assert not found.exists and "(file not found)" in readable(found)
    file.touch()
    assert found.exists and "not found" not in readable(found)


def test_the_words_of_the_query_are_marked_whatever_their_form():
    terms = word_terms("kettle getName")
    assert mark("two Kettles in get_name", terms) == "two \x1b[1mKettles\x1b[0m in \x1b[1mget_name\x1b[0m"
    assert mark("nothing here", terms) == "nothing here"


def test_characters_of_a_script_without_spaces_are_marked_and_not_the_whole_line():
    marked = mark("连接数据库失败了", word_terms("数据库"))
    assert marked == "连接\x1b[1m数据库\x1b[0m失败了"
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
    found = hit(snippet, f"/{path}", match=snippet, within=path, copies=[Place(f"/{path}", None, None)])
    text = readable(found, query)
    assert all(one.isprintable() or one in "\n \u00a0\u3000" or not one.isascii() for one in text)
    assert not any(one in text for one in "\x1b\x07\x9b\x7f\r\u2028\u202e")
    assert all(len(line) <= 12 + WIDTH for line in text.split("\n")[1:])
    text.encode("utf-8")
