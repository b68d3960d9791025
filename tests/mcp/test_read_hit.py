"""The tool read_hit: lines of the file where it is what was indexed, else what was stored. No other file is read."""

import os
import sys

import pytest

from unbraid.index.files.chunk import CHARACTERS_OF_TOKEN
from unbraid.mcp.paths import Paths
from unbraid.mcp.stored_place import PlaceText
from unbraid.mcp.tools import lines_within


def test_lines_of_an_unchanged_file_are_its_own(call):
    found = call("read_hit", path="src/vault.py", first_line=4, last_line=7)
    assert found.structure["text"] == (
        'def rotate_keys(vault):\n\t"""Replace every key of a vault by a new one."""\n'
        "\tfor key in vault:\n\t\tvault[key] = secrets.token_bytes(32)"
    )
    about = found.structure
    assert (about["first_line"], about["last_line"], about["total_lines"]) == (4, 7, 12)
    assert found.text.startswith("src/vault.py:4-7 of 12") and "note" not in about


@pytest.mark.parametrize(
    ("asked", "lines"),
    [
        ({"first_line": 6, "context": 2}, (4, 8)),
        ({"first_line": 1, "last_line": 2, "context": 1}, (1, 3)),
        ({"first_line": 12, "last_line": 999, "context": 1}, (11, 12)),
        ({}, (1, 12)),
        ({"path": "src/vault.py:4-7"}, (4, 7)),
        ({"path": "vault.py:6", "context": 1}, (5, 7)),
        ({"path": "src/vault.py:4-7", "first_line": 2}, (2, 2)),
    ],
)
def test_it_reads_what_is_asked_for(call, asked, lines):
    found = call("read_hit", **{"path": "src/vault.py", **asked}).structure
    assert (found["first_line"], found["last_line"]) == lines
    assert found["text"].count("\n") == lines[1] - lines[0]


def test_an_absolute_path_and_a_place_of_a_hit_are_understood(call, files):
    assert call("read_hit", path=f"{files}/docs/bread.md:1-1").structure["text"] == "# Bread"


def test_a_format_that_is_not_its_lines_is_read_as_the_index_read_it(call):
    found = call("read_hit", path="page.html")
    assert "The tide turns" in found.structure["text"] and "<p>" not in found.text
    assert "not its lines" in found.structure["note"] and "total_lines" not in found.structure


def test_a_picture_has_no_lines(call):
    found = call("read_hit", path="red.png")
    assert found.structure["text"] == "" and not found.is_error


def test_a_long_text_is_cut_and_the_answer_says_how_to_go_on(call):
    found = call("read_hit", path="long.txt", max_tokens=300).structure
    on = found["last_line"] + 1
    assert found["total_lines"] == 119 and f"first_line={on} goes on" in found["note"]
    more = call("read_hit", path="long.txt", first_line=on, last_line=on + 20, max_tokens=300).structure
    assert more["first_line"] == on


def test_context_is_cut_before_what_was_asked_for(call):
    found = call(
        "read_hit", path="long.txt", first_line=61, last_line=61, context=50, max_tokens=300
    ).structure
    assert found["first_line"] < 61 < found["last_line"] < 111
    assert found["text"].split("\n")[61 - found["first_line"]] == "Paragraph 30 is about ships and harbours."


def lines_of(lines, first, last, room):
    """What `lines_within` makes of lines `first` to `last`, and how many texts it counted tokens of at a time."""
    counted = []

    def count(texts):
        counted.append(len(texts))
        return [max(1, len(text) // CHARACTERS_OF_TOKEN) for text in texts]

    found = PlaceText(lines, 1, len(lines), (first - 1, last), len(lines))
    return lines_within(Paths(["/a/b.txt"]), "/a/b.txt", found, room, count)[0], max(counted)


def test_a_word_that_no_tokenizer_knows_is_cut_too():
    lines = ["Ships sail.", "A" * 300_000, "The end."]
    whole, _ = lines_of(lines, 1, 3, 500)
    assert whole.text == "Ships sail." and "first_line=2 goes on" in whole.note
    long, _ = lines_of(lines, 2, 2, 500)
    assert set(long.text) == {"A"} and len(long.text) <= 500 and (long.first_line, long.last_line) == (2, 2)
    assert lines_of(lines, 3, 3, 500)[0].text == "The end."


def test_a_file_of_many_lines_is_looked_at_near_the_place_only():
    lines = [f"{number},ship" for number in range(1, 100_001)]
    near, counted = lines_of(lines, 50_000, 50_002, 100)
    assert counted <= 201 and near.total_lines == 100_000 and "Cut" in near.note
    assert near.text.startswith(f"{near.first_line},") and near.text.endswith(f"\n{near.last_line},ship")
    assert near.first_line <= 50_000 and near.last_line >= 50_002
    begin, _ = lines_of(lines, 1, 100_000, 100)
    assert (
        begin.text.startswith("1,ship\n2,ship") and f"first_line={begin.last_line + 1} goes on" in begin.note
    )


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"path": "docs/keys.md", "first_line": 99}, "the file has 27 lines"),
        ({"path": "docs/keys.md", "first_line": 5, "last_line": 2}, "last_line 2 comes before first_line 5"),
        ({"path": "page.html", "first_line": 40}, "no text of that place"),
        ({"path": "docs/../../../etc/passwd"}, "the index holds no file"),
        ({"path": "docs"}, "the index holds no file"),
        ({"path": "bread.md:1-2"}, "2 files are called"),
    ],
)
def test_what_is_not_there_is_refused(call, asked, message):
    answer = call("read_hit", **asked)
    assert answer.is_error and message in answer.text


def test_a_changed_file_is_shown_as_it_was_indexed(changing):
    folder, call = changing
    (folder / "keys.md").write_text("something else entirely\n" * 5)
    found = call("read_hit", path="keys.md", first_line=9)
    assert "every ninety days" in found.structure["text"] and "something else" not in found.text
    assert "not as it was indexed" in found.structure["note"]
    assert "no text of that place" in call("read_hit", path="keys.md", first_line=500).text


def test_a_deleted_file_is_shown_as_it_was_indexed(changing):
    folder, call = changing
    (folder / "keys.md").unlink()
    assert "every ninety days" in call("read_hit", path="keys.md").structure["text"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
@pytest.mark.parametrize("kind", ["link", "linked folder", "pipe", "same size"])
def test_nothing_that_was_not_indexed_is_read(changing, tmp_path, kind):
    folder, call = changing
    path = folder / "keys.md"
    size = path.stat().st_size
    secret = tmp_path / "elsewhere" / "keys.md"
    secret.parent.mkdir()
    secret.write_text("the secret".ljust(size))
    if kind == "linked folder":
        os.rename(folder, tmp_path / "moved")
        folder.symlink_to(secret.parent)
    else:
        path.unlink()
    if kind == "link":
        path.symlink_to(secret)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "same size":
        path.write_text("the secret".ljust(size))
    found = call("read_hit", path="keys.md")
    assert "secret team" not in found.text and "the secret" not in found.text
    assert (
        "every ninety days" in found.structure["text"] and "not as it was indexed" in found.structure["note"]
    )
