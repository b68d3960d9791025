"""What of a root is left out: its patterns, .unbraidignore, hidden names, git, sizes, roots of their own."""

from pathlib import Path

import pytest

from unbraid.index.files.rules import Choice
from unbraid.index.files.walk import Skipped, Walk


def write(root: Path, *names: str, text: str = "some words") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def walked(root: Path, choice: Choice, place: Path | None = None) -> list[str]:
    return [file.path.relative_to(root).as_posix() for file in Walk(root, print, choice).files(place)]


def left_out(root: Path, choice: Choice) -> dict[str, str]:
    skipped: list[Skipped] = []
    list(Walk(root, skipped.append, choice).files())
    return {one.path.relative_to(root).as_posix(): f"{one.reason} {one.rule}".strip() for one in skipped}


@pytest.mark.parametrize(
    ("choice", "taken"),
    [
        (Choice(include=("*.md",)), ["a.md", "docs/b.md"]),
        (Choice(include=("docs/",)), ["docs/b.md", "docs/c.txt"]),
        (Choice(include=("/*.md", "c.*")), ["a.md", "docs/c.txt"]),
        (Choice(exclude=("*.md",)), ["docs/c.txt"]),
        (Choice(exclude=("docs/",)), ["a.md"]),
        (Choice(exclude=("*.md", "!a.md")), ["a.md", "docs/c.txt"]),
        (Choice(include=("*.md",), exclude=("docs/b.md",)), ["a.md"]),
        (Choice(include=("docs/",), hidden=True), [".h/docs/e.md", "docs/b.md", "docs/c.txt"]),
        (Choice(max_size=3), []),
    ],
)
def test_a_choice_takes_and_leaves_by_patterns_of_git(
    tmp_path: Path, choice: Choice, taken: list[str]
) -> None:
    write(tmp_path, "a.md", "docs/b.md", "docs/c.txt", ".h/docs/e.md")
    assert walked(tmp_path, choice) == taken


def test_a_size_of_its_own_goes_over_the_usual_limit_too(tmp_path: Path) -> None:
    write(tmp_path, "long.md", text="word " * 900_000)
    assert walked(tmp_path, Choice()) == []
    assert walked(tmp_path, Choice(max_size=5_000_000)) == ["long.md"]


def test_unbraidignore_leaves_out_in_its_folder_and_below(tmp_path: Path) -> None:
    write(tmp_path, "a.log", "sub/b.log", "sub/c.md", "sub/deep/c.md")
    (tmp_path / ".unbraidignore").write_text("*.log\n")
    (tmp_path / "sub/.unbraidignore").write_text("/c.md\n")
    assert walked(tmp_path, Choice()) == ["sub/deep/c.md"]
    reasons = left_out(tmp_path, Choice())
    assert reasons["sub/b.log"] == "excluded .unbraidignore: *.log"


def test_unbraidignore_goes_before_git_and_hidden_names(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    write(tmp_path, "data/a.md", ".github/b.md", "drafts/c.md", "drafts/d.md")
    (tmp_path / ".gitignore").write_text("data/\ndrafts/d.md\n")
    (tmp_path / ".unbraidignore").write_text("!data/\n!.github/\ndrafts/c.md\n")
    assert walked(tmp_path, Choice()) == [".github/b.md", "data/a.md"]
    assert left_out(tmp_path, Choice())["drafts/d.md"] == "ignored .gitignore: drafts/d.md"
    assert walked(tmp_path, Choice(exclude=("*.md",))) == []  # what was given with the root goes before all


def test_a_place_in_a_root_is_walked_by_the_rules_of_the_root(tmp_path: Path) -> None:
    write(tmp_path, "a/b/c.md", "a/b/d.log", "a/.h/e.md", "a/node_modules/f.md", "own/g.md")
    (tmp_path / "a/.unbraidignore").write_text("*.log\n")
    choice = Choice(exclude=("x/",))
    assert walked(tmp_path, choice, tmp_path / "a/b") == ["a/b/c.md"]
    assert walked(tmp_path, choice, tmp_path / "a/b/c.md") == ["a/b/c.md"]
    for name in ("a/b/d.log", "a/.h", "a/.h/e.md", "a/node_modules/f.md", "a/none"):
        assert walked(tmp_path, choice, tmp_path / name) == [], name
    walk = Walk(tmp_path, print, choice)
    assert [walk.reaches(tmp_path / name) for name in ("a/b", "a/b/c.md", "a/.h", "a/b/d.log")] == [
        *(True, True, False, False)
    ]
    assert [file.path.name for file in Walk(tmp_path, print, apart={f"{tmp_path}/own"}).files()] == ["c.md"]


def test_a_file_that_is_known_as_it_is_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a.md")
    about = (tmp_path / "a.md").stat()
    monkeypatch.setattr("builtins.open", lambda *_: pytest.fail("opened"))
    known = {f"{tmp_path}/a.md": (about.st_size, about.st_mtime_ns)}
    assert [file.path.name for file in Walk(tmp_path, print, known=known).files()] == ["a.md"]
