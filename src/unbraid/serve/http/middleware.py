"""Steps around every route: before it id, host, key and body; after it headers, counts and a log line.

Every path but those in OPEN needs a key, so a new route needs one too, and a path without a route.
"""

import logging
import random
import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unbraid.serve.engine.errors import ClientGone, Overloaded
from unbraid.serve.http import telemetry
from unbraid.serve.http.body import InFlight, read_body
from unbraid.serve.http.errors import ApiError, as_api_error
from unbraid.serve.http.metrics import Metrics
from unbraid.serve.http.request_stats import RequestStats
from unbraid.serve.settings import Settings

logger = logging.getLogger("unbraid.serve")

OPEN = ("/health", "/ready")  # need no key: process managers and load balancers have none
_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)


class Middleware:
    """The outermost layer of the application, but for CORS."""

    def __init__(self, app: ASGIApp, *, settings: Settings, metrics: Metrics) -> None:
        """Wrap `app`."""
        self.app, self.settings, self.metrics = app, settings, metrics
        self.in_flight = InFlight()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":  # websockets are closed unanswered
                await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        given = headers.get("x-request-id", "")
        # Not uuid4: the kernel's random numbers release the interpreter, and other threads take it for a while.
        identity = given if _ID.fullmatch(given) else f"{random.getrandbits(128):032x}"
        stats = scope["unbraid.stats"] = RequestStats(identity)
        body: bytes | None = None
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", []),
                    (b"x-request-id", stats.id.encode()),
                    (b"server-timing", stats.server_timing().encode()),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        self.in_flight.requests += 1
        try:
            body = scope["unbraid.body"] = await self._admit(scope, headers, receive, stats)
            await self.app(scope, receive, answer)
        except ClientGone:
            status, stats.code = 499, "client_gone"  # for the log; no client reads it
        except Exception as error:
            refusal = as_api_error(error)
            if refusal is None:
                logger.exception("request %s failed", stats.id)
                message = f"the server failed; its log has request {stats.id}"
                refusal = ApiError(500, "internal_error", message)
            stats.code = refusal.code
            if body is None and scope["method"] == "POST" and refusal.status in (408, 413, 429):
                refusal.headers["connection"] = "close"  # the rest of the body may still be on its way
            if not status:  # no answer has begun
                await refusal.response()(scope, receive, answer)
            # Its traceback refers to this frame: the cycle would keep the body until garbage collection.
            del refusal
        finally:
            self.in_flight.requests -= 1
            self.in_flight.bytes -= len(body or b"")
            self._record(scope, headers, status or 500, stats)

    async def _admit(
        self, scope: Scope, headers: dict[str, str], receive: Receive, stats: RequestStats
    ) -> bytes:
        """The body. Raises ApiError and Overloaded for a request that is refused, ClientGone."""
        settings = self.settings
        if settings.hosts and _host(headers.get("host", "")) not in settings.hosts:
            # A page elsewhere may have its own name point to this machine (DNS rebinding).
            raise ApiError(421, "wrong_host", "this server does not answer under that Host; see --host-name")
        if scope["path"] in OPEN:
            return b""
        settings.keys.check(headers.get("authorization", ""), scope["path"])
        if self.in_flight.requests > settings.limits.requests:
            raise Overloaded("requests", 1)
        if scope["method"] != "POST":
            return b""
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # a browser sends other types for any page, without asking (CSRF)
            raise ApiError(415, "unsupported_media_type", "send JSON, with Content-Type: application/json")
        with stats.phase("body"):
            length = headers.get("content-length", "")
            return await read_body(receive, settings.limits, self.in_flight, length)

    def _record(self, scope: Scope, headers: dict[str, str], status: int, stats: RequestStats) -> None:
        route = getattr(scope.get("route"), "path", "other")
        totals = stats.totals()
        self.metrics.request(route, status, stats, totals)
        telemetry.report(stats, scope["method"], route, status, headers)
        about: dict[str, object] = {
            "request_id": stats.id,
            "method": scope["method"],
            "route": route,
            "status": status,
            "ms": round(stats.seconds() * 1000, 2),
            **{f"{name}_ms": round(seconds * 1000, 2) for name, seconds in totals.items()},
        }
        if stats.items:
            about |= {"items": stats.items, "tokens": stats.tokens}
        if stats.code:
            about["code"] = stats.code
        logger.info("request", extra={"about": about})


def _host(header: str) -> str:
    """The host of a Host header, without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()
