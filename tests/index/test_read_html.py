import time
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.index.files.chunk import Chunk
from unbraid.index.files.read import read_text_chunks
from unbraid.index.files.read_html import read_html

WORDS = "the quick brown fox jumps over the lazy dog near the river bank "


def seen(text: str) -> list[tuple[int, str]]:
    """(line in the file, text) of every line that is not blank."""
    source, _ = read_html(text)
    return [(number, line) for number, line in zip(source.numbers, source.lines, strict=True) if line]


def test_lines_are_those_of_the_file() -> None:
    text = "<html>\n<body>\n<p>One <b>bold</b>\nand two</p>\n\n\n<p\n  class='x'>Three</p></body>"
    assert seen(text) == [(3, "One bold"), (4, "and two"), (8, "Three")]


def test_scripts_styles_and_comments_are_left_out() -> None:
    text = (
        "<style>p { color: red }</style><p>a<!-- <p>no</p> -->b</p><script>if (1 < 2) { no('</p>') }</script>"
        "<svg><text>no</text></svg><noscript>no</noscript><template>no</template><p>c"
    )
    assert seen(text) == [(1, "ab"), (1, "c")]


def test_entities_are_characters_and_no_line_ends() -> None:
    assert seen("<p>a &lt; b &amp;&nbsp;c &#10; d &#xD800;</p>") == [(1, "a < b & c d \ufffd")]


def test_a_bracket_in_a_quoted_attribute_ends_no_tag() -> None:
    assert seen("<p title='a > b' data-x=\"<p>\">text</p>") == [(1, "text")]


def test_what_only_looks_like_a_tag_is_text() -> None:
    assert seen("<p>1 < 2 and a <- b</p> if a<b") == [(1, "1 < 2 and a <- b"), (1, "if a<b")]


def test_headings_are_the_context_and_replace_the_title() -> None:
    page = f"<title>Site</title><p>{WORDS * 9}</p><h1>Guide ¶</h1><p>{WORDS * 9}</p><h2>Use</h2><p>{WORDS * 9}<p>{WORDS * 9}"
    assert [part.context for part in read_text_chunks(page, ".html")] == [
        (),
        (),
        ("Guide",),
        ("Guide", "Use"),
    ]


def test_paragraphs_are_apart_and_list_items_are_not() -> None:
    assert read_text_chunks("<p>a</p><ul><li>b</li><li>c<br>d</ul><table><tr><td>e<td>f</table>", ".htm") == [
        Chunk(1, 1, "a\n\nb\nc\nd\n\ne f")
    ]


def test_preformatted_text_keeps_its_shape() -> None:
    assert (
        read_text_chunks("<pre>\ndef f():\n\n    return  1\n</pre>", ".html")[0].snippet
        == "def f():\n\n    return  1"
    )


class Reference(HTMLParser):
    """Words in the order in which they are seen, by the standard library's parser."""

    def __init__(self) -> None:
        super().__init__()
        self.words = ""
        self.unseen = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.unseen += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self.unseen -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self.unseen:
            self.words += data


inline = st.text("abc é&<'\" \n", max_size=20).map(
    lambda text: text.replace("&", "&amp;").replace("<", "&lt;")
)
trees = st.recursive(
    inline,
    lambda inner: (
        st.tuples(
            st.sampled_from(["p", "div", "b", "h2", "li", "td", "pre", "A", "x-y"]),
            st.sampled_from(["", " a='>'", ' b="<"', " c\n", " d = 'x'"]),
            st.lists(inner, max_size=4),
        ).map(lambda node: f"<{node[0]}{node[1]}>{''.join(node[2])}</{node[0]}>")
        | st.just("<script>if (a < b) { '<p>' }</script>")
        | st.just("<!-- <p> -->")
        | st.just("<!DOCTYPE html>")
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(trees)
def test_the_words_are_those_that_html_parser_finds(page: str) -> None:
    reference = Reference()
    reference.feed(page)
    reference.close()
    source, _ = read_html(page)
    assert "".join("".join(source.lines).split()) == "".join(reference.words.split())
    assert source.numbers == sorted(source.numbers)
    assert all(1 <= number <= page.count("\n") + 1 for number in source.numbers)


@settings(max_examples=200, deadline=None)
@given(
    st.text()
    | st.lists(st.sampled_from("< > </ <a <p> <!-- --> <script> <svg> ' \" = & \n x".split(" "))).map("".join)
)
def test_no_text_makes_it_fail(text: str) -> None:
    for part in read_text_chunks(text, ".html"):
        assert part.snippet.strip() and part.first_line and part.last_line
        assert 1 <= part.first_line <= part.last_line <= len(text.splitlines()) + 1


@pytest.mark.parametrize(
    "piece",
    [
        "<a",
        "<!--",
        "<!",
        "</",
        "<a b='",
        "<?",
        "<script>",
        "<svg>",
        "<title>",
        "< ",
        '<a "',
        "<a =",
        "<p>",
        "&",
        "<a>'",
    ],
)
def test_time_grows_with_the_length_and_no_faster(piece: str) -> None:
    start = time.process_time()
    read_html(piece * 60_000)
    assert time.process_time() - start < 10  # html.parser of Python 3.11.7: 353 s for 200,000 of "<a"


def test_a_cdata_section_is_text_in_xhtml_only() -> None:
    page = "<html><body><pre>\n<![CDATA[if (a < b && c) run();]]></pre><p>after</p></body></html>"
    (part,) = read_text_chunks(page, ".xhtml")
    assert part.snippet.split("\n")[0] == "if (a < b && c) run();"
    assert (part.first_line, part.last_line) == (2, 2)
    assert "after" in part.snippet
    assert "run" in read_text_chunks(f"<?xml version='1.0'?>{page}", ".html")[0].snippet
    assert read_text_chunks("<![CDATA[never closed", ".xhtml") != []
