import threading
from typing import Any

import pytest

from unbraid.index.store import demand as demand_module
from unbraid.index.store.demand import MOST, NEXT_CALL, SHARE, Demand


class Clock:
    """Time that passes only while somebody sleeps, or when a test says so."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(demand_module, "time", clock)
    return clock


def work(demand: Demand, clock: Clock, seconds: float) -> float:
    """Seconds that a piece of work of so many gives way after it."""
    clock.now += seconds
    before = clock.slept
    demand.give_way()
    return clock.slept - before


def test_nothing_waits_without_a_search(clock: Clock) -> None:
    demand = Demand()
    assert work(demand, clock, 1.0) == work(demand, clock, 1.0) == 0


def test_work_waits_until_no_further_call_of_a_search_is_expected(clock: Clock) -> None:
    demand = Demand()
    demand.give_way()
    clock.now += 1
    with demand.search():
        pass
    assert work(demand, clock, 0.0) == pytest.approx(NEXT_CALL, abs=1.01 * demand_module.STEP)
    assert work(demand, clock, 1.0) == 0


@pytest.mark.parametrize(("worked", "waits"), [(0.01, SHARE * 0.01), (10.0, MOST)])
def test_searches_without_a_pause_do_not_stop_the_work(clock: Clock, worked: float, waits: float) -> None:
    demand = Demand()
    demand.give_way()
    with demand.search():
        assert work(demand, clock, worked) == pytest.approx(waits, abs=1.01 * demand_module.STEP)


def test_a_search_that_fails_is_over(clock: Clock) -> None:
    demand = Demand()
    demand.give_way()
    with pytest.raises(ValueError, match="broken"), demand.search():
        raise ValueError("broken")
    clock.now += NEXT_CALL
    assert work(demand, clock, 1.0) == 0


def test_searches_of_several_threads_are_all_waited_for(clock: Clock) -> None:
    demand = Demand()
    demand.give_way()
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with demand.search():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(10)
    with demand.search():
        pass
    clock.now += NEXT_CALL
    assert work(demand, clock, 1.0) > 0
    leave.set()
    thread.join()


def test_waiting_is_not_work(clock: Clock) -> None:
    demand = Demand()
    demand.give_way()
    clock.now += 5
    demand.begin()
    with demand.search():
        assert work(demand, clock, 0.01) == pytest.approx(SHARE * 0.01)


def test_a_write_does_not_give_way_for_its_wait_for_the_store(
    open_store: Any, tmp_path: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow:
        """The store, behind calls of searches that take a second."""

        def __enter__(self) -> None:
            clock.now += 1

        def __exit__(self, *error: object) -> None:
            pass

    with open_store(tmp_path / "index") as store, store._demand.search():
        store.count()
        with monkeypatch.context() as patch:
            patch.setattr(store, "_turn", Slow())
            store.delete(["/a.md", "/b.md", "/c.md"])
    assert clock.slept == 0


def test_a_call_leaves_the_store_to_a_thread_that_waits(
    open_store: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unbraid.index.store import folder_store

    with open_store(tmp_path / "index") as store:
        store.count()
        slept = []
        monkeypatch.setattr(folder_store.time, "sleep", slept.append)
        store.count()
        assert slept == []
        store._waiting.add(0)
        store.count()
        assert slept == [folder_store.GIVE_WAY]


def test_a_write_gives_way_to_a_search_between_its_operations(
    open_store: Any, tmp_path: Any, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unbraid.index.store.entry import Entry

    given = []
    with open_store(tmp_path / "index") as store:
        monkeypatch.setattr(store, "give_way", lambda: given.append(store.count()))
        entries = [Entry(f"/f{n}.md", "text", 1, 1, f"text {n}", "s", 1, 1, 0, 1) for n in range(40)]
        store.upsert(entries, model.encode([one.text for one in entries]))
    assert len(given) >= 3 and given[0] < given[-1] == 40
