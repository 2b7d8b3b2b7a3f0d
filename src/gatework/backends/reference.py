"""The reference backend: torch operations, step by step. It defines what every plan means.

Any dtype, any device, differentiable by torch's autograd itself. Every other backend is tested
against it.

Legend: T steps, B sequences, n units of a row; a row is a tensor [..., n], where it has axes
[..., *axes], 1 for those that it lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from gatework.backends.calls import HALVES, Call, Result, Stepper, given
from gatework.backends.single_steps import SingleSteps
from gatework.compiler.plan import Plan
from gatework.compiler.recurrence import STRETCH
from gatework.lang.axes import SCALAR, has_axes, lacking, places, slots
from gatework.lang.definition import block_of
from gatework.lang.expressions import (
    Apply,
    Arrange,
    Arrangement,
    Const,
    Count,
    Expr,
    Matrix,
    Product,
    Reduce,
    Reduction,
    Symbol,
    postorder,
)
from gatework.lang.functions import ByFunction
from gatework.lang.sizes import units


def _softplus(v: Tensor) -> Tensor:
    return torch.logaddexp(v, torch.zeros_like(v))  # torch's own is linear above 20


def _surrogate(value: Tensor, v: Tensor, slope: Tensor) -> Tensor:
    nothing = torch.where(v.isfinite(), v - v.detach(), 0)  # but for autograd
    return value + slope.detach() * nothing


OPERATIONS: ByFunction[Callable[..., Tensor]] = ByFunction(
    {
        "add": torch.add,
        "sub": torch.sub,
        "mul": torch.mul,
        "div": torch.div,
        "neg": torch.neg,
        "pow": torch.pow,
        "lt": lambda a, b: torch.lt(a, b).to(a.dtype),
        "le": lambda a, b: torch.le(a, b).to(a.dtype),
        "where": lambda c, a, b: torch.where(c != 0, a, b),
        "minimum": torch.minimum,
        "maximum": torch.maximum,
        "clamp_min": torch.clamp_min,
        "clamp_max": torch.clamp_max,
        "stop": torch.detach,
        "surrogate": _surrogate,
        "abs": torch.abs,
        "sign": torch.sign,
        "relu": torch.relu,
        "floor": torch.floor,
        "sqrt": torch.sqrt,
        "exp": torch.exp,
        "expm1": torch.expm1,
        "log": torch.log,
        "log1p": torch.log1p,
        "sin": torch.sin,
        "cos": torch.cos,
        "atan": torch.atan,
        "erf": torch.erf,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "softplus": _softplus,
        "hardsigmoid": lambda v: torch.clamp(v + 3, 0, 6) / 6,  # torch's slope is a float32
    },
    "operation",
    "OPERATIONS of gatework/backends/reference.py",
)


def _padded(v: Tensor, before: int, after: int, dim: int) -> Tensor:
    others = [0, 0] * (-1 - dim)  # from the last axis on; a negative number takes units away
    return torch.nn.functional.pad(v, (*others, before, after))


def _shift(v: Tensor, by: int, dim: int) -> Tensor:
    n = v.shape[dim]
    by = max(-n, min(n, by))
    return _padded(v, by, -by, dim)


def _index(v: Tensor, index: tuple[int, ...]) -> Tensor:
    return torch.tensor(index, device=v.device)


def _index_add(v: Tensor, index: tuple[int, ...], n: int, dim: int) -> Tensor:
    shape = list(v.shape)
    shape[dim] = n
    return v.new_zeros(shape).index_add(dim, _index(v, index), v)


def _renamed(v: Tensor, places: tuple[int, ...]) -> Tensor:
    """The axes of a row in another order, those 1 long that it lacks where the result lacks one."""
    rest = iter({*range(len(places))} - {*places})
    order = (next(rest) if k < 0 else k for k in places)
    before = v.dim() - len(places)
    return v.permute(*range(before), *(before + k for k in order))


# Of a row, its details, the axis counted from the last, the units along it, all sizes.
ARRANGEMENTS: dict[Arrangement, Callable[..., Tensor]] = {
    "roll": lambda v, details, dim, n, sizes: torch.roll(v, details[0], dim),
    "shift": lambda v, details, dim, n, sizes: _shift(v, details[0], dim),
    "flip": lambda v, details, dim, n, sizes: v.flip(dim),
    "cumsum": lambda v, details, dim, n, sizes: (
        v.flip(dim).cumsum(dim).flip(dim) if details[0] else v.cumsum(dim)
    ),
    "take": lambda v, details, dim, n, sizes: v.index_select(dim, _index(v, details[0])),
    "index_add": lambda v, details, dim, n, sizes: _index_add(v, details[0], n, dim),
    "part": lambda v, details, dim, n, sizes: v.narrow(dim, units(details[0], sizes, 0), n),
}
REDUCTIONS: dict[Reduction, Callable[..., Tensor]] = {"sum": torch.sum, "max": torch.amax}


def autocasts(x: Tensor) -> bool:
    """Whether torch.autocast is on for the tensor's kind of device."""
    if not torch._C._is_any_autocast_enabled():
        return False
    device = x.device.type
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def without_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """Inside, operations on a tensor's kind of device keep the dtypes that they are given."""
    return torch.autocast(x.device.type, enabled=False) if autocasts(x) else nullcontext()


def contracted(left: Tensor, right: Tensor, heads: int) -> Tensor:
    """Σ over rows of left [..., N, rows] ⊗ right [..., N, cols], where both have the same head."""
    if heads == 1:
        return left.mT @ right
    each = (_by_head(v, -1, heads) for v in (left, right))
    return torch.einsum("...nhr,...nhc->...hrc", *each).flatten(-3, -2)


def _by_head(v: Tensor, axis: int, heads: int) -> Tensor:
    """The units of an axis as those of each head, in one more axis."""
    whole: Tensor = v.unflatten(axis, (heads, -1))  # type: ignore[no-untyped-call]
    return whole


def _rounded(rows: Sequence[Tensor | None], dtype: torch.dtype) -> list[Tensor | None]:
    return [None if r is None else r.to(dtype) for r in rows]


class Reference:
    """The specification of every plan. See `gatework.backends.calls.Backend`."""

    name = "reference"
    recorded = False
    compiles = False

    def refusal(self, plan: Plan, call: Call) -> str | None:
        """Nothing is refused."""
        return None

    def run(self, plan: Plan, call: Call) -> Result:
        """Run a plan with torch operations, in the dtype of its tensors under autocast too.

        What is read and written may be float16 or bfloat16; all between is float32 then.
        """
        dtype = call.like.dtype
        with without_autocast(call.like):
            if dtype not in HALVES:
                return Run(plan, call).result()
            wide = [None if t is None else t.float() for t in call.tensors]
            found = Run(plan, call._replace(tensors=wide)).result()
        return Result(
            _rounded(found.outputs, dtype),
            tuple(s.to(dtype) for s in found.states),
            _rounded(found.gradients, dtype),
        )

    def stepper(self, plan: Plan, call: Call) -> Stepper:
        """A call of one step at each step."""
        return SingleSteps(self, plan, call)

    def takes_halves(self, device: str) -> bool:
        """It would round the states at each step."""
        return False

    def about(self, plan: Plan, call: Call) -> str:
        """There is one way."""
        return ""


class Run:
    """One run of a plan: the sequences known so far, by name."""

    def __init__(self, plan: Plan, call: Call) -> None:
        self.plan, self.call, self.recurrence = plan, call, plan.recurrence
        self.given = given(plan, call)
        self.active = call.active()
        self.spans = {p.name: p.spans(call.sizes) for p in plan.recurrence.parameters}
        marked = plan.recurrence.marked
        self.sequences = {
            n: s if n in marked else self.masked(s) for n, s in self.given.sequences.items()
        }
        self.fixed: dict[Expr, Tensor] = {
            s: self.shaped(self.given.constants[s.name], s.size) for s in plan.recurrence.constants
        }
        self.like = call.like

    def result(self) -> Result:
        """Before the loop, the loop, after the loop."""
        self.sequences.update(self.over_all_steps(self.plan.hoisted))
        self.replayed = self.replay() if self.plan.replays else {}
        written, states = self.loop()
        self.sequences.update(written)
        deferred = {n: v for n, v in self.plan.deferred.items() if n not in self.call.skip}
        late = {n: self.masked(s) for n, s in self.over_all_steps(deferred).items()}
        self.sequences.update(late)
        outputs, gradients = {**written, **late}, self.gradients()
        return Result(
            [outputs.get(name) for name in self.recurrence.outputs],
            tuple(s.clone() for s in states),  # one may be the input of the last step itself
            [gradients.get(p.name) for p in self.recurrence.parameters],
        )

    def loop(self) -> tuple[dict[str, Tensor], tuple[Tensor, ...]]:
        """Every step in order: the written sequences and the final states."""
        states, marked = self.given.states, self.recurrence.marked
        rows: dict[str, list[Tensor]] = {name: [] for name in self.plan.written}
        for k, t in enumerate(self.call.steps()):
            if k % STRETCH == 0:
                for name, row in self.marks(states).items():
                    rows[name].append(row)
            states, new_rows = self.step(t, states)
            for name, row in zip(rows, new_rows, strict=True):
                if name not in marked:
                    rows[name].append(row)
        found = {n: self.stacked(v, rows[n], n in marked) for n, v in self.plan.written.items()}
        return found, states

    def marks(self, states: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """The states that are marked before a step."""
        rows: dict[Expr, Tensor] = dict(zip(self.recurrence.states, states, strict=True))
        marked = self.recurrence.marked
        return {n: rows[v] for n, v in self.plan.written.items() if n in marked}

    def replay(self) -> dict[int, dict[Expr, Tensor]]:
        """The replayed states before and after every step, which the forward pass ran in order."""
        found: dict[int, dict[Expr, Tensor]] = {}
        states: tuple[Tensor, ...] = ()
        for k, t in enumerate(reversed(self.call.steps())):
            if k % STRETCH == 0:
                states = tuple(self.sequences[r.marks][k // STRETCH] for r in self.plan.replays)
            new = self.replayed_step(t, states)
            pairs = zip(self.plan.replays, states, new, strict=True)
            rows = [row for r, old, later in pairs for row in ((r.state, old), (r.after, later))]
            found[t] = {s: self.shaped(row, s.size) for s, row in rows}
            states = new
        return found

    def replayed_step(self, t: int, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The replayed states after a step; a sequence without that step keeps its own."""
        known, replays = dict(self.fixed), self.plan.replays
        pairs = zip(replays, states, strict=True)
        known.update({r.state: self.shaped(row, r.state.size) for r, row in pairs})
        for node in postorder(r.new for r in replays):
            if node not in known:
                known[node] = self.evaluate(node, known, t)
        new = tuple(self.row(r.new, known, t) for r in replays)
        if self.active is None:
            return new
        here = self.active[t]
        return tuple(torch.where(here, n, s) for n, s in zip(new, states, strict=True))

    def step(
        self, t: int, states: tuple[Tensor, ...]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """One step: the new states and the rows to write."""
        known = dict(self.fixed)
        pairs = zip(self.recurrence.states, states, strict=True)
        known.update({s: self.shaped(row, s.size) for s, row in pairs})
        known.update(self.replayed.get(t, {}))
        for node in (n for stage in self.plan.stages for n in stage.nodes()):
            known[node] = self.evaluate(node, known, t)
        new = tuple(self.row(v, known, t) for v in self.plan.next_states)
        rows = tuple(self.row(v, known, t) for v in self.plan.written.values())
        if self.active is not None:  # a sequence that is over keeps its states and writes zeros
            here = self.active[t]
            new = tuple(torch.where(here, n, s) for n, s in zip(new, states, strict=True))
            rows = tuple(torch.where(here, r, torch.zeros_like(r)) for r in rows)
        return new, rows

    def row(self, value: Expr, known: Mapping[Expr, Tensor], t: int) -> Tensor:
        """A value as a full row [B, n]."""
        return self.whole(self.known(value, known, t), value.size, self.call.shape[1:])

    def stacked(self, value: Expr, column: list[Tensor], as_run: bool) -> Tensor:
        """The rows of all steps as one sequence [T, B, n], in the order of time or as they ran."""
        if not column:
            return self.like.new_zeros((*self.call.shape, self.call.sizes[value.size]))
        return torch.stack(column[::-1] if self.call.reverse and not as_run else column)

    def masked(self, sequence: Tensor) -> Tensor:
        """The sequence with zeros where a sequence is over, whatever stood there."""
        if self.active is None:
            return sequence
        return torch.where(self.active, sequence, torch.zeros_like(sequence))

    def over_all_steps(
        self, values: Mapping[str, Expr], found: Mapping[Expr, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Values that read no state, for all steps at once, [T, B, n]; some are found already."""
        known = {**self.fixed, **(found or {})}  # what is fixed, [B, n], is the same at every step
        for node in postorder(values.values(), until=known):
            if node not in known:
                known[node] = self.evaluate(node, known, None)
        return {
            name: self.whole(known[value], value.size, self.call.shape)
            for name, value in values.items()
        }

    # ---- rows with axes ------------------------------------------------------------------------

    def shaped(self, row: Tensor, size: str) -> Tensor:
        """A row [..., n] with an index for each axis of its size."""
        return row.reshape(*row.shape[:-1], *self.axes(size)) if has_axes(size) else row

    def whole(self, value: Tensor, size: str, rows: Sequence[int]) -> Tensor:
        """A value as full rows [*rows, n]."""
        if not has_axes(size):
            return value.expand(*rows, self.call.sizes[size])
        return value.expand(*rows, *self.axes(size)).flatten(-len(slots(size)))

    def axes(self, size: str) -> list[int]:
        """How long each axis of a size is."""
        return [self.call.sizes[axis] for axis in slots(size)]

    # ---- one value -----------------------------------------------------------------------------

    def known(self, node: Expr, known: Mapping[Expr, Tensor], t: int | None) -> Tensor:
        """A value that was computed, or a leaf."""
        return known[node] if node in known else self.evaluate(node, known, t)

    def evaluate(self, node: Expr, known: Mapping[Expr, Tensor], t: int | None) -> Tensor:
        """A value from its arguments; at step t, or at all steps when t is None."""
        if isinstance(node, Symbol):
            if node.role == "parameter":
                return self.shaped(self.block(node), node.size)
            sequence = self.sequences[node.name]
            return self.shaped(sequence if t is None else sequence[t], node.size)
        if isinstance(node, Const):
            return self.like.new_full(self.axes(node.size), node.value)
        if isinstance(node, Count):
            return self.like.new_full((1,), self.call.sizes[node.of])
        if isinstance(node, Apply) and node.function == "pow":
            base, exponent = node.args
            assert isinstance(exponent, Const)  # a number, which torch treats by cases
            return torch.pow(self.known(base, known, t), exponent.value)
        args = [self.known(a, known, t) for a in node.args]
        if isinstance(node, Product):
            return self.mapped(node, args[0])
        if isinstance(node, Reduce):
            return self.reduced(node, args[0])
        if isinstance(node, Arrange):
            return self.arranged(node, args)
        assert isinstance(node, Apply)
        if has_axes(node.size):  # a single number [..., 1] stands beside axes
            more = [None] * (len(slots(node.size)) - 1)
            pairs = zip(args, node.args, strict=True)
            args = [a[(..., *more)] if n.size == SCALAR else a for a, n in pairs]
        return OPERATIONS[node.function](*args)

    def mapped(self, node: Product, row: Tensor) -> Tensor:
        """A matrix times a row, or one for each index of an axis times what this has of it."""
        (argument,), weight, matrix = node.args, self.block(node.matrix), node.matrix
        flat = row.flatten(-len(slots(argument.size))) if has_axes(argument.size) else row
        if matrix.per is None:
            return self.shaped(flat @ (weight if node.transposed else weight.T), node.size)
        heads = matrix.heads(self.call.sizes)
        each, of_each = _by_head(flat, -1, heads), _by_head(weight, 0, heads)
        equation = "...hr,hrc->...hc" if node.transposed else "...hc,hrc->...hr"
        return self.shaped(torch.einsum(equation, each, of_each).flatten(-2), node.size)

    def reduced(self, node: Reduce, row: Tensor) -> Tensor:
        """The sum or maximum of a row along the axes that the result lacks."""
        axes = slots(lacking(node.args[0].size, node.size))
        along = [k - len(axes) for k, axis in enumerate(axes) if axis != SCALAR]
        value = REDUCTIONS[node.function](row, along, keepdim=True)
        return value if has_axes(node.size) else value.flatten(-len(axes))

    def arranged(self, node: Arrange, rows: list[Tensor]) -> Tensor:
        """Whole rows with their units in other places along an axis."""
        if node.kind == "rename":
            return _renamed(rows[0], node.details[0])
        count, sizes = places([node.size, *(a.size for a in node.args)]), self.call.sizes
        dim, n = node.axis - count, units(node.length(), self.call.sizes)
        more = [None] * (count - 1)  # beside a single number [..., 1]
        rows = [
            r[(..., *more)] if a.size == SCALAR else r for r, a in zip(rows, node.args, strict=True)
        ]
        if node.kind == "cat":
            value = self.side_by_side(node, rows, dim, n)
        else:
            value = ARRANGEMENTS[node.kind](rows[0], node.details, dim, n, sizes)
        return value.flatten(-count) if node.size == SCALAR else value

    def side_by_side(self, node: Arrange, rows: list[Tensor], dim: int, n: int) -> Tensor:
        """Rows beside each other along an axis, zeros where no row is."""
        total = self.like.new_zeros(())
        for row, start in zip(rows, node.details, strict=True):
            before = units(start, self.call.sizes, 0)
            total = total + _padded(row, before, n - before - row.shape[dim], dim)
        return total

    def block(self, node: Symbol | Matrix) -> Tensor:
        """One gate's rows of a stacked parameter."""
        parameter, block = block_of(node)
        return self.given.parameters[parameter][self.spans[parameter][block]]

    # ---- after the loop ------------------------------------------------------------------------

    def gradients(self) -> dict[str, Tensor]:
        """The gradients of the learned tensors, from whole sequences."""
        blocks: dict[str, dict[str, Tensor]] = {}
        for c in self.recurrence.contractions:
            name, block = block_of(c.matrix)
            if name not in self.call.skip:
                left, right = (self.sequences[s].flatten(0, 1) for s in (c.left, c.right))
                parts = blocks.setdefault(name, {})
                part = contracted(left, right, c.matrix.heads(self.call.sizes))
                parts[block] = parts.get(block, 0) + part
        for s in self.recurrence.summations:
            name, block = block_of(s.parameter)
            if name not in self.call.skip:
                blocks.setdefault(name, {})[block] = self.sequences[s.sequence].sum((0, 1))
        return {name: self.assembled(name, parts) for name, parts in blocks.items()}

    def assembled(self, name: str, parts: Mapping[str, Tensor]) -> Tensor:
        """The gradient of a stacked parameter; zero for blocks that nothing depends on."""
        parameter = self.given.parameters[name]
        spans = self.spans[name].items()
        return torch.cat(
            [parts[b] if b in parts else torch.zeros_like(parameter[span]) for b, span in spans]
        )
