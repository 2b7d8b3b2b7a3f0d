"""Expressions of the language as C, on floats.

A kernel's text has the functions in `text/functions.cu`; NaN and infinity behave as in
`gatework.backends.cpu.vector.pointwise`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from gatework.lang.expressions import Apply, Const, Count, Expr, postorder
from gatework.lang.functions import ByFunction
from gatework.lang.sizes import Sizes

Writer = Callable[..., str]


def literal(value: float) -> str:
    """A number as C has it, rounded to float and otherwise exact.

    Example:
        >>> [literal(v) for v in (0.1, -2, 1e-40, float("inf"))]
        ['0.1f', '(-2.0f)', '1e-40f', '__uint_as_float(0x7f800000u)']
    """
    with np.errstate(over="ignore"):
        number = np.float32(value)
    if np.isfinite(number):
        return f"({number!s}f)" if np.signbit(number) else f"{number!s}f"
    return f"__uint_as_float(0x{int(number.view(np.uint32)):08x}u)"


def expression(node: Expr, names: Mapping[Expr, str], sizes: Sizes) -> str:
    """A node as C, its arguments by their names.

    Args:
        node: A function of the language, a number or a count.
        names: What its arguments are called; numbers and counts need no name.
        sizes: How many units each size has.

    Example:
        >>> from gatework.lang.expressions import symbol
        >>> x = symbol("x", "state", "hidden")
        >>> expression(1 - x, {x: "x"}, {"hidden": 8})
        '1.0f - x'
    """
    if isinstance(node, Const):
        return literal(node.value)
    if isinstance(node, Count):
        return literal(sizes[node.of])
    if not isinstance(node, Apply):
        raise NotImplementedError(f"{type(node).__name__} is no function of single units: {node}")
    args = [_argument(a, names, sizes) for a in node.args]
    if node.function == "pow" and isinstance(node.args[1], Const):
        return power(args[0], node.args[1].value)
    return WRITERS[node.function](*args)


def _argument(node: Expr, names: Mapping[Expr, str], sizes: Sizes) -> str:
    """What an argument is called; numbers stand where they are used."""
    if node in names:
        return names[node]
    if isinstance(node, Const | Count):
        return expression(node, names, sizes)
    raise KeyError(f"an argument without a name: {node}")


def evaluated(
    results: Iterable[Expr], names: Mapping[Expr, str], sizes: Sizes, prefix: str = "v"
) -> tuple[list[str], dict[Expr, str]]:
    """Statements that compute values, each once, and what all values are called then.

    Args:
        results: The values.
        names: What is there already.
        sizes: How many units each size has.
        prefix: How the names of new values begin.

    Example:
        >>> from gatework.lang.expressions import symbol
        >>> x = symbol("x", "state", "hidden")
        >>> lines, names = evaluated([(1 - x) * (1 - x)], {x: "x"}, {"hidden": 8})
        >>> lines
        ['const float v0 = 1.0f - x;', 'const float v1 = v0 * v0;']
    """
    lines: list[str] = []
    known = dict(names)
    for node in postorder(tuple(results), until=set(names)):
        if node in known:
            continue
        if isinstance(node, Const | Count):
            known[node] = expression(node, known, sizes)
        else:
            name = f"{prefix}{len(lines)}"
            lines.append(f"const float {name} = {expression(node, known, sizes)};")
            known[node] = name
    return lines, known


def power(value: str, exponent: float) -> str:
    """value ** exponent: roots, small whole powers by multiplication, others by the library.

    Example:
        >>> power("x", -2.0)
        'fn::div(1.0f, x * x)'
    """
    if abs(exponent) == 0.5:
        result = f"sqrtf({value})"
    elif exponent.is_integer() and 0 < abs(exponent) <= 8:
        result = " * ".join([value] * int(abs(exponent)))
    else:
        return f"powf({value}, {literal(exponent)})"
    return result if exponent > 0 else f"fn::div(1.0f, {result})"


def _infix(sign: str) -> Writer:
    return lambda a, b: f"{a} {sign} {b}"


def _compared(sign: str) -> Writer:
    return lambda a, b: f"({a} {sign} {b} ? 1.0f : 0.0f)"


def _called(name: str) -> Writer:
    return lambda *args: f"{name}({', '.join(args)})"


WRITERS: ByFunction[Writer] = ByFunction(
    {
        "add": _infix("+"),
        "sub": _infix("-"),
        "mul": _infix("*"),
        "div": _called("fn::div"),
        "neg": lambda a: f"-({a})",
        "lt": _compared("<"),
        "le": _compared("<="),
        "where": _called("fn::where"),
        "minimum": _called("fn::minimum"),
        "maximum": _called("fn::maximum"),
        "clamp_min": _called("fn::clamp_min"),
        "clamp_max": _called("fn::clamp_max"),
        "stop": lambda a: a,
        "surrogate": lambda value, v, slope: value,
        "pow": _called("powf"),
        "abs": _called("fabsf"),
        "sign": _called("fn::sign"),
        "relu": _called("fn::relu"),
        "floor": _called("floorf"),
        "sqrt": _called("sqrtf"),
        "exp": _called("fn::exp"),
        "expm1": _called("expm1f"),
        "log": _called("fn::log"),
        "log1p": _called("log1pf"),
        "sin": _called("sinf"),
        "cos": _called("cosf"),
        "atan": _called("atanf"),
        "erf": _called("erff"),
        "tanh": _called("fn::tanh"),
        "sigmoid": _called("fn::sigmoid"),
        "softplus": _called("fn::softplus"),
        "hardsigmoid": _called("fn::hardsigmoid"),
    },
    "C",
    "WRITERS of gatework/backends/gpu/code.py",
)
