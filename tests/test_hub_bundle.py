"""Bundles from a hub that answers over HTTP as the public one does, through the hub's own client."""

import hashlib
import http.server
import json
import os
import threading
import time
from pathlib import Path

import huggingface_hub.constants
import numpy as np
import pytest

import unbraid
from unbraid.errors import BundleError

COMMIT, NEXT = "a" * 40, "b" * 40


class Hub:
    """One repository, org/name: commits by the name of a branch or tag, files by commit."""

    def __init__(self):
        self.revisions = {"main": COMMIT, "v1": COMMIT}
        self.files = {COMMIT: {}}
        self.sent = []  # files
        self.asked = 0  # requests

    def answer(self, path):
        """Status, headers and content for a path."""
        self.asked += 1
        parts = path.partition("?")[0].strip("/").split("/")
        if parts[:3] == ["api", "models", "org"] and parts[4] == "revision":
            commit = self.revisions.get(parts[5])
            if commit is None:
                return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
            return 200, {}, json.dumps({"id": "org/name", "sha": commit, "siblings": []}).encode()
        if parts[:3] == ["api", "models", "org"] and parts[4] == "tree":
            files = self.files[parts[5]].items()
            about = [{"type": "file", "path": name, "size": len(data), "oid": "0"} for name, data in files]
            return 200, {}, json.dumps(about).encode()
        if parts[:3] == ["org", "name", "resolve"]:
            commit, name = parts[3], "/".join(parts[4:])
            data = self.files[self.revisions.get(commit, commit)][name]
            about = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'}
            return 200, about, data
        return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"


@pytest.fixture
def hub(monkeypatch, tmp_path, bundle_folder):
    """A hub with the tiny bundle, a large file and a foreign graph; `unbraid.load` asks it, and keeps files in tmp_path."""
    made = Hub()
    made.files[COMMIT] = {path.name: path.read_bytes() for path in bundle_folder.iterdir()}
    made.files[COMMIT] |= {"pytorch_model.bin": b"x" * 99, "onnx/model.onnx": b"x" * 99, "config.json": b"{}"}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.reply(with_content=False)

        def do_GET(self):
            self.reply(with_content=True)

        def reply(self, *, with_content):
            status, headers, content = made.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_content:
                self.wfile.write(content)
                if "/resolve/" in self.path:
                    made.sent.append(self.path.partition("/resolve/")[2].partition("/")[2])

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        constants = huggingface_hub.constants
        monkeypatch.setattr(constants, "ENDPOINT", url)
        template = url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", "")
        yield made
        server.shutdown()


@pytest.fixture
def offline(hub, monkeypatch):
    """`offline()`: from now on the hub cannot be reached."""
    return lambda: monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def place(tmp_path, revision="main") -> Path:
    return tmp_path / "cache" / "unbraid" / "org" / "name" / revision


def test_only_what_bundle_json_names_is_fetched(hub, embedder, bundle_folder, tmp_path):
    loaded = unbraid.load("org/name")
    np.testing.assert_array_equal(loaded.encode(["cat"]), embedder.encode(["cat"]))
    assert sorted(hub.sent) == sorted(path.name for path in bundle_folder.iterdir())
    assert loaded.bundle.folder == place(tmp_path)


def test_nothing_is_fetched_twice(hub):
    unbraid.load("org/name")
    hub.sent.clear()
    unbraid.load("org/name")
    assert hub.sent == []


def test_a_pinned_commit_needs_no_hub_the_second_time(hub, offline):
    unbraid.load("org/name", revision=COMMIT)
    hub.asked = 0
    unbraid.load("org/name", revision=COMMIT)
    assert hub.asked == 0
    offline()
    unbraid.load("org/name", revision=COMMIT)


def test_a_branch_follows_the_hub_and_a_tag_does_not(hub, bundle_folder, tmp_path):
    old = unbraid.load("org/name", revision="v1").bundle
    unbraid.load("org/name")
    hub.files[NEXT] = hub.files[COMMIT] | {"bundle.json": b"{}"}
    hub.revisions["main"] = NEXT
    assert unbraid.load("org/name", revision="v1").bundle.id == old.id
    with pytest.raises(BundleError, match="format None is not known"):
        unbraid.load("org/name")


def test_without_a_network_the_last_copy_counts(hub, offline, embedder):
    unbraid.load("org/name")
    offline()
    assert unbraid.load("org/name").bundle.id == embedder.bundle.id


def test_without_a_network_and_a_copy_the_error_says_so(offline, tmp_path):
    offline()
    with pytest.raises(BundleError, match="org/name: cannot be fetched from the hub: .*pass a folder"):
        unbraid.load("org/name")


def test_half_a_download_is_refused_and_then_completed(hub, offline, monkeypatch, tmp_path):
    unbraid.load("org/name")
    (place(tmp_path) / "tokenizer.json").unlink()
    offline()
    with pytest.raises(BundleError, match=r"tokenizer\.json"):
        unbraid.load("org/name")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    hub.sent.clear()
    unbraid.load("org/name")
    assert hub.sent == ["tokenizer.json"]


def test_a_copy_that_was_changed_is_refused_or_fetched_again(hub, offline, monkeypatch, tmp_path):
    unbraid.load("org/name")
    changed = place(tmp_path) / "tokenizer.json"
    changed.write_bytes(b"{}")
    os.utime(changed, (later := time.time() + 60, later))  # the hub's client looks at the time
    offline()
    with pytest.raises(BundleError, match=r"tokenizer\.json: damaged.*or delete \S*/main first"):
        unbraid.load("org/name")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    hub.sent.clear()
    unbraid.load("org/name")
    assert hub.sent == ["tokenizer.json"]


def test_a_repository_without_a_bundle_is_refused(hub):
    del hub.files[COMMIT]["bundle.json"]
    with pytest.raises(BundleError, match=r"bundle\.json: cannot be read .*not a bundle folder"):
        unbraid.load("org/name")
    assert hub.sent == []


def test_an_unknown_revision_is_refused(hub):
    with pytest.raises(BundleError, match=r"(?s)org/name: cannot be fetched from the hub: .*v9"):
        unbraid.load("org/name", revision="v9")


def test_a_name_with_a_star_asks_for_no_other_file(hub):
    about = json.loads(hub.files[COMMIT]["bundle.json"])
    about["files"]["*"] = about["files"]["tokenizer.json"]
    hub.files[COMMIT]["bundle.json"] = json.dumps(about).encode()
    with pytest.raises(BundleError, match=r"/\*: cannot be read"):
        unbraid.load("org/name")
    assert "pytorch_model.bin" not in hub.sent
