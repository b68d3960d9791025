"""Each limit of a request and of all requests, and its refusal."""

import contextlib
import io
import socket

import pytest
from PIL import Image

from unbraid.serve import Limits, Settings


@pytest.fixture(scope="module")
def narrow(serving, engine):
    limits = Limits(
        body_bytes=50_000,
        bytes_in_flight=60_000,
        body_seconds=1.0,
        values=500,
        tokens=200,
        pictures=2,
        picture_bytes=2_000,
        picture_pixels=1_000_000,
        requests=3,
    )
    with serving(engine, Settings(limits=limits)) as http:
        yield http


@contextlib.contextmanager
def raw(http):
    with socket.create_connection((http.base_url.host, http.base_url.port), timeout=5) as sock:
        yield sock


def test_each_limit_has_its_own_refusal(narrow, refused, data_url, png):
    refused(narrow.embed("x" * 50_001), 413, "body_too_large")
    refused(narrow.embed([1] * 1_000), 400, "too_many_values")
    refused(narrow.embed(["a cat a cat"] * 60), 400, "too_many_tokens")
    refused(narrow.embed([{"image": data_url(png())}] * 3), 400, "too_many_pictures")
    refused(narrow.embed({"image": data_url(b"x" * 3_000)}), 400, "picture_too_large")
    # 1.02 megapixels in 1.3 KB: refused by the header
    content = io.BytesIO()
    Image.new("1", (3000, 340)).save(content, "PNG")
    refused(narrow.embed({"image": data_url(content.getvalue())}), 400, "picture_too_large")


def test_a_body_of_unknown_length_is_counted_while_it_comes(narrow, refused):
    answer = narrow.post(
        "/v1/embeddings",
        content=(b" " * 1_000 for _ in range(200)),
        headers={"content-type": "application/json"},
    )
    refused(answer, 413, "body_too_large")


def test_a_slow_sender_is_told_so_and_holds_nothing(narrow):
    with raw(narrow) as sock:
        sock.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
        sock.sendall(b"Content-Length: 4000\r\n\r\n{")
        assert b"408" in sock.recv(1000).split(b"\r\n")[0]
    assert narrow.embed("a").status_code == 200


def test_too_many_requests_and_too_many_bytes_at_once_are_429(narrow, refused, eventually):
    head = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"

    def too_many_bytes():
        with raw(narrow) as held, raw(narrow) as sock:
            held.sendall(head % 45_000 + b" " * 40_000)
            sock.sendall(head % 45_000 + b" " * 45_000)
            return sock.recv(1000).startswith(b"HTTP/1.1 429")

    def too_many_requests():
        with raw(narrow) as one, raw(narrow) as two, raw(narrow) as three:
            for sock in (one, two, three):
                sock.sendall(head % 100 + b" ")
            answer = narrow.embed("a")
            assert narrow.get("/health").status_code == 200
        if answer.status_code == 429:
            refused(answer, 429, "overloaded")
            assert answer.headers["retry-after"] == "1"
        return answer.status_code == 429

    eventually(too_many_bytes)
    eventually(too_many_requests)
    eventually(lambda: narrow.embed("a").status_code == 200)
