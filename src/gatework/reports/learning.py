"""Learning curves: what a prediction cost in the course of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gatework.lens.drawing import Plot, canvas, finished, in_style, name_lines, styled
from gatework.tasks import Task
from gatework.train.records import Record

__all__ = ["cost_in_words", "draw_learning_curves"]


def cost_in_words(task: Task) -> str:
    """What is drawn, in words for a page."""
    return (
        f"The cost is told in {task.unit}: {task.meaning}. Held-out data is data that the network "
        "never learned from."
    )


@in_style
def draw_learning_curves(curves: Mapping[str, Sequence[Record]], unit: str, counted: str) -> Plot:
    """Draw what a prediction cost against what has been learned from, a line per name."""
    figure, axes = canvas(6.0, 3.6)
    most = max((record.seen for records in curves.values() for record in records), default=0)
    scale, prefix = (1e6, "million ") if most > 1e6 else (1e3, "thousand ")
    for (name, records), style in styled(curves):
        read = [record.seen / scale for record in records]
        axes.plot(read, [record.cost for record in records], label=name, **style)
    axes.set_xlabel(f"{prefix}{counted} learned from")
    axes.set_ylabel(unit)
    name_lines(axes)
    return finished(figure, f"curves-{unit}")
