"""What is known of one request while it is on its way."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Trace:
    """A request's id, its body, and what it took so far: items, tokens, and seconds by phase."""

    id: str
    body: bytes = b""
    task: str | None = None
    items: int = 0
    tokens: int = 0
    code: str | None = None  # of the refusal, if it was one
    phases: dict[str, float] = field(default_factory=dict)  # seconds
    times: list[tuple[str, float, float]] = field(default_factory=list)  # phases, by perf_counter
    started: float = field(default_factory=time.perf_counter)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what is inside as a phase."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.passed(name, started, time.perf_counter())

    def passed(self, name: str, started: float, ended: float) -> None:
        """Count what was between two times of perf_counter as a phase; one that comes again adds to it."""
        self.phases[name] = self.phases.get(name, 0) + ended - started
        self.times.append((name, started, ended))

    def seconds(self) -> float:
        """Since the request began."""
        return time.perf_counter() - self.started

    def server_timing(self) -> str:
        """The Server-Timing header, in milliseconds; browsers' tools show it."""
        parts = [*self.phases.items(), ("total", self.seconds())]
        return ", ".join(f"{name};dur={seconds * 1000:.2f}" for name, seconds in parts)
