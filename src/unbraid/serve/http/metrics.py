"""What the server counts, for Prometheus. A registry for each application, so that several can live in a process."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from unbraid.serve.engine.batcher import Batcher
from unbraid.serve.http.request_stats import Trace

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
_FILL = (0.1, 0.25, 0.5, 0.75, 0.9, 1, 1.5, 2)

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Metrics:
    """The collectors, and the three moments at which they are told something."""

    def __init__(self, batcher: Batcher) -> None:
        """Show the queue of `batcher`, and hear of its batches."""
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "unbraid_requests", "Requests answered", ["route", "status"], registry=registry
        )
        self.latency = Histogram(
            "unbraid_request_seconds",
            "From the first byte of a request to its answer",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.phases = Histogram(
            "unbraid_phase_seconds",
            "Parts of that: body, read, fetch, queue, encode, map, search",
            ["phase"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.items = Counter("unbraid_items", "Items encoded", registry=registry)
        self.tokens = Counter("unbraid_tokens", "Tokens encoded, as usage counts them", registry=registry)
        self.rejects = Counter("unbraid_rejects", "Requests refused", ["code"], registry=registry)
        self.batch_items = Histogram(
            "unbraid_batch_items", "Items of a batch", buckets=_COUNTS, registry=registry
        )
        self.batch_fill = Histogram(
            "unbraid_batch_fill", "Cost of a batch over the budget", buckets=_FILL, registry=registry
        )
        for name, what, read in (
            ("requests", "Requests with items that wait", lambda: len(batcher)),
            ("items", "Items that wait", lambda: batcher.items),
            ("tokens", "Tokens that wait", lambda: batcher.tokens),
        ):
            Gauge(f"unbraid_queue_{name}", what, registry=registry).set_function(read)
        self._children: dict[tuple[object, ...], Any] = {}  # Any: counters and histograms
        batcher.on_batch = self.batch

    def batch(self, items: int, fill: float) -> None:
        """A batch was encoded."""
        self.batch_items.observe(items)
        self.batch_fill.observe(fill)

    def request(self, route: str, status: int, code: str | None, trace: Trace) -> None:
        """A request was answered, or its client had gone (status 499)."""
        self._of(self.requests, route, str(status)).inc()
        self._of(self.latency, route).observe(trace.seconds())
        for phase, seconds in trace.phases.items():
            self._of(self.phases, phase).observe(seconds)
        if code is not None:
            self._of(self.rejects, code).inc()
        elif status < 400:
            self.items.inc(trace.items)
            self.tokens.inc(trace.tokens)

    def _of(self, metric: Any, *labels: str) -> Any:
        """`metric.labels(*labels)`, looked up once: the library takes several microseconds each time."""
        key = (id(metric), *labels)
        if key not in self._children:
            self._children[key] = metric.labels(*labels)
        return self._children[key]

    def text(self) -> bytes:
        """All of it in Prometheus's text form."""
        return generate_latest(self.registry)
