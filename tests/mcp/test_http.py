"""Streamable HTTP in this process: who is let in, and the token."""

import pytest
from starlette.testclient import TestClient

from unbraid.errors import DataError
from unbraid.mcp import create_server
from unbraid.mcp.http import MOST_BYTES, create_app, listen, read_token

TOKEN = "a-token-of-24-characters"
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
HEADERS = {
    "authorization": f"Bearer {TOKEN}",
    "host": "127.0.0.1:8000",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2025-06-18",
}


@pytest.fixture(scope="module")
def http(shared):
    with TestClient(create_app(create_server(shared), TOKEN)) as client:
        yield client


def test_with_the_token_it_answers(http):
    answer = http.post("/mcp", json=LIST, headers=HEADERS)
    assert answer.status_code == 200
    assert answer.json()["result"]["tools"][0]["name"] == "search"


@pytest.mark.parametrize(
    "authorization",
    [None, "", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", "Bearer \xe9"],
)
@pytest.mark.parametrize("path", ["/mcp", "/", "/mcp/", "/anything"])
def test_without_the_token_nothing_is_answered(http, authorization, path):
    headers = {name: value for name, value in HEADERS.items() if name != "authorization"}
    if authorization is not None:
        headers["authorization"] = authorization.encode("latin-1")
    answer = http.post(path, json=LIST, headers=headers)
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert "Authorization: Bearer TOKEN" in answer.json()["error"] and TOKEN not in answer.text


@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("host", "evil.example:8000", 421),
        ("host", "127.0.0.1.evil.example:8000", 421),
        ("origin", "https://evil.example", 403),
        ("origin", "null", 403),
        ("content-type", "text/plain", 400),
    ],
)
def test_pages_of_other_hosts_are_refused(http, header, value, status):
    assert http.post("/mcp", json=LIST, headers={**HEADERS, header: value}).status_code == status


def test_a_page_of_this_machine_is_let_in_with_the_token(http):
    headers = {**HEADERS, "origin": "http://localhost:6274"}
    assert http.post("/mcp", json=LIST, headers=headers).status_code == 200


def test_a_large_request_is_refused(http):
    assert http.post("/mcp", content=b" " * (MOST_BYTES + 1), headers=HEADERS).status_code == 413


def test_every_start_has_a_token_of_its_own():
    (first, new), (second, _) = read_token(None, None), read_token(None, None)
    assert new and first != second and len(first) >= 40


def test_a_token_may_come_from_a_file_or_a_variable(tmp_path):
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert read_token(tmp_path / "token", "another-token-of-many") == (TOKEN, False)
    assert read_token(None, f" {TOKEN} ") == (TOKEN, False)


@pytest.mark.parametrize(
    "token", ["", "short", "two words of a token", "t\xf6ken of enough characters", "a" * 20 + "\n" + "b"]
)
def test_a_token_that_is_no_good_is_refused(tmp_path, token):
    (tmp_path / "token").write_text(token, encoding="utf-8")
    with pytest.raises(DataError, match="expected one word of at least 16"):
        read_token(tmp_path / "token", None)
    with pytest.raises(DataError, match="expected one word of at least 16"):
        read_token(None, token)


def test_a_token_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere: cannot be read"):
        read_token(tmp_path / "nowhere", None)


def test_only_this_machine_can_reach_it_and_a_used_port_is_an_error():
    with listen(0) as listening:
        host, port = listening.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(DataError, match=f"port {port} of 127.0.0.1 cannot be used"):
            listen(port)
