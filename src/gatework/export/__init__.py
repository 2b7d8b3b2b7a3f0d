"""Trained networks for where there is no Python: C objects. See `docs/export-c.md`."""

from gatework.export.objects import TARGETS, c

__all__ = ["TARGETS", "c"]
