"""One queue for all requests: workers take batches of a token budget from it, request by request in turn.

A long request, which does not fit into a batch, takes half of one while others wait, and goes to the end of the line with
what is left of it; others are never taken apart. So a short one waits for half a batch of each long request before it, and
a long one is never passed over.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from unbraid.errors import ItemError, UnbraidError
from unbraid.serve.engine.engine import Engine, Entry
from unbraid.serve.http.errors import ApiError, ClientGone, overloaded
from unbraid.serve.http.limits import Limits

logger = logging.getLogger("unbraid.serve")

FORGET = 0.95  # weight of what was known of the speed when a batch tells more


class Job:
    """The entries of one request, and their vectors as they come in."""

    def __init__(self, entries: Sequence[Entry], multi: bool, dim: int) -> None:
        """To be made inside the event loop that waits for `finished`."""
        self.entries, self.multi = entries, multi
        self.vectors: np.ndarray = (
            np.empty(len(entries), dtype=object) if multi else np.empty((len(entries), dim), dtype=np.float32)
        )
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.taken = 0  # entries that were taken into batches
        self.encoded = 0  # of those
        self.cost = sum(entry.cost for entry in entries)  # of the entries that were not taken yet
        self.arrived = time.perf_counter()
        self.started: float | None = None


@dataclass(frozen=True)
class Part:
    """The entries `first` to `last` (excluded) of a job, in a batch."""

    job: Job
    first: int
    last: int

    @property
    def entries(self) -> Sequence[Entry]:
        """The entries."""
        return self.job.entries[self.first : self.last]


class Batcher:
    """The queue and its workers. `start` and `run` belong to one event loop."""

    def __init__(self, engine: Engine, limits: Limits) -> None:
        """Workers start with `start`."""
        self.engine, self.limits = engine, limits
        self.on_batch: Callable[[int, float], None] = lambda items, fill: None
        self.items = self.tokens = 0  # waiting, and the cost of them
        self._round = 0  # cost of a batch of each waiting job: what a newcomer waits for
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._closed: ApiError | None = None
        self._done_tokens, self._done_seconds = 0.0, 0.0  # of late, for the speed of a worker

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

    def close(self, error: ApiError) -> None:
        """Answer what waits, and all that comes, with `error`; workers end after their batch."""
        with self._changed:
            self._closed = error
            waiting = list(self._jobs)
            self._changed.notify_all()
        for job in waiting:
            self._fail(job, error)

    def join(self) -> None:
        """Wait for the workers, after `close`."""
        for thread in self._threads:
            thread.join()

    async def run(self, entries: Sequence[Entry], *, multi: bool, gone: "asyncio.Future[None]") -> Job:
        """The finished job of `entries`.

        Raises ApiError 429 when too much waits already or it was not begun in time, ClientGone once `gone` is done:
        what is left of it is then not encoded. Raises what encoding raised.
        """
        job = Job(entries, multi, self.engine.dim)
        self._push(job)
        timer = self._loop.call_later(self.limits.queue_seconds, self._expire, job)
        give_up = partial(self._give_up, job)
        gone.add_done_callback(give_up)
        try:
            await job.finished
            return job
        finally:
            timer.cancel()
            gone.remove_done_callback(give_up)
            self._withdraw(job)
            # Its error knows this frame: a circle, which would hold the request until garbage is looked for.
            del job, give_up

    def wait(self) -> float:
        """Seconds, as the last batches went, until a newcomer's first item is taken up."""
        if not self._done_tokens:
            return 0
        return self._round * self._done_seconds / self._done_tokens / self.engine.workers

    def _expire(self, job: Job) -> None:
        """Refuse `job` unless a worker has begun with it."""
        with self._changed:
            late = job.started is None
        if late:
            self._fail(job, overloaded("seconds", self.wait()))

    def _give_up(self, job: Job, gone: "asyncio.Future[None]") -> None:
        self._fail(job, ClientGone())

    def _push(self, job: Job) -> None:
        limits = self.limits
        with self._changed:
            if self._closed:
                raise self._closed
            seconds = self.wait()
            if self._jobs and self.tokens + job.cost > limits.queue_tokens:
                raise overloaded("tokens", seconds)
            if self._jobs and self.items + len(job.entries) > limits.queue_items:
                raise overloaded("items", seconds)
            if seconds > limits.queue_seconds:
                raise overloaded("seconds", seconds - limits.queue_seconds)
            self.items += len(job.entries)
            self.tokens += job.cost
            self._line_up(job)
            self._changed.notify()

    def _line_up(self, job: Job) -> None:
        self._jobs.append(job)
        self._round += self._turn(job)

    def _turn(self, job: Job) -> int:
        """Cost of what a batch takes of `job` while others wait; of a long one at least its next entry."""
        if not self._is_long(job):
            return job.cost
        return max(self.engine.batch_tokens // 2, job.entries[job.taken].cost)

    def _is_long(self, job: Job) -> bool:
        return job.cost > self.engine.batch_tokens

    def _withdraw(self, job: Job) -> None:
        """Take what is left of `job` out of the queue."""
        with self._changed:
            if job.taken == len(job.entries) or job not in self._jobs:
                return
            self._jobs.remove(job)
            self._round -= self._turn(job)
            self.items -= len(job.entries) - job.taken
            self.tokens -= job.cost

    def _take(self) -> list[Part]:
        """The next batch: of one kind (single vectors or several), at least one entry, at most the budget.

        What comes after a request that no longer fits is not taken before it.
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
            while job.taken < len(job.entries) and cost + job.entries[job.taken].cost <= most:
                cost += job.entries[job.taken].cost
                job.taken += 1
            room -= cost
            job.cost -= cost
            self.tokens -= cost
            self.items -= job.taken - first
            job.started = job.started or time.perf_counter()
            parts.append(Part(job, first, job.taken))
            if job.taken < len(job.entries):
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
        entries = [entry for part in parts for entry in part.entries]
        cost = sum(entry.cost for entry in entries)
        started = time.perf_counter()
        try:
            vectors = self.engine.encode(entries, parts[0].job.multi)
        except BaseException as error:  # noqa: BLE001 - the tokenizers library's panics are no Exception
            if len(parts) == 1:
                self._tell(self._fail, parts[0].job, _as_answer(error))
                return
            vectors = None
        if vectors is None:  # one bad item fails its own request alone
            for part in parts:
                self._encode([part])
            return
        seconds = time.perf_counter() - started
        with self._changed:
            self._done_tokens = FORGET * self._done_tokens + cost
            self._done_seconds = FORGET * self._done_seconds + seconds
        self.on_batch(len(entries), cost / self.engine.batch_tokens)
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
        """Call in the event loop; not once that is closed."""
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            pass

    def _deliver(self, parts: Sequence[Part]) -> None:
        for part in parts:
            part.job.encoded += part.last - part.first
            if part.job.encoded == len(part.job.entries) and not part.job.finished.done():
                part.job.finished.set_result(None)

    def _fail(self, job: Job, error: Exception) -> None:
        self._withdraw(job)
        if not job.finished.done():
            job.finished.set_exception(error)


def _as_answer(error: BaseException) -> Exception:
    """What the request that caused `error` is told: why its item was refused, or that we failed."""
    if isinstance(error, ItemError):
        return error.with_traceback(None)  # which knows the batch: another circle, see `run`
    logger.error("a batch failed", exc_info=error)
    if isinstance(error, UnbraidError):
        return ApiError(500, "encoding_failed", str(error))
    return ApiError(500, "internal_error", "encoding failed; the server's log says why")
