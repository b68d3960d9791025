"""Roots, the index of one's own, the config file, `status` and `forget`, as a person meets them."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from unbraid.index.under_way import telling
from unbraid.io.lock import WRITE, FolderLock

NANO = ("--tier", "nano")


@pytest.fixture
def notes(home) -> Path:
    folder = Path(os.path.realpath(home)) / "notes"
    for name in ("moon.md", "river.md", "house.log"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"The {Path(name).stem} is bright.\n")
    (folder / "empty.md").write_text("")
    return folder


@pytest.fixture
def indexed(command, notes) -> Path:
    """The notes in the person's own index."""
    assert command("index", notes, "--exclude", "*.log", "--field", "team=x", *NANO).code == 0
    return notes


def test_without_a_place_index_and_search_use_an_index_of_one_s_own(command, indexed, home):
    found = command("search", "moon", "--json", *NANO)
    assert json.loads(found.out.splitlines()[0])["path"] == str(indexed / "moon.md")
    assert (home / "data/default/unbraid.json").exists()
    (indexed / "new.md").write_text("new")
    (indexed / "new.log").write_text("new")
    report = json.loads(command("index", "--json", *NANO).out)
    assert (report["added"], report["unchanged"]) == (1, 2)


@pytest.mark.parametrize(
    "words", [("index",), ("search", "moon"), ("index", "stats"), ("index", "roots"), ("forget",)]
)
def test_without_an_index_each_command_says_how_to_make_one(command, home, words):
    result = command(*words)
    assert (result.code, result.out) == (2, "")
    assert "unbraid index FOLDER" in result.err and not (home / "data").exists()


def test_status_tells_what_is_being_indexed(command, indexed, home):
    folder = home / "data/default"
    lock = FolderLock(folder, WRITE)
    try:
        with telling(folder, "indexing", "files", 200):
            assert "\n  indexing: 0 of 200 files\n" in command("status").out
            (about,) = json.loads(command("status", "--json").out)["indexes"]
            assert about["under_way"]["total"] == 200 and about["under_way"]["seconds_left"] is None
    finally:
        lock.release()
    assert "indexing" not in command("status").out


def test_an_index_has_a_name_or_a_path(command, notes, home, monkeypatch):
    command("index", notes, "--index", "work", *NANO)
    assert (home / "data/work/unbraid.json").exists()
    assert str(notes) in command("index", "roots", "work").out
    assert "you have work" in command("search", "moon").err
    monkeypatch.setenv("UNBRAID_INDEX", "work")
    assert command("search", "moon", *NANO).code == 0
    monkeypatch.setenv("UNBRAID_INDEX", str(home / "elsewhere"))
    assert command("index", notes, *NANO).code == 0 and (home / "elsewhere/unbraid.json").exists()
    assert "is no name" in command("search", "moon", "--index", "a b").err
    assert "give one of --in" in command("search", "moon", "--index", "work", "--in", "x").err


def test_roots_are_listed_with_settings_and_taken_out(command, indexed, home):
    (line,) = command("index", "roots").out.splitlines()
    assert line.startswith(f"{indexed}  2 files, refreshed ") and line.endswith("exclude *.log, team=x")
    (about,) = json.loads(command("index", "roots", home / "data/default", "--json").out)
    assert (about["files"], about["exclude"], about["fields"]) == (2, ["*.log"], {"team": "x"})
    assert "is no root of" in command("index", "remove", indexed / "moon.md").err
    assert "removed with 2 files, 0 chunks left" in command("index", "remove", indexed).out
    assert "no roots yet" in command("index", "roots").out
    assert "settings" in command("index", "--hidden").err


def test_what_was_left_out_is_listed(command, indexed):
    assert "empty.md: empty" in command("index", "skipped").out
    (about,) = json.loads(command("index", "skipped", "default", "--json").out)
    assert about["counts"] == {"excluded by --exclude: *.log": 1} and len(about["files"]) == 1
    assert f"skipped {indexed}/empty.md: empty" in command("index", "--verbose", *NANO).err


def test_a_disk_that_is_not_mounted_stops_with_what_to_do(command, indexed, home):
    shutil.rmtree(indexed)
    result = command("index", *NANO)
    assert result.code == 1 and "0 gone" in result.out
    assert f"{indexed} is missing: 2 of 2 files are gone; nothing of it was deleted" in result.err
    assert "--prune" in result.err and "index remove" in result.err
    indexed.mkdir()
    about = json.loads(command("index", "--json", *NANO).out)
    assert [doubt["reason"] for doubt in about["doubts"]] == ["is empty"]
    assert "2 gone" in command("index", "--prune", *NANO).out


@pytest.mark.parametrize("answer", ["y", "n"])
def test_at_a_terminal_it_asks_before_anything_is_deleted(command, indexed, monkeypatch, answer):
    shutil.rmtree(indexed)
    monkeypatch.setattr("unbraid.cli.index.at_terminal", lambda: True)
    result = command("index", *NANO, stdin=f"{answer}\n")
    assert "Delete them from the index?" in result.err
    assert (result.code, "2 gone" in result.out) == ((0, True) if answer == "y" else (1, False))


def test_the_config_file_sets_what_is_not_said(command, notes, home):
    (home / "config.toml").write_text(
        f'index = "mine"\ntier = "nano"\nvectors-only = true\nocr = false\nexclude = ["*.log"]\nroots = ["{notes}"]\n'
    )
    assert json.loads(command("index", "--json").out)["added"] == 2
    (root,) = json.loads(command("index", "roots", "mine", "--json").out)
    assert (root["exclude"], root["ocr"]) == (["*.log"], False)
    by_words = [
        json.loads(command("search", "moon", "--json", *more).out.splitlines()[0])["bm25"]
        for more in ((), ("--with-words",))
    ]
    assert by_words[0] is None and by_words[1] > 0
    assert json.loads(command("index", "--json").out)["unchanged"] == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("teir = 'nano'", "unknown key teir; known keys: index, tier, vectors-only"),
        ("tier = 3", "Expected"),
        ("tier =", "not a readable"),
    ],
)
def test_a_mistake_in_the_config_file_is_named(command, home, text, says):
    (home / "config.toml").write_text(text)
    for words in (("status",), ("search", "moon"), ("index", ".")):
        result = command(*words)
        assert result.code == 2 and says in result.err and "config.toml" in result.err


def test_status_shows_indexes_roots_sizes_and_the_config_file(command, indexed, home):
    assert "(none)" in command("status").out
    command("index", indexed, "--index", "work", *NANO)
    text = command("status").out
    assert "default, the default: 2 files" in text and "work: 3 files" in text and "kB in" in text
    assert f"  {indexed}  2 files, refreshed" in text
    about = json.loads(command("status", "--json").out)
    assert [(one["name"], one["default"]) for one in about["indexes"]] == [("default", True), ("work", False)]
    assert about["indexes"][0]["roots"][0]["path"] == str(indexed)


def test_status_without_an_index_says_how_to_make_one(command):
    assert "no index yet; make one with: unbraid index FOLDER" in command("status").out


def test_forget_asks_and_removes_an_index_and_nothing_else(command, indexed, home):
    assert command("forget", stdin="n\n").code == 1 and (home / "data/default").exists()
    refused = command("forget", indexed, "--yes")
    assert refused.code == 2 and "is not an index" in refused.err and indexed.exists()
    assert "removed" in command("forget", "default", "--yes").out
    assert not (home / "data/default").exists() and (indexed / "moon.md").exists()


def test_forget_removes_an_index_that_is_named_by_a_link(command, indexed, home):
    (home / "link").symlink_to(home / "data/default")
    assert "removed" in command("forget", home / "link", "--yes").out
    assert not (home / "data/default").exists()


def test_forget_refuses_an_index_that_is_open(command, indexed, home):
    from unbraid.loading import open_index

    with open_index(home / "data/default") as index:
        assert "is open in this process" in command("forget", "--yes").err
        assert index.count() == 2


def test_importing_the_command_line_loads_no_platformdirs():
    import subprocess

    code = "import sys, unbraid.cli.main; print('platformdirs' in sys.modules, 'tomllib' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split()[0] == "False"
