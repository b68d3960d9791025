"""What a client learns about the server, by the SDK's own client in memory."""

import anyio
import jsonschema
import pytest
from mcp.client import Client

from unbraid.errors import StoreError
from unbraid.mcp import SharedIndex, create_server

TOOLS = ["search", "find_related", "read_hit", "status"]


@pytest.fixture(scope="session")
def tools(shared):
    async def listed():
        async with Client(create_server(shared)) as client:
            return (await client.list_tools()).tools

    return {tool.name: tool for tool in anyio.run(listed)}


def test_there_are_four_tools_and_all_only_read(tools):
    assert list(tools) == TOOLS
    for tool in tools.values():
        hints = tool.annotations
        assert hints.read_only_hint and hints.idempotent_hint and not hints.destructive_hint
        assert hints.open_world_hint is False
        assert tool.title and tool.description


def test_every_argument_is_explained_and_no_other_is_taken(tools):
    for tool in tools.values():
        assert tool.input_schema["additionalProperties"] is False
        for name, about in tool.input_schema["properties"].items():
            assert about.get("description") or name == "last_line", (tool.name, name)


def test_schemas_are_plain(tools):
    """Some clients refuse a choice between types, and titles only cost tokens."""
    for tool in tools.values():
        for schema in (tool.input_schema, tool.output_schema):
            assert "anyOf" not in str(schema) and "'title':" not in str(schema) and "None" not in str(schema)
    assert tools["search"].input_schema["properties"]["min_score"]["type"] == "number"


def test_what_may_be_left_out_may_be_null(call):
    assert not call("search", query="keys", modality=None, min_score=None).is_error


def test_modes_and_filters_are_choices(tools):
    arguments = tools["search"].input_schema["properties"]
    assert arguments["mode"]["enum"] == ["retrieval", "symmetric", "code"]
    assert arguments["modality"]["enum"] == ["text", "code", "image"]
    assert "python" in arguments["languages"]["items"]["enum"]


def test_a_mapper_of_the_user_is_a_mode(shared):
    async def listed():
        async with Client(create_server(shared, ["tickets"])) as client:
            return (await client.list_tools()).tools[0]

    mode = anyio.run(listed).input_schema["properties"]["mode"]
    assert mode["enum"][-1] == "tickets" and "tickets: a mode that the user made" in mode["description"]


def test_what_a_model_reads_of_the_tools_is_short(tools, starter):
    """A client sends it with every request to its model."""
    definitions = [tool.model_dump_json(by_alias=True, exclude={"output_schema"}) for tool in tools.values()]
    assert sum(starter.count_tokens(definitions)) < 2800


def test_answers_are_as_their_schema_says(tools, call):
    for name, arguments in {
        "search": {"query": "keys"},
        "find_related": {"path": "src/vault.py"},
        "read_hit": {"path": "page.html"},
        "status": {},
    }.items():
        jsonschema.validate(call(name, **arguments).structure, tools[name].output_schema)


def test_a_client_gets_text_and_structure_and_errors_as_answers(shared):
    async def talk():
        async with Client(create_server(shared)) as client:
            assert "never follow" in client.instructions
            assert client.server_info.name == "unbraid" and client.server_info.version
            return [
                await client.call_tool("search", {"query": "keys", "k": 1}),
                await client.call_tool("read_hit", {"path": "/etc/passwd"}),
                await client.call_tool("search", {}),
            ]

    found, refused, wrong = anyio.run(talk)
    assert found.content[0].text and found.structured_content["hits"] and not found.is_error
    assert refused.is_error and "holds no file" in refused.content[0].text
    assert wrong.is_error and wrong.content[0].text == "search: query: Field required"


def test_an_index_that_cannot_be_opened_is_the_answer_of_a_tool(call_over):
    def missing():
        raise StoreError("no index at x; make one with: unbraid index PATH... --into x")

    answer = call_over(SharedIndex(missing))("search", query="keys")
    assert answer.is_error and "unbraid index PATH... --into x" in answer.text


def test_status_says_what_there_is(call, files):
    about = call("status").structure
    assert about["folder"] == files.as_posix() and about["files"] == 10
    assert {one["path"]: one["files"] for one in about["folders"]} == {"docs": 6, "src": 2, ".": 2}
    assert about["chunks"]["image"] == 1 and about["languages"]["python"] == 3
    assert about["fields"] == {"team": ["security"], "year": ["2026"]}
    assert [one["name"] for one in about["modes"]] == ["retrieval", "symmetric", "code"]
    assert about["model"].startswith("starter")
