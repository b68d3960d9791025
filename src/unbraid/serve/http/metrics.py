"""Counters and histograms for Prometheus. Each application has its own registry, so a process may hold several."""

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE

from unbraid.serve.engine.batcher import Batcher
from unbraid.serve.http.request_stats import RequestStats

__all__ = ["CONTENT_TYPE", "Metrics"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
_FILL = (0.1, 0.25, 0.5, 0.75, 0.9, 1, 1.5, 2)


class Metrics:
    """What /metrics shows of the requests, the batches and the queue."""

    def __init__(self, batcher: Batcher) -> None:
        """Read the queue of `batcher`, and count its batches."""
        self.registry = registry = CollectorRegistry()

        def counter(name: str, help: str, *labels: str) -> Counter:
            return Counter(f"unbraid_{name}", help, labels, registry=registry)

        def histogram(name: str, help: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"unbraid_{name}", help, labels, buckets=buckets, registry=registry)

        self.requests = counter("requests", "Requests answered", "route", "status")
        self.latency = histogram(
            "request_seconds", "From a request's headers to its answer", _SECONDS, "route"
        )
        phases = "Parts of that: body, read, fetch, queue, encode, map, search"
        self.phases = histogram("phase_seconds", phases, _SECONDS, "phase")
        self.items = counter("items", "Items encoded")
        self.tokens = counter("tokens", "Tokens encoded, as usage counts them")
        self.rejects = counter("rejects", "Requests refused", "code")
        self.batch_items = histogram("batch_items", "Items of a batch", _COUNTS)
        self.batch_fill = histogram("batch_fill", "Cost of a batch over its budget", _FILL)
        for name, help, read in (
            ("requests", "Requests with items that wait", lambda: len(batcher)),
            ("items", "Items that wait", lambda: batcher.items),
            ("tokens", "Tokens that wait", lambda: batcher.tokens),
        ):
            Gauge(f"unbraid_queue_{name}", help, registry=registry).set_function(read)
        self._children: dict[tuple[object, ...], Any] = {}  # Any: counters and histograms
        batcher.on_batch = self.batch

    def batch(self, items: int, fill: float) -> None:
        """Count a batch."""
        self.batch_items.observe(items)
        self.batch_fill.observe(fill)

    def request(self, route: str, status: int, stats: RequestStats, phases: Mapping[str, float]) -> None:
        """Count a request that was answered, or whose client had gone (status 499)."""
        self._child(self.requests, route, str(status)).inc()
        self._child(self.latency, route).observe(stats.seconds())
        for phase, seconds in phases.items():
            self._child(self.phases, phase).observe(seconds)
        if stats.code is not None:
            self._child(self.rejects, stats.code).inc()
        elif status < 400:
            self.items.inc(stats.items)
            self.tokens.inc(stats.tokens)

    def _child(self, metric: Any, *labels: str) -> Any:
        """`metric.labels(*labels)`, cached: the library takes several microseconds each time."""
        key = (id(metric), *labels)
        if key not in self._children:
            self._children[key] = metric.labels(*labels)
        return self._children[key]

    def text(self) -> bytes:
        """All metrics in Prometheus's text form."""
        return generate_latest(self.registry)
