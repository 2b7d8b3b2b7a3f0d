"""Looking inside: what a recurrent network stores, keeps and gives out."""

from gatework.lens.horizon import MemoryHorizon, memory_horizon
from gatework.lens.passage import Passage, gate_names, read_passage

__all__ = ["MemoryHorizon", "Passage", "gate_names", "memory_horizon", "read_passage"]
