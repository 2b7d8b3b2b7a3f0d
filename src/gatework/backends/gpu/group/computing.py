"""What threads compute at each stage, in C.

Values are called `k.…` where a thread keeps them, `x.…` where they are read at this step, `v.…`
where they are learned, `sum[…]` and `total[…]` where they come from products and partial sums.

Letters: n units of a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gatework.backends.gpu.code import expression
from gatework.backends.gpu.group.asking import Exchange, Phase, is_matrix, is_maximum, is_scaled
from gatework.backends.gpu.group.cell import Cell, argument_of, vector_name
from gatework.compiler.passes import Place, Work
from gatework.lang.axes import SCALAR
from gatework.lang.expressions import Const, Count, Expr, Product, Reduce, Symbol

Names = dict[Expr, str]


class Stages:
    """Writes the lines of a cell's stages."""

    def __init__(self, cell: Cell) -> None:
        self.cell, self.asked = cell, cell.asked

    def leaves(self) -> Names:
        """What is there before a step: states, constants and learned vectors."""
        found: Names = {s: f"k.{self.cell.kept[f'state {s.name}']}" for s in self.cell.states}
        found |= {c: f"k.{self.cell.kept[argument_of(c)]}" for c in self.asked.constants}
        return found | {
            v: f"v.{self.cell.learned[vector_name(v)]}"
            for v in self.asked.vectors
            if isinstance(v, Symbol)
        }

    def before(self) -> list[str]:
        """Lines that give the rows of the first stage's exchange."""
        exchange = self.asked.phases[0].exchange
        return self.handed_on(exchange, self.leaves()) if exchange else []

    def compute(self, k: int) -> list[str]:
        """Lines that compute a stage unit by unit, and give the rows of the next exchange."""
        phase = self.asked.phases[k]
        names, lines = self.known(phase), []
        lines += self.totals(phase, names)
        for work in phase.stage.works:
            lines += self.work(phase, work, names)
        if k + 1 == len(self.asked.phases):
            lines.append("k.advance(active);")
            return [*lines, "before_step(at, v, k, row, value);"]
        exchange = self.asked.phases[k + 1].exchange
        if exchange:
            asked = [*exchange.operands, *(p.args[0] for p in exchange.partials)]
            lines += self.evaluate(phase, asked, names)
            lines += self.handed_on(exchange, names)
        return lines

    def known(self, phase: Phase) -> Names:
        """What a stage knows when it begins."""
        names = self.leaves()
        names |= {s: f"to_float(x.{self.cell.read[argument_of(s)]})" for s in self.asked.sequences}
        own = {v for w in phase.stage.works if w.size == SCALAR for v, _ in w.stores}
        earlier = {v: p for v, p in phase.stage.known.items() if v.args and v not in own}
        kept = {v: self.cell.kept.get(p.argument) for v, p in earlier.items()}
        return names | {v: f"k.{name}" for v, name in kept.items() if name}

    def totals(self, phase: Phase, names: Names) -> list[str]:
        """Lines that keep what was summed over tiles."""
        places, lines = dict(phase.stage.reductions), []
        for number, partial in enumerate(phase.exchange.partials if phase.exchange else ()):
            names[partial] = f"total[{number}]"
            if isinstance(partial, Reduce):
                lines += self.store(f"total[{number}]", places[partial])
        return lines

    def work(self, phase: Phase, work: Work, names: Names) -> list[str]:
        """Lines that compute and store the values of a size."""
        lines = self.evaluate(phase, [v for v, _ in work.stores], names)
        for value, places in work.stores:
            lines += [line for p in places for line in self.store(names[value], p)]
        return lines

    def store(self, value: str, place: Place) -> list[str]:
        """Lines that put a value where it lies."""
        if place.kind == "new":
            return [f"k.{self.cell.kept[f'new {place.argument}']} = {value};"]
        kept, written = self.cell.kept.get(place.argument), self.cell.arguments.get(place.argument)
        lines = [f"k.{kept} = {value};"] if kept else []
        return [*lines, f"w.{written} = to_el({value});"] if place.kind == "step" else lines

    def handed_on(self, exchange: Exchange, names: Names) -> list[str]:
        """Lines that give the rows of an exchange: nothing where a thread has no unit."""
        lines = [
            f"row[{k}] = to_el({self.cell.has(r.size)} ? {names[r]} : 0.f);"
            for k, r in enumerate(exchange.operands)
        ]
        for k, partial in enumerate(exchange.partials):
            row = partial.args[0]
            value, nothing = names[row], "lowest()" if is_maximum(partial) else "0.f"
            if isinstance(partial, Product):
                value = f"v.{self.cell.learned[vector_name(partial.matrix)]} * {value}"
            lines.append(f"value[{k}] = {self.cell.has(row.size)} ? {value} : {nothing};")
        return lines

    def evaluate(self, phase: Phase, values: Iterable[Expr], names: Names) -> list[str]:
        """Lines that compute values, each once."""
        lines: list[str] = []
        for node in self.order(phase, values, names):
            if isinstance(node, Const | Count):
                names[node] = expression(node, names, self.cell.setting.sizes)
                continue
            name = names[node] = f"v{len(names)}"
            lines.append(f"const float {name} = {self.code(phase, node, names)};")
        return lines

    def order(self, phase: Phase, values: Iterable[Expr], names: Names) -> Iterator[Expr]:
        """What has no name yet of what values are computed from, arguments before results."""
        stack, seen = [(v, False) for v in reversed([*values])], set()
        while stack:
            node, ready = stack.pop()
            if ready:
                yield node
            elif node not in names and node not in seen:
                seen.add(node)
                stack.append((node, True))
                stack += [(a, False) for a in reversed(self.terms(phase, node))]

    def terms(self, phase: Phase, node: Expr) -> tuple[Expr, ...]:
        """What a value is computed from, unit by unit."""
        if isinstance(node, Product):
            return node.args if is_scaled(node) else ()
        chain = phase.stage.chains.get(node)
        if chain is None or chain.sum is None:
            return node.args
        return (*(p for p in chain.sum.products if not is_matrix(p)), *chain.others)

    def code(self, phase: Phase, node: Expr, names: Names) -> str:
        """A value as C, of the names of its terms."""
        if isinstance(node, Product):
            if is_scaled(node):
                return f"v.{self.cell.learned[vector_name(node.matrix)]} * {names[node.args[0]]}"
            return self.sum_of(phase, node)
        chain = phase.stage.chains.get(node)
        if chain is None or chain.sum is None:
            return expression(node, names, self.cell.setting.sizes)
        summed = [self.sum_of(phase, p) for p in chain.sum.products if is_matrix(p)][:1]
        return " + ".join([*summed, *(names[t] for t in self.terms(phase, node))])

    def sum_of(self, phase: Phase, product: Product) -> str:
        """The accumulator of a product."""
        sums = sorted(phase.sums, key=lambda s: self.by_size(phase).index(s.products[0].size))
        return f"sum[{next(k for k, s in enumerate(sums) if product in s.products)}]"

    def by_size(self, phase: Phase) -> list[str]:
        """The sizes of a stage's sums, in their order."""
        return [*dict.fromkeys(s.products[0].size for s in phase.sums)]
