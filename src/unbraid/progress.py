"""Progress of long work on standard error: share done, rate, time left."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
LONG = 30  # steps; with fewer, the bar would be gone before anyone reads it
EVERY = 30.0  # seconds between lines where standard error is a log


def track(steps: Sequence[T], what: str, *, unit: str, shown: bool | None = None) -> Iterator[T]:
    """Yield each of `steps` and draw a bar; `shown` None draws it for long work on a terminal."""
    if shown is None:
        shown = len(steps) >= LONG and sys.stderr.isatty()
    if not shown:
        yield from steps
        return
    with _bar(unit) as progress:
        task = progress.add_task(what, total=len(steps), rate="")
        for step in steps:
            yield step
            _advance(progress, task, 1)


@contextmanager
def counting(
    what: str, *, unit: str, total: int, done: int = 0, bar: bool | None = None
) -> Iterator[Callable[[int], None]]:
    """A function that takes how many more units are done. There are `total` in all, `done` of them from before.

    Draws a bar when standard error is a terminal (or as `bar` says). Otherwise writes a line with the share, the rate
    and the time left every 30 seconds.
    """
    if sys.stderr.isatty() if bar is None else bar:
        with _bar(unit) as progress:
            task = progress.add_task(what, total=total, completed=done, rate="")
            yield lambda count: _advance(progress, task, count)
        return
    started = shown = time.monotonic()
    here = 0

    def tell(count: int) -> None:
        nonlocal here, shown
        here += count
        now = time.monotonic()
        if now - shown >= EVERY:
            shown, rate = now, here / (now - started)
            left = max(0, total - done - here) / rate
            sys.stderr.write(
                f"{what}: {done + here:,} of {total:,} {unit}, {rate:,.1f}/s, {duration(left)} left\n"
            )
            sys.stderr.flush()

    yield tell


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, as 1:02:03."""
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{second:02d}"


def _bar(unit: str) -> Any:
    """A rich progress bar on standard error. Any: rich is imported only when a bar is drawn."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _advance(progress: Any, task: Any, count: int) -> None:
    progress.advance(task, count)
    speed = progress.tasks[0].speed
    progress.update(task, rate=f"{speed:,.1f}/s" if speed else "")
