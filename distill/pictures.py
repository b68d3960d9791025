"""Pictures of a data folder: NAME.tar, and what is known of its members in NAME.jsonl.gz."""

import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbraid.distill.data import TrainingItem
from unbraid.errors import DataError
from unbraid.progress import track
from unbraid.teacher.shard import item_key
from unbraid.training.rows import is_dev, rows

CAPTIONS = ("caption", "alt", "title")
SHORTEST = 12  # characters; shorter ones say too little of a picture


@dataclass(frozen=True)
class Member:
    """A picture's file, its row, and its captions, the first one the best."""

    name: str  # where it came from
    content: bytes
    captions: tuple[str, ...]
    dev: bool

    @property
    def key(self) -> str:
        """The key under which its vectors are labelled."""
        return item_key("image", self.content)


def members(data: Path, name: str) -> Iterator[Member]:
    """Captioned pictures of `name`.tar below `data`. Raises DataError when it cannot be read."""
    about = {row["file"]: row for row in rows(data / f"{name}.jsonl.gz")}
    try:
        with tarfile.open(data / f"{name}.tar") as archive:
            for member in track(archive.getmembers(), name, unit="pictures"):
                row, file = about.get(member.name), archive.extractfile(member)
                if row is None or file is None:
                    continue
                if captions := _captions(row):
                    yield Member(f"{name}.tar/{member.name}", file.read(), captions, is_dev(row))
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{data / name}.tar: cannot be read: {error}") from error


def picture_items(data: Path, names: Sequence[str], folder: Path) -> list[TrainingItem]:
    """The training pictures of `names` as items to label, each a file of `folder` named by its key.

    A teacher reads files. Those that are there are not written again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    items = {}
    for name in names:
        for member in members(data, name):
            if member.dev:
                continue
            path = folder / f"{member.key}{Path(member.name).suffix.lower()}"
            if not path.exists():
                partial = path.with_suffix(".tmp")
                partial.write_bytes(member.content)
                partial.replace(path)
            items[member.key] = TrainingItem(member.name, "image", picture=path)
    return list(items.values())


def _captions(row: dict[str, Any]) -> tuple[str, ...]:
    texts = (str(row.get(field) or "").strip() for field in CAPTIONS)
    return tuple(dict.fromkeys(text for text in texts if len(text) >= SHORTEST))
