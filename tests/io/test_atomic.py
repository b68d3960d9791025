import pytest

from unbraid.errors import DataError
from unbraid.io.atomic import atomic_file, atomic_folder, write_atomic


def test_the_new_content_replaces_the_old(tmp_path):
    write_atomic(tmp_path / "a", b"old")
    write_atomic(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_error_leaves_the_old_content_and_nothing_else(tmp_path):
    write_atomic(tmp_path / "a", b"old")
    with pytest.raises(ZeroDivisionError), atomic_file(tmp_path / "a") as unfinished:
        unfinished.write_bytes(b"half")
        _ = 1 / 0
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_file_that_is_not_finished_has_another_name(tmp_path):
    with atomic_file(tmp_path / "a", many_writers=True) as unfinished:
        unfinished.write_bytes(b"half")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").read_bytes() == b"half"


def test_a_missing_folder_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="none"):
        write_atomic(tmp_path / "none" / "a", b"x")


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    for name in ("old", "new"):
        with atomic_folder(tmp_path / "a", lambda: None) as unfinished:
            (unfinished / name).write_text(name)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["a", "a/new"]


def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "a", lambda: None) as unfinished:
        (unfinished / "half").write_text("half")
        _ = 1 / 0
    assert [path.name for path in tmp_path.rglob("*")] == ["a"]


def test_a_folder_that_must_not_be_replaced_is_left(tmp_path):
    """The check runs before the work and again after it, when minutes may have passed."""
    answers = iter([None, DataError("mine")])

    def check():
        if error := next(answers):
            raise error

    with pytest.raises(DataError, match="mine"), atomic_folder(tmp_path / "a", check):
        pass
    assert list(tmp_path.iterdir()) == []
