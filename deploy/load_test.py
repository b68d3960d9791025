"""A load test of your own server: a mix of short queries, long documents, searches and pictures.

    pip install locust
    UNBRAID_API_KEY=... locust -f deploy/load_test.py --headless --host http://127.0.0.1:8000 -u 32 -r 8 -t 60s

Run it on another machine, or on cores that the server does not use. Add --processes 2 where Locust warns of its own CPU.

Every user waits up to half a second between requests, and after a 429 as long as the server says. How to read the result:
while no row says "429", p99 is what your users see. Add users (-u) until 429s come; the run before shows how much this
machine serves. With more users the share of 429 rises, and the p99 of accepted requests should stay below queue_seconds
plus the time of one request. Any status but 200 and 429 is a failure and makes the exit status 1.
"""

import base64
import io
import os
import random
import sys
from typing import Any

import gevent
from locust import FastHttpUser, between, events, task
from locust.env import Environment
from PIL import Image

KEY = os.environ.get("UNBRAID_API_KEY")
HEADERS = {"Authorization": f"Bearer {KEY}"} if KEY else {}
REFUSED = " (429)"
BASE64 = {"encoding_format": "base64"}  # as OpenAI's client asks
WORDS = (
    "the index of a server holds base vectors and every query is mapped when it is asked so that rain river code picture "
    "red house green tower key limit queue batch token memory can be found by what they mean in the mode that was chosen"
).split()


def words(count: int) -> str:
    """A text of `count` words."""
    return " ".join(random.choices(WORDS, k=count))


def picture() -> str:
    """A data URL of a JPEG of 640 by 480 pixels."""
    out = io.BytesIO()
    noise = Image.frombytes("RGB", (64, 48), random.randbytes(64 * 48 * 3))
    noise.resize((640, 480)).save(out, "JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


# Made once: making them for each request would measure the client.
PASSAGES = [words(180) for _ in range(400)]
PICTURES = [picture() for _ in range(16)]


class Client(FastHttpUser):
    """Sends the mix: six of ten requests are short queries."""

    wait_time = between(0, 0.5)
    has_index = has_pictures = False

    def on_start(self) -> None:
        """Ask what is served: without an index no searches, without an image encoder no pictures."""
        with self.client.get("/v1/models", headers=HEADERS, name="models", catch_response=True) as answer:
            if answer.status_code != 200:
                answer.failure(f"status {answer.status_code}: set UNBRAID_API_KEY")
                return
            about = answer.json()["data"][0]
        self.has_index = bool(about["index"])
        self.has_pictures = "image" in about["modalities"]

    @task(6)
    def query(self) -> None:
        """One short query."""
        self.ask("query", "/v1/embeddings", {"input": words(8), "task": "query", **BASE64})

    @task(2)
    def documents(self) -> None:
        """Sixteen passages of 180 words."""
        passages = random.sample(PASSAGES, 16)
        self.ask("documents", "/v1/embeddings", {"input": passages, "task": "document", **BASE64})

    @task(1)
    def search(self) -> None:
        """A search, by vectors alone every other time."""
        if self.has_index:
            self.ask("search", "/v1/search", {"query": words(6), "vectors_only": random.random() < 0.5})

    @task(1)
    def pictures(self) -> None:
        """Two pictures."""
        if self.has_pictures:
            self.ask("pictures", "/v1/embeddings", {"input": random.sample(PICTURES, 2), **BASE64})

    def ask(self, name: str, path: str, body: dict[str, Any]) -> None:
        """Send a request; a 429 gets a row of its own and is no failure."""
        with self.client.post(path, json=body, headers=HEADERS, name=name, catch_response=True) as answer:
            if answer.status_code == 429:
                answer.request_meta["name"] = name + REFUSED
                answer.success()
                wait = float(answer.headers.get("Retry-After", 1))
            else:
                wait = 0.0
                if answer.status_code != 200:
                    answer.failure(f"status {answer.status_code}")
        gevent.sleep(wait)


@events.quitting.add_listener
def summary(environment: Environment, **_: object) -> None:
    """Print the share of 429 and the p99 of accepted requests."""
    rows = environment.stats.entries.values()
    asked = sum(row.num_requests for row in rows if row.name != "models")
    refused = sum(row.num_requests for row in rows if row.name.endswith(REFUSED))
    failed = environment.stats.total.num_failures
    share = refused / max(asked, 1)
    lines = [f"{asked} requests, {failed} failed, {share:.1%} answered 429; of the accepted:"]
    for row in sorted(rows, key=lambda row: row.name):
        if not row.name.endswith(REFUSED) and row.name != "models":
            p50, p99 = (row.get_response_time_percentile(share) for share in (0.5, 0.99))
            lines.append(f"  {row.name:<10} {row.num_requests:>6}  p50 {p50:.0f} ms  p99 {p99:.0f} ms")
    sys.stderr.write("\n".join(lines) + "\n")
    environment.process_exit_code = 1 if failed or not asked else 0
