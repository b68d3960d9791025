"""The queue, with an engine whose every batch waits to be let through."""

import asyncio
import contextlib
import gc
import threading
import weakref

import numpy as np
import pytest

from unbraid.errors import ItemError
from unbraid.serve.engine.batcher import Batcher
from unbraid.serve.engine.engine import QueueItem
from unbraid.serve.engine.errors import ClientGone, Overloaded, ShuttingDown
from unbraid.serve.limits import Limits


class Engine:
    """Vectors that say which item they are of; notes every batch, and stops in it until `go` is set."""

    dim, workers, batch_tokens = 2, 1, 10

    def __init__(self, workers=1):
        self.workers = workers
        self.batches = []
        self.go, self.inside = threading.Event(), threading.Semaphore(0)
        self.go.set()

    def encode(self, items, multi):
        self.batches.append([item.content for item in items])
        self.inside.release()
        assert self.go.wait(5)
        if any(item.content == "bad" for item in items):
            raise ItemError("a bad item")
        if any(item.content == "panic" for item in items):
            raise BaseException("as pyo3 panics")  # noqa: TRY002
        rows = [np.array([float(str(item.content).strip("abcm")), 1]) for item in items]
        return rows if multi else np.array(rows, dtype=np.float32)


def items(name, *costs):
    return [QueueItem("text", f"{name}{number}", "base", cost, cost) for number, cost in enumerate(costs)]


def numbers(job):
    return [int(row[0]) for row in job.vectors]


def drive(scenario, *, workers=1, **limits):
    """Run `scenario(batcher, engine, run)` in an event loop; `run(items)` is a task of a request."""
    engine = Engine(workers)

    async def main():
        batcher = Batcher(engine, Limits(**limits))
        batcher.start()

        def run(given, multi=False, gone=None):
            return asyncio.ensure_future(
                batcher.run(given, multi=multi, gone=gone or asyncio.get_running_loop().create_future())
            )

        try:
            return await scenario(batcher, engine, run)
        finally:
            engine.go.set()
            batcher.close()
            await asyncio.to_thread(batcher.join)
            assert (batcher.items, batcher.tokens, batcher._round, len(batcher)) == (0, 0, 0, 0)

    return asyncio.run(main())


async def hold(engine, run):
    """A request that keeps the worker busy until `go` is set."""
    engine.go.clear()
    task = run(items("0", 1))
    assert await asyncio.to_thread(engine.inside.acquire, timeout=10)
    return task


def test_requests_that_wait_share_a_batch_of_the_budget():
    async def scenario(batcher, engine, run):
        first = await hold(engine, run)
        tasks = [run(items(name, 3)) for name in "abcabc"]
        await asyncio.sleep(0.01)
        assert (batcher.items, batcher.tokens, len(batcher)) == (6, 18, 6)
        engine.go.set()
        await asyncio.gather(first, *tasks)
        assert [len(batch) for batch in engine.batches] == [1, 3, 3]

    drive(scenario)


def test_a_short_request_does_not_wait_for_a_long_one_before_it():
    async def scenario(batcher, engine, run):
        first = await hold(engine, run)
        long, short = run(items("a", *[4] * 50)), run(items("b", 2))
        await asyncio.sleep(0.01)
        engine.go.set()
        job = await short
        assert numbers(job) == [0]
        assert numbers(await long) == list(range(50))
        await first
        # Half a batch while another waits, a whole one when none does.
        assert engine.batches[1:3] == [["a0", "b0"], ["a1", "a2"]]

    drive(scenario)


def test_long_requests_take_turns_and_none_is_passed_over():
    async def scenario(batcher, engine, run):
        first = await hold(engine, run)
        tasks = [run(items(name, *[10] * 3)) for name in "ab"]
        await asyncio.sleep(0.01)
        engine.go.set()
        await asyncio.gather(first, *tasks)
        assert engine.batches[1:] == [["a0"], ["b0"], ["a1"], ["b1"], ["a2"], ["b2"]]

    drive(scenario)


def test_what_fits_into_a_batch_is_not_taken_apart():
    async def scenario(batcher, engine, run):
        first = await hold(engine, run)
        tasks = [run(items("a", 1)), run(items("b", *[2] * 5)), run(items("c", 1))]
        await asyncio.sleep(0.01)
        engine.go.set()
        await asyncio.gather(first, *tasks)
        assert engine.batches[1:] == [["a0"], ["b0", "b1", "b2", "b3", "b4"], ["c0"]]

    drive(scenario)


def test_a_batch_has_half_of_it_for_one_long_request_wherever_that_stands():
    async def scenario(batcher, engine, run):
        first = await hold(engine, run)
        tasks = [run(items(name, *costs)) for name, costs in (("a", [2]), ("b", [1] * 12), ("c", [1] * 11))]
        await asyncio.sleep(0.01)
        engine.go.set()
        await asyncio.gather(first, *tasks)
        taken = [(batch[0][0], batch[-1][0], len(batch)) for batch in engine.batches[1:]]
        assert taken == [("a", "b", 6), ("c", "c", 5), ("b", "b", 7), ("c", "c", 6)]

    drive(scenario)


def test_an_item_over_the_budget_is_a_batch_of_its_own():
    async def scenario(batcher, engine, run):
        assert numbers(await run(items("a", 3, 25, 3))) == [0, 1, 2]
        assert engine.batches == [["a0"], ["a1"], ["a2"]]

    drive(scenario)


def test_single_and_multi_vectors_are_never_in_one_batch():
    async def scenario(batcher, engine, run):
        first = await hold(engine, run)
        tasks = [run(items("a", 1)), run(items("m", 1, 1), multi=True), run(items("b", 1))]
        await asyncio.sleep(0.01)
        engine.go.set()
        _, several, _ = await asyncio.gather(*tasks)
        await first
        assert engine.batches[1:] == [["a0"], ["m0", "m1"], ["b0"]]
        assert [one.tolist() for one in several.vectors] == [[0, 1], [1, 1]]

    drive(scenario)


def test_what_a_client_left_behind_is_not_encoded():
    async def scenario(batcher, engine, run):
        first = await hold(engine, run)
        gone = asyncio.get_running_loop().create_future()
        left = run(items("a", *[5] * 10), gone=gone)
        await asyncio.sleep(0.01)
        gone.set_result(None)
        with pytest.raises(ClientGone):
            await left
        assert batcher.items == 0
        engine.go.set()
        await first
        assert numbers(await run(items("b", 1))) == [0]
        assert not any(content.startswith("a") for batch in engine.batches for content in batch)

    drive(scenario)


def test_a_bad_item_fails_its_own_request_alone():
    async def scenario(batcher, engine, run):
        first = await hold(engine, run)
        bad, panic = ([QueueItem("text", name, "base", 1, 1)] for name in ("bad", "panic"))
        tasks = [run(items("a", 1)), run(bad), run(panic), run(items("b", 1))]
        await asyncio.sleep(0.01)
        engine.go.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert numbers(found[0]) == numbers(found[3]) == [0]
        assert isinstance(found[1], ItemError)
        assert type(found[2]) is RuntimeError
        await first

    drive(scenario)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"queue_tokens": 20, "tokens": 20}, "tokens"), ({"queue_items": 4, "items": 4}, "items")],
)
def test_a_full_queue_refuses_and_takes_again_when_it_is_not(limits, reason):
    async def scenario(batcher, engine, run):
        first = await hold(engine, run)
        waiting = run(items("a", 6, 6, 6))
        await asyncio.sleep(0.01)
        with pytest.raises(Overloaded, match=reason):
            await run(items("b", 6, 6))
        engine.go.set()
        await asyncio.gather(first, waiting)
        assert numbers(await run(items("b", 6, 6))) == [0, 1]

    drive(scenario, **limits)


def test_a_request_that_was_not_begun_in_time_is_refused_and_one_that_was_is_finished():
    async def scenario(batcher, engine, run):
        first = await hold(engine, run)
        with pytest.raises(Overloaded, match="seconds"):
            await run(items("a", 1))
        assert not first.done()
        engine.go.set()
        assert numbers(await first) == [0]

    drive(scenario, queue_seconds=0.3)  # in which the first one has to be begun


def test_a_newcomer_that_would_wait_too_long_is_refused_at_once():
    async def scenario(batcher, engine, run):
        first = await hold(engine, run)
        waiting = run(items("a", 5, 5, 5, 5))
        await asyncio.sleep(0.01)
        batcher._done_tokens, batcher._done_seconds = 1.0, 1.0  # a second a token: five for half a batch
        assert batcher.wait() == 5
        with pytest.raises(Overloaded, match="seconds"):
            await run(items("b", 1))
        engine.go.set()
        await asyncio.gather(first, waiting)

    drive(scenario, queue_seconds=4)


def test_closing_answers_everything_that_waits():
    async def scenario(batcher, engine, run):
        first = await hold(engine, run)
        tasks = [run(items("a", *[10] * 5)), run(items("b", 1))]
        await asyncio.sleep(0.01)
        batcher.close()
        for task in tasks:
            with pytest.raises(ShuttingDown):
                await task
        with pytest.raises(ShuttingDown):
            await run(items("c", 1))
        engine.go.set()
        assert numbers(await first) == [0]

    drive(scenario)


def test_many_requests_of_many_sizes_all_come_back_whole_and_in_order():
    async def scenario(batcher, engine, run):
        generator = np.random.default_rng(0)
        costs = [generator.integers(1, 30, generator.integers(1, 40)).tolist() for _ in range(80)]
        jobs = await asyncio.gather(*(run(items("a", *some), multi=len(some) % 7 == 0) for some in costs))
        for job, some in zip(jobs, costs, strict=True):
            assert numbers(job) == list(range(len(some)))

    drive(scenario, workers=3)


class Kept(list):
    """Entries that can be watched."""


def test_requests_that_failed_or_were_given_up_are_let_go_of_without_looking_for_garbage():
    async def scenario(batcher, engine, run):
        async def ask(given, gone):
            with contextlib.suppress(ItemError, ClientGone):
                await batcher.run(given, multi=False, gone=gone)

        async def watch(*given, leaves=False):
            watched, gone = [weakref.ref(one) for one in given], asyncio.get_running_loop().create_future()
            first = await hold(engine, run)
            tasks = [asyncio.ensure_future(ask(one, gone)) for one in given]
            await asyncio.sleep(0.01)
            if leaves:
                gone.set_result(None)
                await asyncio.gather(*tasks)
            engine.go.set()
            await asyncio.gather(first, *tasks)
            return watched

        bad = [QueueItem("text", "bad", "base", 1, 1)]
        watched = [
            *await watch(Kept(bad), Kept(items("a", 1))),  # of one batch
            *await watch(Kept(items("b", 1)), leaves=True),
        ]
        await run(items("c", 1))  # the worker's last batch is another one
        assert [one() for one in watched] == [None] * 3

    gc.disable()
    try:
        drive(scenario)
    finally:
        gc.enable()
