"""What a measurement depends on: the machine and the versions."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

import llvmlite
import numpy as np

from gatework.backends.cpu.vector.target import host
from gatework.bench.peers import CONTESTANTS

__all__ = ["absences", "describe_machine", "load", "versions"]


def describe_machine() -> dict[str, Any]:
    """The processor as it names itself and as LLVM knows it, and its cores."""
    return {
        "processor": _processor(),
        "architecture": host().cpu,
        "vector_bits": 8 * host().vector_bytes,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    """The name on the processor; /proc has it where the standard library does not."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        named = re.search(r"^model name\s*:\s*(.+)$", information.read_text(), re.MULTILINE)
        if named:
            return named[1]
    return platform.processor() or platform.machine()


def load() -> float | None:
    """How many threads wanted to run, on average over the last minute; None where unknown."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def versions() -> dict[str, str]:
    """The versions of all that is installed."""
    found = {c.name: c.version() for c in CONTESTANTS if c.absence() is None}
    return {**found, "numpy": np.__version__, "llvmlite": llvmlite.__version__}


def absences() -> dict[str, str]:
    """Those that are not installed, and how to install them."""
    found = ((c.name, c.absence()) for c in CONTESTANTS)
    return {name: absence for name, absence in found if absence is not None}
