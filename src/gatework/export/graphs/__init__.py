"""Trained networks as ONNX graphs. See `docs/export.md`."""

from gatework.export.graphs.exporting import Exported, onnx

__all__ = ["Exported", "onnx"]
