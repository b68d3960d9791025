"""What a file holds, when it is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from unbraid.index.files.chunk import Chunk
from unbraid.index.files.front_matter import Value


@dataclass(frozen=True)
class FileContent:
    """What a file holds: its chunks, the fields that it gives itself, and the encoding that had to be assumed."""

    chunks: list[Chunk]
    fields: Mapping[str, Value] = field(default_factory=dict)
    assumed: str = ""
    left_out: int = 0  # passages of base64 and of paths of drawings, which `chunks` are without
    # (name in it, reason) of each file in it that was left out, of an archive or a message.
    skipped: list[tuple[str, str]] = field(default_factory=list)
