"""A comparison as data: what is written with --json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from gatework.bench.comparison import Limits, Line, Settings
from gatework.bench.machine import absences, describe_machine, versions
from gatework.bench.timing import Sample

__all__ = ["FORMAT", "as_data", "sample_data"]

FORMAT = 1
"""Grows when what is written means something else."""


def as_data(
    settings: Settings, limits: Limits, lines: Sequence[Line], loads: Sequence[float | None]
) -> dict[str, Any]:
    """Everything that was measured, and on what.

    Args:
        settings: What was asked for.
        limits: The processor's limits.
        lines: What was measured.
        loads: The machine's load before and after.
    """
    return {
        "format": FORMAT,
        "machine": describe_machine(),
        "load": list(loads),
        "versions": versions(),
        "not_installed": absences(),
        "dtype": "float32",
        "threads": settings.threads,
        "pace_seconds": asdict(settings.pace),
        "limits": {
            "fma_gflops": limits.fma,
            "bandwidth_gbytes": {str(size): rate for size, rate in limits.bandwidths.items()},
        },
        "lines": [_line(line) for line in lines],
    }


def _line(line: Line) -> dict[str, Any]:
    return {
        "cell": line.entry.cell.name,
        "shape": line.entry.shape._asdict(),
        "kind": line.entry.kind,
        "error": line.error,
        "flops": line.cost.flops,
        "weight_bytes": line.cost.bytes,
        "limit": line.limit,
        "share": line.share,
        "times": {name: sample_data(sample) for name, sample in line.samples.items()},
        "ratios": {name: line.ratio(name) for name in line.samples},
    }


def sample_data(sample: Sample) -> dict[str, Any]:
    """The times of one contestant."""
    return {
        "median_ms": sample.median,
        "quartiles_ms": [sample.lower, sample.upper],
        "calls": sample.calls,
        "turn_medians_ms": list(sample.turns),
    }
