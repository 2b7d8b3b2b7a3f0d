"""Gatework beside torch's own kernels on a card with CUDA: what `gatework bench --device` runs."""

from gatework.bench.gpu.measuring import (
    CONTESTANTS,
    SHAPES,
    WAYS,
    Entry,
    Line,
    Settings,
    Way,
    compare,
    entries,
)
from gatework.bench.gpu.precision import PRECISIONS, Precision
from gatework.bench.gpu.report import as_data, card, ratios_table

__all__ = [
    "CONTESTANTS", "PRECISIONS", "SHAPES", "WAYS", "Entry", "Line", "Precision", "Settings", "Way",
    "as_data", "card", "compare", "entries", "ratios_table",
]  # fmt: skip
