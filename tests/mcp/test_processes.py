"""`unbraid mcp` as clients start it: the SDK's own client over both transports, and how a server ends."""

import json
import os
import signal
import subprocess
import sys

import anyio
import httpx2
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

COMMAND = [sys.executable, "-P", "-m", "unbraid", "mcp"]


async def use_every_tool(client):
    """What each tool says, in short."""
    found = await client.call_tool("search", {"query": "how often are keys rotated", "k": 2})
    first = found.structured_content["hits"][0]
    related = await client.call_tool("find_related", {"path": first["path"], "line": first["first_line"]})
    read = await client.call_tool("read_hit", {"path": first["path"], "first_line": 9})
    status = await client.call_tool("status", {})
    wrong = await client.call_tool("read_hit", {"path": "/etc/passwd"})
    assert first["path"] == "docs/keys.md" and related.structured_content["hits"] and wrong.is_error
    assert read.structured_content["text"] == "Keys are rotated every ninety days by the security team."
    assert status.structured_content["files"] == 10


def test_the_sdk_client_over_stdio(closed_index, tmp_path):
    # A module of the folder that it is started in must not be imported.
    (tmp_path / "numpy.py").write_text("raise RuntimeError('from the working folder')")
    options = [*COMMAND[1:], "--in", str(closed_index)]
    command = StdioServerParameters(command=COMMAND[0], args=options, cwd=tmp_path)

    async def talk(errors):
        async with Client(stdio_client(command, errlog=errors)) as client:
            await use_every_tool(client)

    with open(tmp_path / "errors", "w") as errors:
        anyio.run(talk, errors)
    assert (tmp_path / "errors").read_text() == ""


def test_the_sdk_client_over_http(closed_index, tmp_path):
    (tmp_path / "token").write_text("a-token-of-24-characters")
    options = ["--in", closed_index, "--http", "0", "--token-file", tmp_path / "token"]
    with subprocess.Popen([*COMMAND, *map(str, options)], stderr=subprocess.PIPE, text=True) as server:
        try:
            line = server.stderr.readline()
            url = line.split()[-1]
            assert line.startswith("MCP at http://127.0.0.1:") and url.endswith("/mcp")

            async def talk():
                headers = {"Authorization": "Bearer a-token-of-24-characters"}
                async with (
                    httpx2.AsyncClient(headers=headers) as http,
                    Client(streamable_http_client(url, http_client=http)) as client,
                ):
                    await use_every_tool(client)
                async with httpx2.AsyncClient() as http:
                    return (await http.post(url, json={})).status_code

            assert anyio.run(talk) == 401
            server.send_signal(signal.SIGTERM)
            server.wait(20)
            assert server.stderr.read() == ""
        finally:
            server.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("end", "code"), [("close", 0), ("interrupt", 130)])
def test_standard_output_is_protocol_alone_and_the_server_ends_with_its_client(closed_index, end, code):
    about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    asked = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": about},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "status", "arguments": {}}},
    ]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = {**os.environ, "UNBRAID_MCP_TOKEN": "short"}  # means nothing here
    with subprocess.Popen([*COMMAND, "--in", str(closed_index)], env=environment, **pipes) as server:
        try:
            for one in asked:
                server.stdin.write(json.dumps(one).encode() + b"\n")
            server.stdin.flush()
            answers = [json.loads(server.stdout.readline()) for _ in range(2)]
            assert [one["id"] for one in answers] == [1, 2]
            assert answers[1]["result"]["structuredContent"]["files"] == 10
            if end == "close":
                server.stdin.close()
            else:
                server.send_signal(signal.SIGINT)
            assert server.wait(20) == code
            assert (server.stdout.read(), server.stderr.read()) == (b"", b"")
        finally:
            server.kill()
