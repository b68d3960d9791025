import gzip

import pytest

from unbraid.errors import DataError
from unbraid.io.jsonl import read_rows


def rows(path):
    return [line.row for line in read_rows(path)]


def test_rows_come_in_the_order_of_the_file(tmp_path, write_rows):
    path = write_rows(tmp_path / "a.jsonl.gz", [{"text": "eins"}, {"text": "zwei ü 猫"}])
    assert rows(path) == [{"text": "eins"}, {"text": "zwei ü 猫"}]


def test_a_file_may_be_plain(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one"}\n{"text": "two"}', encoding="utf-8")
    assert rows(path) == [{"text": "one"}, {"text": "two"}]


@pytest.mark.parametrize("bad", ["{", "[1]", "7", "null", '{"a": "\x07"}'])
def test_a_bad_line_is_named(bad, tmp_path, write_rows):
    path = write_rows(tmp_path / "a.jsonl.gz", [{"text": "one"}, {"text": "two"}, bad, {"text": "four"}])
    with pytest.raises(DataError, match=r"a\.jsonl\.gz, line 3: found"):
        rows(path)


def test_a_line_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "one"}\n{"text": "\xff"}\n{"text": "three"}\n'))
    with pytest.raises(DataError, match="line 2: found byte 0xff"):
        rows(path)


def test_a_truncated_file_is_refused_with_the_line(tmp_path, pairs):
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(pairs.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"cut\.jsonl\.gz, after line \d+: cannot be read"):
        rows(path)


@pytest.mark.parametrize("place", [0, 100, 400, -6], ids=["magic", "tables", "body", "checksum"])
def test_a_flipped_byte_is_refused_with_a_line(place, tmp_path, pairs):
    content = bytearray(pairs.read_bytes())
    content[place] ^= 0xFF
    path = tmp_path / "flipped.jsonl.gz"
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"flipped\.jsonl\.gz, (after )?line \d+: "):
        rows(path)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"no\.jsonl\.gz"):
        rows(tmp_path / "no.jsonl.gz")


def test_blank_lines_are_left_out_and_counted(tmp_path, write_rows):
    path = write_rows(tmp_path / "a.jsonl.gz", [{"text": "one"}, " ", {"text": "three"}])
    assert [(line.number, line.text("text")) for line in read_rows(path)] == [(1, "one"), (3, "three")]
