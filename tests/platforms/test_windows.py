"""What Windows does otherwise: drives, backslashes, files that are open, junctions, sizes, sockets."""

import ntpath
import os
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import pytest

from unbraid.errors import DataError
from unbraid.index import roots
from unbraid.index.files import walk
from unbraid.index.search import hit
from unbraid.index.store import filter
from unbraid.io import atomic
from unbraid.serve import uvicorn_server
from unbraid.sizes import disk_bytes


class WindowsFolder(PureWindowsPath):
    @classmethod
    def cwd(cls):
        return cls("C:/Users/me")


@pytest.fixture
def windows(monkeypatch):
    """`windows(module)`: `os.path`, `os.sep` and `Path` of the module are those of Windows."""

    def change(module, **more):
        paths = SimpleNamespace(**{**vars(ntpath), "expanduser": str, "realpath": ntpath.normpath, **more})
        monkeypatch.setattr(module, "os", SimpleNamespace(path=paths, sep="\\", name="nt", fspath=os.fspath))
        monkeypatch.setattr(module, "Path", WindowsFolder, raising=False)

    return change


# -- paths -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("*.py", "*.py"),
        ("docs/*.md", "C:/Users/me/docs/*.md"),
        ("docs\\*.md", "C:/Users/me/docs/*.md"),
        ("..\\you\\*.md", "C:/Users/you/*.md"),
        ("D:\\notes\\*.md", "D:/notes/*.md"),
    ],
)
def test_a_pattern_may_be_typed_with_backslashes(windows, given, meant):
    windows(filter)
    assert filter._absolute(given) == meant


def test_a_hit_on_another_drive_shows_its_whole_path(windows):
    windows(hit)
    assert str(hit.Place("D:/notes/a.md", 3, 9)) == "D:/notes/a.md:3-9"


@pytest.mark.parametrize(("root", "moved"), [("C:/work", False), ("C:/old", True)])
def test_a_root_that_stays_beside_its_index_has_not_moved(windows, monkeypatch, root, moved):
    windows(roots, lexists=lambda path: True)
    monkeypatch.setattr(roots, "_holds_files_of", lambda *_: True)
    known = {root: roots.Root(root, from_index="..")}
    assert roots._follow_index(known, {}, PureWindowsPath("C:\\work\\index")) == ([root] if moved else [])
    assert list(known) == ["C:/work"]


# -- files -------------------------------------------------------------------------------------------------


@pytest.fixture
def busy(monkeypatch):
    """`busy(times, name)`: os.replace is refused so many times; returns how often it was tried."""

    def change(times, name):
        tries = []

        def replace(new, path):
            tries.append(path)
            if len(tries) <= times:
                raise PermissionError(13, "in use")

        monkeypatch.setattr(atomic, "os", SimpleNamespace(name=name, replace=replace))
        monkeypatch.setattr(atomic, "PAUSE", 0)
        return tries

    return change


def test_a_file_that_is_read_just_now_is_replaced_a_moment_later(busy):
    tries = busy(2, "nt")
    atomic.replace_file(Path("new"), Path("old"))
    assert len(tries) == 3


def test_a_file_that_stays_open_is_an_error(busy, monkeypatch):
    busy(9, "nt")
    monkeypatch.setattr(atomic, "PATIENCE", -1)
    with pytest.raises(PermissionError):
        atomic.replace_file(Path("new"), Path("old"))


def test_elsewhere_a_refusal_is_final(busy):
    tries = busy(2, "posix")
    with pytest.raises(PermissionError):
        atomic.replace_file(Path("new"), Path("old"))
    assert len(tries) == 1


@pytest.mark.parametrize(("tag", "name", "found"), [(0xA0000003, "nt", True), (0, "nt", False)])
def test_a_junction_is_known_by_its_tag(monkeypatch, tag, name, found):
    monkeypatch.setattr(walk, "os", SimpleNamespace(name=name))
    entry = SimpleNamespace(stat=lambda follow_symlinks: SimpleNamespace(st_reparse_tag=tag))
    assert walk._is_junction(entry) is found


def test_a_junction_is_not_entered(monkeypatch, tmp_path):
    for folder in ("here", "loop"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.md").write_text("text")
    monkeypatch.setattr(walk, "_is_junction", lambda entry: entry.name == "loop")
    skipped = []
    found = [file.path for file in walk.Walk(tmp_path, skipped.append).files()]
    assert found == [tmp_path / "here" / "a.md"]
    assert [(one.path.name, one.reason) for one in skipped] == [("loop", "linked folder")]


def test_the_size_of_files_counts_where_blocks_are_not_known(monkeypatch, tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 10)
    real = os.stat

    def stat(path, **options):
        about = real(path, **options)
        return SimpleNamespace(st_mode=about.st_mode, st_size=about.st_size)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", stat)
        assert disk_bytes(tmp_path) == 10


# -- the server --------------------------------------------------------------------------------------------


def test_a_unix_socket_is_refused_by_name(monkeypatch):
    uvicorn_server.check_sockets()
    monkeypatch.setattr(uvicorn_server, "sys", SimpleNamespace(platform="win32"))
    with pytest.raises(DataError, match="--socket: there are no Unix sockets on Windows: use --host and"):
        uvicorn_server.check_sockets()
