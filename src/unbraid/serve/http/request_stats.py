"""What the server knows of one request, for its log line, its metrics and its span."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class RequestStats:
    """A request's id, items and tokens, and how long each phase took."""

    id: str
    task: str | None = None
    items: int = 0
    tokens: int = 0
    code: str | None = None  # of the refusal, if it was refused
    phases: list[tuple[str, float, float]] = field(default_factory=list)  # name, begin, end: perf_counter
    started: float = field(default_factory=time.perf_counter)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Record the time inside as a phase."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.phases.append((name, started, time.perf_counter()))

    def seconds(self) -> float:
        """Since the request began."""
        return time.perf_counter() - self.started

    def totals(self) -> dict[str, float]:
        """Seconds by phase; a phase that came twice is summed."""
        totals: dict[str, float] = {}
        for name, started, ended in self.phases:
            totals[name] = totals.get(name, 0) + ended - started
        return totals

    def server_timing(self) -> str:
        """The Server-Timing header, in milliseconds; browsers' developer tools show it."""
        parts = {**self.totals(), "total": self.seconds()}
        return ", ".join(f"{name};dur={seconds * 1000:.2f}" for name, seconds in parts.items())
