"""Reading JSON-lines data files, and which of their rows are never trained on."""

import gzip
import hashlib
import json
import random
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unbraid.errors import DataError


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSON-lines file, gzip where its name ends in .gz. Raises DataError naming a line it cannot read."""
    number = 1
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as lines:
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
        return row.get("split") == "dev"
    text = str(row.get("anchor") or row.get("a") or row.get("text") or row.get("query") or "")
    return int(hashlib.sha1(text.encode("utf-8", "replace")).hexdigest()[:8], 16) % 50 == 0


def train_rows(path: Path, *, limit: int = 0, seed: int = 0) -> list[dict[str, Any]]:
    """The training rows of a file, in order; with `limit`, a seeded sample of them."""
    kept = [row for row in rows(path) if not is_dev(row)]
    if limit and len(kept) > limit:
        kept = random.Random(seed).sample(kept, limit)
    return kept
