import sys
import threading
from collections.abc import Iterator

import pytest

from unbraid.index.side_threads import TURN, ahead, behind, taking_turns


def test_threads_take_turns_only_within_the_block() -> None:
    before = sys.getswitchinterval()
    with pytest.raises(ZeroDivisionError), taking_turns():
        assert sys.getswitchinterval() == pytest.approx(min(before, TURN), abs=2e-6)  # whole microseconds
        raise ZeroDivisionError
    assert sys.getswitchinterval() == pytest.approx(before, abs=2e-6)


def test_the_next_one_is_made_while_one_is_used() -> None:
    made = [threading.Event() for _ in range(4)]

    def steps(stop: threading.Event) -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    with ahead(steps) as each:
        for number in each:
            assert number == 3 or made[number + 1].wait(10)
    assert all(event.is_set() for event in made)


def test_what_is_falsy_is_passed_on() -> None:
    with ahead(lambda stop: iter([0, "", []])) as each:
        assert list(each) == [0, "", []]


def test_an_error_of_a_step_is_raised_where_it_is_used() -> None:
    def steps(stop: threading.Event) -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    with ahead(steps) as each:
        assert next(each) == 1
        with pytest.raises(ValueError, match="broken"):
            next(each)


def test_a_block_that_ends_early_stops_the_steps() -> None:
    stops = []

    def steps(stop: threading.Event) -> Iterator[int]:
        stops.append(stop)
        while not stop.is_set():
            yield 1

    with pytest.raises(KeyboardInterrupt), ahead(steps) as each:
        for one in each:
            assert one == 1
            raise KeyboardInterrupt
    assert stops[0].is_set()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read")]


def test_calls_come_one_after_another_and_the_end_waits_for_the_last() -> None:
    began, go, order = threading.Event(), threading.Event(), []

    def work(number: int, name: str) -> None:
        if number == 0:
            began.set()
            go.wait(10)
        order.append((number, name))

    with behind(work) as later:
        later(0, name="a")
        assert began.wait(10) and not order
        go.set()
        later(1, "b")
        assert order[0] == (0, "a")
    assert order == [(0, "a"), (1, "b")]


@pytest.mark.parametrize("more", [0, 1])
def test_an_error_of_a_call_is_raised_by_the_next_one_or_the_end(more: int) -> None:
    done = []

    def work(number: int) -> None:
        done.append(number)
        raise ValueError(f"call {number}")

    with pytest.raises(ValueError, match="call 0"), behind(work) as later:
        for number in range(1 + more):
            later(number)
    assert done == [0]


def test_a_block_that_fails_waits_for_the_call_under_way() -> None:
    done = []
    go = threading.Event()

    def work(number: int) -> None:
        go.wait(10)
        done.append(number)

    with pytest.raises(KeyboardInterrupt), behind(work) as later:
        later(1)
        threading.Timer(0.01, go.set).start()
        raise KeyboardInterrupt
    assert done == [1]
