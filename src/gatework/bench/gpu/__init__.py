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
    measured,
    moved,
)
from gatework.bench.gpu.precision import PRECISIONS, Precision
from gatework.bench.gpu.report import against, as_data, by_entry, card, ratios_table

__all__ = [
    "CONTESTANTS", "PRECISIONS", "SHAPES", "WAYS", "Entry", "Line", "Precision", "Settings", "Way",
    "against", "as_data", "by_entry", "card", "compare", "entries", "measured", "moved",
    "ratios_table",
]  # fmt: skip
