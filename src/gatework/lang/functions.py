"""The pointwise functions of the language: one row each.

`compute` is the function on plain numbers, for folding constants. The derivative of each function
stands in `gatework.analysis.calculus`, its torch operation in `gatework.backends.reference`, its
machine code in `gatework.backends.cpu.vector.pointwise`, its C for cards in
`gatework.backends.gpu.code`, its ONNX form in `gatework.export.graphs.functions`: each a table
`ByFunction`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn, TypeVar

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Function:
    """A pointwise function: its name, its number of arguments, its value on numbers.

    `cheap` functions are recomputed in the backward pass rather than saved.
    """

    name: str
    arity: int
    compute: Callable[..., float]
    cheap: bool = False


class ByFunction(dict[str, Entry]):
    """What one part of Gatework knows of every function, by the function's name.

    Example:
        >>> ByFunction({}, "derivative", "RULES of calculus.py")["lgamma"]
        Traceback (most recent call last):
        NotImplementedError: no derivative of 'lgamma'; add it to RULES of calculus.py
    """

    def __init__(self, entries: Mapping[str, Entry], what: str, place: str) -> None:
        super().__init__(entries)
        self._what, self._place = what, place

    def __missing__(self, function: str) -> NoReturn:
        raise NotImplementedError(f"no {self._what} of {function!r}; add it to {self._place}")


def _sigmoid(v: float) -> float:
    e = math.exp(-abs(v))
    return (1 if v >= 0 else e) / (1 + e)


def _softplus(v: float) -> float:
    return max(v, 0.0) + math.log1p(math.exp(-abs(v)))


def _sign(v: float) -> float:
    return float(v > 0) - float(v < 0)


_ARITHMETIC = (
    Function("add", 2, lambda a, b: a + b, cheap=True),
    Function("sub", 2, lambda a, b: a - b, cheap=True),
    Function("mul", 2, lambda a, b: a * b, cheap=True),
    Function("div", 2, lambda a, b: a / b, cheap=True),
    Function("neg", 1, lambda a: -a, cheap=True),
)
_COMPARISONS = (  # 1.0 where it holds, 0.0 elsewhere
    Function("lt", 2, lambda a, b: float(a < b), cheap=True),
    Function("le", 2, lambda a, b: float(a <= b), cheap=True),
)
_CHOICES = (  # one of the arguments, as it is
    Function("stop", 1, lambda v: v, cheap=True),
    Function("surrogate", 3, lambda value, v, slope: value, cheap=True),
    Function("where", 3, lambda c, a, b: a if c else b, cheap=True),
    Function("minimum", 2, min, cheap=True),
    Function("maximum", 2, max, cheap=True),
    Function("clamp_min", 2, max, cheap=True),
    Function("clamp_max", 2, min, cheap=True),
)
_CURVES = (
    Function("pow", 2, math.pow),
    Function("abs", 1, abs, cheap=True),
    Function("sign", 1, _sign, cheap=True),
    Function("relu", 1, lambda v: max(v, 0.0), cheap=True),
    Function("floor", 1, lambda v: float(math.floor(v)), cheap=True),
    Function("sqrt", 1, math.sqrt),
    Function("exp", 1, math.exp),
    Function("expm1", 1, math.expm1),
    Function("log", 1, math.log),
    Function("log1p", 1, math.log1p),
    Function("sin", 1, math.sin),
    Function("cos", 1, math.cos),
    Function("atan", 1, math.atan),
    Function("erf", 1, math.erf),
    Function("tanh", 1, math.tanh),
    Function("sigmoid", 1, _sigmoid),
    Function("softplus", 1, _softplus),
    Function("hardsigmoid", 1, lambda v: min(max(v + 3, 0.0), 6.0) / 6),
)

_ALL = (*_ARITHMETIC, *_COMPARISONS, *_CHOICES, *_CURVES)
FUNCTIONS: dict[str, Function] = {f.name: f for f in _ALL}

ARITHMETIC = frozenset(f.name for f in _ARITHMETIC)
"""Sums, products and quotients."""

JUMPS = frozenset(["lt", "le", "sign", "floor"])
"""What may change a lot where an argument changes by as little as a rounding."""

CHOICES = frozenset(f.name for f in _CHOICES)
"""What hands on one of its arguments."""
