"""Sizes of files as people write and read them: 100000, "100kB", "1.5 MB", "2 MiB"."""

import os
import re
from contextlib import suppress
from pathlib import Path

_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s*(?:([kmgt]?)(i?)b)?", re.IGNORECASE)
_POWERS = ("", "k", "m", "g", "t")


def read_size(text: str) -> int | None:
    """Bytes; None for what is no size. A kB is 1,000 bytes, a KiB 1,024."""
    found = _SIZE.fullmatch(text.strip())
    if found is None or (found[3] and not found[2]):
        return None
    base = 1024 if found[3] else 1000
    return round(float(found[1]) * base ** _POWERS.index((found[2] or "").lower()))


def write_size(size: float) -> str:
    """In the largest unit of which there is one: "340 bytes", "12.3 kB", "1.9 GB"."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"


def disk_bytes(folder: Path) -> int:
    """What the files of a folder take on the disk; those of an index have holes, which take nothing."""
    total = 0
    # Unlike Path.rglob, os.walk goes on where a folder has gone meanwhile: the index may be at work.
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                about = os.stat(os.path.join(place, name))
                # Windows does not count blocks, and an index there has no holes.
                total += about.st_blocks * 512 if hasattr(about, "st_blocks") else about.st_size
    return total
