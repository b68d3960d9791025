"""What is shown of a place: the file's own lines where they are what was indexed, else the stored chunks."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.errors import ItemError
from unbraid.index.files.read import read_file
from unbraid.index.store.entry import Entry
from unbraid.mcp.stored_place import CHANGED, STORED, chunk_at, own_lines, text_at


def entries_of(
    path: Path, *chunks: tuple[int | None, int | None, str], language: str = "", **more
) -> list[Entry]:
    content = path.read_bytes() if path.exists() else b""
    sha = hashlib.sha256(content).hexdigest()
    kind = more.pop("modality", "text")
    return [
        Entry(
            path.as_posix(),
            kind,
            first,
            last,
            text,
            sha,
            len(content),
            1,
            number,
            len(chunks),
            language,
            **more,
        )
        for number, (first, last, text) in enumerate(chunks)
    ]


@pytest.fixture
def pages(tmp_path):
    """A PDF that is gone: two pages, the second in two chunks."""
    return entries_of(tmp_path / "a.pdf", (1, 1, "first page"), (2, 2, "second"), (2, 2, "page"))


def test_pages_are_shown_as_they_were_indexed(pages):
    found = text_at(pages, 2, None, 0)
    assert (found.lines, found.first_line, found.last_line) == (["second", "page"], 2, 2)
    assert (found.core, found.total, found.note) == ((0, 2), None, CHANGED)
    assert text_at(pages, None, None, 0).first_line == 1
    assert text_at(pages, 2, 2, 1).lines[0] == "first page"
    with pytest.raises(ItemError, match="what it holds ends at 2"):
        text_at(pages, 5, None, 0)


def test_an_unchanged_file_that_is_not_its_lines_says_so(tmp_path):
    path = tmp_path / "a.html"
    path.write_text("<p>one\n</p><p>two</p>\n")
    assert text_at(entries_of(path, (1, 2, "one\ntwo"), language="html"), None, None, 0).note == STORED


def test_words_in_a_picture_are_shown(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG")
    picture = entries_of(path, (None, None, ""), modality="image")
    words = entries_of(path, (None, None, "EXIT"), language="picture")
    found = text_at([*picture, *words], 3, None, 0)
    assert (found.lines, found.first_line, found.note) == (["EXIT"], None, "")
    assert text_at(picture, None, None, 0).lines == []


@pytest.mark.parametrize(
    ("line", "chunk"), [(None, 0), (1, 0), (3, 0), (4, 1), (6, 1), (7, 1), (9, 2), (10, 3), (99, 3)]
)
def test_a_line_is_in_the_shortest_chunk_that_holds_it_or_nearest_to_it(tmp_path, line, chunk):
    chunks = entries_of(tmp_path / "a", (1, 3, "a"), (4, 6, "b"), (9, 9, "long"), (10, 12, "c"))
    assert chunk_at(chunks, line) == chunk


LINES = st.text("ab cé\t#", max_size=30) | st.integers(1, 900).map(lambda n: "wörd " * n)


@given(st.lists(LINES, min_size=1, max_size=30))
def test_the_lines_of_a_text_are_found_again(lines):
    """Whatever the cutting makes of a text, its chunks stand in its lines."""
    content = "\n".join(lines).encode()
    chunks = read_file(content, ".md").chunks
    entries = [
        Entry("/a.md", "text", one.first_line, one.last_line, one.snippet, "", 0, 0, number, len(chunks))
        for number, one in enumerate(chunks)
    ]
    if entries:
        assert own_lines(entries, content) == (lines if lines[-1] else lines[:-1])


@pytest.mark.parametrize("suffix", [".py", ".txt", ".md", ".go", ".c"])
def test_code_and_text_are_their_lines(suffix):
    content = b"# One\n\ndef f(x):\n\treturn x\n\n\n" + b"x = '" + b"word " * 600 + b"'\n"
    chunks = read_file(content, suffix).chunks
    entries = [
        Entry("/a", "text", one.first_line, one.last_line, one.snippet, "", 0, 0, number, len(chunks))
        for number, one in enumerate(chunks)
    ]
    assert len(entries) > 2 and own_lines(entries, content) == content.decode().split("\n")[:-1]
