"""OpenTelemetry: a span for every request, with a child for each phase.

OTEL_EXPORTER_OTLP_ENDPOINT and the other standard variables switch it on. Without them no span is made and
OpenTelemetry's SDK is not imported.
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from os import environ

from opentelemetry import propagate, trace

from unbraid.errors import install_command
from unbraid.serve.http.request_stats import RequestStats


def configure() -> Callable[[], object]:
    """Send spans where the standard variables say. Returns what to call at the end, to send the rest.

    Nothing happens without the variables, or where a provider of spans is set already.
    """
    asked = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    is_off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    is_other = environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp"
    is_set = not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    if not asked or is_off or is_other or is_set:
        return lambda: None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:  # the server runs on
        logging.getLogger("unbraid.serve").warning("no spans: %s; %s", error, install_command("telemetry"))
        return lambda: None
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return partial(provider.force_flush, 5000)  # milliseconds


def report(stats: RequestStats, method: str, route: str, status: int, headers: dict[str, str]) -> None:
    """Make the span of an answered request, part of the sender's trace where `headers` name one."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):  # none is set
        return
    tracer = provider.get_tracer("unbraid.serve")
    unix = time.time() - time.perf_counter()  # Unix time at 0 of the other clock
    known = {"task": stats.task, "code": stats.code, "items": stats.items, "tokens": stats.tokens}
    span = tracer.start_span(
        f"{method} {route}",
        context=propagate.extract(headers),
        kind=trace.SpanKind.SERVER,
        start_time=int((unix + stats.started) * 1e9),
        attributes={
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
            "unbraid.request_id": stats.id,
            **{f"unbraid.{name}": value for name, value in known.items() if value},
        },
    )
    if status >= 500:
        span.set_status(trace.StatusCode.ERROR)
    inside = trace.set_span_in_context(span)
    for phase, started, ended in stats.phases:
        child = tracer.start_span(phase, context=inside, start_time=int((unix + started) * 1e9))
        child.end(int((unix + ended) * 1e9))
    span.end()
