"""What many steps make of linear states, in C: the spliced lines of `text/scan_chunks.cu`."""

from __future__ import annotations

from gatework.backends.gpu.code import evaluated
from gatework.backends.gpu.scan.cell import Cell, Names
from gatework.compiler.linear import Linear
from gatework.lang.expressions import Symbol


class Maps:
    """Writes how linear states depend on what they were many steps before."""

    def __init__(self, cell: Cell, linear: Linear) -> None:
        self.cell, self.linear = cell, linear
        order = {s: k for k, s in enumerate(linear.states)}
        self.reach = sorted(linear.reach(), key=lambda p: (order[p[0]], order[p[1]]))
        self.member = dict(zip(linear.states, cell.members_of(linear.states), strict=True))
        self.factor = {(a, b): f"f{order[a]}{order[b]}" for a, b in self.reach}

    def factors(self) -> list[str]:
        """The factors of a map; of no steps, it changes nothing."""
        return [f"float {self.factor[a, b]} = {float(a is b)}f;" for a, b in self.reach]

    def follow(self) -> list[str]:
        """Lines that multiply a map by the factors of one more step, from the left."""
        cell, factors = self.cell, self.linear.factors
        lines, names = evaluated(factors.values(), cell.names(), cell.setting.sizes)
        lines += [
            f"const float new{self.factor[a, b]} = {self.product(names, a, b)};"
            for a, b in self.reach
        ]
        return [*lines, *(f"{f} = new{f};" for f in self.factor.values())]

    def product(self, names: Names, new: Symbol, old: Symbol) -> str:
        """One factor of the product of a step and the map before it."""
        terms = [
            f"{names[value]} * {self.factor[between, old]}"
            for (a, between), value in self.linear.factors.items()
            if a is new and (between, old) in self.factor
        ]
        return " + ".join(terms) or "0.f"

    def clear(self) -> list[str]:
        """Lines that set the linear states to zero."""
        return [f"s.{name} = 0.f;" for name in self.member.values()]

    def pass_through(self) -> list[str]:
        """Lines that make the linear states after a chunk of those before it."""
        lines = {}
        for s in self.linear.states:
            terms = [
                f"times(c.map.{self.factor[s, b]}, s.{self.member[b]})"
                for a, b in self.reach
                if a is s
            ]
            lines[s] = " + ".join([*terms, f"c.made.{self.member[s]}"])
        return list(self.cell.put(lines, "s."))
