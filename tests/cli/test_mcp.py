"""`unbraid mcp`: its options, and the entries that it prints for clients. tests/mcp has what it serves."""

import json
import shlex
import sys
import tomllib
from pathlib import Path

import pytest

from unbraid.mcp.clients import CLIENTS

ROOT = Path(__file__).parent.parent.parent


def test_an_entry_starts_the_server_from_any_folder(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = command("mcp", "install", "--in", "my index", "--client", "cursor")
    entry = json.loads(shown.out)["mcpServers"]["unbraid"]
    assert entry["command"] == sys.executable and shown.code == 0
    assert entry["args"] == ["-P", "-m", "unbraid", "mcp", "--in", str(tmp_path / "my index")]


def test_every_client_has_an_entry_with_the_whole_command(command, tmp_path):
    words = [
        sys.executable,
        "-P",
        "-m",
        "unbraid",
        "mcp",
        "--in",
        str(tmp_path / "a 'b'"),
        "--model",
        "org/name",
    ]
    shown = command("mcp", "install", "--in", words[6], "--model", "org/name")
    for name, client in CLIENTS.items():
        entry = client.entry(words)
        assert entry in shown.out and f"# {name}: {client.where}" in shown.out
        if client.where == "run":
            split = shlex.split(entry)
            assert split[-len(words) :] == words or json.loads(split[-1])["args"] == words[1:]
        else:
            assert json.loads(entry)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--in", "x", "--qdrant", "http://h"), "give one of --in FOLDER"),
        (("--in", "x", "--token-file", "t"), "--token-file goes with --http"),
        (("--in", "x", "--mapper", "no.mapper"), "no.mapper"),
        (("install", "--in", "x", "--client", "emacs"), "'emacs' is not one of claude-code"),
        (("--in", "x", "--http", "0", "--token-file", "nowhere"), "nowhere: cannot be read"),
    ],
)
def test_wrong_use_is_one_line(command, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = command("mcp", *words)
    assert (shown.code, shown.out, shown.err.count("\n")) == (2, "", 1) and message in shown.err


@pytest.mark.parametrize("words", [("--in", "x"), ("install", "--in", "x")])
def test_without_the_extra_its_name_is_said(command, words, monkeypatch):
    monkeypatch.setattr("unbraid.errors.find_spec", lambda name: None)
    shown = command("mcp", *words)
    assert shown.code == 2 and "pip install 'unbraid[mcp]'" in shown.err


def test_server_json_is_what_the_registry_takes():
    """The rules of its schema, 2025-12-11, that a description like ours can break."""
    about = json.loads((ROOT / "server.json").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    (package,) = about["packages"]
    assert about["$schema"].endswith("/2025-12-11/server.schema.json")
    assert about["name"].count("/") == 1 and 1 <= len(about["description"]) <= 100
    assert about["version"] == package["version"] == version
    assert (package["registryType"], package["identifier"]) == ("pypi", "unbraid")
    assert package["transport"] == {"type": "stdio"}
    assert f"mcp-name: {about['name']}" in (ROOT / "README.md").read_text()


def test_the_command_of_server_json_exists(command):
    (package,) = json.loads((ROOT / "server.json").read_text())["packages"]
    words = [
        one["value"] if one["type"] == "positional" else one["name"] for one in package["packageArguments"]
    ]
    assert words == ["mcp", "--in"]
    options = command("mcp", "--help")
    assert options.code == 0 and all(word in options.out for word in words)
