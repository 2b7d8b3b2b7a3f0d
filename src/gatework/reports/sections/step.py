"""What a step computes: the cell's picture and its equations."""

from __future__ import annotations

from collections.abc import Iterator

from gatework.reports.page import figure, paragraph, preformatted
from gatework.reports.sections.section import Found, Part, Section
from gatework.show import cell_svg
from gatework.show.explanation import explain

__all__ = ["STEP"]

WORDS = (
    "One step, from the state and input at the left to the new state at the right. A gate is a "
    "value between 0 and 1 that multiplies something. The thick line is the memory's path: what "
    "travels on it is changed by arithmetic alone, so that it can last."
)


def _cells(found: Found) -> Iterator[str]:
    layers = [layer for one in found for layer in one.subject.layers.values()]
    for cell in {layer.cell: layer.eval_cell for layer in layers}.values():
        explained = explain(cell)
        yield figure(cell_svg(cell), "; ".join(explained.equations), explained.title, cell=True)
        yield preformatted("\n".join(explained.equations))
        yield paragraph(f"W stands for the learned matrices of {cell.name}.", quiet=True)


STEP = Section("What a step computes", (Part(_cells, WORDS),))
