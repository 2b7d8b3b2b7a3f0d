"""Gatework beside others, on this machine: what `gatework bench` runs."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING
from typing import Any as _Any

from gatework.bench.shapes import QUICK, STREAMED, TABLE, Shape, parse_shapes

if TYPE_CHECKING:
    from gatework.bench.checking import TOLERANCE, WrongResult
    from gatework.bench.comparison import Entry, Limits, Line, Settings, compare, entries
    from gatework.bench.machine import absences, describe_machine, load, versions
    from gatework.bench.peers import CONTESTANTS, OURS
    from gatework.bench.problem import KINDS, Kind
    from gatework.bench.report import as_data
    from gatework.bench.timing import Pace, Sample

__all__ = [
    "CONTESTANTS",
    "KINDS",
    "OURS",
    "QUICK",
    "STREAMED",
    "TABLE",
    "TOLERANCE",
    "Entry",
    "Kind",
    "Limits",
    "Line",
    "Pace",
    "Sample",
    "Settings",
    "Shape",
    "WrongResult",
    "absences",
    "as_data",
    "compare",
    "describe_machine",
    "entries",
    "load",
    "parse_shapes",
    "versions",
]

_NEED_TORCH = {
    "checking": ("TOLERANCE", "WrongResult"),
    "comparison": ("Entry", "Limits", "Line", "Settings", "compare", "entries"),
    "machine": ("absences", "describe_machine", "load", "versions"),
    "peers": ("CONTESTANTS", "OURS"),
    "problem": ("KINDS", "Kind"),
    "report": ("as_data",),
    "timing": ("Pace", "Sample"),
}


def __getattr__(name: str) -> _Any:
    """Load what needs torch when it is first asked for, so that the rest starts at once."""
    for module, names in _NEED_TORCH.items():
        if name in names:
            return getattr(_import_module(f"gatework.bench.{module}"), name)
    raise AttributeError(f"module 'gatework.bench' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Name what is not loaded yet too, so that it completes."""
    return sorted({*globals(), *__all__})
