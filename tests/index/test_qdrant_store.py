"""What only a server can do: be slow, away, closed to us, or hold something else. The rest is in test_stores.py."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Self

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from unbraid.errors import StoreError
from unbraid.index.store import qdrant_store
from unbraid.index.store.entry import Entry, point_id
from unbraid.index.store.meta import Meta, Provenance
from unbraid.index.store.qdrant_store import QdrantStore, connect
from unbraid.index.store.storage import Storage

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect:UserWarning"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
    pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection:UserWarning"),
]
DIM = 4
ROWS = np.eye(DIM, dtype=np.float32)
ENTRIES = [Entry(f"/{name}.md", "text", 1, 1, name, "s", 10, 7, 0, 1) for name in "abcd"]


class Server:
    """Answers each request with the next of `answers`, (status, result); the last one for ever. Notes what came."""

    def __init__(self, *answers: tuple[int, object]) -> None:
        self.answers, self.requests = list(answers), []
        parent = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                parent.requests.append((self.path, self.headers.get("api-key")))
                length = int(self.headers.get("Content-Length", 0))
                self.rfile.read(length)
                status, result = parent.answers.pop(0) if len(parent.answers) > 1 else parent.answers[0]
                content = json.dumps({"result": result, "status": "ok", "time": 0}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_POST = answer

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdrant_store, "PAUSE", 0)
    monkeypatch.delenv(qdrant_store.API_KEY, raising=False)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[QdrantClient]:
    """The client's own local mode, in place of every server; it stays open when a store is closed."""
    client = QdrantClient(":memory:")
    close = client.close
    monkeypatch.setattr(client, "close", lambda: None)
    monkeypatch.setattr(qdrant_store, "connect", lambda url: client)
    yield client
    close()


@pytest.fixture
def store(client: QdrantClient, make_meta: Callable[..., Meta]) -> QdrantStore:
    return QdrantStore.create("http://server", "notes", make_meta(DIM))


def open_again() -> QdrantStore | None:
    return QdrantStore.open("http://server", "notes")


def refused(url: str) -> str:
    """The message when the index of collection notes cannot be opened at `url`."""
    with pytest.raises(StoreError) as error:
        QdrantStore.open(url, "notes")
    return str(error.value)


def test_a_server_that_is_busy_is_asked_again() -> None:
    with Server((503, None), (502, None), (200, {"exists": False})) as server:
        assert QdrantStore.open(server.url, "notes") is None
    assert [path for path, _ in server.requests] == ["/collections/notes/exists"] * 3


def test_a_server_that_stays_busy_is_given_up() -> None:
    with Server((503, None)) as server:
        assert "the server refuses: Unexpected Response: 503" in refused(server.url)
    assert len(server.requests) == qdrant_store.TRIES


def test_a_server_that_is_not_there_is_named() -> None:
    with Server((200, None)) as server:
        pass
    said = refused(server.url)
    assert f"collection notes at {server.url}: the server does not answer" in said and "tried 5 times" in said


def test_what_is_wrong_is_not_asked_again() -> None:
    with Server((400, None)) as server:
        assert "the server refuses: Unexpected Response: 400" in refused(server.url)
    assert len(server.requests) == 1


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server((401, None)) as server:
        assert "set the environment variable QDRANT_API_KEY" in refused(server.url)
        monkeypatch.setenv("QDRANT_API_KEY", "secret")
        assert "secret" not in refused(server.url)
    assert [key for _, key in server.requests] == [None, "secret"]


@pytest.mark.parametrize("url", ["host:port", "ftp://host", "http://host:99999999"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match="is not the address of a Qdrant server, such as http://HOST:6333"):
        connect(url)


def test_a_collection_of_something_else_is_refused_and_left_alone(client: QdrantClient) -> None:
    size = models.VectorParams(size=DIM, distance=models.Distance.COSINE)
    client.create_collection("notes", vectors_config=size)
    with pytest.raises(StoreError, match="collection notes is not an unbraid index: .*another --collection"):
        open_again()
    assert client.count("notes").count == 0


def test_another_format_and_broken_metadata_are_refused(client: QdrantClient, store: QdrantStore) -> None:
    known = client.get_collection("notes").config.metadata["unbraid"]
    client.update_collection("notes", metadata={"unbraid": {**known, "format": 99}})
    with pytest.raises(StoreError, match="has format 99, this unbraid reads"):
        open_again()
    client.update_collection("notes", metadata={"unbraid": {**known, "storage": {"dim": "x"}}})
    with pytest.raises(StoreError, match="its metadata cannot be read"):
        open_again()


def test_a_collection_says_what_it_was_made_with(
    client: QdrantClient, make_meta: Callable[..., Meta]
) -> None:
    made = Provenance("starter 0.2", "id", {"text": "e"}, {"query": "m"})
    meta = make_meta(DIM, storage=Storage(2, "float16", "int8"), provenance=made)
    QdrantStore.create("http://server", "notes", meta)
    found = open_again()
    assert found is not None and found.meta == replace(meta, shard="")


def test_another_process_may_make_the_collection_first(
    store: QdrantStore, make_meta: Callable[..., Meta]
) -> None:
    late = QdrantStore.create("http://server", "notes", make_meta(DIM, base_id="other"))
    assert late.meta == store.meta


def test_a_damaged_item_is_left_out_with_a_warning(client: QdrantClient, store: QdrantStore) -> None:
    store.upsert(ENTRIES, ROWS)
    damaged = str(point_id(ENTRIES[1].path, "s", 0))
    client.set_payload("notes", {"snippet": "other"}, points=[damaged])
    (found,) = store.nearest(ROWS[1:2], 4)
    with pytest.warns(UserWarning, match="1 chunks of collection notes were left out"):
        assert store.entries(found.ids(), store.vectors(found.ids()))[0] is None
    [(entries, rows, count)] = store.items()
    assert (len(entries), len(rows), count) == (3, 3, 1)


def test_much_is_written_and_read_in_parts(store: QdrantStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdrant_store, "POINTS", 3)
    monkeypatch.setattr(qdrant_store, "SCROLL", 3)
    store.upsert(ENTRIES, ROWS)
    assert (store.count(), len(store.files()), [len(entries) for entries, _, _ in store.items()]) == (
        4,
        4,
        [3, 1],
    )


def test_a_field_of_whole_numbers_takes_no_other_value(
    client: QdrantClient, store: QdrantStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = client.get_collection("notes")
    held = models.PayloadIndexInfo(data_type=models.PayloadSchemaType.INTEGER, points=1)
    about.payload_schema["fields.year"] = held  # local mode has no such indexes
    monkeypatch.setattr(client, "get_collection", lambda name: about)
    with pytest.raises(
        StoreError, match="the field year holds whole numbers in this index.* and 'late' is none"
    ):
        store.upsert([replace(ENTRIES[0], fields={"year": "late"})], ROWS[:1])
    store.upsert([replace(ENTRIES[0], fields={"year": 2024})], ROWS[:1])
    assert store.count() == 1
