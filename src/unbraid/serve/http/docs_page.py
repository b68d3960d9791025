"""The OpenAPI document as a page for a person, made once, without scripts."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>unbraid: the HTTP interface</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/page/style.css"></head>
<body><main class="docs">"""


def docs_page(document: Mapping[str, Any]) -> str:
    """HTML of an OpenAPI document: every route with its parameters, body and answer, then every object they name."""
    info, schemas = document["info"], document["components"]["schemas"]
    parts = [
        f"<h1>{escape(info['title'])} <span>{escape(info['version'])}</span></h1>",
        '<p>The routes of this server, from <a href="/openapi.json">/openapi.json</a>.</p>',
        "<p>Every route but /health and /ready needs <code>Authorization: Bearer KEY</code>.</p>"
        if "security" in document
        else "",
        *(
            part
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
            for part in _operation(method, path, operation)
        ),
        "<h2>Objects</h2>",
        *(part for name, schema in schemas.items() for part in _object(name, schema)),
        "</main></body></html>\n",
    ]
    return HEAD + "\n".join(part for part in parts if part)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<section><h2><code>{method.upper()} {escape(path)}</code></h2>"
    yield f"<p>{escape(operation['summary'])}</p><dl>"
    for one in operation.get("parameters", ()):
        yield f"<dt>{escape(one['name'])}</dt><dd>{escape(one['in'])}, {_kind(one['schema'])}</dd>"
    if "requestBody" in operation:
        yield f"<dt>Body</dt><dd>{_content(operation['requestBody'])}</dd>"
    yield f"<dt>Answer</dt><dd>{_content(operation['responses']['200'])}</dd></dl></section>"


def _content(body: Mapping[str, Any]) -> str:
    return ", ".join(
        _kind(about["schema"]) if "schema" in about else f"<code>{escape(media)}</code>"
        for media, about in body["content"].items()
    )


def _object(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f'<section id="{escape(name)}"><h3>{escape(name)}</h3>'
    yield f"<p>{escape(schema.get('description', ''))}</p><dl>"
    for field, about in schema.get("properties", {}).items():
        notes = [_kind(about)]
        if field in schema.get("required", ()):
            notes.append("required")
        elif about.get("default") is not None:
            notes.append(f"default <code>{escape(str(about['default']))}</code>")
        if "description" in about:
            notes.append(escape(about["description"]))
        yield f"<dt>{escape(field)}</dt><dd>{'; '.join(notes)}</dd>"
    yield "</dl></section>"


def _kind(schema: Mapping[str, Any]) -> str:
    """The type of a value in words, a link where it is an object of its own."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(_kind, schema["anyOf"])))
    if "enum" in schema:
        return "one of " + ", ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}" if schema.get("items") else "list"
    return escape(str(schema.get("type", "any value")))
