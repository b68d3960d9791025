"""The parts of a visual tower's name: library, architecture, and the tag of published weights where it has one."""

from dataclasses import dataclass

LIBRARIES = ("timm", "open_clip")


@dataclass(frozen=True)
class TowerName:
    """timm:MODEL or timm:MODEL.TAG, open_clip:MODEL or open_clip:MODEL/TAG; without a tag weights are random."""

    library: str
    model: str
    tag: str

    @property
    def published(self) -> bool:
        """Whether weights are fetched from a hub when training starts."""
        return bool(self.tag)


def read_tower_name(name: str) -> TowerName:
    """The parts of `name`. Raises ValueError for a name of another library."""
    library, _, rest = name.partition(":")
    if library not in LIBRARIES or not rest:
        raise ValueError(f"unknown tower {name!r}: expected timm:MODEL[.TAG] or open_clip:MODEL[/TAG]")
    model, _, tag = rest.partition("." if library == "timm" else "/")
    return TowerName(library, model, tag)
