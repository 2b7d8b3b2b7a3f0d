"""Trained networks for where there is no Python: ONNX files, C objects. See `docs/export.md`."""

from gatework.export.graphs import Exported, onnx
from gatework.export.objects import TARGETS, c

__all__ = ["TARGETS", "Exported", "c", "onnx"]
