"""Serving over streamable HTTP on this machine, to clients that know the token."""

import hmac
import secrets
import socket
from pathlib import Path

import uvicorn
from mcp.server.mcpserver import MCPServer
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from unbraid.errors import DataError

HOST = "127.0.0.1"
PATH = "/mcp"
SHORTEST = 16  # characters; a shorter token can be guessed
MOST_BYTES = 1 << 20  # of a request


class RequireToken:
    """Lets through what carries the token; everything else is answered 401, whatever its path."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        """Around `app`."""
        self._app = app
        self._wanted = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._wanted):
                error = {
                    "error": "the token is needed: Authorization: Bearer TOKEN; unbraid mcp --http shows it at start"
                }
                refusal = JSONResponse(error, 401, {"www-authenticate": "Bearer"})
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


def create_app(server: MCPServer, token: str) -> ASGIApp:
    """The application. The SDK answers 421 and 403 to a Host or Origin that is not this machine's (DNS rebinding)."""
    # Without sessions: every call stands alone, so a client may come back after a restart.
    app = server.streamable_http_app(
        host=HOST,
        streamable_http_path=PATH,
        stateless_http=True,
        json_response=True,
        max_request_body_size=MOST_BYTES,
    )
    return RequireToken(app, token)


def listen(port: int) -> socket.socket:
    """A socket on this machine; port 0 takes a free one. Raises DataError where the port cannot be used."""
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise DataError(f"port {port} of {HOST} cannot be used ({error.strerror}): choose another") from error


def serve_http(server: MCPServer, token: str, listening: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    config = uvicorn.Config(
        create_app(server, token),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        loop="asyncio",
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(config).run(sockets=[listening])


def read_token(file: Path | None, variable: str | None) -> tuple[str, bool]:
    """The token in a file, else the one of a variable, else a new one; and whether it is new.

    Raises DataError for a file that cannot be read and a token that is too short or not one word of ASCII.
    """
    if file is not None:
        try:
            token = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"{file}: cannot be read as a file with a token: {reason}") from error
    elif variable is not None:
        token = variable.strip()
    else:
        return secrets.token_urlsafe(32), True
    if len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise DataError(
            f"the token has {len(token)} characters: expected one word of at least {SHORTEST} in ASCII"
        )
    return token, False
