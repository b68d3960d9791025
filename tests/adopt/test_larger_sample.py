import pytest

from unbraid.adopt.larger_sample import CHARACTERS, LEAST_CHARACTERS, folder_texts, library_texts, spread
from unbraid.adopt.sample_texts import ODD, with_hard_texts
from unbraid.cli.adopt import _lines
from unbraid.errors import AdoptError

LINES = [f"Line number {number} of a text that says something about itself." for number in range(60)]


def test_every_python_has_thousands_of_texts():
    texts = library_texts(2000)
    assert len(texts) == len(set(texts)) == 2000
    assert all(LEAST_CHARACTERS <= len(text) <= CHARACTERS for text in texts)


def test_texts_are_spread_over_the_whole_in_order():
    assert spread(LINES, 6) == LINES[::10]
    assert spread(LINES, 100) == LINES


def test_a_file_gives_its_lines_and_a_folder_what_an_index_reads(tmp_path):
    (tmp_path / "one.txt").write_text("\n".join([*LINES, "short", LINES[0]]))
    assert folder_texts(tmp_path / "one.txt", 100) == LINES
    (tmp_path / "picture.png").write_bytes(b"no picture")
    (tmp_path / "broken.pdf").write_bytes(b"no pdf")
    assert "".join(folder_texts(tmp_path, 8)).startswith("Line number 0")


@pytest.mark.parametrize("name", ["none", "few.txt", "binary.txt"])
def test_a_place_without_texts_is_refused_by_name(name, tmp_path):
    (tmp_path / "few.txt").write_text(LINES[0])
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AdoptError, match=name):
        folder_texts(tmp_path / name, 100)


def test_odd_and_long_texts_join_a_users_sample_once():
    found = with_hard_texts(["a cat", "a cat", ODD[0]])
    assert found[:2] == ["a cat", ODD[0]] and found.count(ODD[0]) == 1
    assert set(ODD) < set(found) and max(map(len, found)) > 1000


def test_a_sample_counts_each_line_once(tmp_path):
    place = tmp_path / "texts.txt"
    place.write_text("the same line\n" * 60)
    with pytest.raises(AdoptError, match="1 different lines with text, expected 50"):
        _lines(place)
    place.write_text("".join(f"line {number % 50}\n \n" for number in range(100)))
    assert _lines(place) == [f"line {number}" for number in range(50)]
