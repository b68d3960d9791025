"""Reading a request's body within the limits of size, time and memory."""

import asyncio
import contextlib

from starlette.types import Receive

from unbraid.serve.engine.errors import ClientGone, Overloaded
from unbraid.serve.http.errors import ApiError
from unbraid.serve.limits import Limits


class InFlight:
    """Requests, and bytes of bodies, that the server holds at the moment."""

    requests = 0
    bytes = 0


async def read_body(receive: Receive, limits: Limits, in_flight: InFlight, length: str) -> bytes:
    """The body. Its bytes are counted in `in_flight.bytes` while they arrive; the caller takes them out again.

    `length` is the Content-Length header, or "". Raises ApiError 413 for a long body and 408 for a slow one,
    Overloaded when all bodies together hold too much, ClientGone; then nothing stays counted.
    """
    declared = int(length) if length.isascii() and length.isdigit() and len(length) < 16 else 0
    too_long = ApiError(
        413, "body_too_large", f"the body is over {limits.body_bytes:,} bytes: send less at a time"
    )
    if declared > limits.body_bytes:
        await _discard(receive)
        raise too_long
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
                    raise too_long
                if in_flight.bytes > limits.bytes_in_flight:
                    raise Overloaded("bytes", 1)
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return b"".join(chunks)
    except BaseException as error:
        in_flight.bytes -= size
        if isinstance(error, TimeoutError):
            late = f"the body had not arrived after {limits.body_seconds:g} seconds"
            raise ApiError(408, "body_timeout", late) from None
        raise


async def _discard(receive: Receive) -> None:
    """Read on for up to a second and keep nothing: a client that is still sending would not read the answer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            while (await receive()).get("more_body", False):
                pass
