"""OpenTelemetry: FastAPI makes the span of a request, and here it is told what the request was.

The standard variables switch it on (OTEL_EXPORTER_OTLP_ENDPOINT and the others); without them no span is made, and
OpenTelemetry's SDK is not imported.
"""

import time

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace as opentelemetry

from unbraid.serve.http.request_stats import Trace

TELEMETRY: TelemetryConfig = {
    "auto_configure": True,  # by those variables
    "metrics": False,  # they are at /metrics
    "logs": False,  # they are on standard error
    "operation_spans": False,  # of FastAPI's own steps, which these routes do without
}


def report(trace: Trace) -> None:
    """Add to the span of the request, where one is recorded, its attributes and a child for each phase that is over."""
    span = opentelemetry.get_current_span()
    if not span.is_recording():
        return
    known = {"task": trace.task, "code": trace.code, "items": trace.items, "tokens": trace.tokens}
    span.set_attribute("unbraid.request_id", trace.id)
    span.set_attributes({f"unbraid.{name}": value for name, value in known.items() if value})
    tracer = opentelemetry.get_tracer("unbraid.serve")
    now = time.time() - time.perf_counter()  # what makes Unix time of the other clock
    for phase, started, ended in trace.times:
        child = tracer.start_span(phase, start_time=int((now + started) * 1e9))
        child.end(int((now + ended) * 1e9))
