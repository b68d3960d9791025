"""Reading the data files of a recipe: rows, the train/dev split, and the items to label."""

import gzip
import hashlib
import json
import random
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbraid.distill.recipe import Source
from unbraid.errors import DataError

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])")


@dataclass(frozen=True)
class TrainingItem:
    """A text or code snippet to label; `anchor` is the description of a code snippet."""

    text: str
    modality: str
    anchor: str = ""


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a gzip JSON-lines file. Raises DataError naming the line that cannot be read."""
    number = 1
    try:
        with gzip.open(path) as lines:
            for line in lines:
                row = json.loads(str(line, "utf-8"))
                if not isinstance(row, dict):
                    raise TypeError(f"a {type(row).__name__}, expected an object")
                yield row
                number += 1
    except (OSError, EOFError, zlib.error, ValueError, TypeError) as error:
        raise DataError(f"{path}: line {number} cannot be read: {error}") from error


def is_dev(row: dict[str, Any]) -> bool:
    """Whether a row is kept out of training.

    Pictures by their `split` field, other rows 1 in 50 by the hash of their text, so that the choice never
    depends on order or on the other rows.
    """
    if "file" in row:
        return bool(row["split"] == "dev")
    text = str(row.get("anchor") or row.get("a") or row.get("text") or row.get("query") or "")
    return int(hashlib.sha1(text.encode("utf-8", "replace")).hexdigest()[:8], 16) % 50 == 0


def train_rows(path: Path, *, limit: int = 0, seed: int = 0) -> list[dict[str, Any]]:
    """The training rows of a file, in order; with `limit`, a seeded sample of them."""
    kept = [row for row in rows(path) if not is_dev(row)]
    if limit and len(kept) > limit:
        kept = random.Random(seed).sample(kept, limit)
    return kept


def sentences(text: str, *, least: int = 25) -> list[str]:
    """Sentences of `text` that have at least `least` characters."""
    return [part for part in _SENTENCE_END.split(text) if len(part) >= least]


def _field(row: dict[str, Any], name: str) -> str:
    """A field as stripped text; lone surrogates, which JSON can hold, become U+FFFD as they do when encoding."""
    text = str(row.get(name) or "").strip()
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def training_items(sources: tuple[Source, ...], folder: Path, *, seed: int) -> list[TrainingItem]:
    """Distinct items of all `sources` below `folder`, shuffled by `seed`."""
    items: dict[tuple[str, str], TrainingItem] = {}
    for source in sources:
        for row in train_rows(folder / source.file, limit=source.limit, seed=seed):
            for field in source.text:
                text = _field(row, field)
                for part in [text, *(sentences(text) if source.sentences else [])]:
                    if part:
                        items.setdefault(("text", part), TrainingItem(part, "text"))
            for field in source.code:
                text = _field(row, field)
                anchor = _field(row, "anchor") if field == "positive" else ""
                if text:
                    items.setdefault(("code", text), TrainingItem(text, "code", anchor))
    shuffled = list(items.values())
    random.Random(seed).shuffle(shuffled)
    return shuffled
