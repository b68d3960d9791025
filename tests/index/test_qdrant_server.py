"""What only a server can do: be slow, away, closed to us, or hold something else. The rest is in test_collection.py."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Self

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from unbraid.errors import StoreError
from unbraid.index.store import qdrant_server
from unbraid.index.store.entry import Entry, point_id
from unbraid.index.store.meta import Provenance
from unbraid.index.store.qdrant_server import QdrantCollection, connect
from unbraid.index.store.vector_storage import Storage

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
    monkeypatch.setattr(qdrant_server, "PAUSE", 0)
    monkeypatch.delenv(qdrant_server.API_KEY, raising=False)


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()


def open_index(client: QdrantClient, **changes: object) -> QdrantCollection:
    options = {"base_id": "b1", "dim": DIM, "create": True, **changes}
    return QdrantCollection.open(client, "notes", **options)  # type: ignore[arg-type]


def refused(url: str) -> str:
    """What it says when the index of collection notes cannot be opened at `url`."""
    with closing(connect(url)) as client, pytest.raises(StoreError) as error:
        QdrantCollection.reopen(client, "notes")
    return str(error.value)


def test_a_server_that_is_busy_is_asked_again() -> None:
    with Server((503, None), (502, None), (200, {"exists": False})) as server:
        assert refused(server.url) == f"no collection notes at {server.url}"
    assert [path for path, _ in server.requests] == ["/collections/notes/exists"] * 3


def test_a_server_that_stays_busy_is_given_up() -> None:
    with Server((503, None)) as server:
        assert "the server refuses: Unexpected Response: 503" in refused(server.url)
    assert len(server.requests) == qdrant_server.TRIES


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
        open_index(client)
    assert client.count("notes").count == 0


def test_another_format_and_broken_metadata_are_refused(client: QdrantClient) -> None:
    open_index(client)
    known = client.get_collection("notes").config.metadata["unbraid"]
    client.update_collection("notes", metadata={"unbraid": {**known, "format": 99}})
    with pytest.raises(StoreError, match="has format 99, this unbraid reads"):
        open_index(client)
    client.update_collection("notes", metadata={"unbraid": {**known, "storage": {"dim": "x"}}})
    with pytest.raises(StoreError, match="its metadata cannot be read"):
        open_index(client)


def test_a_collection_says_what_it_was_made_with(client: QdrantClient) -> None:
    made = Provenance("starter 0.2", "id", {"text": "e"}, {"query": "m"})
    open_index(client, provenance=made, storage=Storage(2, "float16", "int8"))
    meta = QdrantCollection.reopen(client, "notes").meta
    assert (meta.base_id, meta.dim, meta.storage, meta.provenance) == (
        "b1",
        DIM,
        Storage(2, "float16", "int8"),
        made,
    )
    with pytest.raises(StoreError, match=r"holds vectors of base b1 .* by starter 0.2, the model makes b2"):
        open_index(client, base_id="b2")


def test_another_process_may_make_the_collection_first(
    client: QdrantClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = QdrantCollection(client, "notes")
    meta = open_index(client).meta
    index._create(meta)  # as one that saw no collection a moment ago
    assert QdrantCollection.reopen(client, "notes").meta == meta


def test_a_damaged_item_is_left_out_with_a_warning(client: QdrantClient) -> None:
    index = open_index(client)
    index.upsert(ENTRIES, ROWS)
    damaged = str(point_id(ENTRIES[1].path, "s", 0))
    client.set_payload("notes", {"snippet": "other"}, points=[damaged])
    (found,) = index.nearest(ROWS[1:2], 4)
    with pytest.warns(UserWarning, match="1 chunks of collection notes were left out"):
        assert index.entries(found.ids(), index.vectors(found.ids()))[0] is None
    [(entries, rows, count)] = index.items()
    assert (len(entries), len(rows), count) == (3, 3, 1)


def test_much_is_written_and_read_in_parts(client: QdrantClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdrant_server, "POINTS", 3)
    monkeypatch.setattr(qdrant_server, "SCROLL", 3)
    index = open_index(client)
    index.upsert(ENTRIES, ROWS)
    assert (index.count(), len(index.files()), [len(entries) for entries, _, _ in index.items()]) == (
        4,
        4,
        [3, 1],
    )


def test_a_field_has_one_kind_of_value(client: QdrantClient, monkeypatch: pytest.MonkeyPatch) -> None:
    index = open_index(client)
    about = client.get_collection("notes")
    held = models.PayloadIndexInfo(data_type=models.PayloadSchemaType.INTEGER, points=1)
    about.payload_schema["fields.year"] = held  # local mode has no such indexes
    monkeypatch.setattr(client, "get_collection", lambda name: about)
    with pytest.raises(
        StoreError, match="the field year holds whole numbers in this index, 'late' is of another kind"
    ):
        index.upsert([replace(ENTRIES[0], fields={"year": "late"})], ROWS[:1])
    index.upsert([replace(ENTRIES[0], fields={"year": 2024})], ROWS[:1])
    assert index.count() == 1
