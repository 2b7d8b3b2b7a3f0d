"""Gatework beside others, on this machine: what `gatework bench` runs."""

from gatework.bench.checking import TOLERANCE, WrongResult
from gatework.bench.comparison import Entry, Limits, Line, Settings, compare, entries
from gatework.bench.machine import absences, describe_machine, load, versions
from gatework.bench.peers import CONTESTANTS, OURS
from gatework.bench.problem import KINDS, Kind
from gatework.bench.report import as_data
from gatework.bench.shapes import QUICK, STREAMED, TABLE, Shape, parse_shapes
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
