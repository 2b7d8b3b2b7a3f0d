"""A plan as a Scan: what stands before its loop, the loop, what stands after it.

Legend: T steps, B sequences, n units of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from gatework.compiler.plan import Plan
from gatework.export.graphs.graph import Graph, Numbers
from gatework.export.graphs.rows import Learned, Row, Rows
from gatework.lang.expressions import Expr, Symbol, postorder, symbol


class Frame:
    """What all loops of a graph have in common: how many steps there are, of how many sequences.

    Args:
        graph: The graph.
        input: A value [T, B, I].
        lengths: How many steps each sequence has, int64 [B]; None when all have T.
    """

    def __init__(self, graph: Graph, input: str, lengths: str | None = None) -> None:
        self.graph, self.input, self.lengths = graph, input, lengths
        self._made: dict[str, str] = {}

    def _once(self, name: str, write: Callable[[], str]) -> str:
        if name not in self._made:
            self._made[name] = write()
        return self._made[name]

    @property
    def batch(self) -> str:
        """[B]."""
        return self._once("batch", lambda: self.graph.node("Shape", self.input, start=1, end=2))

    def each(self) -> tuple[str, int]:
        """[B, 1], to which a row is expanded, and how many axes lead it then."""
        one = self.graph.integers([1])
        shape = self._once("each", lambda: self.graph.node("Concat", self.batch, one, axis=0))
        return shape, 1

    def at_all_steps(self) -> tuple[str, int]:
        """[T, B, 1], likewise."""

        def write() -> str:
            outer = self.graph.node("Shape", self.input, start=0, end=2)
            return self.graph.node("Concat", outer, self.graph.integers([1]), axis=0)

        return self._once("at all steps", write), 2

    def zeros(self, n: int) -> str:
        """[B, n] zeros."""

        def write() -> str:
            shape = self.graph.node("Concat", self.batch, self.graph.integers([n]), axis=0)
            return self.graph.node("ConstantOfShape", shape)

        return self._once(f"zeros {n}", write)

    @property
    def active(self) -> str | None:
        """Which steps belong to their sequence, [T, B, 1]; None when all do."""
        return None if self.lengths is None else self._once("active", self._active)

    def _active(self) -> str:
        graph, lengths = self.graph, self.lengths or ""
        steps = graph.node("Squeeze", graph.node("Shape", self.input, start=0, end=1))
        counted = (graph.node("Squeeze", graph.integers([k])) for k in (0, 1))
        first, by = counted
        times = graph.node("Range", first, steps, by)
        column = graph.node("Unsqueeze", times, graph.integers([1, 2]))
        rows = graph.node("Unsqueeze", lengths, graph.integers([1]))
        return graph.node("Less", column, rows, name="active")

    def counted(self) -> str:
        """The lengths as ONNX's own nodes read them, int32 [B]; "" when all have T."""
        if self.lengths is None:
            return ""
        lengths = self.lengths
        return self._once("counted", lambda: self.graph.cast(lengths, "INT32"))

    def or_before(self, before: str, after: str) -> str:
        """A state [.., B, n] after the loop; of a sequence without steps that before it.

        ONNX's own nodes give zeros there.
        """
        if self.lengths is None:
            return after
        lengths = self.lengths

        def write() -> str:
            empty = self.graph.node("Equal", lengths, self.graph.integers([0]))
            return self.graph.node("Unsqueeze", empty, self.graph.integers([1]))

        return self.graph.node("Where", self._once("empty", write), before, after)

    def masked(self, sequence: str) -> str:
        """A sequence [T, B, n] with zeros past the end of each."""
        if self.active is None:
            return sequence
        return self.graph.node("Where", self.active, sequence, self.graph.number(0.0))


class Reads(NamedTuple):
    """What a loop reads, by name: sequences [T, B, n], constants [B, n], and its states [B, n]."""

    sequences: Mapping[str, str]
    constants: Mapping[str, str]
    states: Sequence[str]


class Written(NamedTuple):
    """What it gives: the output [T, B, n] and the final states [B, n]."""

    output: str
    states: list[str]


class Loop:
    """A plan on its way into a graph."""

    def __init__(
        self,
        frame: Frame,
        plan: Plan,
        sizes: Mapping[str, int],
        arrays: Mapping[str, Numbers],
        reads: Reads,
        reverse: bool,
    ) -> None:
        self.frame, self.graph, self.plan, self.sizes = frame, frame.graph, plan, sizes
        self.reads, self.reverse = reads, reverse
        step = plan.recurrence
        self.learned = Learned(self.graph, step.parameters, arrays, sizes)
        known: dict[Expr, Row] = {s: Row(reads.sequences[s.name], 2) for s in step.sequences}
        known |= {s: Row(reads.constants[s.name], 1) for s in step.constants}
        self.outside = Rows(self.graph, self.learned, known)

    def write(self) -> Written:
        """Before the loop, the loop, after the loop."""
        plan = self.plan
        self.outside.write(plan.hoisted.values())
        for name, value in plan.hoisted.items():
            self.outside.known[symbol(name, "sequence", value.size)] = self.outside.known[value]
        states, written = self._loop()
        for name, sequence in written.items():
            size = plan.written[name].size
            self.outside.take(symbol(name, "sequence", size), Row(sequence, 2))
        self.outside.write(plan.deferred.values())
        (name,) = plan.recurrence.outputs
        if name in written:  # zero past the ends already
            return Written(written[name], states)
        value = {**plan.written, **plan.deferred}[name]
        whole = self.outside.whole(value, self.frame.at_all_steps)
        return Written(self.frame.masked(whole), states)

    def _loop(self) -> tuple[list[str], dict[str, str]]:
        """The Scan: the final states and the sequences that it writes, by name."""
        plan = self.plan
        names = [s.name for s in plan.recurrence.states]
        scanned = self._scanned()
        written = {n: v for n, v in plan.written.items() if not _is_read(v)}
        whole = [self.outside.flat(self.outside.known[s], s.size).name for s in scanned]
        whole += [self.frame.active] if self.frame.active is not None else []
        body = self._body(scanned, written)
        backwards = int(self.reverse)
        outputs = self.graph.several(
            "Scan",
            [*self.reads.states, *whole],
            [*(f"final_{n}" for n in names), *written],
            body=body,
            num_scan_inputs=len(whole),
            scan_input_directions=[backwards] * len(whole),
            scan_output_directions=[backwards] * len(written),
        )
        return outputs[: len(names)], dict(zip(written, outputs[len(names) :], strict=True))

    def _scanned(self) -> list[Symbol]:
        """The sequences of which a step reads a row; one at least, by which steps are counted."""
        roots = (*self.plan.next_states, *(v for v in self.plan.written.values()))
        found = [n for n in postorder(roots) if _is_read(n) and isinstance(n, Symbol)]
        return found or [self.plan.recurrence.sequences[0]]

    def _body(self, scanned: Sequence[Symbol], written: Mapping[str, Expr]) -> object:
        """One step as a graph of its own."""
        graph, states = self.graph.body(), self.plan.recurrence.states
        symbols = (*states, *scanned)
        names = [graph.name(s.name) for s in symbols]
        inputs = [self._row(graph, n, s) for n, s in zip(names, symbols, strict=True)]
        active = None
        if self.frame.active is not None:
            active = graph.name("now")
            inputs.append(graph.described(active, ["batch", 1], "BOOL"))
        known: dict[Expr, Row] = {s: Row(n, 1) for s, n in zip(symbols, names, strict=True)}
        rows = Rows(graph, self.learned, known, self.outside)
        roots = (*self.plan.next_states, *written.values())
        rows.write(roots)
        values = [rows.whole(v, self.frame.each) for v in roots]
        if active is not None:  # a sequence that is over keeps its states and writes zeros
            before = [*names[: len(states)], *[graph.number(0.0)] * len(written)]
            pairs = zip(values, before, strict=True)
            values = [graph.node("Where", active, v, old) for v, old in pairs]
        wishes = [*(f"new_{s.name}" for s in states), *written]
        found = graph.outputs(values, wishes)
        outputs = [self._row(graph, n, v) for n, v in zip(found, roots, strict=True)]
        return graph.onnx.helper.make_graph(graph.nodes, graph.name("step"), inputs, outputs)

    def _row(self, graph: Graph, name: str, value: Expr) -> object:
        return graph.described(name, ["batch", self.sizes[value.size]])


def _is_read(value: Expr) -> bool:
    """Whether a value is a row of a sequence, which is there before the loop."""
    return isinstance(value, Symbol) and value.role == "sequence"
