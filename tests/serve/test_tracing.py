"""Spans of the server's requests: what they hold, whom they belong to, and that nothing is made without being asked for."""

import http.server
import itertools
import json
import os
import signal
import subprocess
import sys
import threading

import httpx
import pytest
from starlette.testclient import TestClient

import unbraid
from unbraid.serve import BundleEngine, create_app

pytest.importorskip("opentelemetry.sdk", reason="needs unbraid[telemetry]")
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


@pytest.fixture(scope="module")
def client(bundle_folder):
    engine = BundleEngine(unbraid.load(bundle_folder, threads=1), workers=1)
    with TestClient(create_app(engine), base_url="http://localhost") as client:
        yield client


@pytest.fixture
def spans(monkeypatch):
    """Where finished spans arrive; a process has one provider for good, so only its getter is replaced."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    return exporter


def of_request(exporter):
    """The request's span, and its children in order of their beginning."""
    finished = exporter.get_finished_spans()
    (root,) = [span for span in finished if span.kind is trace.SpanKind.SERVER]
    children = [span for span in finished if span is not root]
    assert all(child.parent.span_id == root.context.span_id for child in children)
    return root, sorted(children, key=lambda span: span.start_time)


def test_a_request_is_a_span_with_a_child_for_each_phase(client, spans):
    answer = client.post(
        "/v1/embeddings",
        json={"input": ["a cat", "the red house"], "task": "query"},
        headers={"x-request-id": "mine-1"},
    )
    root, children = of_request(spans)
    assert root.name == "POST /v1/embeddings"
    assert root.attributes["http.response.status_code"] == 200
    assert {name: root.attributes[f"unbraid.{name}"] for name in ("request_id", "task", "items")} == {
        "request_id": "mine-1",
        "task": "query",
        "items": 2,
    }
    assert root.attributes["unbraid.tokens"] == answer.json()["usage"]["total_tokens"]
    assert [child.name for child in children] == ["body", "read", "read", "queue", "encode"]
    assert all(one.end_time <= later.start_time for one, later in itertools.pairwise(children))


def test_a_request_belongs_to_the_trace_of_its_sender(client, spans):
    sender = f"00-{'a' * 32}-{'b' * 16}-01"
    client.post("/v1/embeddings", json={"input": "a cat"}, headers={"traceparent": sender})
    root, children = of_request(spans)
    assert {span.context.trace_id for span in (root, *children)} == {int("a" * 32, 16)}
    assert root.parent.span_id == int("b" * 16, 16)


def test_a_refusal_is_a_span_with_its_code(client, spans):
    client.post("/v1/embeddings", json={"input": ""})
    root, children = of_request(spans)
    assert root.attributes["unbraid.code"] == "invalid_input"
    assert root.attributes["http.response.status_code"] == 400
    assert [child.name for child in children] == ["body", "read"]


SERVE_ONE = """
import sys
from starlette.testclient import TestClient
import unbraid
from unbraid.serve import BundleEngine, create_app

engine = BundleEngine(unbraid.load(sys.argv[1], threads=1), workers=1)
with TestClient(create_app(engine), base_url="http://localhost") as client:
    print(client.post("/v1/embeddings", json={"input": "a cat"}).status_code, "opentelemetry.sdk" in sys.modules)
"""


def test_the_sdk_is_not_loaded_where_nobody_asked(bundle_folder):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    command = [sys.executable, "-c", SERVE_ONE, str(bundle_folder)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
    assert answer.stdout.split() == [b"200", b"False"]


class Collector(http.server.BaseHTTPRequestHandler):
    """Keeps what is sent to it."""

    def do_POST(self):
        self.server.received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_the_standard_variable_sends_spans_there(bundle_folder):
    with http.server.HTTPServer(("127.0.0.1", 0), Collector) as collector:
        collector.received = []
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{collector.server_port}"
        command = [sys.executable, "-m", "unbraid", "serve", "--port", "0", "--model", str(bundle_folder)]
        with subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint},
        ) as process:
            try:
                while "running on http" not in (line := process.stderr.readline()):
                    assert line.startswith("{"), line
                url = json.loads(line)["message"].split()[3]
                sent = {"x-request-id": "seen-from-afar"}
                assert (
                    httpx.post(f"{url}/v1/embeddings", json={"input": "a cat"}, headers=sent).status_code
                    == 200
                )
                process.send_signal(signal.SIGINT)
                process.stderr.read()
            finally:
                process.kill()
        collector.shutdown()
    spans = [body for path, body in collector.received if path == "/v1/traces"]
    assert {path for path, _ in collector.received} == {"/v1/traces"}
    assert any(b"seen-from-afar" in body for body in spans)
