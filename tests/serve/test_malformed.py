"""Requests that cannot be served: each gets a refusal of one form, which the OpenAPI document names."""

import importlib.util
from pathlib import Path

import httpx
import pytest


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"input": []}, "invalid_input"),
        ({"input": ""}, "invalid_input"),
        ({"input": ["a", " \n"]}, "invalid_input"),
        ({"input": None}, "invalid_input"),
        ({"input": 3}, "invalid_input"),
        ({"input": {"text": "a", "code": "b"}}, "invalid_input"),
        ({"input": [["a"]]}, "invalid_input"),
        ({"input": [[1, 2.5]]}, "invalid_input"),
        ({"input": [9906, 1917]}, "invalid_input"),  # "Hello world" to cl100k_base, as LangChain sends it
        ({"input": [[True]]}, "invalid_input"),
        ({}, "missing"),
        ({"input": "a", "task": "nope"}, "invalid_task"),
        ({"input": "a", "task": "query", "model": "starter:code"}, "model_not_found"),
        ({"input": "a", "dimensions": "512"}, "int_type"),
        ({"input": "a", "dimensions": 0}, "greater_than_equal"),
        ({"input": "a", "encoding_format": "hex"}, "literal_error"),
        ({"input": "a", "return_multivector": True, "tier": "nano"}, "unsupported"),
        ({"input": {"image": "https://example.com/a.png"}}, "remote_pictures_off"),
        ({"input": {"image": "!!!"}}, "invalid_picture"),
        ({"input": "data:image/png;base64,AAAA"}, "invalid_picture"),
        ({"input": "data:image/png,AAAA"}, "invalid_picture"),
        ({"input": {"text": "x" * 200_001}}, "text_too_long"),
        ({"input": ["a"] * 2049}, "too_many_items"),
    ],
)
def test_what_cannot_be_served_is_refused_with_a_code(http, fields, code, refused):
    if fields.get("model"):
        fields = {**fields, "model": "tiny:code"}
    refused(http.post("/v1/embeddings", json=fields), 404 if code == "model_not_found" else 400, code)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"input": NaN}',
        b'{"input": "\xff"}',
        b"[" * 90_000,
    ],
)
def test_what_is_not_json_is_refused(http, body, refused):
    refused(
        http.post("/v1/embeddings", content=body, headers={"content-type": "application/json"}),
        400,
        "invalid_json",
    )


def test_every_other_failure_has_the_same_shape(http, refused):
    refused(http.get("/nothing"), 404, "not_found")
    refused(http.get("/v1/embeddings"), 405, "method_not_allowed")
    refused(http.post("/v1/embeddings", content="{}"), 415, "unsupported_media_type")
    refused(http.get("/health", headers={"host": "evil.example"}), 421, "wrong_host")


def load_benchmark(name):
    path = Path(__file__).parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_malformed_bodies_are_refused_in_form_and_break_nothing(http):
    fuzz = load_benchmark("serve_fuzz")
    for path, content, headers in fuzz.requests(seed=7, count=300):
        sent = {name: text.encode("latin-1") for name, text in headers.items()}
        try:
            answer = http.post(path, content=content, headers=sent)
        except httpx.LocalProtocolError:
            continue
        assert fuzz.check(answer) is None, (path, content[:200], answer.text[:300])
    assert http.embed("a cat").status_code == 200


def test_the_document_has_an_error_for_every_status_that_is_answered(http):
    for path, about in http.get("/openapi.json").json()["paths"].items():
        for method in about.values():
            assert {"200", "400", "401", "404", "405", "413", "415", "429", "500", "503"} <= set(
                method["responses"]
            )
            assert "422" not in method["responses"], path


def test_every_answer_is_one_the_document_names(http):
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    schema = schemathesis.openapi.from_dict(http.get("/openapi.json").json())
    checks = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_schema_conformance,
    ]
    for found in schema.get_all_operations():
        operation = found.ok()
        modes = list(schemathesis.GenerationMode)

        @given(
            case=operation.as_strategy(generation_mode=modes[0])
            | operation.as_strategy(generation_mode=modes[1])
        )
        @settings(
            max_examples=6,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def ask(case):
            case.call_and_validate(base_url=str(http.base_url), checks=checks)

        ask()


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/embeddings", {"input": "a", "dimension": 64}),
        ("/v1/map", {"base": [[0.0]], "task": "query", "dimension": 64}),
        ("/v1/search", {"query": "a", "dimension": 64}),
    ],
)
def test_an_unknown_field_is_refused_by_name(http, refused, path, fields):
    answer = http.post(path, json=fields)
    if path != "/v1/search":  # no index is served here
        refused(answer, 400, "unknown_field")
        assert answer.json()["error"]["message"] == "dimension: unknown field, did you mean dimensions?"


def test_half_a_surrogate_pair_is_the_replacement_character(http):
    def embed(body: bytes):
        return http.post("/v1/embeddings", content=body, headers={"content-type": "application/json"})

    cut = embed(rb'{"input": ["sound", "half \ud83d here", "whole \ud83d\ude00"]}')
    assert cut.status_code == 200
    whole = embed('{"input": ["sound", "half \ufffd here", "whole \U0001f600"]}'.encode())
    assert cut.json()["data"] == whole.json()["data"]
    assert embed(rb'{"input": "\ud800"}').status_code == 200
    assert embed(rb'{"input": "\ud83d", "x": NaN}').status_code == 400


def test_head_is_answered_where_get_is(http):
    answer = http.head("/health")
    assert (answer.status_code, answer.content) == (200, b"")
