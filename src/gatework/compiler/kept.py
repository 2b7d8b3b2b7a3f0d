"""What a forward pass keeps for the backward pass, and what that computes again."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

from gatework.compiler.recurrence import Recurrence, Replay, adjoint
from gatework.lang.axes import has_axes, is_long
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
    substitute,
    symbol,
)
from gatework.lang.functions import FUNCTIONS, JUMPS


class Kept:
    """Chooses which forward values the backward pass reads back, and which it computes again.

    Read back: the states before and after the step, whatever comes out of a product or a
    reduction before the next non-linear function, that function's result, the rows that products
    read, and what was decided about computed values. Computed again: what arithmetic or one
    function of kept values gives, and rows that are read back in another order; a computed row
    would have to be complete first.

    What is computed again may be rounded otherwise, where machine code adds a product in one step.
    That changes a number in its last bit, but a decision, as that of `v < amax(v)`, to its
    opposite.
    """

    def __init__(self, forward: Recurrence) -> None:
        self.forward = forward
        self.inside = set(postorder(forward.results()))
        self.new = {v: s.name for s, v in zip(forward.states, forward.next_states, strict=True)}
        self.outputs = {v: n for n, v in forward.outputs.items()}
        self.names: dict[Expr, str] = {}  # kept value -> name
        self.operands: set[Expr] = set()  # rows that are read as they were, to the last bit
        self.raw: dict[Expr, bool] = {}
        self.following: dict[Expr, bool] = {}  # with the names that there are now
        self.expressed: dict[Expr, Expr] = {}
        self.numbers = count()  # a spared value's number is not given again

    def sequences(self) -> tuple[Symbol, ...]:
        """Everything the backward step may read, as sequences."""
        kept = [symbol(n, "sequence", v.size) for v, n in self.names.items()]
        return (*self.forward.sequences, *kept)

    def written(self) -> dict[str, Expr]:
        """What the forward step writes for it."""
        return {n: v for v, n in self.names.items()}

    def sequence(self, row: Expr) -> Symbol:
        """A row as a sequence: a product reads it, for its matrix, or it is compared.

        What is compared with its own largest number must be what that was taken from: else no
        unit, or another one, may be the largest.
        """
        self.operands.add(row)
        self.following.clear()
        if isinstance(row, Symbol) and row.role == "sequence":
            return row
        return self._keep(row)

    def rewrite(self, roots: tuple[Expr, ...]) -> tuple[Expr, ...]:
        """The roots with forward values replaced by what is read back."""
        self._rewritten(roots)  # once to see what is needed, once without what can be spared
        for node in [n for n in self.names if self._can_be_spared(n)]:
            del self.names[node]
            self.raw[node] = False
        self.following.clear()
        return self._rewritten(roots)

    def replays(self) -> tuple[Replay, ...]:
        """The long states that need not be kept at every step: what they are made of is, anyway.

        Of these, each of which is marked now, a backward step reads no kept rows: see `replayed`.
        """
        states = zip(self.forward.states, self.forward.next_states, strict=True)
        found = {new: s for s, new in states if self._is_replayable(s, new)}
        kept, done = dict(self.names), dict[Expr, Expr]()
        made = {s: self._made_again(new, found, done) for new, s in found.items()}
        if any(is_long(n.size) and n not in kept and n not in found for n in self.names):
            self.names = kept
            return ()
        return tuple(Replay(s, new, self._keep(s).name) for s, new in made.items())

    def replayed(self, roots: tuple[Expr, ...], replays: tuple[Replay, ...]) -> tuple[Expr, ...]:
        """The roots with replayed states where they read kept ones, which are kept no more."""
        there: dict[Expr, Expr] = {}
        for r in replays:
            new = self.forward.next_states[self.forward.states.index(r.state)]
            there[self._keep(r.state)] = r.state
            if new in self.names:
                there[self._keep(new)] = r.after
                del self.names[new]
        return substitute(roots, there)

    def _is_replayable(self, state: Symbol, new: Expr) -> bool:
        """Whether a state is long, kept, and not read as a whole after the loop."""
        read = {state, new}
        kept = not read.isdisjoint(self.names) and read.isdisjoint(self.operands)
        return kept and is_long(state.size) and isinstance(new, Apply)

    def _made_again(
        self, node: Expr, states: Mapping[Expr, Symbol], done: dict[Expr, Expr]
    ) -> Expr:
        """A new state, or a part of it, from states and from what is read back."""
        if node in done or node in states.values():
            return done.get(node, node)
        if not node.args or (node not in states and self._is_read_back(node)):
            done[node] = self._expressed(node)
        else:
            args = (self._made_again(a, states, done) for a in node.args)
            done[node] = node.rebuilt(tuple(args))
        return done[node]

    def _rewritten(self, roots: tuple[Expr, ...]) -> tuple[Expr, ...]:
        done: dict[Expr, Expr] = {}
        self.expressed.clear()
        for node in postorder(roots, until=self.inside):
            if node in self.inside:
                done[node] = self._expressed(node)
            else:
                done[node] = node.rebuilt(tuple(done[a] for a in node.args))
        return tuple(done[r] for r in roots)

    def _expressed(self, node: Expr) -> Expr:
        """A forward value in terms of what is read back."""
        if node not in self.expressed:
            self.expressed[node] = self._read_or_computed(node)
        return self.expressed[node]

    def _read_or_computed(self, node: Expr) -> Expr:
        if isinstance(node, Const | Count):
            return node
        if isinstance(node, Symbol):
            return self._leaf(node)
        if node in self.new or self._is_read_back(node):
            return self._keep(node)
        if isinstance(node, Arrange):
            return node.rebuilt(tuple(self._expressed(a) for a in node.args))
        assert isinstance(node, Apply)
        if not FUNCTIONS[node.function].cheap and any(self._is_raw(a) for a in node.args):
            return self._keep(node)
        return node.rebuilt(tuple(self._expressed(a) for a in node.args))

    def _is_read_back(self, node: Expr) -> bool:
        """Whether a value that is no new state is kept, or has to be."""
        return node in self.names or self._is_raw(node) or self._decides(node)

    def _is_raw(self, node: Expr) -> bool:
        """Whether a product, a reduction or an arrangement reaches the value by arithmetic alone.

        An arrangement of rows that are read back anyway is arithmetic itself.
        """
        if node not in self.raw:
            computed = isinstance(node, Arrange) and not all(self._is_row(a) for a in node.args)
            self.raw[node] = (
                isinstance(node, Product | Reduce)
                or computed
                or (
                    _is_cheap(node)
                    and node not in self.new
                    and any(self._is_raw(a) for a in node.args if not _is_repeated(a, node))
                )
            )
        return self.raw[node]

    def _decides(self, node: Expr) -> bool:
        """Whether a value tells, of computed ones, on which side of a jump they are."""
        decides = isinstance(node, Apply) and node.function in JUMPS
        return decides and any(a.args and a not in self.new for a in node.args)

    def _is_row(self, node: Expr) -> bool:
        """Whether a value is a complete row before a backward step begins."""
        if isinstance(node, Symbol | Const) or node in self.new:
            return True
        return node in self.names and not self._can_be_spared(node)

    def _can_be_spared(self, node: Expr) -> bool:
        """Whether arithmetic on other kept values gives a kept value."""
        if node in self.new or node in self.operands:
            return False
        return self._follows(node)

    def _follows(self, node: Expr) -> bool:
        """Whether a value can be computed again without a row that is not there."""
        if node not in self.following:
            rows = not isinstance(node, Arrange) or all(self._is_row(a) for a in node.args)
            again = _is_cheap(node) or isinstance(node, Arrange)
            again = again and rows and not self._decides(node)
            self.following[node] = again and all(map(self._is_available, node.args))
        return self.following[node]

    def _is_available(self, node: Expr) -> bool:
        if isinstance(node, Symbol):
            return node.role != "state" or node in self.names
        if node in self.names or isinstance(node, Const | Count):
            return True
        return self._follows(node)

    def _leaf(self, node: Symbol) -> Symbol:
        return self._keep(node) if node.role == "state" else node

    def _keep(self, node: Expr) -> Symbol:
        """The sequence in which a forward value is read back."""
        if node not in self.names:
            self.names[node] = self._name(node)
            self.following.clear()
        return symbol(self.names[node], "sequence", node.size)

    def _name(self, node: Expr) -> str:
        if isinstance(node, Symbol):
            wish = f"{'previous' if node.role == 'state' else 'each'}_{node.name}"
        else:
            wish = self.new.get(node) or self.outputs.get(node) or self.forward.labels.get(node, "")
        if wish in self.forward.outputs:  # which are handed out, and may be changed
            wish = f"kept_{wish}"
        sequences = {s.name for s in self.forward.sequences}
        taken = {*sequences, *self.forward.outputs, *self.names.values()}
        while not wish or wish in taken or wish.startswith(adjoint("")):
            wish = f"kept{next(self.numbers)}"
        return wish


def _is_repeated(argument: Expr, node: Expr) -> bool:
    """Whether an argument lacks axes of the result, which is then dearer to keep than it is."""
    return has_axes(node.size) and argument.size != node.size


def _is_cheap(node: Expr) -> bool:
    return isinstance(node, Apply) and FUNCTIONS[node.function].cheap
