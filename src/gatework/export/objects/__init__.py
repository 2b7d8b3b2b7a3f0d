"""A trained network as an object file and a header, for a C program on a named machine."""

from gatework.export.objects.exporting import c
from gatework.export.objects.targets import TARGETS

__all__ = ["TARGETS", "c"]
