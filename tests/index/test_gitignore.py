"""Ignored files against git itself, on random trees."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.index.files.glob import Glob
from unbraid.index.files.walk import Walk

NAMES = ("a", "b", "ab", "a.c", "x y", "é")
PIECES = (
    "a",
    "b",
    "ab",
    "*",
    "**",
    "?",
    "[ab]",
    "[!a]",
    "[^b]",
    "a*",
    "*.c",
    "x y",
    "é",
    "\\a",
    "[]a]",
    "[a-",
    "[[:alpha:]]",
)


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


def repository(folder: Path) -> Path:
    subprocess.run(["git", "init", "-q", folder], check=True)
    return folder.resolve()


def listed(root: Path) -> list[str]:
    """What git would add."""
    command = ["git", "-C", root, "ls-files", "-z", "--others", "--exclude-standard"]
    answer = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    names = os.fsdecode(answer).split("\0")[:-1]
    return sorted(name for name in names if not any(part.startswith(".") for part in name.split("/")))


def walked(root: Path) -> list[str]:
    return sorted(file.path.relative_to(root).as_posix() for file in Walk(root, print).files())


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode())


patterns = st.builds(
    lambda negated, start, pieces, end, after: f"{negated}{start}{'/'.join(pieces)}{end}{after}",
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "", "/"]),
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=3),
    st.sampled_from(["", "", "/"]),
    st.sampled_from(["", "", " ", "\\ ", "\r"]),
)
ignore_files = st.builds(
    lambda mark, lines: mark + "\n".join(lines),
    st.sampled_from(["", "\ufeff"]),
    st.lists(patterns, max_size=5),
)
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map("/".join)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(paths, min_size=1, max_size=12),
    st.dictionaries(st.sampled_from(["", "a/", "a/b/", "b/"]), ignore_files, min_size=1),
    ignore_files,
)
def test_the_walk_agrees_with_git_on_random_trees(names, ignores, exclude):
    with tempfile.TemporaryDirectory() as folder:
        root = repository(Path(folder))
        for name in names:
            place = root / name
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                if not place.is_dir():
                    place.write_text("x")
            except (FileExistsError, NotADirectoryError):  # a parent is a file already
                continue
        for place, text in ignores.items():
            if (root / place).is_dir():
                (root / place / ".gitignore").write_bytes(text.encode())
        (root / ".git/info").mkdir(exist_ok=True)
        (root / ".git/info/exclude").write_bytes(exclude.encode())
        assert walked(root) == listed(root)


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        ("\ufeffa.md\n", ["b.md", "in/a.md", "in/b.md"]),  # the mark is no part of the first name
        ("b.md\n!in\n", ["a.md", "in/a.md"]),  # a folder taken back does not take back what is in it
        ("**/in/**\n!a.md\n", ["a.md", "b.md", "in/a.md"]),
        ("/*\n!/in\n", ["in/a.md", "in/b.md"]),
    ],
)
def test_lines_mean_what_git_says(tmp_path, lines, kept):
    root = repository(tmp_path / "r")
    write(root, {"a.md": "x", "b.md": "x", "in/a.md": "x", "in/b.md": "x", ".gitignore": lines})
    if lines.startswith("\ufeffa.md"):
        kept = ["b.md", "in/b.md"]
    assert walked(root) == listed(root) == kept


def test_info_exclude_and_the_own_excludes_file_count(tmp_path):
    root = repository(tmp_path / "r")
    write(root, {"private/a.md": "x", "b.md": "x", "c.md": "x", ".git/info/exclude": "private/\n"})
    own = tmp_path / "mine"
    own.write_text("c.md\n")
    subprocess.run(["git", "-C", root, "config", "core.excludesFile", own], check=True)
    assert walked(root) == listed(root) == ["b.md"]
    assert [file.path.name for file in Walk(root / "private", print).files()] == ["a.md"]  # asked for by name


def test_the_default_excludes_file_counts_below_info_exclude(tmp_path):
    root = repository(tmp_path / "r")
    write(root, {"a.md": "x", "b.md": "x", ".git/info/exclude": "!a.md\n"})
    write(tmp_path, {"config/git/ignore": "*.md\n"})
    assert walked(root) == listed(root) == ["a.md"]


def test_a_work_tree_has_the_excludes_of_its_repository(tmp_path):
    root = repository(tmp_path / "r")
    write(root, {".git/info/exclude": "private/\n"})
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", root, *who, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    subprocess.run(["git", "-C", root, "worktree", "add", "-q", tmp_path / "w"], check=True)
    tree = (tmp_path / "w").resolve()
    write(tree, {"private/a.md": "x", "b.md": "x"})
    assert walked(tree) == listed(tree) == ["b.md"]


def test_a_repository_within_another_has_its_own_rules(tmp_path):
    root = repository(tmp_path / "r")
    inner = repository(root / "inner")
    write(root, {".gitignore": "*.txt\n", "a.txt": "x", "inner/b.txt": "x"})
    assert walked(root) == ["inner/b.txt"]
    assert walked(inner) == listed(inner) == ["b.txt"]


def test_many_stars_cost_little():
    assert not Glob("*a" * 40).matches("a" * 39, False)
    assert Glob("**/" * 30 + "b").matches("a/" * 30 + "b", False)
    assert not Glob("**/" * 12 + "b").matches("a/" * 60 + "c", False)
