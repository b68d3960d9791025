"""How many cores this process may use, and what their processor can do."""

import os
from functools import cache
from pathlib import Path


def usable_cores() -> int:
    """Cores this process may run on: its affinity where the system has one, else all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def instruction_sets() -> frozenset[str]:
    """The processor's instruction sets as Linux names them; none where the system does not tell."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("flags", "Features"):
                return frozenset(value.split())
    return frozenset()
