"""What the server tells of itself: models, metrics, headers, log lines, the page."""

import json
import logging
import time

import openai
import pytest

from unbraid.serve.routes.page import PARTS


@pytest.fixture(scope="module")
def client(http):
    with openai.OpenAI(base_url=f"{http.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_models_are_listed_with_their_tasks(client, engine):
    names = [one.id for one in client.models.list()]
    assert names[0] == engine.name and {f"{engine.name}:{task}" for task in engine.tasks} <= {*names}
    assert client.models.retrieve(f"{engine.name}:query").id == f"{engine.name}:query"
    assert client.embeddings.create(model="text-embedding-3-small:document", input="x").data


def test_metrics_count_what_was_served(http):
    def read():
        lines = http.get("/metrics").text.splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[0] != "#"}

    before = read()
    usage = http.embed(["a cat", "the red house"]).json()["usage"]["total_tokens"]
    http.embed("")
    after = read()

    def grown(name):
        return after[name] - before.get(name, 0)

    assert grown('unbraid_requests_total{route="/v1/embeddings",status="200"}') == 1
    assert grown("unbraid_tokens_total") == usage and grown("unbraid_items_total") == 2
    assert grown('unbraid_rejects_total{code="invalid_input"}') == 1
    assert grown("unbraid_batch_items_sum") == 2
    assert grown('unbraid_phase_seconds_count{phase="encode"}') == 1
    assert after["unbraid_queue_tokens"] == after["unbraid_queue_items"] == 0


def test_a_request_id_is_kept_and_times_are_told(http):
    answer = http.post("/v1/embeddings", json={"input": "a"}, headers={"x-request-id": "mine-1"})
    assert answer.headers["x-request-id"] == "mine-1"
    assert {part.split(";")[0].strip() for part in answer.headers["server-timing"].split(",")} == {
        *("body", "read", "queue", "encode", "total")
    }
    assert http.get("/health", headers={"x-request-id": "a b"}).headers["x-request-id"] != "a b"


def test_the_event_loop_is_asyncios_whatever_else_is_installed(http):
    from unbraid.serve.uvicorn_server import Server

    assert Server(http.app, host="127.0.0.1", port=0).config.loop == "asyncio"


def test_log_lines_are_json_with_the_request(http, caplog):
    from unbraid.serve.uvicorn_server import JsonLines

    def ours() -> list[logging.LogRecord]:  # other libraries may have been told to log too
        return [record for record in caplog.records if record.name == "unbraid.serve"]

    with caplog.at_level("INFO", "unbraid.serve"):
        http.post("/v1/embeddings", json={"input": "a cat"}, headers={"x-request-id": "for-the-log"})
        deadline = time.monotonic() + 5
        while not ours() and time.monotonic() < deadline:
            time.sleep(0.01)
    about = json.loads(JsonLines().format(ours()[-1]))
    assert about["request_id"] == "for-the-log" and about["status"] == 200 and about["items"] == 1
    assert about["route"] == "/v1/embeddings" and about["level"] == "info"


def test_the_page_names_no_other_host(http):
    for path in ("/", "/docs", *(f"/page/{name}" for name in PARTS)):
        answer = http.get(path)
        assert answer.status_code == 200 and answer.headers["content-security-policy"]
        assert "http://" not in answer.text and "https://" not in answer.text
