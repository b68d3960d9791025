"""What to write where, so that a client starts the server."""

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

NAME = "unbraid"


@dataclass(frozen=True)
class Client:
    """A client: where its entry goes, and how it looks for a command."""

    where: str
    entry: Callable[[Sequence[str]], str]


def _shell(begin: str) -> Callable[[Sequence[str]], str]:
    return lambda command: f"{begin} {shlex.join(command)}"


def _json(key: str) -> Callable[[Sequence[str]], str]:
    """The entry below `key` of a JSON file."""

    def entry(command: Sequence[str]) -> str:
        about = {key: {NAME: {"command": command[0], "args": list(command[1:])}}}
        return json.dumps(about, indent=2, ensure_ascii=False)

    return entry


def _vscode(command: Sequence[str]) -> str:
    about = json.dumps({"name": NAME, "command": command[0], "args": list(command[1:])}, ensure_ascii=False)
    return f"code --add-mcp {shlex.quote(about)}"


def _opencode(command: Sequence[str]) -> str:
    about = {"mcp": {NAME: {"type": "local", "command": list(command), "enabled": True}}}
    return json.dumps(about, indent=2, ensure_ascii=False)


CLIENTS = {
    "claude-code": Client("run", _shell(f"claude mcp add {NAME} --")),
    "claude-desktop": Client(
        "into claude_desktop_config.json (Settings, Developer, Edit Config)", _json("mcpServers")
    ),
    "codex": Client("run", _shell(f"codex mcp add {NAME} --")),
    "cursor": Client("into ~/.cursor/mcp.json, or .cursor/mcp.json of a project", _json("mcpServers")),
    "gemini": Client("into ~/.gemini/settings.json", _json("mcpServers")),
    "opencode": Client("into opencode.json", _opencode),
    "vscode": Client("run", _vscode),
    "windsurf": Client("into ~/.codeium/windsurf/mcp_config.json", _json("mcpServers")),
    "zed": Client("into settings.json (zed: open settings)", _json("context_servers")),
}
