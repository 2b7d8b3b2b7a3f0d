"""The torch backend: torch's own kernels, for the equations that torch has kernels for.

These equations are torch's, so they are written here, as torch documents them: a cell of anybody's
that says something else, be it in a single sign, is none that these kernels may run. It is how the
cells that torch has run on CUDA, where the kernels are cuDNN's; chosen by hand, it runs on the CPU
as well, which is how it is tested.

Legend: T steps, B sequences, n units of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from gatework.backends.calls import HALVES, Call, Given, Result, Stepper, given
from gatework.backends.reference import Reference, without_autocast
from gatework.compiler.plan import Plan
from gatework.lang import cell, linear, relu, sigmoid, tanh
from gatework.lang.definition import Cell, Parameter
from gatework.lang.expressions import Expr

Kernel = Callable[..., Any]
"""`torch.lstm` and its like: whole sequences, or packed ones, and weights in torch's order."""

_Equations = tuple[tuple[Expr, ...], tuple[tuple[Any, ...], ...]]


@cell
def _rnn_tanh(x, h):  # type: ignore[no-untyped-def]
    return tanh(linear("h", x, h))


@cell
def _rnn_relu(x, h):  # type: ignore[no-untyped-def]
    return relu(linear("h", x, h))


@cell
def _lstm(x, h, c):  # type: ignore[no-untyped-def]
    i, f = sigmoid(linear("i", x, h)), sigmoid(linear("f", x, h))
    g, o = tanh(linear("g", x, h)), sigmoid(linear("o", x, h))
    c = f * c + i * g
    return o * tanh(c), c


@cell(sizes={"h": "proj_size"})
def _projected_lstm(x, h, c):  # type: ignore[no-untyped-def]
    i, f = sigmoid(linear("i", x, h)), sigmoid(linear("f", x, h))
    g, o = tanh(linear("g", x, h)), sigmoid(linear("o", x, h))
    c = f * c + i * g
    return linear("r", o * tanh(c), bias=False, size="proj_size", group="hr"), c


@cell
def _gru(x, h):  # type: ignore[no-untyped-def]
    r, z = sigmoid(linear("r", x, h)), sigmoid(linear("z", x, h))
    n = tanh(linear("n", x) + r * linear("n", h))
    return (1 - z) * n + z * h


COMPUTED: tuple[tuple[Cell, Kernel], ...] = (
    (_rnn_tanh, torch.rnn_tanh),
    (_rnn_relu, torch.rnn_relu),
    (_lstm, torch.lstm),
    (_projected_lstm, torch.lstm),
    (_gru, torch.gru),
)
"""What torch's kernels compute, with biases and without."""


def _equations(next_states: Sequence[Expr], parameters: Sequence[Parameter]) -> _Equations:
    return tuple(next_states), tuple((p.name, p.blocks, p.rows, p.cols) for p in parameters)


@cache
def _kernels() -> dict[_Equations, Kernel]:
    variants = [(v, k) for c, k in COMPUTED for v in (c, c.without_bias())]
    return {_equations(v.next_states, v.parameters): k for v, k in variants}


def kernel_of(plan: Plan) -> Kernel | None:
    """Torch's kernel for a plan's equations, if it has one."""
    recurrence = plan.recurrence
    return _kernels().get(_equations(recurrence.next_states, recurrence.parameters))


class TorchKernels:
    """Runs forward plans by torch's kernels, and leaves gradients to torch's autograd."""

    name = "torch"
    recorded = True
    compiles = False

    def refusal(self, plan: Plan, call: Call) -> str | None:
        """Why a call cannot run here, or None when it can."""
        if kernel_of(plan) is None:
            return "torch has kernels for the equations of its RNN, LSTM and GRU only"
        if len(call.tensors) != 1 + len(plan.recurrence.states) + len(plan.recurrence.parameters):
            return "torch's kernels read one input"
        if list(plan.recurrence.outputs.values()) != [plan.recurrence.next_states[0]]:
            return "torch's kernels give the output alone, no gates"
        if call.like.dtype in HALVES:
            return "torch's kernels round states of float16 and bfloat16 at each step"
        if not call.shape[1]:
            return "torch's kernels need at least one sequence"
        return None

    def run(self, plan: Plan, call: Call) -> Result:
        """Run a plan on tensors, in their dtype under autocast too."""
        with without_autocast(call.like):
            return self._run(plan, call)

    def _run(self, plan: Plan, call: Call) -> Result:
        kernel = kernel_of(plan)
        assert kernel is not None
        rows = given(plan, call)
        (x,) = rows.sequences.values()
        active = call.active()
        if active is not None:
            x = torch.where(active, x, 0)
        run = _whole if active is None else _packed
        y, states = run(kernel, _in_order(x, call), rows, call)
        y = _in_order(y, call)
        output = y if active is None else torch.where(active, y, 0)
        return Result([output], states, [None] * len(rows.parameters))

    def stepper(self, plan: Plan, call: Call) -> Stepper:
        """Single steps are the reference's."""
        return Reference().stepper(plan, call)

    def takes_halves(self, device: str) -> bool:
        """Torch's kernels round the states at each step."""
        return False

    def about(self, plan: Plan, call: Call) -> str:
        """There is one way."""
        return ""


def _in_order(sequence: Tensor, call: Call) -> Tensor:
    """The steps [T, B, n] in the order in which they are run, or back in the order of time."""
    if not call.reverse:
        return sequence
    if call.lengths is None:
        return sequence.flip(0)
    times = torch.arange(call.shape[0], device=sequence.device)[:, None]
    turned = torch.where(times < call.lengths, call.lengths - 1 - times, times)  # [T, B]
    return sequence.gather(0, turned[:, :, None].expand_as(sequence))


def _whole(kernel: Kernel, x: Tensor, rows: Given, call: Call) -> tuple[Tensor, tuple[Tensor, ...]]:
    """All sequences have T steps."""
    y, *final = kernel(x, _initial(rows.states), *_options(rows), False)
    return y, tuple(s[0] for s in final)


def _packed(
    kernel: Kernel, x: Tensor, rows: Given, call: Call
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Each sequence has its own length; one without steps is run for one and then left out."""
    assert call.lengths is not None
    steps = call.lengths.clamp(min=1).cpu()
    packed = pack_padded_sequence(x, steps, enforce_sorted=False)
    longest_first, back = packed.sorted_indices, packed.unsorted_indices
    states = tuple(s[longest_first] for s in rows.states)
    y, *final = kernel(packed.data, packed.batch_sizes, _initial(states), *_options(rows))
    y, _ = pad_packed_sequence(
        PackedSequence(y, packed.batch_sizes, longest_first, back), total_length=call.shape[0]
    )
    empty = (call.lengths == 0)[:, None]
    pairs = zip(rows.states, final, strict=True)
    return y, tuple(torch.where(empty, s, f[0][back]) for s, f in pairs)


def _initial(states: Sequence[Tensor]) -> Tensor | tuple[Tensor, ...]:
    rows = tuple(s[None] for s in states)  # [1, B, n]
    return rows if len(rows) > 1 else rows[0]


def _options(rows: Given) -> tuple[Any, ...]:
    """The weights; whether there are biases; one layer; no dropout; training; one direction."""
    weights = list(rows.parameters.values())
    biases = any(w.dim() == 1 for w in weights)
    # "Training" lets cuDNN keep what its backward pass reads. A trace may be run with gradients.
    training = torch.is_grad_enabled() or torch._C._is_tracing()
    return weights, biases, 1, 0.0, training, False
