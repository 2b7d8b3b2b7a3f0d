"""The text of a kernel of the form `group`, for a layout."""

from __future__ import annotations

from collections.abc import Iterable

from gatework.backends.gpu import text as texts
from gatework.backends.gpu.group.asking import Exchange, is_maximum
from gatework.backends.gpu.group.cell import Cell
from gatework.backends.gpu.group.computing import Stages
from gatework.backends.gpu.group.layout import Layout, Sums, Use
from gatework.lang.definition import block_of
from gatework.lang.expressions import Expr

AHEAD = 4  # steps whose rows are brought into the second-level cache


def written(layout: Layout, cell: Cell) -> str:
    """The text."""
    writer = Writer(layout, cell)
    body = [
        writer.constants(),
        texts.arguments({cell.arguments[name]: kind for name, kind in cell.slots().items()}),
        texts.read("group.cu"),
        writer.exchanges(),
        texts.read("group_weights.cu"),
        *map(texts.read, _paths(layout)),
        writer.cell_text(),
        texts.read("group_run.cu"),
    ]
    return texts.assembled("\n".join(body), layout.setting.element, exact=layout.setting.exact)


class Writer:
    """Writes what `text/group*.cu` do not have."""

    def __init__(self, layout: Layout, cell: Cell) -> None:
        self.layout, self.cell, self.asked = layout, cell, layout.asked
        self.number = {k: i for i, k in enumerate(self.asked.exchanges)}
        self.operands: dict[tuple[int, Expr], str] = {}

    def constants(self) -> str:
        """The numbers that the text is made for."""
        layout, setting = self.layout, self.layout.setting
        phases = [p.exchange for p in self.asked.phases if p.exchange]
        numbers = {
            "BLOCKS": layout.configuration.blocks,
            "TILES": layout.tiles,
            "WARPS": layout.configuration.warps,
            "OCTETS": layout.configuration.octets,
            "FRAGMENTS": max(layout.fragments, layout.kept),
            "KEPT": layout.kept,
            "FLIGHT": layout.flight,
            "EXCHANGES": max(1, len(phases)),
            "SUMS": layout.most_sums,
            "BUFFER": layout.buffer_bytes,
            "STEP": layout.step_bytes,
            "HEAD": layout.head,
            "SUMS_AT": layout.sums_at,
            "WEIGHTS_AT": layout.weights_at,
            "AHEAD": AHEAD,
        }
        flags = {
            "TOTALS": any(x.partials for x in phases),
            "RAGGED": setting.ragged,
            "REVERSE": setting.reverse,
            "SEVERAL": layout.several,
            "SCATTERED": layout.configuration.scattered,
        }
        lines = [f"constexpr int {name} = {value};" for name, value in numbers.items()]
        lines += [f"constexpr bool {n} = {'true' if v else 'false'};" for n, v in flags.items()]
        return "\n".join(lines)

    # ---- types ---------------------------------------------------------------------------------

    def exchanges(self) -> str:
        """The sizes, operands and exchanges, and how many bytes of each a block waits for."""
        sizes = self.layout.setting.sizes
        lines = [
            f"using {self.cell.type_of(size)} = Size<{sizes[size]}>;" for size in self.asked.sizes()
        ]
        before = 0
        for k, number in self.number.items():
            exchange = self.asked.phases[k].exchange
            assert exchange is not None
            lines += self.exchange(number, exchange, before)
            before += self.layout.exchanged(k)
        return "\n".join([*lines, self.expected()])

    def exchange(self, number: int, exchange: Exchange, before: int) -> list[str]:
        """One exchange."""
        lines, rows = [], []
        for place, (row, at) in enumerate(self.layout.places(exchange).items()):
            name = self.operands[number, row] = f"Operand{number}_{place}"
            lines.append(f"using {name} = Operand<{self.cell.type_of(row.size)}, {at}>;")
            rows.append(name)
        totals = ", ".join(self.totals(exchange))
        return [
            *lines,
            f"using Exchange{number} = "
            f"Exchange<{number}, {before}, Rows<{', '.join(rows)}>, Totals<{totals}>>;",
        ]

    def totals(self, exchange: Exchange) -> list[str]:
        """The partials of an exchange, by size."""
        found, at, first, partials = [], 0, 0, exchange.partials
        for size in exchange.partial_sizes():
            count = len(exchange.of_size(size))
            maxima = [is_maximum(p) for p in partials[first : first + count]]
            bits = sum(1 << k for k, largest in enumerate(maxima) if largest)
            found.append(f"Partials<{self.cell.type_of(size)}, {at}, {first}, {count}, {bits}u>")
            at += self.layout.packets(exchange, size)
            first += count
        return found

    def expected(self) -> str:
        """How many bytes of an exchange come to a part, or to the totals."""
        cases = [
            f"  if (exchange == {n}) return part < WARPS ? Exchange{n}::expected(part, count) "
            f": Exchange{n}::expected_totals(count);"
            for n in self.number.values()
        ]
        head = "DEVICE u32 expected(int exchange, int part, int count) {"
        return "\n".join([head, *cases, "  return 0;", "}"])

    # ---- the cell ------------------------------------------------------------------------------

    def cell_text(self) -> str:
        """What a thread has and computes of the cell."""
        cell, phases = self.cell, range(len(self.asked.phases))
        ragged = self.layout.setting.ragged
        parts = {
            "VECTORS": _lines(cell.vectors()),
            "LEARN": _lines(cell.learn(), 4),
            "READS": _lines(cell.reads()),
            "LOAD": _lines(cell.load(), 4),
            "FETCH": _lines(cell.fetch(), 4),
            "VALUES": _lines(cell.values()),
            "BEGIN": _lines(cell.begin(), 4),
            "ADVANCE": _lines(cell.advance(), 4),
            "END": _lines(cell.end(), 4),
            "BEFORE": _lines(Stages(cell).before()),
            "STAGES": "\n".join(map(self.stage, phases)),
            "NAMES": ", ".join(f"Stage{k}" for k in phases),
            "FIRST": self.exchange_of(0),
            "HOLD": _lines(self.hold()),
            "ROW": "a.order ? a.order[n] : n" if ragged else "n",
            "LENGTH": "(int)(a.lengths ? a.lengths[row] : a.steps)" if ragged else "(int)a.steps",
        }
        return texts.spliced(texts.read("group_cell.cu"), parts)

    def exchange_of(self, k: int) -> str:
        """The exchange that a phase waits for."""
        return f"Exchange{self.number[k]}" if k in self.number else "Nothing"

    def stage(self, k: int) -> str:
        """A stage."""
        cell, last = self.cell, k + 1 == len(self.asked.phases)
        parts = {
            "STAGE": f"Stage{k}",
            "WAITS": self.exchange_of(k),
            "SENDS": self.exchange_of(0 if last else k + 1),
            "WORKS": self.works(k),
            "NEXT": self.works(0 if last else k + 1),
            "LAST": "true" if last else "false",
            "WRITTEN": _lines(cell.stage_written(k), 4),
            "STORE": _lines(cell.stage_store(k), 6),
            "COMPUTE": _lines(Stages(cell).compute(k), 4),
        }
        return texts.spliced(texts.read("group_stage.cu"), parts)

    def works(self, k: int) -> str:
        """The sums of a stage, as types."""
        return ", ".join(self.sums(k, work) for work in self.layout.sums[k])

    def sums(self, k: int, work: Sums) -> str:
        """Those for one size."""
        uses = [
            f"Use<{self.operand(k, u)}, {u.first}, {', '.join(map(str, u.products))}>"
            for u in work.uses
        ]
        size = self.cell.type_of(work.size)
        return f"Work<{size}, {work.base}, {work.count}, {', '.join(uses)}>"

    def operand(self, k: int, use: Use) -> str:
        """The operand of a use, as a type."""
        return self.operands[self.number[k], use.operand]

    def hold(self) -> Iterable[str]:
        """Lines that take the weights from where they lie."""
        sizes = self.layout.setting.sizes
        for k, works in enumerate(self.layout.sums):
            for work in works:
                for use in work.uses:
                    for slot, product in enumerate(use.products.values()):
                        parameter, block = block_of(product.matrix)
                        pitch = sizes[product.matrix.cols]
                        first = self.cell.first[parameter, block] * pitch
                        argument = self.cell.arguments[f"parameter {parameter}"]
                        transposed = "true" if product.transposed else "false"
                        yield (
                            f"hold<{self.cell.type_of(work.size)}, {self.operand(k, use)}, "
                            f"{use.first}, {slot}, {len(use.products)}, {pitch}, {transposed}>"
                            f"(weights, a.{argument} + {first}, at);"
                        )


def _paths(layout: Layout) -> tuple[str, ...]:
    """The texts of how rows are exchanged and multiplied."""
    if layout.configuration.scattered:
        return ("group_scatter.cu",)
    return "group_gather.cu", "group_grid.cu" if layout.grid else "group_cluster.cu"


def _lines(lines: Iterable[str], indent: int = 2) -> str:
    return ("\n" + " " * indent).join(lines)
