import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from unbraid.errors import DataError
from unbraid.index.add import PICTURE
from unbraid.index.files.chunk import MAX_LINES, Chunk, Limit
from unbraid.index.files.read import read_chunks, read_text_chunks, starter_limit

WORDS = "the quick brown fox jumps over the lazy dog near the river bank "


def lines_of(text: str) -> list[str]:
    return re.split("\r\n|\r|\n", text)


def check(text: str, chunks: list[Chunk]) -> None:
    """What holds for any text: nothing lost, nothing empty, in order, right lines, small enough."""
    lines = lines_of(text)
    covered: set[int] = set()
    previous = 0
    limit = starter_limit()
    assert max(limit.count([part.encoded for part in chunks]), default=0) <= limit.tokens == 254
    for part in chunks:
        assert part.first_line and part.last_line
        assert previous <= part.first_line <= part.last_line <= len(lines)
        previous = part.last_line
        assert part.snippet.strip()
        assert part.snippet in "\n".join(lines[part.first_line - 1 : part.last_line])
        assert lines[part.first_line - 1].strip() and lines[part.last_line - 1].strip()
        assert part.snippet.count("\n") == part.last_line - part.first_line <= MAX_LINES
        covered |= set(range(part.first_line, part.last_line + 1))
    assert {number for number, line in enumerate(lines, 1) if line.strip()} <= covered
    assert "".join("".join(part.snippet for part in chunks).split()) == "".join(text.split())


pieces = st.sampled_from(
    [
        "\n",
        "\n\n",
        "\r\n",
        "# A\n",
        "## B\n",
        "```\n",
        "def f():\n",
        "    return 1\n",
        "class C:\n",
        "class C { m() {\n",
        "}\n",
        "const f = () => {\n",
        "template <typename T>\n",
        "int f(int x) {\n",
        "@d\n",
        "  # c\n",
    ]
    + [
        "x = '",
        "'''\n",
        WORDS,
        WORDS * 30,
        "語" * 300,
        "\ud800",
        "\x00",
        "\x0c",
        "\u2028",
        " " * 500,
        "}\n" * 50,
        "\n" * 90,
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(pieces | st.text(max_size=30), max_size=25).map("".join),
    st.sampled_from([".md", ".py", ".js", ".tsx", ".hpp", ".rb", ".go", ".txt"]),
)
@example("# T\n\n" + WORDS * 40, ".md")
@example("x\n" + "\n" * 500 + "y\n" * 3, ".txt")
def test_chunks_hold_every_line_in_order(text: str, suffix: str) -> None:
    check(text, read_text_chunks(text, suffix))


@pytest.mark.parametrize("text", ["", "\n", "  \n\t\n", "\u2028"])
def test_blank_text_has_no_chunk(text: str) -> None:
    assert read_text_chunks(text, ".md") == []


def test_a_short_file_is_one_chunk_as_it_stands() -> None:
    assert read_text_chunks("\none\n\n two\n", ".txt") == [Chunk(2, 4, "one\n\n two")]


def test_paragraphs_are_kept_whole() -> None:
    text = "\n\n".join([WORDS * 6] * 4)
    assert [(part.first_line, part.last_line) for part in read_text_chunks(text, ".txt")] == [(1, 3), (5, 7)]


def test_a_line_of_1_mb_is_cut_into_equal_pieces() -> None:
    text = "head\n" + "word " * 200_000
    chunks = read_text_chunks(text, ".txt")
    check(text, chunks)
    assert len(chunks) == 912 and {part.last_line for part in chunks} == {2}


def test_markdown_context_is_the_headings_above() -> None:
    text = f"# Guide\n\n{WORDS * 9}\n\n## Install\n\n{WORDS * 9}\n\n{WORDS * 9}\n\n### On a Mac\n\n{WORDS * 9}\n\n## Use\n\n{WORDS * 9}\n"
    assert [(part.first_line, part.context) for part in read_text_chunks(text, ".md")] == [
        (1, ()),
        (5, ("Guide",)),
        (9, ("Guide", "Install")),
        (11, ("Guide", "Install")),
        (15, ("Guide",)),
    ]


def test_the_encoded_text_begins_with_the_context_and_the_snippet_does_not() -> None:
    part = Chunk(3, 3, "run pip", ("Guide", "Install"))
    assert part.encoded == "Guide > Install: run pip"
    assert Chunk(1, 1, "run pip").encoded == "run pip"


def test_a_hash_within_a_code_fence_is_no_heading() -> None:
    text = f"# A\n\n```\n# not a heading\n```\n\n{WORDS * 20}\n\n{WORDS * 9}"
    assert {part.context for part in read_text_chunks(text, ".md")} == {(), ("A",)}


def test_a_heading_is_not_left_alone() -> None:
    for body in (WORDS * 40, "\n".join([WORDS] * 40)):
        first = read_text_chunks(f"# Title\n\n{body}", ".md")[0]
        assert first.snippet.startswith("# Title\n\nthe quick")


def test_small_sections_are_joined_under_the_heading_they_share() -> None:
    (part,) = read_text_chunks("# A\n\n## B\n\none\n\n## C\n\ntwo\n", ".md")
    assert (part.first_line, part.last_line, part.context) == (1, 9, ())


BODY = "".join(f"    value_{n} = compute(other_{n}, {n})\n" for n in range(12))


def test_python_is_cut_at_definitions_with_decorators_and_comments() -> None:
    text = (
        f'"""Doc."""\n\nimport os\n\n\n# why\n@cache\ndef f():\n{BODY}\n\nasync def g():\n{BODY}\n\nX = 1\n'
    )
    assert [(part.first_line, part.last_line, part.context) for part in read_text_chunks(text, ".py")] == [
        (1, 20, ()),
        (23, 35, ()),
        (38, 38, ()),
    ]


def test_a_long_class_gives_one_chunk_per_method_under_its_name() -> None:
    method = "    def {}(self):\n" + BODY.replace("    ", "        ") + "\n"
    text = f"class Big(Base):\n    size = 1\n\n{method.format('a')}{method.format('b')}"
    assert [(part.first_line, part.context) for part in read_text_chunks(text, ".py")] == [
        (1, ()),
        (18, ("class Big",)),
    ]


def test_a_long_function_is_cut_and_the_rest_bears_its_name() -> None:
    chunks = read_text_chunks("def long():\n" + BODY * 4, ".py")
    assert [part.context for part in chunks[:2]] == [(), ("def long",)]


@pytest.mark.parametrize(
    "text", ["def f(:\n    x\n", "(" * 5000, "x = '\0'", "x = '\ud800'", "if x == '\\d': pass"]
)
def test_python_that_does_not_parse_is_chunked_all_the_same(text: str) -> None:
    check(text, read_text_chunks(text, ".py"))


def test_a_picture_has_no_lines() -> None:
    assert (PICTURE.first_line, PICTURE.last_line, PICTURE.encoded) == (None, None, "")


@pytest.mark.parametrize("data", [b"a\0b", b"\xff\xd8\x01\x02\x03", b"a\0\0\0"])
def test_what_is_no_text_is_named_binary(data: bytes) -> None:
    for suffix in (".txt", ".html", ".ipynb"):
        with pytest.raises(DataError, match="^binary$"):
            read_chunks(data, suffix)


def test_a_suffix_in_capitals_is_the_same() -> None:
    assert read_text_chunks("# A\n\n<b>x</b>", ".HTML") == read_text_chunks("# A\n\n<b>x</b>", ".html")


HARD = {
    "chemistry": "Benzenesulfonamide, dichloromethane and dimethylformamide were distilled over phosphorus pentoxide. ",
    "surnames": "Bhattacharyya, Grzegorczyk, Krzyzanowski, Mkrtchyan, Szczepanik, Tshabalala, Przybylski; ",
    "German": "Die Versicherungsgesellschaften verlangen Nachweise, weil Zugriffsberechtigungen fehlen. ",
    "PEM": "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDc+8iL0Yk2JxV7\n",
    "Chinese": "数据库连接失败，请检查网络设置。用户名或密码错误。",
    "Thai": "ไม่สามารถเชื่อมต่อกับฐานข้อมูลได้",
    "emoji": "😀🎉",
    "hexadecimal": "deadbeefcafe0123",
}


@pytest.mark.parametrize("kind", HARD)
@pytest.mark.parametrize("suffix", [".txt", ".md", ".html", ".py"])
def test_every_token_of_any_text_is_read(kind: str, suffix: str) -> None:
    limit = starter_limit()
    text = HARD[kind] * 60
    chunks = read_text_chunks(text, suffix)
    assert max(limit.sizes([part.encoded for part in chunks])) <= limit.tokens
    assert "".join("".join(part.snippet.split()) for part in chunks) == "".join(text.split())
    assert (
        len(chunks) <= 2 + 1.5 * limit.sizes([text])[0] / limit.room
    )  # and none is much shorter than need be


def test_a_long_context_leaves_room_for_the_text() -> None:
    text = "".join(f"{'#' * level} {HARD['chemistry'] * 2}\n\n{WORDS * 30}\n\n" for level in (1, 2, 3, 4))
    chunks = read_text_chunks(text, ".md")
    limit = starter_limit()
    assert max(limit.count([part.encoded for part in chunks])) <= limit.tokens
    assert any(part.context for part in chunks)


def test_the_limit_is_that_of_the_model() -> None:
    tiny = Limit(20, lambda texts: [len(one.split()) for one in texts])
    chunks = read_text_chunks("# A\n\n" + "word " * 100, ".md", tiny)
    assert len(chunks) > 5
    assert all(len(part.encoded.split()) <= 20 for part in chunks)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([*HARD.values(), "\n", "\n\n", " ", "# ", "a" * 300, "```\n"]), max_size=40).map(
        "".join
    ),
    st.sampled_from([".md", ".txt", ".py"]),
    st.integers(4, 40),
)
def test_chunks_fit_any_limit(text: str, suffix: str, tokens: int) -> None:
    limit = Limit(tokens, lambda texts: [len(re.findall(r"\w{1,3}|[^\w\s]", one)) for one in texts])
    chunks = read_text_chunks(text, suffix, limit)
    assert max(limit.sizes([part.encoded for part in chunks]), default=0) <= tokens
    assert "".join("".join(part.snippet for part in chunks).split()) == "".join(text.split())
