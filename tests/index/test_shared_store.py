"""One index in many processes: who holds it answers for the others, and another takes over when it ends."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unbraid.errors import ItemError, StoreError
from unbraid.index.store import shared_store
from unbraid.index.store.bm25 import query_words
from unbraid.index.store.entry import Entry, point_id
from unbraid.index.store.filter import Condition, Filter
from unbraid.index.store.meta import Meta
from unbraid.index.store.shared_store import DELETED, SharedStore
from unbraid.index.store.wire import TOKEN_FILE, read_address
from unbraid.io.lock import WRITE, FolderHeld, FolderLock

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the processes are ended by POSIX signals")
DIM = 4


def entry(path: str = "/a.md", chunk: int = 0, chunks: int = 1, sha: str = "s1") -> Entry:
    line = chunk + 1
    fields = {"year": 2024}
    return Entry(path, "text", line, line, f"line {chunk} ä", sha, 10, 7, chunk, chunks, fields=fields)


def vectors(*axes: int) -> np.ndarray:
    return np.eye(DIM, dtype=np.float32)[list(axes)]


@pytest.fixture
def folder(tmp_path: Path, make_meta: Callable[..., Meta]) -> Path:
    """An index of two chunks."""
    with SharedStore.create(tmp_path / "ix", make_meta(DIM)) as store:
        store.upsert([entry("/a.md"), entry("/b.md")], vectors(0, 1))
    return tmp_path / "ix"


def opened(folder: Path) -> SharedStore:
    store = SharedStore.open(folder)
    assert store is not None
    return store


def nearest_until(stop: threading.Event, store: SharedStore) -> int:
    """Searches without a pause; their number."""
    searches = 0
    while not stop.is_set():
        store.nearest(vectors(0), 1)
        searches += 1
    return searches


def counted(method: Callable[[list[Any]], None], calls: list[int], items: list[Any]) -> None:
    """A call of a method of many items, whose number is noted."""
    calls.append(len(items))
    method(items)


@contextmanager
def holder(folder: Path, then: str = "") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the index, and runs `then` at each line that it is sent."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom unbraid.index.store.shared_store import SharedStore\n"
        f"store = SharedStore.open(Path({str(folder)!r}))\nprint('held', flush=True)\n"
        f"for line in sys.stdin:\n    {then or 'pass'}\n    print('done', flush=True)\nstore.close()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout and child.stdout.readline() == "held\n"
        try:
            yield child
        finally:
            child.kill()


def test_every_method_gives_the_same_from_another_connection(folder: Path) -> None:
    ids = [point_id("/a.md", "s1", 0), point_id("/b.md", "s1", 0), point_id("/none", "s1", 0)]
    with opened(folder) as near, opened(folder) as far:
        assert near._held is not None and far._held is None
        words = [query_words("line"), query_words("nothing here")]
        some = Filter(paths=("/a.md",), conditions=(Condition("year", ">=", 2024),))

        def all_of(store: SharedStore) -> list[Any]:
            found = [*store.nearest(vectors(0, 1), 5), *store.nearest(vectors(2), 5, some)]
            found += [*store.nearest_words(words, 3), *store.words_among(words, [ids[:1], ids])]
            return [
                store.version(),
                store.meta,
                store.count(),
                store.count(some),
                store.size(),
                store.facet("path"),
                store.facet("path", some),
                store.pictures(ids),
                store.files(),
                store.files(some),
                [(one.ids(), one.ids(slice(1, 2)), one.scores().tolist(), len(one)) for one in found],
                store.payloads(ids),
                store.file("/a.md")[0],
                [(some, rows.tolist(), bad) for some, rows, bad in store.items()],
                store.sample().tolist(),
                store.disk_bytes() > 0,
            ]

        assert all_of(near) == all_of(far)
        np.testing.assert_array_equal(near.vectors(ids), far.vectors(ids))


def test_what_one_process_writes_the_other_finds_at_once(folder: Path) -> None:
    with opened(folder) as near, opened(folder) as far:
        before = near.version()
        far.upsert([entry("/c.md", sha="s2")], vectors(2))
        assert near.count() == far.count() == 3
        assert near.version() == far.version() != before
        assert near.files() == far.files()
        np.testing.assert_array_equal(near.file("/c.md")[1], vectors(2))
        far.upsert([entry("/c.md", sha="s3")], vectors(3))
        far.delete_older([entry("/c.md", sha="s3")])
        far.set_words({point_id("/c.md", "s3", 0): query_words("zebra")})
        assert (
            near.files()["/c.md"].sha256 == "s3"
            and len(near.nearest_words([query_words("zebra")], 5)[0]) == 1
        )
        far.delete(["/c.md"])
        far.settle()
        assert sorted(near.files()) == ["/a.md", "/b.md"]


def test_chunks_that_are_deleted_during_a_search_are_left_out_in_silence(folder: Path) -> None:
    with opened(folder) as near, opened(folder) as far:
        ids = [point_id("/a.md", "s1", 0), point_id("/b.md", "s1", 0)]
        rows = far.vectors(ids)
        near.delete(["/a.md"])
        first, second = far.entries(ids, rows)
        assert first is None and second is not None and second.path == "/b.md"


def test_a_description_that_another_process_changed_is_read_again(folder: Path) -> None:
    with opened(folder) as near, opened(folder) as far:
        far.set_meta(replace(far.meta, words=1))
        assert near.meta.words == far.meta.words == 1


def test_errors_come_back_as_what_they_were(folder: Path) -> None:
    with opened(folder) as near, opened(folder) as far:
        for store in (near, far):
            with pytest.raises(ItemError, match="no file of the index has a field colour"):
                store.count(Filter(conditions=(Condition("colour", "=", "red"),)))
            with pytest.raises(StoreError, match="expected 1 finite vectors"):
                store.upsert([entry()], vectors(0) * np.nan)
        assert far._ask("size") == 2  # the connection goes on


def test_a_killed_holder_is_replaced_and_the_call_is_made_again(folder: Path) -> None:
    with holder(folder) as child, opened(folder) as store:
        assert store.count() == 2 and store._held is None
        child.kill()
        child.wait()
        store.upsert([entry("/c.md")], vectors(2))
        assert store.count() == 3 and store._held is not None
    with opened(folder) as store:
        assert store.count() == 3


def test_a_call_under_way_is_made_again_when_its_holder_is_killed(folder: Path) -> None:
    with holder(folder) as child, opened(folder) as store:
        store.count()
        child.send_signal(signal.SIGSTOP)
        found: list[int] = []
        waiting = threading.Thread(target=lambda: found.append(store.count()))
        waiting.start()
        child.kill()
        waiting.join(20)
        assert found == [2]


def test_a_holder_that_closes_leaves_the_index_to_those_who_are_connected(folder: Path) -> None:
    near, first, second = opened(folder), opened(folder), opened(folder)
    with first, second:
        assert first.count() == second.count() == 2
        near.upsert([entry("/c.md")], vectors(2))
        near.close()
        assert first.count() == second.count() == 3
        assert (first._held is None) != (second._held is None)


def test_a_long_read_goes_on_with_the_next_holder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unbraid.index.store.folder_store.WITH_VECTORS", 1)
    near, far = opened(folder), opened(folder)
    with far:
        pages = far.records()
        ids = [*next(pages)[0]]
        near.close()
        ids += [one for some, _, _ in pages for one in some]
        assert len(set(ids)) == len(ids) == 2


def test_many_threads_and_connections_ask_at_a_time(folder: Path) -> None:
    wrong: list[str] = []

    def ask(store: SharedStore) -> None:
        for _ in range(20):
            (found,) = store.nearest(vectors(1), 1)
            if found.ids() != [point_id("/b.md", "s1", 0)]:
                wrong.append("another chunk")

    with opened(folder) as near, opened(folder) as far:
        threads = [threading.Thread(target=ask, args=(store,)) for store in (near, far, far)]
        for thread in threads:
            thread.start()
        for number in range(10):
            near.upsert([entry(f"/n{number}.md")], vectors(3))
        for thread in threads:
            thread.join()
        assert wrong == [] and far.count() == 12


def test_another_process_writes_under_searches_without_a_pause_in_calls_of_a_few_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [entry(f"/{number}.md") for number in range(2 * DELETED + 5)]
    stop, calls = threading.Event(), []
    with opened(folder) as near, opened(folder) as far, ThreadPoolExecutor(3) as pool:
        assert near._held is not None and far._held is None
        for method in (near._held.delete, near._held.delete_older):
            monkeypatch.setattr(near._held, method.__name__, partial(counted, method, calls))
        searching = [pool.submit(nearest_until, stop, near) for _ in range(3)]
        try:
            far.upsert(files, vectors(*[2] * len(files)))
            far.delete_older(replace(one, sha256="s2") for one in files[:-1])
            assert far.count() == 3
            far.delete(one.path for one in files)
            assert sorted(far.files()) == ["/a.md", "/b.md"]
        finally:
            stop.set()
        assert all(one.result() > 0 for one in searching)
        assert calls == [DELETED, DELETED, 4, DELETED, DELETED, 5]
        # Without another process between them a write is one, with one sync of the disk.
        near.delete(one.path for one in files)
        assert calls[6:] == [len(files)]


def test_two_processes_that_make_one_index_make_one(tmp_path: Path, make_meta: Callable[..., Meta]) -> None:
    with SharedStore.create(tmp_path / "ix", make_meta(DIM)) as one:
        one.upsert([entry()], vectors(0))
        with SharedStore.create(tmp_path / "ix", make_meta(DIM, "other base")) as two:
            assert two.meta == one.meta and two.count() == 1


def test_a_folder_with_nothing_but_a_lock_holds_no_index_yet(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path, WRITE)
    assert SharedStore.open(tmp_path) is None
    lock.release()


def test_an_answer_that_is_too_large_is_an_error_and_no_reason_to_ask_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unbraid.index.store.answer.LARGEST", 100)
    with opened(folder) as near, opened(folder) as far:
        with pytest.raises(StoreError, match="the answer to files has .* bytes, too many"):
            far.files()
        assert far.count() == near.count() == 2


def test_an_index_whose_folder_is_gone_says_so(folder: Path) -> None:
    with opened(folder) as store:
        (folder / "unbraid.json").rename(folder / "elsewhere.json")
        with pytest.raises(StoreError, match="is gone"):
            store.upsert([entry()], vectors(0))
        (folder / "elsewhere.json").rename(folder / "unbraid.json")


def test_one_writes_as_a_whole_at_a_time_and_searches_go_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_store, "WRITERS", 0.05)
    with opened(folder) as near, opened(folder) as far, near.writing():
        assert far.count() == 2
        with pytest.raises(FolderHeld, match="is being written by this process already"), far.writing():
            pass


def test_the_token_is_for_this_user_alone(folder: Path) -> None:
    with opened(folder):
        assert stat.S_IMODE((folder / TOKEN_FILE).stat().st_mode) == 0o600
    assert not (folder / TOKEN_FILE).exists()


def test_what_needs_the_index_alone_names_who_has_it(folder: Path) -> None:
    with opened(folder) as near, opened(folder) as far:
        assert near.alone("verify").count() == 2
        with pytest.raises(StoreError, match=r"cannot verify .*: it is open in this process already"):
            far.alone("verify")


def test_a_holder_of_another_machine_is_an_error_at_once(folder: Path) -> None:
    lock = FolderLock(folder)  # which nothing answers for
    (folder / "open.json").write_text(json.dumps({"pid": 7, "host": "far", "command": "unbraid serve"}))
    with pytest.raises(
        StoreError, match=r"is open in process 7 on far \(unbraid serve\), which does not answer"
    ):
        SharedStore.open(folder)
    lock.release()


def test_a_holder_that_does_not_answer_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_store, "TAKEOVER", 0.05)
    lock = FolderLock(folder)
    with pytest.raises(StoreError, match="is open in this process already .*, which does not answer"):
        SharedStore.open(folder)
    lock.release()
    with holder(folder) as child:
        monkeypatch.setattr(shared_store, "PATIENCE", 0.05)
        store = opened(folder)
        child.send_signal(signal.SIGSTOP)
        with pytest.raises(
            StoreError, match=rf"(?s)is open in process {child.pid} .* has not answered for 0 s"
        ):
            store.count()
        store.close()


def test_a_token_file_that_says_nothing_is_not_believed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_store, "TAKEOVER", 0.05)
    with opened(folder):
        about = (folder / TOKEN_FILE).read_text()
        for wrong in ("", "[]", "{}", about.replace('"port": ', '"port": 9'), '{"port": "x"}'):
            (folder / TOKEN_FILE).write_text(wrong)
            with pytest.raises(StoreError, match="which does not answer"):
                SharedStore.open(folder)
        (folder / TOKEN_FILE).write_text(about.replace('"protocol": 1', '"protocol": 2'))
        with pytest.raises(StoreError, match="another version of unbraid"):
            SharedStore.open(folder)


def test_a_stranger_at_the_port_is_not_believed_and_learns_no_token(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_store, "TAKEOVER", 0.3)
    heard: list[bytes] = []

    def listen(listener: socket.socket) -> None:
        while True:
            try:
                stream, _ = listener.accept()
            except OSError:
                return
            stream.sendall(bytes(32))
            heard.append(stream.recv(64))
            stream.sendall(bytes(32))
            stream.close()

    lock = FolderLock(folder)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=listen, args=(listener,), daemon=True).start()
        about = {"protocol": 1, "port": listener.getsockname()[1], "token": "ab" * 32}
        (folder / TOKEN_FILE).write_text(json.dumps(about))
        with pytest.raises(StoreError, match="which does not answer"):
            SharedStore.open(folder)
        listener.shutdown(socket.SHUT_RDWR)
    lock.release()
    assert heard and not any(bytes.fromhex(about["token"]) in one for one in heard)


def test_a_machine_that_lets_nobody_listen_has_the_index_for_one_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise PermissionError("no sockets here")

    monkeypatch.setattr("socket.create_server", refuse)
    with opened(folder) as store:
        assert store.count() == 2 and read_address(folder) is None


def test_a_closed_index_says_so(folder: Path) -> None:
    with opened(folder) as near:
        far = opened(folder)
        far.close()
        far.close()
        for ask in (far.count, lambda: far.alone("verify")):
            with pytest.raises(StoreError, match="has been closed: open it again"):
                ask()
        assert near.count() == 2


def test_a_forked_child_does_not_keep_the_connections(folder: Path) -> None:
    with (
        holder(folder, "import os; os.fork() or __import__('time').sleep(25)") as child,
        opened(folder) as store,
    ):
        store.count()
        assert child.stdin and child.stdout
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "done\n"
        child.kill()
        child.wait()
        with pytest.raises(OSError) as ended:
            store._idle[0].receive(20)
        assert not isinstance(ended.value, TimeoutError)


# -- a folder that cannot be written -----------------------------------------------------------------------


@pytest.fixture
def unwritable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder can be locked, as for a user who may not write: permissions do not bind root, who may run the tests."""
    from filelock import FileLock

    def refuse(self: FileLock, **options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(FileLock, "acquire", refuse)


@pytest.mark.usefixtures("unwritable")
def test_a_folder_that_cannot_be_written_is_searched_in_a_copy(folder: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    with opened(folder) as store:
        assert sorted(store.files()) == ["/a.md", "/b.md"]
        assert store._held is not None
        copy = store._held.folder
        assert copy != folder and (copy / "unbraid.json").exists()
        with pytest.raises(StoreError, match="the folder cannot be written"):
            store.upsert([entry()], vectors(0))
        with pytest.raises(StoreError, match="cannot compact .*: the folder cannot be written"):
            store.alone("compact")
    assert not copy.exists()
    assert before == sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))


def test_no_copy_is_made_while_another_user_may_write(folder: Path) -> None:
    with holder(folder), pytest.MonkeyPatch.context() as patch:
        from filelock import FileLock

        def refuse(self: FileLock, **options: Any) -> None:
            raise PermissionError(13, "Permission denied")

        patch.setattr(FileLock, "acquire", refuse)
        with opened(folder) as store:  # the same user: who holds it answers
            assert store.count() == 2 and store._held is None
        (folder / TOKEN_FILE).write_text("")  # as if it could not be read
        with pytest.raises(StoreError, match="can neither write the folder nor ask that process"):
            SharedStore.open(folder)


@pytest.mark.usefixtures("unwritable")
def test_a_copy_without_room_is_refused_before_it_is_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(StoreError, match="has no room for a copy to search: .* set TMPDIR"):
        SharedStore.open(folder)
