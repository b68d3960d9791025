"""One queue for all requests. Workers take batches within a token budget; requests take turns.

A request that fits into a batch is never split. A longer one gets half a batch while others wait, then goes to the
end of the queue with what is left of it. So a short request waits for half a batch of each long one before it, and a
long request always moves on.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from unbraid.errors import ItemError, UnbraidError
from unbraid.serve.engine.engine import Engine, QueueItem
from unbraid.serve.engine.errors import ClientGone, EncodingFailed, Overloaded, ShuttingDown
from unbraid.serve.limits import Limits

logger = logging.getLogger("unbraid.serve")

FORGET = 0.95  # weight of the past in the measured speed, at each batch


class Job:
    """The items of one request, and their vectors as they arrive."""

    def __init__(self, items: Sequence[QueueItem], multi: bool, dim: int) -> None:
        """Make it inside the event loop that waits for `finished`."""
        self.items, self.multi = items, multi
        self.vectors: np.ndarray = (
            np.empty(len(items), dtype=object) if multi else np.empty((len(items), dim), dtype=np.float32)
        )
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.taken = 0  # items that are in a batch or done
        self.encoded = 0  # items that are done
        self.cost = sum(item.cost for item in items)  # of the items not taken yet
        self.arrived = time.perf_counter()
        self.started: float | None = None


@dataclass(frozen=True)
class Part:
    """The items `first` to `last` (excluded) of a job, in a batch."""

    job: Job
    first: int
    last: int


class Batcher:
    """The queue and its workers. One event loop calls `start` and `run`."""

    def __init__(self, engine: Engine, limits: Limits) -> None:
        """`start` starts the workers."""
        self.engine, self.limits = engine, limits
        self.on_batch: Callable[[int, float], None] = lambda items, fill: None
        self.items = self.tokens = 0  # waiting, and their cost
        self._round = 0  # cost of one batch of each waiting job: a newcomer waits for that
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._done_tokens, self._done_seconds = 0.0, 0.0  # recent, for the speed of a worker

    def __len__(self) -> int:
        """Requests that wait."""
        return len(self._jobs)

    def start(self) -> None:
        """Start the workers."""
        self._loop = asyncio.get_running_loop()
        for number in range(self.engine.workers):
            thread = threading.Thread(target=self._work, name=f"encode-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """Fail what waits, and all that comes later, with ShuttingDown. Workers end after their batch."""
        with self._changed:
            self._closed = True
            waiting = list(self._jobs)
            self._changed.notify_all()
        for job in waiting:
            self._fail(job, ShuttingDown())

    def join(self) -> None:
        """Wait for the workers, after `close`."""
        for thread in self._threads:
            thread.join()

    async def run(self, items: Sequence[QueueItem], *, multi: bool, gone: "asyncio.Future[None]") -> Job:
        """The finished job of `items`.

        Raises Overloaded when the queue is full or no worker took the job in time, ClientGone once `gone` is done (the
        rest of the job is then not encoded), ShuttingDown, and ItemError or EncodingFailed of the encoder.
        """
        job = Job(items, multi, self.engine.dim)
        self._push(job)
        timer = self._loop.call_later(self.limits.queue_seconds, self._expire, job)
        give_up = partial(self._fail, job, ClientGone())
        gone.add_done_callback(give_up)
        try:
            await job.finished
            return job
        finally:
            timer.cancel()
            gone.remove_done_callback(give_up)
            self._withdraw(job)
            # The job's exception refers to this frame. The cycle would keep the request until garbage collection.
            del job, give_up

    def wait(self) -> float:
        """Seconds, at the recent speed, until a worker takes a newcomer's first item."""
        if not self._done_tokens:
            return 0
        return self._round * self._done_seconds / self._done_tokens / self.engine.workers

    def _expire(self, job: Job) -> None:
        """Fail `job` unless a worker has taken some of it."""
        with self._changed:
            late = job.started is None
        if late:
            self._fail(job, Overloaded("seconds", self.wait()))

    def _push(self, job: Job) -> None:
        limits = self.limits
        with self._changed:
            if self._closed:
                raise ShuttingDown
            seconds = self.wait()
            if self._jobs and self.tokens + job.cost > limits.queue_tokens:
                raise Overloaded("tokens", seconds)
            if self._jobs and self.items + len(job.items) > limits.queue_items:
                raise Overloaded("items", seconds)
            if seconds > limits.queue_seconds:
                raise Overloaded("seconds", seconds - limits.queue_seconds)
            self.items += len(job.items)
            self.tokens += job.cost
            self._line_up(job)
            self._changed.notify()

    def _line_up(self, job: Job) -> None:
        self._jobs.append(job)
        self._round += self._turn(job)

    def _is_long(self, job: Job) -> bool:
        return job.cost > self.engine.batch_tokens

    def _turn(self, job: Job) -> int:
        """Cost of what a batch takes of `job` while others wait; of a long one at least its next item."""
        if not self._is_long(job):
            return job.cost
        return max(self.engine.batch_tokens // 2, job.items[job.taken].cost)

    def _withdraw(self, job: Job) -> None:
        """Take what is left of `job` out of the queue."""
        with self._changed:
            if job.taken == len(job.items) or job not in self._jobs:
                return
            self._jobs.remove(job)
            self._round -= self._turn(job)
            self.items -= len(job.items) - job.taken
            self.tokens -= job.cost

    def _take(self) -> list[Part]:
        """The next batch: single vectors or multi-vectors, at least one item, at most the budget.

        A request that does not fit ends the batch: no later one overtakes it.
        """
        parts: list[Part] = []
        room = self.engine.batch_tokens
        alone, has_long = len(self._jobs) == 1, False
        while self._jobs:
            job = self._jobs[0]
            turn, is_long = self._turn(job), self._is_long(job)
            if parts and (job.multi != parts[0].job.multi or turn > room or (is_long and has_long)):
                break
            has_long = has_long or is_long
            self._jobs.popleft()
            self._round -= turn
            most = max(turn, room) if alone else turn
            first, cost = job.taken, 0
            while job.taken < len(job.items) and cost + job.items[job.taken].cost <= most:
                cost += job.items[job.taken].cost
                job.taken += 1
            room -= cost
            job.cost -= cost
            self.tokens -= cost
            self.items -= job.taken - first
            job.started = job.started or time.perf_counter()
            parts.append(Part(job, first, job.taken))
            if job.taken < len(job.items):
                self._line_up(job)
        return parts

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._jobs and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                parts = self._take()
            self._encode(parts)

    def _encode(self, parts: Sequence[Part]) -> None:
        items = [item for part in parts for item in part.job.items[part.first : part.last]]
        cost = sum(item.cost for item in items)
        started = time.perf_counter()
        try:
            vectors = self.engine.encode(items, parts[0].job.multi)
        except BaseException as error:  # noqa: BLE001 - a panic of the tokenizers library is no Exception
            if len(parts) == 1:
                self._tell(self._fail, parts[0].job, _failure(error))
                return
            vectors = None
        if vectors is None:  # again one by one: a bad item fails its own request alone
            for part in parts:
                self._encode([part])
            return
        seconds = time.perf_counter() - started
        with self._changed:
            self._done_tokens = FORGET * self._done_tokens + cost
            self._done_seconds = FORGET * self._done_seconds + seconds
        self.on_batch(len(items), cost / self.engine.batch_tokens)
        row = 0
        for part in parts:
            count = part.last - part.first
            if part.job.multi:
                for place in range(count):
                    part.job.vectors[part.first + place] = vectors[row + place]
            else:
                part.job.vectors[part.first : part.last] = vectors[row : row + count]
            row += count
        self._tell(self._deliver, parts)

    def _tell(self, function: Callable[..., None], *arguments: object) -> None:
        """Call `function` in the event loop, unless the loop is closed."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def _deliver(self, parts: Sequence[Part]) -> None:
        for part in parts:
            part.job.encoded += part.last - part.first
            if part.job.encoded == len(part.job.items) and not part.job.finished.done():
                part.job.finished.set_result(None)

    def _fail(self, job: Job, error: Exception, gone: "asyncio.Future[None] | None" = None) -> None:
        """Make `run` raise `error`; `gone` is the future whose callback this is."""
        self._withdraw(job)
        if not job.finished.done():
            job.finished.set_exception(error)


def _failure(error: BaseException) -> Exception:
    """What `Batcher.run` raises for an `error` of the encoder."""
    if isinstance(error, ItemError):
        return error.with_traceback(None)  # the traceback holds the batch: another cycle, see `run`
    logger.error("a batch failed", exc_info=error)
    if isinstance(error, UnbraidError):
        return EncodingFailed(str(error))
    return RuntimeError("a batch failed; the log says why")
