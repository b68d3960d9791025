"""The cores that this process may use, and the processor's name and instruction sets."""

import os
import platform
from functools import cache
from pathlib import Path


def usable_cores() -> int:
    """The number of cores this process may run on: its affinity where the system has one, otherwise all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _cpu_info() -> dict[str, str]:
    """The fields of the first processor in Linux's /proc/cpuinfo; empty on other systems."""
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
    """The processor's instruction sets as Linux names them; empty on other systems."""
    info = _cpu_info()
    return frozenset(info.get("flags", info.get("Features", "")).split())
