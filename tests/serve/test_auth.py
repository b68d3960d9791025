"""API keys, and pages of other hosts."""

import openai
import pytest

from unbraid.serve import ApiKeys, Settings

KEY, OTHER_KEY = "key-of-one-client", "key-of-another-client"


@pytest.fixture(scope="module")
def locked(serving, engine):
    with serving(engine, Settings(keys=ApiKeys([KEY, OTHER_KEY]))) as http:
        yield http


def test_every_documented_route_but_health_needs_a_key(locked):
    document = locked.get("/openapi.json", headers={"authorization": f"Bearer {KEY}"}).json()
    routes = [(method, path) for path, about in document["paths"].items() for method in about]
    # And what no document names: the page, the document itself, paths and methods that there are not.
    routes += [
        ("get", "/"),
        ("get", "/openapi.json"),
        ("get", "/docs"),
        ("post", "/nothing"),
        ("delete", "/v1/models"),
    ]
    routes += [
        ("options", "/v1/embeddings"),
        ("head", "/metrics"),
        ("get", "//health"),
        ("get", "/health/"),
        ("get", "/ready/../"),
    ]
    assert len(routes) >= 18
    for method, path in routes:
        for header in ({}, {"authorization": "Bearer wrong-wrong-wrong-wrong"}, {"authorization": KEY}):
            answer = locked.request(method, path.replace("{name}", "x"), headers=header)
            if path in ("/health", "/ready"):
                assert answer.status_code == 200
                assert document["paths"][path][method]["security"] == []
            else:
                assert answer.status_code == 401, (method, path)
                assert method == "head" or answer.json()["error"]["type"] == "authentication_error"


def test_each_key_opens_and_a_browser_may_send_it_as_a_password(locked):
    for key in (KEY, OTHER_KEY):
        assert locked.get("/v1/models", headers={"authorization": f"Bearer {key}"}).status_code == 200
        assert locked.get("/v1/models", auth=("anybody", key)).status_code == 200
    assert locked.get("/").headers["www-authenticate"].startswith("Basic")
    assert locked.get("/v1/models").headers["www-authenticate"] == "Bearer"
    for header in ("Basic !!!", "Basic", "Bearer", "Bearer \u00ff", f"Bearer {KEY} x", f"Bearer {KEY[:-1]}"):
        assert (
            locked.get("/v1/models", headers={"authorization": header.encode("latin-1")}).status_code == 401
        )


def test_the_official_client_reads_the_refusal_of_a_key(locked):
    client = openai.OpenAI(base_url=f"{locked.url}/v1", api_key="nope", max_retries=0)
    with client, pytest.raises(openai.AuthenticationError):
        client.embeddings.create(model="tiny", input="a")


def test_another_host_is_allowed_only_when_named(serving, engine, http):
    assert (
        "access-control-allow-origin"
        not in http.get("/v1/models", headers={"origin": "https://a.example"}).headers
    )
    settings = Settings(origins=("https://a.example",), keys=ApiKeys([KEY]))
    with serving(engine, settings) as other:
        asks = {"origin": "https://a.example", "access-control-request-method": "POST"}
        assert (
            other.options("/v1/embeddings", headers=asks).headers["access-control-allow-origin"]
            == asks["origin"]
        )
        refusal = other.options("/v1/embeddings", headers={**asks, "origin": "https://b.example"})
        assert "access-control-allow-origin" not in refusal.headers
