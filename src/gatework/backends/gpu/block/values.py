"""The values of a work at one unit, as statements."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gatework.backends.gpu.block.layout import Layout
from gatework.backends.gpu.code import evaluated
from gatework.compiler.passes import Lowered, Work
from gatework.lang.axes import SCALAR
from gatework.lang.expressions import Expr

At = Callable[[str], str]  # of a size, the unit of a value that is meant


class Values:
    """The statements for one unit after the other of a work.

    Args:
        layout: Where everything lies.
        stage: The stage of the work.
        work: The work.
        sums: How its products are read.
    """

    def __init__(
        self, layout: Layout, stage: Lowered, work: Work, sums: Mapping[Expr, str]
    ) -> None:
        self.layout, self.stage, self.work, self.sums = layout, stage, work, sums
        self.names: dict[Expr, str] = {}

    def numbers(self) -> list[str]:
        """What is the same for all units, read once."""
        return self.read([n for n in self.work.reads if n.size == SCALAR], lambda size: "0")

    def read(self, values: list[Expr], at: At) -> list[str]:
        """Statements that read values of memory."""
        lines = []
        for node in values:
            self.names[node] = f"r{len(self.names)}"
            memory = self.layout.read(self.work.reads[node])
            lines.append(f"const float {self.names[node]} = {memory.read(at(node.size))};")
        return lines

    def read_rest(self, at: At) -> list[str]:
        """Statements that read what has not been read before."""
        return self.read([n for n in self.work.reads if n not in self.names], at)

    def unit(self, results: list[Expr], at: At) -> tuple[list[str], dict[Expr, str]]:
        """Statements that compute values at a unit, and what these are called."""
        lines, names = self.read_rest(at), {**self.names, **self.sums}
        for k, (node, chain) in enumerate(self.stage.chains.items()):
            if chain.sum and chain.sum.products[0] in self.sums:
                more, names = evaluated(
                    chain.others, names, self.layout.setting.sizes, prefix=f"c{k}_"
                )
                terms = [names[chain.sum.products[0]], *(names[v] for v in chain.others)]
                names[node] = f"c{k}"
                lines += [*more, f"const float c{k} = {' + '.join(terms)};"]
        more, names = evaluated(results, names, self.layout.setting.sizes)
        return [*lines, *more], names
