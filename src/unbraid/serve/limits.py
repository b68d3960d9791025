"""The bounds of requests and of the queue."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The bounds of requests and of the queue. docs/serve.md lists the answer to a request over each of them."""

    # Of one request.
    body_bytes: int = 16 << 20
    body_seconds: float = 30.0  # to send the body
    # Commas and opening brackets in a body: an empty list takes 3 bytes of JSON and 64 bytes of memory.
    values: int = 1_000_000
    items: int = 2048
    characters: int = 200_000  # of one text
    tokens: int = 300_000  # a picture counts as the tokens that take as long
    multi_vector_tokens: int = (
        50_000  # where each gets a vector: 6 million numbers of 128 dimensions, 60 MB of JSON
    )
    pictures: int = 64
    picture_bytes: int = 10 << 20
    picture_pixels: int = 25_000_000  # by the file's header, before anything is decoded
    hits: int = 100
    look_seconds: float = 0.3  # of a second look, to encode what is not stored: other searches wait for it
    # Of all requests together.
    requests: int = 1024
    bytes_in_flight: int = 128 << 20  # of all bodies in memory
    queue_tokens: int = 600_000
    queue_items: int = 8192
    queue_seconds: float = 5.0  # until a worker takes a request's first item
    # After SIGTERM.
    drain_seconds: float = 20.0  # for accepted requests to finish
    drain_notice: float = 1.0  # between /ready turning false and the end of new connections

    def __post_init__(self) -> None:
        """Raise ValueError for limits under which an allowed request could never be accepted."""
        for name, value in vars(self).items():
            if value <= 0 and name != "drain_notice":
                raise ValueError(f"limit {name} is {value}: expected more than 0")
        pairs = (("tokens", "queue_tokens"), ("items", "queue_items"), ("body_bytes", "bytes_in_flight"))
        for one, whole in pairs:
            if getattr(self, one) > getattr(self, whole):
                raise ValueError(
                    f"limit {one} ({getattr(self, one):,}) is over {whole} ({getattr(self, whole):,}): such a request "
                    "could never be accepted"
                )
