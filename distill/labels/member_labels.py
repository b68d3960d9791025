"""The labels of one member: which items it labels, and its stored vectors by the content of the item."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unbraid.distill.data.training_items import TrainingItem
from unbraid.distill.labels.label_shard import text_key
from unbraid.distill.labels.label_store import read_description, read_shards
from unbraid.errors import DataError
from unbraid.teacher.members.member_spec import MEMBERS, MemberSpec, stored_routes


def readable_items(spec: MemberSpec, items: Sequence[TrainingItem]) -> list[TrainingItem]:
    """What `spec` labels of `items`, in order: all, or what is English and the English sides of the rest."""
    if not spec.english:
        return list(items)
    return [english for item in items if (english := item.in_english()) is not None]


class StoredMember:
    """The vectors of one member's label store, held in memory as float16.

    `spec` is the member; `id`, `dim` and `routes` are those of the store.
    """

    def __init__(self, folder: Path) -> None:
        """Read every shard. Raises DataError for a folder that is no member's store, lacks a route, or is damaged."""
        about = read_description(folder)
        name = about["about"].get("member")
        if name not in MEMBERS:
            raise DataError(
                f"{folder}: holds labels of {about['teacher']}, expected those of a member: {', '.join(MEMBERS)}"
            )
        self.folder = folder
        self.spec = MEMBERS[name]
        self.id: str = about["teacher"]
        self.dim: int = about["dim"]
        self.routes: tuple[str, ...] = tuple(about["routes"])
        if self.dim != self.spec.dim:
            raise DataError(f"{folder}: vectors have {self.dim} dimensions, {name} has {self.spec.dim}")
        if missing := sorted(stored_routes(self.spec.routes).keys() - set(self.routes)):
            raise DataError(f"{folder}: lacks the route {', '.join(missing)}: label it again elsewhere")
        keys: list[str] = []
        parts: dict[str, list[np.ndarray]] = {route: [] for route in self.routes}
        for shard in read_shards(folder):
            keys += shard.keys
            for route in self.routes:
                parts[route].append(shard.vectors[route])
        self._row = {bytes.fromhex(key)[:16]: row for row, key in enumerate(keys)}
        self._vectors = {route: np.concatenate(found) for route, found in parts.items()}

    def has(self, modality: str, text: str) -> bool:
        """Whether the item was labelled."""
        return _short(modality, text) in self._row

    def vectors(self, items: Sequence[tuple[str, str]], route: str) -> np.ndarray:
        """Vectors float16 [n, dim] of items given as (modality, text). Raises DataError naming one without label."""
        if route not in self._vectors:
            raise DataError(f"{self.folder}: holds the routes {', '.join(self.routes)}, not {route}")
        rows = [self._row.get(_short(modality, text), -1) for modality, text in items]
        if -1 in rows:
            modality, text = items[rows.index(-1)]
            raise DataError(
                f"{self.folder}: {rows.count(-1)} of {len(rows)} items have no label, the first the {modality}"
                f" {text[:60]!r}: label them first, or ask for fewer items"
            )
        found: np.ndarray = self._vectors[route][rows]
        return found


def _short(modality: str, text: str) -> bytes:
    """Half of the item's key: enough to tell a billion items apart, a quarter of the memory."""
    return bytes.fromhex(text_key(modality, text))[:16]
