"""How much a request, and all of them together, may ask for; and reading a body within that."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from unbraid.serve.http.errors import ApiError, ClientGone, overloaded

# Of an ASGI server; Any, as the messages are whatever the ASGI specification says.
Receive = Callable[[], Awaitable[dict[str, Any]]]


@dataclass(frozen=True)
class Limits:
    """Every bound of the server, each with a refusal of its own. See docs/serve.md for what each answers."""

    body_bytes: int = 16 << 20  # of one request
    bytes_in_flight: int = 128 << 20  # of all bodies that are being read or worked on
    body_seconds: float = 30.0  # to send a body in
    requests: int = 1024  # at a time
    values: int = (
        1_000_000  # commas and opening brackets in a body: an empty list of 3 bytes becomes 64 in memory
    )
    items: int = 2048  # of one request
    characters: int = 200_000  # of one text
    tokens: int = 300_000  # of one request, pictures counted by their work
    pictures: int = 64  # of one request
    picture_bytes: int = 10 << 20
    picture_pixels: int = 25_000_000  # by the header, before anything is decoded
    hits: int = 100  # of one search
    queue_tokens: int = 600_000  # waiting
    queue_items: int = 8192
    queue_seconds: float = 5.0  # until a request's first item is taken up
    drain_seconds: float = 20.0  # that accepted requests have to finish after SIGTERM
    drain_notice: float = 1.0  # that /ready is false before connections are no longer taken

    def __post_init__(self) -> None:
        """Refuse bounds under which a request that is allowed could never be accepted."""
        for name, value in vars(self).items():
            if value <= 0 and name != "drain_notice":
                raise ValueError(f"limit {name} is {value}: expected more than 0")
        for one, whole in (
            ("tokens", "queue_tokens"),
            ("items", "queue_items"),
            ("body_bytes", "bytes_in_flight"),
        ):
            if getattr(self, one) > getattr(self, whole):
                raise ValueError(
                    f"limit {one} ({getattr(self, one):,}) is over {whole} ({getattr(self, whole):,}): such a request "
                    "could never be accepted"
                )


class InFlight:
    """What all requests hold at the moment."""

    def __init__(self) -> None:
        """Nothing."""
        self.requests = 0
        self.bytes = 0


async def read_body(receive: Receive, limits: Limits, in_flight: InFlight, declared: int | None) -> bytes:
    """The body, counted while it arrives; its bytes stay in `in_flight.bytes` until the caller takes them out.

    Raises ApiError 413 for one that is too long, 408 for one that takes too long, 429 when all together hold too
    much; what had been counted is taken out again. Raises ClientGone when the sender leaves.
    """
    if declared is not None and declared > limits.body_bytes:
        await _discard(receive)
        raise _too_long(limits)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                chunk = message.get("body", b"")
                size += len(chunk)
                in_flight.bytes += len(chunk)
                if size > limits.body_bytes:
                    chunks.clear()
                    await _discard(receive)
                    raise _too_long(limits)
                if in_flight.bytes > limits.bytes_in_flight:
                    raise overloaded("bytes", 1)
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return b"".join(chunks)
    except TimeoutError:
        in_flight.bytes -= size
        raise ApiError(
            408, "body_timeout", f"the body had not arrived after {limits.body_seconds:g} seconds"
        ) from None
    except BaseException:
        in_flight.bytes -= size
        raise


async def _discard(receive: Receive) -> None:
    """Read on for a moment and keep nothing: a client that is still sending would else never see the answer."""
    try:
        async with asyncio.timeout(1):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        pass


def _too_long(limits: Limits) -> ApiError:
    return ApiError(
        413, "body_too_large", f"the body is over {limits.body_bytes:,} bytes: send less at a time"
    )
