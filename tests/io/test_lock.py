import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from unbraid.errors import StoreError
from unbraid.io.lock import WRITE, FolderHeld, FolderLock, FolderUnwritable, Holder, is_held, read_holder

pytestmark = pytest.mark.skipif(
    os.name != "posix", reason="elsewhere only the store's own lock refuses a second process"
)


def test_who_holds_an_index_is_named_by_pid_and_command_line(tmp_path: Path) -> None:
    code = f"import time\nfrom pathlib import Path\nfrom unbraid.io.lock import FolderLock\nlock = FolderLock(Path({str(tmp_path)!r}))\nprint('held', flush=True)\ntime.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        assert child.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=rf"is open in process {child.pid} \(.*python.* -c "):
            FolderLock(tmp_path)
        child.kill()
        child.wait()
        FolderLock(tmp_path).release()  # the note is stale now, and the lock gone with its process


def test_twice_in_one_process_is_told(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    with pytest.raises(StoreError, match=rf"is open in this process already \(pid {os.getpid()}\)"):
        FolderLock(tmp_path)
    lock.release()
    FolderLock(tmp_path).release()


@pytest.mark.parametrize("note", ["", "{", "[]", '{"pid": "x", "host": "h", "command": "c"}'])
def test_a_note_that_says_nothing_is_not_believed(tmp_path: Path, note: str) -> None:
    lock = FolderLock(tmp_path)
    (tmp_path / "open.json").write_text(note)
    with pytest.raises(StoreError, match="is open in another process: close it there first"):
        FolderLock(tmp_path)
    lock.release()


def test_a_holder_on_another_machine_is_named(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    (tmp_path / "open.json").write_text(json.dumps({"pid": 7, "host": "far", "command": "unbraid index"}))
    with pytest.raises(StoreError, match=r"process 7 on far \(unbraid index\)"):
        FolderLock(tmp_path)
    (tmp_path / "open.json").write_text(
        json.dumps({"pid": 2**30, "host": socket.gethostname(), "command": "unbraid x"})
    )
    with pytest.raises(StoreError, match=rf"process {2**30} \(unbraid x\)"):  # of another container, say
        FolderLock(tmp_path)
    lock.release()


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "open.lock").mkdir()  # permissions do not bind root, who may run the tests
    with pytest.raises(FolderUnwritable, match="cannot be locked .*, and so not be written"):
        FolderLock(tmp_path)


def test_who_may_not_write_the_lock_finds_out_by_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: FileLock, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    held = FolderLock(tmp_path, WRITE)
    note = (tmp_path / "write.json").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(FileLock, "acquire", refuse)
        assert is_held(tmp_path, WRITE)
    held.release()
    (tmp_path / "write.lock").touch()
    (tmp_path / "write.json").write_text(note)  # a kill leaves it
    monkeypatch.setattr(FileLock, "acquire", refuse)
    assert not is_held(tmp_path, WRITE)
    (tmp_path / "write.lock").unlink()
    assert is_held(tmp_path, WRITE)  # nothing to try: the note is believed


def test_a_note_names_when_the_lock_was_taken(tmp_path: Path) -> None:
    names = []
    for _ in range(2):
        lock = FolderLock(tmp_path)
        names.append(read_holder(tmp_path))
        lock.release()
    assert names[0] != names[1] and names[0] is not None
    earlier = {"pid": 7, "host": "far", "command": "unbraid index"}
    (tmp_path / "open.json").write_text(json.dumps(earlier))  # as versions before wrote it
    assert read_holder(tmp_path) == Holder(7, "far", "unbraid index", 0.0)


def test_the_two_locks_of_a_folder_are_apart(tmp_path: Path) -> None:
    held, writing = FolderLock(tmp_path), FolderLock(tmp_path, WRITE)
    with pytest.raises(FolderHeld, match=r"is being written by this process already .*: run again when"):
        FolderLock(tmp_path, WRITE, patience=0.05)
    writing.release()
    FolderLock(tmp_path, WRITE).release()
    held.release()
