"""How many cores this process may use."""

import os


def usable_cores() -> int:
    """Cores this process may run on: its affinity where the system has one, else all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
