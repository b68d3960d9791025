"""The cores that this process may use, and the processor's name and instruction sets."""

import math
import os
import platform
from functools import cache
from pathlib import Path

CGROUPS, OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def usable_cores() -> int:
    """The number of cores this process may use: its affinity, or all, and no more than a container's quota gives it."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = _quota()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _quota() -> float | None:
    """Cores of time that the control groups around this process leave it (docker --cpus), None without a limit."""
    try:
        own = {line.split(":", 2)[2].strip("/") for line in OWN_CGROUP.read_text().splitlines()}
    except (OSError, IndexError):
        own = set()
    places = {place for one in own for place in (Path(one), *Path(one).parents)} | {Path()}
    found = []
    for place in places:
        for read in (_quota_of_v2, _quota_of_v1):
            try:
                quota = read(place)
            except (OSError, ValueError):  # another version, or a mount that shows the own group alone
                continue
            if quota is not None:
                found.append(quota)
    return min(found, default=None)


def _quota_of_v2(place: Path) -> float | None:
    quota, period = (CGROUPS / place / "cpu.max").read_text().split()
    return None if quota == "max" else int(quota) / int(period)


def _quota_of_v1(place: Path) -> float | None:
    folder = CGROUPS / "cpu" / place
    quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
    return None if int(quota) <= 0 else int(quota) / int(period)


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
