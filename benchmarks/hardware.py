"""The machine that a benchmark runs on, in words and numbers."""

import importlib.metadata
import os
import platform
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")


def processor() -> str:
    """What the processor calls itself; its architecture where it does not say."""
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def cores() -> int:
    """Those that this process may use: a container or ``taskset`` may leave it fewer than there are."""
    # Only here: what measures packs on a GPU machine has no need for it.
    import joblib

    return int(joblib.cpu_count())


def machine(*packages: str) -> str:
    """``2 cores (AMD EPYC), 24 GiB, Python 3.11.7, torch 2.15.0``: the versions are those of the given distributions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    cells = [f"{os.cpu_count()} cores ({processor()})", f"{memory:.0f} GiB", f"Python {platform.python_version()}"]
    return ", ".join([*cells, *versions])
