"""Fetching a picture from another host, with --remote-pictures, but never from the server's own network.

A host name is resolved once, checked, and the checked address is dialled: a second answer of the name server could
differ. Only public addresses are dialled, after a redirect too. Bytes are counted as they arrive.
"""

import asyncio
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

import h11

from unbraid.serve.http.errors import ApiError

REDIRECTS = 3
SECONDS = 10  # for a picture, redirects included
_REDIRECT_STATUSES = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Place:
    """The target of a URL: the host, its checked address, the port, and the path to ask for."""

    host: str
    address: str
    port: int
    target: str


async def fetch(url: str, most: int, context: ssl.SSLContext | None = None) -> bytes:
    """At most `most` bytes from an https URL. Raises ApiError 400 for everything else."""
    context = context or ssl.create_default_context()
    try:
        async with asyncio.timeout(SECONDS):
            for _ in range(REDIRECTS + 1):
                place = await resolve(url)
                content = await _get(place, most, context)
                if isinstance(content, bytes):
                    return content
                url = urljoin(url, content)
            raise refusal(f"more than {REDIRECTS} redirects")
    except TimeoutError:
        raise refusal(f"it had not arrived after {SECONDS} seconds") from None
    except (OSError, h11.RemoteProtocolError, UnicodeError) as error:
        raise refusal(f"the host does not answer as it should ({type(error).__name__})") from error


async def resolve(url: str) -> Place:
    """What `url` points to. Raises ApiError 400 unless it is https and all its addresses are public."""
    try:
        parts: SplitResult = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
    except ValueError:
        raise refusal("it is no URL") from None
    if (
        parts.scheme != "https"
        or not host
        or parts.username is not None
        or not url.isascii()
        or not url.isprintable()
    ):
        raise refusal("expected an https URL, ASCII, without user or password")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise refusal("its host is not known") from None
    addresses = [str(one[4][0]) for one in found]
    if not addresses or not all(map(is_public, addresses)):
        raise refusal("its host is not a public one")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Place(host, addresses[0], port, target.replace(" ", "%20"))


def is_public(address: str) -> bool:
    """Whether an IP address, or the IPv4 address inside an IPv6 one, is on the public internet."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


async def _get(place: Place, most: int, context: ssl.SSLContext) -> bytes | str:
    """The body of an answer, or the target of a redirect."""
    reader, writer = await asyncio.open_connection(
        place.address, place.port, ssl=context, server_hostname=place.host
    )
    try:
        connection = h11.Connection(h11.CLIENT)
        host = f"[{place.host}]" if ":" in place.host else place.host
        port = "" if place.port == 443 else f":{place.port}"
        headers = [
            ("host", host + port),
            ("accept", "image/*"),
            ("connection", "close"),
            ("user-agent", "unbraid"),
        ]
        writer.write(connection.send(h11.Request(method="GET", target=place.target, headers=headers)) or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        body = bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(1 << 16))
            elif isinstance(event, h11.Response):
                if event.status_code in _REDIRECT_STATUSES:
                    return dict(event.headers).get(b"location", b"").decode("latin-1")
                if event.status_code != 200:
                    raise refusal(f"its host answers {event.status_code}")
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > most:
                    raise refusal(f"it is over {most:,} bytes")
            elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                return bytes(body)
    finally:
        writer.close()


def refusal(why: str) -> ApiError:
    """The refusal; it passes on nothing that the host said."""
    return ApiError(400, "picture_not_fetched", f"a remote picture cannot be fetched: {why}", param="input")
