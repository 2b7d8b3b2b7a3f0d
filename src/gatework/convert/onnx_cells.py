"""What an LSTM, GRU or RNN node of ONNX computes, as a cell.

ONNX lets a node choose its functions, clip what they take, couple two gates and look at the memory
cell (operators LSTM, GRU and RNN of opset 7 and later).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gatework.cells import gru, gru_reset_before, lstm, peephole_lstm, rnn, rnn_relu
from gatework.lang import (
    cell,
    clamp,
    elu,
    exp,
    leaky_relu,
    linear,
    log,
    relu,
    sigmoid,
    softsign,
    tanh,
    vector,
    where,
)
from gatework.lang.definition import Cell
from gatework.lang.expressions import Expr

__all__ = ["ORDERS", "USUAL", "Chosen", "Computation"]

ORDERS = {"LSTM": "iofc", "GRU": "zrh", "RNN": "h"}
"""How the gates follow one another in the weights of each node."""
USUAL = {
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
    "GRU": ("Sigmoid", "Tanh"),
    "RNN": ("Tanh",),
}
"""The functions of each node where it names none."""


def _softplus(v: Expr) -> Expr:
    return log(1 + exp(-abs(v))) + relu(v)  # no exp of a large number


FUNCTIONS: Mapping[str, tuple[Callable[..., Expr], tuple[float | None, ...]]] = {
    "relu": (relu, ()),
    "tanh": (tanh, ()),
    "sigmoid": (sigmoid, ()),
    "softsign": (softsign, ()),
    "softplus": (_softplus, ()),
    "affine": (lambda v, a, b: a * v + b, (None, None)),
    "leakyrelu": (leaky_relu, (0.01,)),
    "thresholdedrelu": (lambda v, a: where(v >= a, v, 0.0), (1.0,)),
    "scaledtanh": (lambda v, a, b: a * tanh(b * v), (None, None)),
    "hardsigmoid": (lambda v, a, b: clamp(a * v + b, 0, 1), (0.2, 0.5)),
    "elu": (elu, (1.0,)),
}
"""By the name in small letters: a function of a value, alpha and beta, and what these are unless a
node says; None where ONNX does not say it either."""


@dataclass(frozen=True)
class Chosen:
    """A function that a node names, with its numbers."""

    name: str
    numbers: tuple[float, ...]

    @classmethod
    def of(cls, name: str, alphas: list[float], betas: list[float]) -> Chosen:
        """Return a function, and take its numbers from the front of the node's.

        Raises:
            ValueError: there is none of that name, or it has no number and ONNX says none.
        """
        if name.lower() not in FUNCTIONS:
            raise ValueError(f"the function {name!r}, which ONNX does not have")
        _, usual = FUNCTIONS[name.lower()]
        pairs = zip((alphas, betas), usual, strict=False)
        given = [numbers.pop(0) if numbers else own for numbers, own in pairs]
        if None in given:
            raise ValueError(f"the function {name!r} without its activation_alpha or _beta")
        return cls(name.lower(), tuple(n for n in given if n is not None))

    def __call__(self, v: Expr) -> Expr:
        """Return the function of a value."""
        make, _ = FUNCTIONS[self.name]
        return make(v, *self.numbers)


def _within(function: Chosen, limit: float, v: Expr) -> Expr:
    return function(clamp(v, -limit, limit))


@dataclass(frozen=True)
class Computation:
    """What a node computes.

    Attributes:
        kind: "LSTM", "GRU" or "RNN".
        functions: those that it names, or the usual ones.
        clip: what they take lies between this and its negative; None without bounds.
        coupled: whether what the input gate lets in, the forget gate lets go.
        peepholes: whether gates see the memory cell.
        reset_after: whether the reset gate stands after the product.
    """

    kind: str
    functions: Sequence[Chosen]
    clip: float | None = None
    coupled: bool = False
    peepholes: bool = False
    reset_after: bool = False

    @property
    def gates(self) -> str:
        """The gates that have weights, as ONNX orders them."""
        return ORDERS[self.kind].replace("f", "") if self.coupled else ORDERS[self.kind]

    def cell(self) -> Cell:
        """Return the catalogue's cell where that is it, else one of its own."""
        if self.clip is None and not self.coupled and (known := self._known()):
            return known
        return {"LSTM": self._lstm, "GRU": self._gru, "RNN": self._rnn}[self.kind]()

    def _known(self) -> Cell | None:
        names = tuple(function.name for function in self.functions)
        if self.kind == "RNN":
            return {"tanh": rnn, "relu": rnn_relu}.get(names[0])
        if names != tuple(name.lower() for name in USUAL[self.kind]):
            return None
        if self.kind == "LSTM":
            return peephole_lstm if self.peepholes else lstm
        return gru if self.reset_after else gru_reset_before

    def _clipped(self) -> list[Callable[[Expr], Expr]]:
        """The functions, of what is clipped."""
        limit = self.clip
        return [f if limit is None else partial(_within, f, limit) for f in self.functions]

    def _lstm(self) -> Cell:
        (f_gate, f_new), f_out = self._clipped()[:2], self.functions[2]

        def peephole(gate: str, c: Any) -> Any:
            return vector(f"peephole_{gate}") * c if self.peepholes else 0.0

        @cell
        def onnx_lstm(x, h, c):  # type: ignore[no-untyped-def]
            """An LSTM node of ONNX."""
            i = f_gate(linear("i", x, h) + peephole("i", c))
            f = 1 - i if self.coupled else f_gate(linear("f", x, h) + peephole("f", c))
            g = f_new(linear("g", x, h))
            c = f * c + i * g
            o = f_gate(linear("o", x, h) + peephole("o", c))
            return o * f_out(c), c

        return onnx_lstm

    def _gru(self) -> Cell:
        f_gate, f_new = self._clipped()

        @cell
        def onnx_gru(x, h):  # type: ignore[no-untyped-def]
            """A GRU node of ONNX."""
            r = f_gate(linear("r", x, h))
            z = f_gate(linear("z", x, h))
            if self.reset_after:
                n = f_new(linear("n", x) + r * linear("n", h))
            else:
                n = f_new(linear("n", x, r * h, group="rh"))
            return (1 - z) * n + z * h

        return onnx_gru

    def _rnn(self) -> Cell:
        (f_new,) = self._clipped()

        @cell
        def onnx_rnn(x, h):  # type: ignore[no-untyped-def]
            """An RNN node of ONNX."""
            return f_new(linear("n", x, h))

        return onnx_rnn
