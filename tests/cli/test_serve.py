"""`unbraid serve` as a process: what it refuses to start with, and how it stops."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

import unbraid
from unbraid.cli.main import app

LONG = ["the red house " * 8] * 1000


class Process:
    """A server in a process of its own."""

    def __init__(self, *arguments):
        command = [sys.executable, "-m", "unbraid", "serve", "--port", "0", *map(str, arguments)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.lines = []
        self.url = None
        while self.url is None:
            line = self.process.stderr.readline()
            assert line.startswith("{"), line
            self.lines.append(json.loads(line))
            if "running on http" in self.lines[-1]["message"]:
                self.url = self.lines[-1]["message"].split()[3]
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        self.lines += map(json.loads, self.process.stderr)

    def stop(self, sig=signal.SIGTERM):
        self.process.send_signal(sig)
        return self.process.wait(20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()


def test_sigterm_turns_ready_false_answers_what_is_there_and_ends(bundle_folder):
    with (
        Process("--model", bundle_folder, "--threads", "1", "--limit", "drain_notice=0.5") as server,
        httpx.Client(base_url=server.url, timeout=30) as http,
        ThreadPoolExecutor(4) as pool,
    ):
        assert http.get("/ready").json() == {"status": "ready"}
        asked = [
            pool.submit(httpx.post, f"{server.url}/v1/embeddings", json={"input": LONG}, timeout=30)
            for _ in range(4)
        ]
        while "unbraid_queue_requests 0.0" in http.get("/metrics").text and not asked[-1].done():
            time.sleep(0.005)
        server.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 5
        while (answer := http.get("/ready")).status_code == 200:
            assert time.monotonic() < deadline
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
        assert http.get("/health").status_code == 200
        assert [one.result().status_code for one in asked] == [200] * 4
        assert server.process.wait(20) == 0
        assert "draining" in [line["message"] for line in server.lines]


def test_what_is_not_done_at_the_deadline_is_answered_503(bundle_folder):
    limits = ("--limit", "drain_notice=0", "--limit", "drain_seconds=0.1")
    with (
        Process("--model", bundle_folder, "--threads", "1", *limits) as server,
        ThreadPoolExecutor(8) as pool,
    ):
        asked = [
            pool.submit(httpx.post, f"{server.url}/v1/embeddings", json={"input": LONG * 2}, timeout=30)
            for _ in range(3)
        ]
        while (
            "unbraid_queue_requests 0.0" in httpx.get(f"{server.url}/metrics").text and not asked[-1].done()
        ):
            time.sleep(0.005)
        server.stop()
        answers = [one.result() for one in asked]
        assert {one.status_code for one in answers} <= {200, 503}
        assert 503 in {one.status_code for one in answers}
        assert all(
            one.json()["error"]["code"] == "shutting_down" for one in answers if one.status_code == 503
        )


def test_keys_come_from_a_file_and_the_environment(bundle_folder, tmp_path, monkeypatch):
    (tmp_path / "keys").write_text("# ours\nkey-from-the-file-1\n")
    monkeypatch.setenv("UNBRAID_API_KEYS", "key-from-the-environment, ")
    with Process("--model", bundle_folder, "--keys", tmp_path / "keys") as server:
        asked = {
            key: httpx.get(f"{server.url}/v1/models", headers={"authorization": f"Bearer {key}"}).status_code
            for key in ("key-from-the-file-1", "key-from-the-environment", "# ours", "x")
        }
        assert list(asked.values()) == [200, 200, 401, 401]
        server.stop(signal.SIGINT)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "--insecure"),
        (["--teacher", "starter", "--index", "x"], "--index does not go with --teacher"),
        (["--limit", "speed=9"], "expected NAME=NUMBER"),
        (["--limit", "items=many"], "not a number"),
        (["--limit", "items=0"], "more than 0"),
        (["--limit", "tokens=700000"], "could never be accepted"),
        (["--keys", "/nonexistent"], "cannot be read"),
        (["--index", "/nonexistent"], "no index"),
    ],
)
def test_what_would_not_serve_well_is_refused_at_the_start(arguments, said):
    result = CliRunner().invoke(app, ["serve", *arguments])
    assert result.exit_code != 0
    assert said in result.output + str(result.exception)


@pytest.mark.parametrize("content", ["", "# nothing\n", "short\n"])
def test_a_file_without_a_good_key_is_refused(tmp_path, content):
    (tmp_path / "keys").write_text(content)
    result = CliRunner().invoke(app, ["serve", "--keys", str(tmp_path / "keys")])
    assert "key" in str(result.exception)


def test_a_joined_teacher_is_not_served(monkeypatch):
    monkeypatch.setattr("unbraid.teacher.load", lambda name, device: object())
    result = CliRunner().invoke(app, ["serve", "--teacher", "joined"])
    assert result.exit_code == 2 and "joined is a joined teacher" in result.output


def test_a_served_index_follows_the_disk(bundle_folder, tmp_path):
    notes, index = tmp_path / "notes", tmp_path / "ix"
    notes.mkdir()
    (notes / "moon.md").write_text("The moon is bright.")
    with unbraid.open_index(index, model=unbraid.load(bundle_folder)) as made:
        made.add(notes)
    with (
        Process("--model", bundle_folder, "--index", index, "--watch") as server,
        httpx.Client(base_url=server.url, timeout=30) as http,
    ):

        def found():
            hits = http.post("/v1/search", json={"query": "comet"}).json()["data"]
            return {Path(hit["path"]).name for hit in hits}

        assert found() == {"moon.md"}
        (notes / "comet.md").write_text("A comet passes.")
        deadline = time.monotonic() + 60
        while found() != {"moon.md", "comet.md"} and time.monotonic() < deadline:
            time.sleep(0.1)
        with unbraid.open_index(index, model=unbraid.load(bundle_folder)) as other:  # beside the server
            assert len(other.store.files()) == 2
            other.delete(notes / "moon.md")
        assert found() == {"comet.md"}
        assert server.stop() == 0


def test_watch_goes_with_an_index():
    result = CliRunner().invoke(app, ["serve", "--watch"])
    assert result.exit_code != 0 and "--watch goes with --index" in result.output


def test_a_person_who_watches_reads_one_line_with_the_address(bundle_folder):
    pty = pytest.importorskip("pty", reason="POSIX has pseudo-terminals")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "unbraid", "serve", "--port", "0", "--model", str(bundle_folder)]
    with (
        subprocess.Popen([*command, "--threads", "1"], stderr=theirs) as process,
        os.fdopen(ours) as terminal,
    ):
        os.close(theirs)
        line = terminal.readline()
        try:
            assert line.startswith("Serving; see /docs: http://127.0.0.1:"), line
            assert httpx.get(f"{line.split()[3]}health").status_code == 200
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(20) in (0, 130)
