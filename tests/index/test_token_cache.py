"""The cache of token vectors: whatever happens to its file, it never fails and never gives something else back."""

import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbraid.index.search.token_cache import FILE, KEY, MOST_BYTES, TokenCache, content_key

ONE, TWO = b"1" * 2 * KEY, b"2" * 2 * KEY


@pytest.fixture
def cache(tmp_path: Path) -> TokenCache:
    return TokenCache(tmp_path)


@given(st.dictionaries(st.binary(min_size=KEY, max_size=2 * KEY), st.binary(max_size=99), max_size=5))
def test_what_is_written_is_read_in_memory(rows):
    cache = TokenCache(None)
    cache.write(rows)
    assert cache.read([*rows, b"another"]) == rows
    assert cache.bytes() == cache.keep([]) == 0


def test_what_is_written_is_read_by_another_process_and_replaced(cache, tmp_path):
    assert cache.read([ONE]) == {} and cache.bytes() == 0 and not list(tmp_path.iterdir())
    cache.write({ONE: b"a", TWO: b""})
    cache.write({ONE: b"b"})
    assert TokenCache(tmp_path).read([ONE, TWO, b"x"]) == {ONE: b"b", TWO: b""}
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_more_keys_than_one_question_takes(cache):
    rows = {number.to_bytes(2 * KEY, "big"): b"x" for number in range(1201)}
    cache.write(rows)
    assert cache.read(list(rows)) == rows


def test_a_file_is_marked_until_it_is_made_anew(cache, tmp_path):
    assert cache.mark() == 0 and not TokenCache(None).set_mark(5)
    cache.write({ONE: b"a"})
    assert cache.mark() == 0 and cache.set_mark(2**31 - 1) and cache.mark() == 2**31 - 1
    cache.keep([ONE])
    assert cache.mark() == 2**31 - 1 and cache.held([ONE, TWO]) == {ONE}
    (tmp_path / FILE).write_bytes(b"broken" * 999)
    assert cache.mark() == 0 and cache.held([ONE]) == set()
    assert cache.set_mark(5) and cache.mark() == 5 and cache.read([ONE]) == {}
    cache.remove()
    (tmp_path / FILE).mkdir()
    assert cache.mark() == 0 and not cache.set_mark(5)


def test_memory_keeps_the_newest(monkeypatch):
    monkeypatch.setattr("unbraid.index.search.token_cache.MOST_KEPT", 100)
    cache = TokenCache(None)
    keys = [number.to_bytes(KEY, "big") for number in range(150)]
    for written, key in enumerate(keys, start=1):
        cache.write({key: b"x"})
        assert list(cache.read(keys)) == keys[max(0, written - 100) : written]


def test_several_threads_may_use_memory_at_once(monkeypatch):
    monkeypatch.setattr("unbraid.index.search.token_cache.MOST_KEPT", 20)
    cache = TokenCache(None)

    def use(name: int) -> bool:
        rows = {bytes([name, number]) * KEY: bytes([name]) * 99 for number in range(200)}
        for key, packed in rows.items():
            cache.write({key: packed})
            cache.drop([key[:KEY]])
            cache.write({key: packed})
        return cache.read(list(rows)).items() <= rows.items()

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(use, range(4)))


@pytest.mark.parametrize("stored", [b"", b"abc", b"abcdefgh", "text", 5, bytes(9_000)])
def test_a_damaged_row_counts_as_missing_and_is_written_again(cache, tmp_path, stored):
    cache.write({ONE: b"a", TWO: b"b"})
    with closing(sqlite3.connect(tmp_path / FILE)) as file, file:
        file.execute("UPDATE tokens SET packed = ? WHERE key = ?", (stored, ONE))
    assert cache.read([ONE, TWO]) == {TWO: b"b"}
    cache.write({ONE: b"a"})
    assert cache.read([ONE]) == {ONE: b"a"}


def test_a_row_that_is_too_large_is_not_read(cache):
    cache.write({ONE: bytes(MOST_BYTES), TWO: bytes(MOST_BYTES + 1)})
    assert cache.read([ONE, TWO]) == {ONE: bytes(MOST_BYTES)}


def test_a_row_under_the_key_of_another_counts_as_missing(cache, tmp_path):
    cache.write({ONE: b"a"})
    with closing(sqlite3.connect(tmp_path / FILE)) as file, file:
        file.execute("UPDATE tokens SET key = ?", (TWO,))
    assert cache.read([ONE, TWO]) == {}


@pytest.mark.parametrize(
    "content", [b"", b"not a database at all" * 300, b"SQLite format 3\0" + b"\0" * 9000]
)
def test_a_damaged_file_is_made_anew(cache, tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    assert cache.read([ONE]) == {} and cache.keep([]) == 0
    cache.write({ONE: b"a"})
    assert cache.read([ONE]) == {ONE: b"a"}


@given(place=st.floats(0, 1), byte=st.integers(1, 255))
def test_a_flipped_byte_never_gives_other_vectors(tmp_path_factory, place, byte):
    folder = tmp_path_factory.mktemp("flipped")
    cache = TokenCache(folder)
    rows = {number.to_bytes(2 * KEY, "big"): bytes([number]) * 900 for number in range(9)}
    cache.write(rows)
    content = bytearray((folder / FILE).read_bytes())
    content[int(place * (len(content) - 1))] ^= byte
    (folder / FILE).write_bytes(content)
    assert cache.read(list(rows)).items() <= rows.items()
    cache.write(rows)
    assert cache.read(list(rows)).items() <= rows.items()


def test_a_database_of_another_program_is_replaced(cache, tmp_path):
    with closing(sqlite3.connect(tmp_path / FILE)) as file, file:
        file.execute("CREATE TABLE tokens (name TEXT)")
    assert cache.read([ONE]) == {}
    cache.write({ONE: b"a"})
    assert cache.read([ONE]) == {ONE: b"a"}


@pytest.mark.parametrize(
    "foreign",
    [
        "CREATE TRIGGER t AFTER INSERT ON tokens BEGIN DELETE FROM tokens; END",
        "CREATE VIEW v AS SELECT * FROM tokens",
        "CREATE TABLE other (x)",
        "CREATE INDEX i ON tokens (packed)",
        "ALTER TABLE tokens ADD COLUMN more",
    ],
)
def test_a_file_with_more_in_it_than_ours_is_made_anew(cache, tmp_path, foreign):
    cache.write({ONE: b"a"})
    with closing(sqlite3.connect(tmp_path / FILE)) as file, file:
        file.execute(foreign)
    assert cache.read([ONE]) == {}
    cache.write({TWO: b"b"})
    assert cache.read([ONE, TWO]) == {TWO: b"b"}


def test_a_link_and_a_pipe_are_replaced_and_never_opened(cache, tmp_path):
    other = TokenCache(tmp_path / "other")
    (tmp_path / "other").mkdir()
    other.write({ONE: b"a"})
    for make in (
        lambda: (tmp_path / FILE).symlink_to(tmp_path / "other" / FILE),
        lambda: os.mkfifo(tmp_path / FILE),
    ):
        make()
        assert cache.read([ONE]) == {} and cache.keep([]) == 0
        cache.write({TWO: b"b"})
        assert cache.read([ONE, TWO]) == {TWO: b"b"}
        cache.remove()
    assert other.read([ONE, TWO]) == {ONE: b"a"}


def test_a_locked_file_is_left_alone(cache, tmp_path, monkeypatch):
    monkeypatch.setattr("unbraid.index.search.token_cache.PATIENCE", dict.fromkeys(("ro", "rw", "rwc"), 0.0))
    cache.write({ONE: b"a"})
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert cache.read([ONE]) == {} and cache.keep([]) == 0
        cache.write({TWO: b"b"})
        other.execute("ROLLBACK")
    assert cache.read([ONE, TWO]) == {ONE: b"a"}


def test_a_folder_in_its_place_and_a_folder_that_is_gone_are_no_errors(cache, tmp_path):
    (tmp_path / FILE).mkdir()
    for one in (cache, TokenCache(tmp_path / "gone")):
        one.write({ONE: b"a"})
        assert one.read([ONE]) == {} and one.keep([]) == 0
    assert not (tmp_path / "gone").exists()


def test_it_may_be_deleted_at_any_time(cache):
    cache.write({ONE: b"a"})
    cache.remove()
    assert cache.read([ONE]) == {}
    cache.remove()
    cache.write({ONE: b"a"})
    assert cache.read([ONE]) == {ONE: b"a"}


def test_only_wanted_passages_are_kept_and_the_room_of_the_others_comes_back(cache, tmp_path):
    contents = [content_key(str(number), "text") for number in range(200)]
    cache.write({content + b"head" * 4: b"secret of mine" * 200 for content in contents})
    before = cache.bytes()
    assert cache.keep({content + b"head" * 4 for content in contents[:10]}) == 190
    assert len(cache.read([content + b"head" * 4 for content in contents])) == 10
    assert cache.bytes() < before / 5


def test_a_process_that_is_killed_while_it_writes_does_no_harm(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from unbraid.index.search.token_cache import TokenCache\n"
        "import sqlite3; cache = TokenCache(Path(sys.argv[1])); cache.write({b'1' * 32: b'a'})\n"
        "file = sqlite3.connect(cache.path); file.execute('PRAGMA cache_size = 1')\n"
        "file.executemany('INSERT INTO tokens VALUES (?, ?)', [(bytes([n]) * 32, bytes(9000)) for n in range(99)])\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    cache = TokenCache(tmp_path)
    cache.write({TWO: b"b"})
    assert cache.read([ONE, TWO, bytes([7]) * 32]) == {ONE: b"a", TWO: b"b"}


def test_several_threads_may_write_and_read_it_at_once(cache):
    def use(name: int) -> bool:
        rows = {bytes([name, number]) * KEY: bytes([name]) * 99 for number in range(20)}
        for key, packed in rows.items():
            cache.write({key: packed})
        return cache.read(list(rows)).items() <= rows.items()

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(use, range(4)))


def test_what_is_dropped_is_gone_from_the_disk_whatever_state_the_file_is_in(cache, tmp_path):
    cache.write({ONE: b"secret of mine", TWO: b"b"})
    cache.drop([ONE[:KEY]])
    assert cache.read([ONE, TWO]) == {TWO: b"b"} and b"secret" not in (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(b"secret of mine" * 999)
    cache.drop([ONE[:KEY]])
    assert not (tmp_path / FILE).exists()
    memory = TokenCache(None)
    memory.write({ONE: b"a", TWO: b"b"})
    memory.drop([ONE[:KEY]])
    assert memory.read([ONE, TWO]) == {TWO: b"b"}


def test_text_and_code_of_the_same_letters_have_keys_of_their_own():
    assert content_key("x", "text") != content_key("x", "code")
    assert content_key("\ud800", "text") != content_key("?", "text")
