"""Which rows of a data file are trained on, and which are held out for development."""

import hashlib
import random
from pathlib import Path
from typing import Any

from unbraid.io.jsonl import read_rows


def is_dev(row: dict[str, Any]) -> bool:
    """Whether a row is held out from training.

    A picture is, if its `split` field says "dev"; of other rows 1 in 50 is, chosen by the hash of its text. So the
    choice depends neither on the order nor on the other rows.
    """
    if "file" in row:
        return row.get("split") == "dev"
    text = str(row.get("anchor") or row.get("a") or row.get("text") or row.get("query") or "")
    return int(hashlib.sha1(text.encode("utf-8", "replace")).hexdigest()[:8], 16) % 50 == 0


def train_rows(path: Path, *, limit: int = 0, seed: int = 0) -> list[dict[str, Any]]:
    """The training rows of a file, in order; with `limit`, a seeded sample of them."""
    rows = [line.row for line in read_rows(path) if not is_dev(line.row)]
    return random.Random(seed).sample(rows, limit) if 0 < limit < len(rows) else rows
