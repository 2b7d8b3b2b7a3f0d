"""Looking inside: what a recurrent network stores, keeps and gives out."""

from gatework.lens.ablation import Ablation, ablate, held_gates, silenced_units
from gatework.lens.comparison import Comparison, compare
from gatework.lens.flow import GradientFlow, gradient_flow
from gatework.lens.horizon import MemoryHorizon, memory_horizon
from gatework.lens.measurement import Measurement, load
from gatework.lens.measuring import Meter, carry_state, measure
from gatework.lens.passage import Passage, gate_names, read_passage
from gatework.lens.peaks import PeakMeter, Peaks, find_peaks
from gatework.lens.properties import TEXT_PROPERTIES, label_text
from gatework.lens.retention import KeptShares, Retention, RetentionMeter, kept_shares, retention
from gatework.lens.saturation import Saturation, SaturationMeter, saturation
from gatework.lens.units import FoundUnits, TrackingUnit, UnitMeter, find_units
from gatework.lens.watching import Reading, hold, watch

__all__ = [
    "TEXT_PROPERTIES",
    "Ablation",
    "Comparison",
    "FoundUnits",
    "GradientFlow",
    "KeptShares",
    "Measurement",
    "MemoryHorizon",
    "Meter",
    "Passage",
    "PeakMeter",
    "Peaks",
    "Reading",
    "Retention",
    "RetentionMeter",
    "Saturation",
    "SaturationMeter",
    "TrackingUnit",
    "UnitMeter",
    "ablate",
    "carry_state",
    "compare",
    "find_peaks",
    "find_units",
    "gate_names",
    "gradient_flow",
    "held_gates",
    "hold",
    "kept_shares",
    "label_text",
    "load",
    "measure",
    "memory_horizon",
    "read_passage",
    "retention",
    "saturation",
    "silenced_units",
    "watch",
]
