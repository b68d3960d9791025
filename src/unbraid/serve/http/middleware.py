"""What every request passes before and after its route: id, host, key, body, and then headers, counts and a log line.

Everything is refused here unless it is let through, so a new route, and one that does not exist, needs a key too.
"""

import logging
import random
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.responses import Response

from unbraid.serve.http.errors import ApiError, ClientGone, overloaded
from unbraid.serve.http.limits import InFlight, Receive, read_body
from unbraid.serve.http.metrics import Metrics
from unbraid.serve.http.request_stats import Trace
from unbraid.serve.http.telemetry import report
from unbraid.serve.settings import Settings

logger = logging.getLogger("unbraid.serve")

OPEN = ("/health", "/ready")  # without a key: whoever starts and balances servers has none
_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)

# ASGI; Any, as scopes and messages are whatever its specification says.
Scope = dict[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Guard:
    """The outermost layer of the application."""

    def __init__(self, app: App, *, settings: Settings, metrics: Metrics, in_flight: InFlight) -> None:
        """Stand before `app`."""
        self.app, self.settings, self.metrics, self.in_flight = app, settings, metrics, in_flight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the lifespan."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":  # websockets are closed unanswered
                await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        given = headers.get("x-request-id", "")
        # No uuid4: the kernel's randomness lets go of the interpreter for a moment, and others take it.
        trace = scope["unbraid"] = Trace(given if _ID.fullmatch(given) else f"{random.getrandbits(128):032x}")
        status = 500

        async def answer(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                report(trace)
                message["headers"] = [
                    *message.get("headers", []),
                    (b"x-request-id", trace.id.encode()),
                    (b"server-timing", trace.server_timing().encode()),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        self.in_flight.requests += 1
        try:
            try:
                await self._admit(scope, headers, receive, trace)
                await self.app(scope, receive, answer)
            except ApiError as error:
                trace.code = error.code
                await self._refusal(scope, error)(scope, receive, answer)
            except ClientGone:
                status = 499  # nobody reads it; for the log
                trace.code = "client_gone"
                report(trace)
            except Exception:
                logger.exception("request %s failed", trace.id)
                failure = ApiError(
                    500, "internal_error", f"the server failed; its log has request {trace.id}"
                )
                trace.code = failure.code
                if status == 500:  # no answer has begun
                    await failure.response()(scope, receive, answer)
        finally:
            self.in_flight.requests -= 1
            self.in_flight.bytes -= len(trace.body)
            self._record(scope, status, trace)

    async def _admit(self, scope: Scope, headers: dict[str, str], receive: Receive, trace: Trace) -> None:
        """Read the body into the trace. Raises ApiError for what is not let through, ClientGone."""
        settings = self.settings
        if settings.hosts and _host(headers.get("host", "")) not in settings.hosts:
            # A page elsewhere may have its name point to this machine (DNS rebinding).
            raise ApiError(421, "wrong_host", "this server does not answer under that Host; see --host-name")
        if scope["path"] in OPEN:
            return
        if settings.keys and not settings.keys.accept(headers.get("authorization")):
            raise ApiError(401, "invalid_api_key", "a valid API key is needed: Authorization: Bearer KEY")
        if self.in_flight.requests > settings.limits.requests:
            raise overloaded("requests", 1)
        if scope["method"] != "POST":
            return
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # others could be sent by any page, without asking first (CSRF)
            raise ApiError(415, "unsupported_media_type", "send JSON, with Content-Type: application/json")
        length = headers.get("content-length", "")
        declared = int(length) if length.isascii() and length.isdigit() and len(length) < 16 else None
        with trace.phase("body"):
            trace.body = await read_body(receive, settings.limits, self.in_flight, declared)

    def _refusal(self, scope: Scope, error: ApiError) -> Response:
        headers = {}
        if error.status == 401:  # Basic makes a browser ask its user for the key
            headers["www-authenticate"] = 'Basic realm="unbraid"' if scope["path"] == "/" else "Bearer"
        if error.status in (408, 413, 429) and scope["method"] == "POST":
            headers["connection"] = "close"  # part of the body may still be on its way
        return error.response(headers)

    def _record(self, scope: Scope, status: int, trace: Trace) -> None:
        route = getattr(scope.get("route"), "path", "other")
        self.metrics.request(route, status, trace.code, trace)
        about: dict[str, object] = {
            "request_id": trace.id,
            "method": scope["method"],
            "route": route,
            "status": status,
            "ms": round(trace.seconds() * 1000, 2),
            **{f"{name}_ms": round(seconds * 1000, 2) for name, seconds in trace.phases.items()},
        }
        if trace.items:
            about |= {"items": trace.items, "tokens": trace.tokens}
        if trace.code:
            about["code"] = trace.code
        logger.info("request", extra={"about": about})


def _host(header: str) -> str:
    """The host of a Host header, without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()
