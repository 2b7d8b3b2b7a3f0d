"""What was measured on a card: as data, and as the table of the README."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch

from gatework.bench.gpu.measuring import CONTESTANTS, Line, Settings, Way
from gatework.bench.machine import describe_machine
from gatework.bench.peers import OURS
from gatework.bench.peers.torch_nn import TorchNn
from gatework.bench.report import sample_data
from gatework.bench.shapes import Shape

__all__ = ["against", "as_data", "by_entry", "card", "ratios_table"]

FORMAT = 1
"""Grows when what is written means something else."""
Known = dict[tuple[str, Shape, str, str], Line]
"""Lines by cell, shape, precision and kind."""
Column = tuple[str, str, str]
"""A cell, a precision, and the cell of torch.nn that it is compared with."""
COLUMNS: tuple[Column, ...] = (
    ("lstm", "fp16", "lstm"),
    ("lstm", "bf16", "lstm"),
    ("lstm", "tf32", "lstm"),
    ("lstm", "fp32", "lstm"),
    ("gru", "bf16", "gru"),
    ("gru", "fp32", "gru"),
    ("peephole_lstm", "bf16", "lstm"),
)
"""A cell that torch.nn lacks is compared with its LSTM, which does almost the same."""


def card(device: torch.device) -> dict[str, Any]:
    """The card as it names itself, and what drives it."""
    if device.type != "cuda":
        return {"name": describe_machine()["processor"]}
    facts = torch.cuda.get_device_properties(device)
    return {
        "name": facts.name,
        "capability": f"{facts.major}.{facts.minor}",
        "processors": facts.multi_processor_count,
        "memory_bytes": facts.total_memory,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    }


def as_data(settings: Settings, lines: Sequence[Line]) -> dict[str, Any]:
    """Everything that was measured, and on what.

    Args:
        settings: What was asked for.
        lines: What was measured.
    """
    return {
        "format": FORMAT,
        "card": card(settings.device),
        "machine": describe_machine(),
        "versions": {c.name: c.version() for c in CONTESTANTS if c.absence() is None},
        "pace_seconds": asdict(settings.pace),
        "lines": [_line(line) for line in lines],
    }


def _line(line: Line) -> dict[str, Any]:
    entry = line.entry
    return {
        "cell": entry.cell.name,
        "shape": entry.shape._asdict(),
        "precision": entry.precision.name,
        "kind": entry.kind,
        "first_call_seconds": line.first,
        "errors": line.errors,
        "wrong": line.wrong,
        "times": {
            way: {name: sample_data(sample) for name, sample in samples.items()}
            for way, samples in line.samples.items()
        },
        "ratios": {
            way: {name: line.ratio(way, name) for name in samples}
            for way, samples in line.samples.items()
        },
    }


def ratios_table(lines: Sequence[Line], way: Way) -> str:
    """How many times our time torch.nn takes, forward / training, as a table in Markdown.

    Args:
        lines: What was measured, of any cells.
        way: How the calls were made.
    """
    known = by_entry(lines)

    def figure(shape: Shape, column: Column) -> str:
        found = [against(known, shape, column, kind, way) for kind in ("inference", "training")]
        return " / ".join(map(_times, found)) if any(found) else ""

    return _markdown(list(dict.fromkeys(line.entry.shape for line in lines)), figure)


def _times(ratio: float | None) -> str:
    """A ratio with two digits; a dash where there is none."""
    return "–" if ratio is None else f"{ratio:.{1 if ratio < 10 else 0}f}"


def by_entry(lines: Sequence[Line]) -> Known:
    """Lines by what was measured."""
    known: Known = {}
    for line in lines:
        entry = line.entry
        known[entry.cell.name, entry.shape, entry.precision.name, entry.kind] = line
    return known


def against(known: Known, shape: Shape, column: Column, kind: str, way: Way) -> float | None:
    """torch.nn's time over ours in a column; None where one of them was not measured."""
    cell, precision, other = column
    own, theirs = (known.get((name, shape, precision, kind)) for name in (cell, other))
    if own is None or theirs is None:
        return None
    ours, torchs = own.microseconds(way, OURS.name), theirs.microseconds(way, TorchNn.name)
    return None if ours is None or torchs is None else torchs / ours


def _markdown(shapes: Sequence[Shape], figure: Callable[[Shape, Column], str]) -> str:
    rows = {shape: [figure(shape, column) for column in COLUMNS] for shape in shapes}
    shown = [k for k in range(len(COLUMNS)) if any(row[k] for row in rows.values())]
    titles = [_title(COLUMNS[k]) for k in shown]
    head = ["B, T, H", *titles]
    table = [head, ["---"] * len(head)]
    for shape, row in rows.items():
        table.append([f"{shape.batch}, {shape.steps}, {shape.units}", *(row[k] for k in shown)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in table)


def _title(column: Column) -> str:
    cell, precision, other = column
    return f"{cell} {precision}" + ("" if cell == other else f" (torch.nn: {other})")
