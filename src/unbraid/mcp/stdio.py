"""Serving one client over standard input and output."""

import os
import signal

import anyio
from mcp.server.mcpserver import MCPServer

from unbraid.mcp.shared_index import SharedIndex


def serve_stdio(server: MCPServer, shared: SharedIndex) -> None:
    """Serve until standard input ends, or Ctrl-C. Standard output carries the protocol and nothing else."""
    # The SDK waits in a thread for the next line, which Ctrl-C does not wake. Nothing is written, so nothing is lost.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        anyio.run(server.run_stdio_async)
    finally:
        shared.close()
