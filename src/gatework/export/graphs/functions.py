"""The functions of the language as nodes of ONNX: one row each."""

from __future__ import annotations

from collections.abc import Callable

from gatework.export.graphs.graph import Graph
from gatework.lang.functions import ByFunction

Writer = Callable[..., str]
"""Of a graph and the names of the arguments; adds nodes and returns the name of the value."""


def _node(kind: str) -> Writer:
    return lambda g, *args: g.node(kind, *args)


def _compared(kind: str) -> Writer:
    return lambda g, a, b: g.cast(g.node(kind, a, b), "FLOAT")


def _where(g: Graph, condition: str, a: str, b: str) -> str:
    return g.node("Where", g.cast(condition, "BOOL"), a, b)


def _expm1(g: Graph, v: str) -> str:
    """Tanh(v/2) (exp(v) + 1): no difference of two numbers that are nearly the same."""
    half = g.node("Tanh", g.node("Mul", v, g.number(0.5)))
    return g.node("Mul", half, g.node("Add", g.node("Exp", v), g.number(1.0)))


def _log1p(g: Graph, v: str) -> str:
    """2 artanh(v / (2 + v)) where 1 + v would round v away."""
    ratio = g.node("Div", v, g.node("Add", v, g.number(2.0)))
    near = g.node("Mul", g.number(2.0), g.node("Atanh", ratio))
    far = g.node("Log", g.node("Add", v, g.number(1.0)))
    small = g.node("Less", g.node("Abs", v), g.number(0.5))
    return g.node("Where", small, near, far)


WRITERS: ByFunction[Writer] = ByFunction(
    {
        "add": _node("Add"),
        "sub": _node("Sub"),
        "mul": _node("Mul"),
        "div": _node("Div"),
        "neg": _node("Neg"),
        "pow": _node("Pow"),
        "lt": _compared("Less"),
        "le": _compared("LessOrEqual"),
        "where": _where,
        "minimum": _node("Min"),
        "maximum": _node("Max"),
        "clamp_min": _node("Max"),
        "clamp_max": _node("Min"),
        "stop": lambda g, v: v,  # gradients are not exported
        "surrogate": lambda g, value, v, slope: value,
        "abs": _node("Abs"),
        "sign": _node("Sign"),
        "relu": _node("Relu"),
        "floor": _node("Floor"),
        "sqrt": _node("Sqrt"),
        "exp": _node("Exp"),
        "expm1": _expm1,
        "log": _node("Log"),
        "log1p": _log1p,
        "sin": _node("Sin"),
        "cos": _node("Cos"),
        "atan": _node("Atan"),
        "erf": _node("Erf"),
        "tanh": _node("Tanh"),
        "sigmoid": _node("Sigmoid"),
        "softplus": _node("Softplus"),
        "hardsigmoid": lambda g, v: g.node("HardSigmoid", v, alpha=1 / 6, beta=0.5),
    },
    "ONNX form",
    "WRITERS of gatework/export/graphs/functions.py",
)
