"""One index for all calls: opened when needed, closed soon after, one call at a time."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import unbraid
from unbraid.errors import StoreError
from unbraid.mcp import SharedIndex, shared_index


class Store:
    def facet(self, key):
        return {"/a/b.md": 1}


class Index:
    """Counts how many use it at a time."""

    def __init__(self):
        self.store, self.closed, self.users, self.most = Store(), False, 0, 0

    def close(self):
        self.closed = True


@pytest.fixture
def indexes():
    return []


@pytest.fixture
def shared(indexes):
    def open_index():
        indexes.append(Index())
        return indexes[-1]

    one = SharedIndex(open_index)
    yield one
    one.close()


def test_nothing_is_opened_before_it_is_used(shared, indexes):
    assert indexes == []
    with shared.use() as opened:
        assert opened.index is indexes[0] and opened.paths.folder == "/a"


def test_it_stays_open_for_the_next_call_and_is_closed_soon_after(shared, indexes, monkeypatch):
    monkeypatch.setattr(shared_index, "KEPT_OPEN", 0.05)
    for _ in range(3):
        with shared.use():
            pass
    assert len(indexes) == 1
    while not indexes[0].closed:
        time.sleep(0.005)
    with shared.use() as opened:
        assert opened.index is indexes[1]


def test_it_is_not_closed_under_a_call(shared, indexes, monkeypatch):
    monkeypatch.setattr(shared_index, "KEPT_OPEN", 0.01)
    with shared.use() as opened:
        closing = threading.Thread(target=shared.close)
        closing.start()
        closing.join(0.05)
        assert not opened.index.closed
    closing.join()
    assert indexes[0].closed


def test_one_call_at_a_time_uses_it(shared):
    def use(_):
        with shared.use() as opened:
            opened.index.users += 1
            opened.index.most = max(opened.index.most, opened.index.users)
            time.sleep(0.001)
            opened.index.users -= 1
            return opened.index.most

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(use, range(20))) == {1}


def test_an_index_whose_files_cannot_be_listed_is_closed_again(indexes, monkeypatch):
    def open_index():
        indexes.append(Index())
        return indexes[-1]

    monkeypatch.setattr(Store, "facet", lambda self, key: (_ for _ in ()).throw(StoreError("broken")))
    with pytest.raises(StoreError), SharedIndex(open_index).use():
        pass
    assert indexes[0].closed


def test_what_another_process_wrote_is_seen_after_the_index_was_closed(tmp_path, starter, tools_over):
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.md").write_text("Ships sail.\n")
    with unbraid.open_index(tmp_path / "ix", model=starter) as index:
        index.add(folder)
    shared = SharedIndex(lambda: unbraid.open_index(tmp_path / "ix", model=starter, read_only=True))
    with shared.use() as opened:
        assert len(opened.paths) == 1
    shared.close()
    (folder / "b.md").write_text("Trains run.\n")
    with unbraid.open_index(tmp_path / "ix", model=starter) as index:
        index.add(folder)
    with shared.use() as opened:
        assert len(opened.paths) == 2
    shared.close()
