"""What an index holds of a file, collected from the payloads of its chunks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from unbraid.index.store.entry import Fields

PAYLOAD = ["path", "sha256", "size", "mtime_ns", "chunks", "fields"]  # of a chunk, what `file_states` reads


@dataclass
class FileState:
    """What the index holds of one file; `points` of `expected` chunks of content `sha256` are in."""

    sha256: str
    size: int
    mtime_ns: int
    expected: int
    fields: Fields
    points: int = 0
    versions: int = 1

    @property
    def complete(self) -> bool:
        """False when a run was cut off within this file, so that it must be indexed again."""
        return self.versions == 1 and self.points == self.expected


def file_states(payloads: Iterable[Mapping[str, Any]]) -> dict[str, FileState]:
    """The state of each file, by path, from the payload of every chunk."""
    states: dict[str, FileState] = {}
    for payload in payloads:
        known = (payload[name] for name in PAYLOAD[1:])
        state = states.setdefault(payload["path"], FileState(*known))
        if payload["sha256"] == state.sha256:
            state.points += 1
        else:
            state.versions = 2
    return states
