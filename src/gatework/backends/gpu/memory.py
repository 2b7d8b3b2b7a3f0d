"""How the sequences of a plan lie in memory, which its kernel is made for.

Legend: T steps, B sequences, n units of a row.
"""

from __future__ import annotations

from dataclasses import dataclass

from gatework.backends.gpu.after import side_by_side
from gatework.backends.gpu.before import Before
from gatework.backends.gpu.products import Part
from gatework.compiler.plan import Plan
from gatework.compiler.stepping import aliases_of
from gatework.lang.sizes import Sizes


@dataclass(frozen=True)
class Memory:
    """How the sequences of a plan lie at some sizes. A kernel is made for it.

    Attributes:
        before: What is done before the loop.
        aliases: Written sequences that are the slots of a state.
        sides: Where other written sequences lie side by side.
    """

    before: Before
    aliases: dict[str, tuple[str, bool]]
    sides: dict[str, Part]

    @classmethod
    def of(cls, plan: Plan, sizes: Sizes, ragged: bool) -> Memory:
        """How they lie, for calls with lengths or without."""
        aliases = {} if ragged else aliases_of(plan)
        others = {
            *plan.recurrence.handed_out, *plan.recurrence.marked, *aliases, *plan.hoisted
        }  # fmt: skip
        sides = side_by_side(plan, sizes, [n for n in plan.written if n not in others])
        return cls(Before(plan, sizes), aliases, sides)

    def widths(self) -> dict[str, int]:
        """How many columns lie side by side, by name."""
        widths: dict[str, int] = {}
        for part in self.sides.values():
            widths[part.of] = max(widths.get(part.of, 0), part.span.stop)
        return widths

    def pitches(self) -> dict[str, int]:
        """Elements from a row to the next, of every sequence that lies in wider rows."""
        widths = self.widths()
        return {**self.before.pitches(), **{n: widths[p.of] for n, p in self.sides.items()}}
