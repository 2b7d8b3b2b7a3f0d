"""From equations to what a textbook would draw: nodes, and wires between them.

A learned map with its bias and the function put on it is one box; sums and products of any length
are one circle; constants and learned numbers per unit are written on what they scale or shift.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from gatework.analysis.gates import gates_of, is_learned, squashed_values
from gatework.analysis.memory import memory_of
from gatework.lang.axes import SCALAR, has_axes, slots
from gatework.lang.definition import Cell
from gatework.lang.expressions import (
    Apply,
    Arrange,
    Const,
    Count,
    Expr,
    Product,
    Reduce,
    Symbol,
    postorder,
)
from gatework.lang.printing import axes_of, text
from gatework.lang.words import (
    elu,
    layer_norm,
    leaky_relu,
    logsigmoid,
    mean,
    normalize,
    rms_norm,
    silu,
    softmax,
    square,
)

__all__ = ["Flow", "Node", "Wire", "flow_of"]

WORDS: Mapping[str, Callable[..., Expr]] = {
    "norm": layer_norm,
    "rms norm": rms_norm,
    "unit": normalize,
    "softmax": softmax,
    "silu": silu,
    "log σ": logsigmoid,
    "elu": elu,
    "leaky relu": leaky_relu,
    "mean": mean,
    "square": square,
}
"""Words that are written with other functions, and drawn as one."""
ALONG = ("norm", "rms norm", "unit", "softmax", "mean")
"""Those that may run along some axes."""
SIGNS = {
    "sigmoid": "σ",
    "hardsigmoid": "hard σ",
    "square": "x²",
    "expm1": "eˣ−1",
    "exp": "eˣ",
    "sqrt": "√",
    "sum": "Σ",
}
LONGEST = 12
"""Characters of a learned number's expression that are written out; a longer one is called p."""


@dataclass
class Wire:
    """What a node reads: another node's value, and how it enters: "", "−" or "÷"."""

    source: int
    sign: str = ""
    memory: bool = False
    gate: bool = False


@dataclass
class Node:
    """One thing that is drawn.

    Attributes:
        kind: "state" or "input" (from outside), "next" (a result), "map" (a learned map and
            the functions on it), "function", "sum", "product" or "choice" (of several values).
        label: What is written in it.
        name: The value's name in the cell; "" where it has none.
        wires: What it reads.
        gate: Whether its value is a gate.
        matrix: Of a map, the gate whose weights it has; "" for several.
        equation: It in plain text, for those who point at it or cannot see it.
        axes: Those of a state or result that has several, such as "head × key × value"; else "".
    """

    kind: str
    label: str
    name: str = ""
    wires: list[Wire] = field(default_factory=list)
    gate: bool = False
    matrix: str = ""
    equation: str = ""
    axes: str = ""


@dataclass(frozen=True)
class Flow:
    """The data flow of one step of a cell: nodes by number, each after those it reads."""

    cell: str
    nodes: tuple[Node, ...]


def flow_of(cell: Cell) -> Flow:
    """The data flow of a cell in eval mode.

    Example:
        >>> from gatework import cells
        >>> sorted(n.name for n in flow_of(cells.gru).nodes if n.gate)
        ['r', 'z']
    """
    drawn = cell.deterministic()
    return Flow(cell.name, tuple(_Drawing(drawn).nodes))


class _Drawing:
    """The nodes of a cell, grown from its results."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        reached = list(postorder(cell.results()))
        self.names = {v: n for n, v in cell.observables().items() if v.args}
        self.equations = {**self.names}
        self.uses = Counter(a for node in reached for a in node.args)
        self.uses.update(cell.results())
        self.gates, self.within = gates_of(cell), squashed_values(reached)
        self.memory = memory_of(cell)
        self.words = {v: found for v in reached if (found := self._word(v))}
        self.nodes: list[Node] = []
        self.made: dict[Expr, int] = {}
        self._sources(reached)
        for node in reached:
            if (self.uses[node] > 1 or node in self.names) and not is_learned(node):
                self._visit(node)
        self._sinks()
        self._drop_unread()

    # ---- ends ----------------------------------------------------------------------------------

    def _sources(self, reached: Sequence[Expr]) -> None:
        read = set(reached)
        meanings = {"state": "the state before", "constant": "read once for a whole sequence"}
        for row in (*reversed(self.cell.states), *reversed(self.cell.inputs)):
            if row in read:
                kind = "state" if row.role == "state" else "input"
                default = "the input" if row is self.cell.input else "read at each step"
                equation = f"{row.name}: {meanings.get(row.role, default)}"
                axes = _axes_label(row)
                self._add(row, Node(kind, row.name, row.name, equation=equation, axes=axes))

    def _sinks(self) -> None:
        pairs = list(zip(self.cell.states, self.cell.next_states, strict=True))
        ends = [
            (s.name, f"{s.name}′", v, v is s or self._leads(s, v), self._visit(v)) for s, v in pairs
        ]
        if self.cell.output is not None:
            name, value = self.cell.output_name, self.cell.output
            ends.append((name, name, value, False, self._visit(value)))
        for name, label, value, memory, source in ends:
            shown = text(value, {k: n for k, n in self.equations.items() if k is not value})
            wire = Wire(source, memory=memory)
            node = Node("next", label, name, [wire], equation=f"{label} = {shown}")
            node.axes = _axes_label(value)
            self.nodes.append(node)

    def _drop_unread(self) -> None:
        """Leave out what was made and then drawn as a part of something else."""
        read: set[int] = set()
        for number in reversed(range(len(self.nodes))):
            if self.nodes[number].kind == "next" or number in read:
                read |= {w.source for w in self.nodes[number].wires}
        kept = [k for k, n in enumerate(self.nodes) if n.kind == "next" or k in read]
        places = {old: new for new, old in enumerate(kept)}
        for number in kept:
            node = self.nodes[number]
            node.wires = [replace(w, source=places[w.source]) for w in node.wires]
            if node.label in ("W", "Wᵀ") and node.matrix and not node.name:
                node.label = f"W[{node.matrix}]{node.label[1:]}"
        self.nodes = [self.nodes[k] for k in kept]

    # ---- values --------------------------------------------------------------------------------

    def _add(self, value: Expr, node: Node) -> int:
        node.name = node.name or self.names.get(value, "")
        node.gate = value in self.gates
        if not node.equation:
            others = {k: n for k, n in self.equations.items() if k is not value}
            shown = text(value, others)
            axes = f"  [{along}]" if node.name and (along := _axes_label(value)) else ""
            node.equation = f"{node.name} = {shown}{axes}" if node.name else shown
        self.nodes.append(node)
        self.made[value] = len(self.nodes) - 1
        return self.made[value]

    def _wire(self, value: Expr, reader: Expr, sign: str = "") -> Wire:
        source = self._visit(value)
        return Wire(source, sign, self._carries(value, reader), value in self.within)

    def _leads(self, state: Expr, value: Expr) -> bool:
        """Whether the memory's path leads from a state to a value."""
        reached = [value]
        for node in reached:
            reached += [a for a in node.args if (a, node) in self.memory and a not in reached]
        return state in reached

    def _carries(self, value: Expr, reader: Expr) -> bool:
        """Whether the memory's path goes from a value into the node of a reader."""
        inside = [reader]  # the reader, and what is drawn as part of it
        for node in inside:
            before = [a for a in node.args if (a, node) in self.memory]
            if value in before:
                return True
            inside += [a for a in before if a not in self.made]
        return False

    def _is_inline(self, value: Expr) -> bool:
        """Whether a value is read once and has no name, so that it may be drawn within another."""
        return self.uses[value] == 1 and value not in self.names

    def _visit(self, value: Expr) -> int:
        if value in self.made:
            return self.made[value]
        if is_learned(value):
            return self._add(value, Node("learned", _learned_label(value)))
        if value in self.words:
            word, row = self.words[value]
            return self._function(value, word, row)
        if isinstance(value, Product):
            return self._map(value, [value])
        if isinstance(value, Arrange):
            return self._arranged(value)
        if _is_over_units(value):
            return self._over_units(value)
        if isinstance(value, Reduce):
            sign, axes = SIGNS.get(value.function, value.function), axes_of(value)
            return self._function(value, " ".join([sign, *axes]), value.args[0])
        assert isinstance(value, Apply)
        if value.function in ("add", "sub", "neg"):
            return self._sum(value)
        if value.function in ("mul", "div"):
            return self._product(value)
        computed = [a for a in value.args if not is_learned(a)]
        if len(computed) == 1:
            return self._function(value, _function_label(value), computed[0])
        wires = [self._wire(a, value) for a in value.args]
        label = {"where": "where", "lt": "<", "le": "≤", "minimum": "min", "maximum": "max"}
        return self._add(
            value, Node("choice", label.get(value.function, value.function), wires=wires)
        )

    def _word(self, value: Expr) -> tuple[str, Expr] | None:
        """The word of the language that a value was written with, and what it was put on."""
        if not isinstance(value, Apply) or value.function not in ("where", "div", "mul", "neg"):
            return None
        inner = [v for v in postorder([value]) if not isinstance(v, Const | Count)][:-1]
        for row in inner[-12:]:
            if is_learned(row) or (isinstance(row, Apply) and row.function == "lt"):
                continue
            for name, word in _words_on(row):
                if word(row) is value:
                    return name, row
        return None

    def _function(self, value: Expr, label: str, row: Expr) -> int:
        """A function of one value; on a learned map that nothing else reads, a part of its box."""
        node = self.nodes[self._visit(row)]
        if node.kind == "map" and self._is_inline_map(row, node):
            return self._add(value, Node("map", _composed(label, node.label), wires=node.wires))
        return self._add(value, Node("function", label, wires=[self._wire(row, value)]))

    def _is_inline_map(self, row: Expr, node: Node) -> bool:
        reads = self.uses[row]
        if node.label not in ("W", "Wᵀ", "norm"):
            return False
        return row not in self.names and (reads == 1 or self._read_by_word(row) == reads)

    def _read_by_word(self, row: Expr) -> int:
        """How often a value is read by the inside of a word that is drawn as one."""
        reads = [0]
        for value, (_, inner) in self.words.items():
            if inner is row:
                inside = [v for v in postorder([value], until={row}) if v is not row]
                reads.append(sum(v.args.count(row) for v in inside))
        return max(reads)

    def _over_units(self, value: Expr) -> int:
        """One number from sums over the units: a box that reads all rows that go into it."""
        rows: dict[Expr, None] = {}
        inside = [value]
        for node in inside:
            for a in node.args:
                if a.size == SCALAR or self._is_inline(a):
                    inside.append(a)
                elif not is_learned(a):
                    rows[a] = None
        root = isinstance(value, Apply) and value.function == "sqrt"
        wires = [self._wire(row, value) for row in rows]
        return self._add(value, Node("choice", "√Σ" if root else "Σ", wires=wires))

    def _arranged(self, value: Arrange) -> int:
        """Whole rows with their units in other places: a box with the word."""
        rows, axis = [r for r in value.args if not is_learned(r)], value.axis_name()
        label = f"{value.kind} {axis}" if axis else value.kind
        if len(rows) == 1:
            return self._function(value, label, rows[0])
        return self._add(value, Node("choice", label, wires=[self._wire(r, value) for r in rows]))

    # ---- sums ----------------------------------------------------------------------------------

    def _terms(self, value: Expr, sign: int = 1, top: bool = True) -> list[tuple[int, Expr]]:
        """A sum's terms with their signs, inner sums that nothing else reads laid open."""
        if isinstance(value, Apply) and value not in self.words and (top or self._is_inline(value)):
            if value.function == "add":
                return [t for a in value.args for t in self._terms(a, sign, False)]
            if value.function == "sub":
                return self._terms(value.args[0], sign, False) + self._terms(
                    value.args[1], -sign, False
                )
            if value.function == "neg":
                return self._terms(value.args[0], -sign, False)
        return [(sign, value)]

    def _sum(self, value: Expr) -> int:
        terms = self._terms(value)
        maps = [v for _, v in terms if isinstance(v, Product) and self._is_inline(v)]
        learned = [(s, v) for s, v in terms if is_learned(v)]
        others = [(s, v) for s, v in terms if not is_learned(v) and v not in maps]
        if maps and not others:
            return self._map(value, maps)
        if len(others) == 1 and not maps:
            return self._shifted(value, others[0], learned)
        wires = [self._wire(v, value, "−" if s < 0 else "") for s, v in others]
        if maps:
            wires.append(Wire(self._map(None, maps)))
        label = "".join(_signed(s, v) for s, v in learned if not _is_bias(v))
        return self._add(value, Node("sum", label or "+", wires=wires))

    def _shifted(self, value: Expr, term: tuple[int, Expr], learned: list[tuple[int, Expr]]) -> int:
        """One value plus numbers: 1 - z, or a norm with its learned gain and bias."""
        sign, row = term
        shift = "".join(_signed(s, v) for s, v in learned)
        label = f"{shift.lstrip('+')}−" if sign < 0 else shift
        node = self.nodes[self._visit(row)]
        if _ends_in_norm(node) and self._is_inline(row):
            return self._add(value, Node(node.kind, node.label, wires=node.wires))
        if isinstance(row, Product) and self._is_inline(row):
            return self._map(value, [row])
        return self._add(value, Node("function", label or "−", wires=[self._wire(row, value)]))

    def _map(self, value: Expr | None, products: Sequence[Expr]) -> int:
        """Learned maps with their biases: one box."""
        rows = list(dict.fromkeys(p.args[0] for p in products))
        matrices = {p.matrix.gate for p in products if isinstance(p, Product)}
        matrix = matrices.pop() if len(matrices) == 1 else ""
        label = "Wᵀ" if all(isinstance(p, Product) and p.transposed for p in products) else "W"
        if value is None:
            shown = " + ".join(text(p, self.equations) for p in products)
            wires = [Wire(self._visit(r)) for r in rows]
            self.nodes.append(Node("map", label, "", wires, False, matrix, f"{shown} + bias"))
            return len(self.nodes) - 1
        wires = [Wire(self._visit(r)) for r in rows]
        return self._add(value, Node("map", label, wires=wires, matrix=matrix))

    # ---- products ------------------------------------------------------------------------------

    def _factors(self, value: Expr, power: int = 1, top: bool = True) -> list[tuple[Expr, int]]:
        """A product's factors with their powers, 1 or -1."""
        if isinstance(value, Apply) and value not in self.words and (top or self._is_inline(value)):
            if value.function == "mul":
                return [f for a in value.args for f in self._factors(a, power, False)]
            if value.function == "div":
                return self._factors(value.args[0], power, False) + self._factors(
                    value.args[1], -power, False
                )
        return [(value, power)]

    def _product(self, value: Expr) -> int:
        factors = self._factors(value)
        learned = [(v, p) for v, p in factors if is_learned(v)]
        computed = [(v, p) for v, p in factors if not is_learned(v)]
        label = "".join(("×" if p > 0 else "÷") + _learned_label(v) for v, p in learned)
        if label == "×1":  # a single number spread over the units
            label = ""
        if len(computed) == 1 and computed[0][1] > 0:
            return self._scaled(value, computed[0][0], label)
        wires = [self._wire(v, value, "÷" if p < 0 else "") for v, p in computed]
        return self._add(value, Node("product", label or "×", wires=wires))

    def _scaled(self, value: Expr, row: Expr, label: str) -> int:
        node = self.nodes[self._visit(row)]
        gain = _ends_in_norm(node) and self._is_inline(row)
        if not label or gain:  # a norm's learned gain goes without saying
            if self.names.get(value):
                return self._add(value, Node(node.kind, node.label, wires=node.wires))
            self.made[value] = self._visit(row)
            return self.made[value]
        return self._add(value, Node("function", label, wires=[self._wire(row, value)]))


# ---- labels ------------------------------------------------------------------------------------


def _axes_label(value: Expr) -> str:
    """The axes of a value that has some, as they are multiplied."""
    own = [axis for axis in slots(value.size) if axis != SCALAR]
    return " × ".join(own) if has_axes(value.size) else ""


def _composed(function: str, inner: str) -> str:
    return function if inner == "W" else f"{function}({inner})"


def _is_bias(value: Expr) -> bool:
    """Whether a learned row is the bias of a map or a norm, which goes without saying."""
    return isinstance(value, Symbol) and "bias" in value.name.replace(".", "_").split("_")


def _ends_in_norm(node: Node) -> bool:
    return node.label == "norm" and node.kind in ("map", "function")


def _signed(sign: int, value: Expr) -> str:
    label = _learned_label(value)
    if label.startswith("-"):
        sign, label = -sign, label[1:]
    return ("−" if sign < 0 else "+") + label


def _learned_label(value: Expr) -> str:
    if isinstance(value, Symbol):
        return value.name if len(value.name) <= LONGEST else "p"
    label = text(value).replace("sigmoid", "σ")
    return label if len(label) <= LONGEST else "p"


def _function_label(value: Apply) -> str:
    """A function of one computed value, its other arguments written out."""
    label = SIGNS.get(value.function, value.function)
    if len(value.args) == 1:
        return label
    if value.function == "pow":
        return f"x^{_learned_label(value.args[1])}"
    args = ", ".join(_learned_label(a) if is_learned(a) else "·" for a in value.args)
    infix = {"lt": "<", "le": "≤"}.get(value.function)
    return args.replace(",", f" {infix}") if infix else f"{label}({args})"


def _words_on(row: Expr) -> Iterator[tuple[str, Callable[[Expr], Expr]]]:
    """The words that may have been put on a value, along each of its axes too."""
    yield from WORDS.items()
    axes = [axis for axis in slots(row.size) if axis != SCALAR] if has_axes(row.size) else []
    for axis in axes:
        for name in ALONG:
            yield f"{name} {axis}", partial(WORDS[name], dim=axis)


def _is_over_units(value: Expr) -> bool:
    """Whether a single number is a sum over units, or made of such sums and of single numbers."""
    if value.size != SCALAR:
        return False
    return isinstance(value, Reduce) or any(map(_is_over_units, value.args))
