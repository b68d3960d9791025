"""An MCP server: language models search an index, read what was found and ask for what is like it. Nothing is written."""

from unbraid.mcp.server import create_server
from unbraid.mcp.shared_index import SharedIndex

__all__ = ["SharedIndex", "create_server"]
