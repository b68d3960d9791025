"""How many cores this process may use, and what their processor is and can do."""

import os
import platform
from functools import cache
from pathlib import Path


def usable_cores() -> int:
    """Cores this process may run on: its affinity where the system has one, else all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _cpu_info() -> dict[str, str]:
    """What Linux tells of the first processor, by its names; nothing where the system does not tell."""
    path = Path("/proc/cpuinfo")
    found: dict[str, str] = {}
    if path.exists():
        for line in path.read_text(errors="replace").split("\n\n")[0].splitlines():
            key, _, value = line.partition(":")
            found[key.strip()] = value.strip()
    return found


def processor() -> str:
    """The processor's name."""
    return _cpu_info().get("model name") or platform.processor() or platform.machine()


def instruction_sets() -> frozenset[str]:
    """The processor's instruction sets as Linux names them; none where the system does not tell."""
    info = _cpu_info()
    return frozenset(info.get("flags", info.get("Features", "")).split())
