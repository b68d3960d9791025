import inspect
import os
import socket
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from unbraid.errors import DataError
from unbraid.index.files.walk import (
    MAX_TEXT_BYTES,
    NEVER_ENTERED_WITH,
    Skipped,
    Walk,
    check_exists,
    is_binary,
    resolve_roots,
)
from unbraid.index.store.meta import META_FILE


def write(path: Path, content: str | bytes = "some words") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def names(root: Path, *paths: Path, skipped: list[Skipped] | None = None) -> list[str]:
    skip = ([] if skipped is None else skipped).append
    found = [file for one in resolve_roots(paths or [root]) for file in Walk(one, skip).files()]
    return [file.path.relative_to(os.path.realpath(root)).as_posix() for file in found]


def reasons(root: Path) -> dict[str, int]:
    skipped: list[Skipped] = []
    list(Walk(*resolve_roots([root]), skipped.append).files())
    return dict(Counter(one.reason for one in skipped))


def test_files_come_in_the_order_of_their_names_before_the_folders(tmp_path: Path) -> None:
    for name in ("b/x.md", "a/y.md", "z.md", "m.md", "a/k/q.md"):
        write(tmp_path / name)
    assert names(tmp_path) == ["m.md", "z.md", "a/y.md", "a/k/q.md", "b/x.md"]


def test_a_file_carries_modality_size_and_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.py", "x = 1\n")
    monkeypatch.chdir(tmp_path)
    (file,) = Walk(*resolve_roots(["a.py"]), print).files()
    assert (file.modality, file.size, file.path) == ("code", 6, Path(os.path.realpath(tmp_path)) / "a.py")
    assert file.mtime_ns == os.stat("a.py").st_mtime_ns


def test_a_missing_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file or folder at .*absent"):
        check_exists(tmp_path / "absent")


def test_version_control_environments_caches_and_indexes_are_not_entered(tmp_path: Path) -> None:
    for name in (
        ".git/config",
        "node_modules/a.js",
        "__pycache__/a.py",
        "env/pyvenv.cfg",
        "env/a.py",
        "keep.py",
    ):
        write(tmp_path / name)
    write(tmp_path / "my-index" / META_FILE, "{}")
    assert META_FILE in NEVER_ENTERED_WITH
    assert names(tmp_path) == ["keep.py"]
    assert reasons(tmp_path) == {"passed over": 5}


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        ({"": "*.log\n"}, ["a.md", "s/b.md"]),
        ({"": "s/\n"}, ["a.log", "a.md"]),
        ({"": "/a.*\n"}, ["s/a.log", "s/b.md"]),
        ({"": "*.log\n", "s": "!a.log\n"}, ["a.md", "s/a.log", "s/b.md"]),
        ({"s": "*.md\n"}, ["a.log", "a.md", "s/a.log"]),
        ({"": "*\n!*/\n!*.md\n"}, ["a.md", "s/b.md"]),
        ({"": "/*\n!/s\n"}, ["s/a.log", "s/b.md"]),
        ({"": "!\n[z-a]\n\\\n# a.md\n*.log\n"}, ["a.md", "s/b.md"]),
        ({"": b"\xff\xfe\n*.log\n"}, ["a.md", "s/b.md"]),
    ],
)
def test_gitignore_is_read_as_git_reads_it(
    tmp_path: Path, rules: dict[str, str | bytes], kept: list[str]
) -> None:
    for name in ("a.md", "a.log", "s/b.md", "s/a.log"):
        write(tmp_path / name)
    for folder, lines in rules.items():
        write(tmp_path / folder / ".gitignore", lines)
    assert names(tmp_path) == kept


def test_gitignore_above_the_root_counts_within_a_repository(tmp_path: Path) -> None:
    write(tmp_path / ".git/HEAD")
    write(tmp_path / ".gitignore", "*.log\n")
    write(tmp_path / "docs/a.log")
    write(tmp_path / "docs/a.md")
    assert names(tmp_path, tmp_path / "docs") == ["docs/a.md"]


def test_what_is_named_is_taken_though_ignored_or_hidden(tmp_path: Path) -> None:
    write(tmp_path / ".git/HEAD")
    write(tmp_path / ".gitignore", "build/\n*.log\n")
    named = [write(tmp_path / name) for name in ("build/a.md", "x.log", ".env")]
    assert names(tmp_path, named[0].parent, *named[1:]) == ["build/a.md", "x.log", ".env"]


def test_each_reason_is_counted(tmp_path: Path) -> None:
    write(tmp_path / ".gitignore", "*.log\n")
    write(tmp_path / "a.log")
    write(tmp_path / "empty.md", "")
    write(tmp_path / "nul.md", b"a\0b")
    write(tmp_path / "random.md", bytes(range(1, 256)))
    (tmp_path / "gone.md").symlink_to("nowhere")
    (tmp_path / "self.md").symlink_to("self.md")
    assert reasons(tmp_path) == {
        "hidden": 1,
        "ignored": 1,
        "empty": 1,
        "binary": 2,
        "broken link": 2,
    }


def test_every_skipped_file_is_told_with_its_reason(tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path / f"{number}.md", "")
    skipped: list[Skipped] = []
    list(Walk(tmp_path, skipped.append).files())
    assert [str(one) for one in skipped] == [f"{tmp_path}/{number}.md: empty" for number in range(5)]


def test_sockets_and_fifos_are_not_opened() -> None:
    # not tmp_path, as a socket's path has at most 107 bytes
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(short + "/s.md")
        os.mkfifo(short + "/f.md")
        assert reasons(Path(short)) == {"not a regular file": 2}


def test_a_sparse_2_gb_file_is_told_by_its_size(tmp_path: Path) -> None:
    for name in ("a.md", "a.png"):
        with open(tmp_path / name, "wb") as stream:
            stream.truncate(2 * 1024**3)
    write(tmp_path / "b.md", b"x" * MAX_TEXT_BYTES)
    assert reasons(tmp_path) == {"too large": 2}


def test_links_to_folders_are_not_followed_and_links_to_files_are(tmp_path: Path) -> None:
    write(tmp_path / "d/a.md")
    (tmp_path / "d/up").symlink_to(tmp_path)
    (tmp_path / "link.md").symlink_to(tmp_path / "d/a.md")
    assert names(tmp_path) == ["link.md", "d/a.md"]
    assert reasons(tmp_path) == {"linked folder": 1}


def test_a_link_named_as_root_is_its_target(tmp_path: Path) -> None:
    write(tmp_path / "d/a.md")
    (tmp_path / "link").symlink_to("d")
    assert names(tmp_path, tmp_path / "link") == ["d/a.md"]


def test_what_cannot_be_read_is_counted_and_the_rest_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = write(tmp_path / "a.md")
    write(tmp_path / "b.md")
    write(tmp_path / "shut/c.md")
    real_scandir, real_open = os.scandir, open

    def scandir(folder: Path) -> object:  # chmod does not stop root, who may run the tests
        if Path(folder).name == "shut":
            raise PermissionError(folder)
        return real_scandir(folder)

    def guarded_open(path: Path, *args: str, **options: str) -> object:
        if Path(path).name == locked.name:
            raise PermissionError(path)
        return real_open(path, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr("os.scandir", scandir)
    monkeypatch.setattr("builtins.open", guarded_open)
    skipped: list[Skipped] = []
    assert names(tmp_path, skipped=skipped) == ["b.md"]
    assert [(one.path.name, one.reason) for one in skipped] == [
        ("a.md", "unreadable"),
        ("shut", "unreadable"),
    ]


def test_a_name_that_is_not_utf8_is_skipped_and_printable(tmp_path: Path) -> None:
    try:
        write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.md")))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    skipped: list[Skipped] = []
    assert list(Walk(tmp_path, skipped.append).files()) == []
    example = str(skipped[0])
    assert example.endswith("\\xff.md: name is not UTF-8")


def test_deep_folders_do_not_exhaust_the_stack(tmp_path: Path) -> None:
    write(tmp_path.joinpath(*["d"] * 200) / "deep.md")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        found = list(Walk(tmp_path, print).files())
    finally:
        sys.setrecursionlimit(limit)
    assert len(found) == 1


def test_pictures_are_not_sniffed(tmp_path: Path) -> None:
    write(tmp_path / "a.png", b"\x89PNG\0\xff")
    assert names(tmp_path) == ["a.png"]


def test_pdfs_are_text_and_not_sniffed_and_notebooks_are_code(tmp_path: Path) -> None:
    write(tmp_path / "a.pdf", b"%PDF-1.4\0\xff")
    write(tmp_path / "b.ipynb", "{}")
    write(tmp_path / "c.html", "<p>")
    assert [file.modality for file in Walk(tmp_path, print).files()] == ["text", "code", "text"]


def test_pdfs_and_notebooks_may_be_longer_than_text(tmp_path: Path) -> None:
    for suffix in ("pdf", "ipynb", "md"):
        write(tmp_path / f"a.{suffix}", b"x" * (MAX_TEXT_BYTES + 1))
    assert names(tmp_path) == ["a.ipynb", "a.pdf"]
    assert reasons(tmp_path) == {"too large": 1}


@pytest.mark.parametrize(
    ("data", "final", "binary"),
    [
        (b"", True, False),
        ("é".encode()[:1], True, False),
        ("é".encode()[:1], False, False),
        (b"a\0", True, True),
    ],
)
def test_a_character_cut_at_the_end_of_the_sniff_is_not_binary(
    data: bytes, final: bool, binary: bool
) -> None:
    assert is_binary(data, final=final) is binary
