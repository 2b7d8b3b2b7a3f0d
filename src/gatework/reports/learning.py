"""Learning curves: what a byte of text cost in the course of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gatework.lens.drawing import Plot, canvas, finished, in_style, name_lines, styled
from gatework.train.records import Record

__all__ = ["BITS", "draw_learning_curves"]

BITS = (
    "Bits per byte: what it costs on average to write down the next byte if you know the "
    "network's prediction. A byte drawn at random costs 8 bits, one known for certain costs 0. "
    "Held-out text is text that the network never learned from."
)
"""What is drawn, in words for a page."""


@in_style
def draw_learning_curves(curves: Mapping[str, Sequence[Record]]) -> Plot:
    """Draw bits per byte against what has been read, a line per name."""
    figure, axes = canvas(6.0, 3.6)
    for (name, records), style in styled(curves):
        read = [record.bytes / 1e6 for record in records]
        axes.plot(read, [record.bits_per_byte for record in records], label=name, **style)
    axes.set_xlabel("megabytes read")
    axes.set_ylabel("bits per byte")
    name_lines(axes)
    return finished(figure, "curves")
