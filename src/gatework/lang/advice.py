"""What to write in a cell in place of what others call it, and which word a misspelt one meant."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable
from typing import Any

INSTEAD = {
    "absolute": "abs(v)",
    "addcmul": "a + b * c",
    "arctan": "atan(v)",
    "argmax": "where(v < amax(v), 0, 1), which is 1 where v is largest: a unit has no number",
    "batch_norm": "layer_norm(v, name) or rms_norm(v, name): a step sees one sequence, not a batch",
    "ceil": "-floor(-v)",
    "detach": "stop(v)",
    "celu": "where(v > 0, v, alpha * expm1(minimum(v, 0) / alpha))",
    "clip": "clamp(v, min, max)",
    "concat": "cat([a, b]), or linear(name, a, b), which maps several values at once",
    "concatenate": "cat([a, b]), or linear(name, a, b), which maps several values at once",
    "cosh": "(exp(v) + exp(-v)) / 2",
    "dot": "sum(a * b)",
    "einsum": "linear(name, v), which maps v by a learned matrix, or sum(a * b, 'key') of values "
    "with axes",
    "exp2": "exp(0.6931471805599453 * v)",
    "expit": "sigmoid(v)",
    "hard_sigmoid": "hardsigmoid(v)",
    "hardswish": "v * hardsigmoid(v)",
    "hardtanh": "clamp(v, -1, 1)",
    "heaviside": "where(v > 0, 1, 0)",
    "hypot": "sqrt(a * a + b * b)",
    "lerp": "a + w * (b - a)",
    "log10": "log(v) / 2.302585092994046",
    "log2": "log(v) / 0.6931471805599453",
    "log_sigmoid": "logsigmoid(v)",
    "log_softmax": "v - log(sum(exp(v)))",
    "logaddexp": "maximum(a, b) + log1p(exp(-abs(a - b)))",
    "logsumexp": "log(sum(exp(v)))",
    "matmul": "linear(name, v), which maps v by a learned matrix, or sum(a * b, 'key') of values "
    "with axes",
    "max": "maximum(a, b) unit by unit, or amax(v) over the units",
    "min": "minimum(a, b) unit by unit, or amin(v) over the units",
    "mish": "v * tanh(softplus(v))",
    "mm": "linear(name, v), which maps v by a learned matrix",
    "mv": "linear(name, v), which maps v by a learned matrix",
    "outer": "a * b of values with different axes, @cell(axes={'S': ('key', 'value')}); "
    "v * rename(v, key='other') of one with itself",
    "bmm": "sum(a * b, 'key') of values with axes, @cell(axes={'S': ('key', 'value')})",
    "pow": "v ** number",
    "power": "v ** number",
    "reciprocal": "1 / v",
    "relu6": "clamp(v, 0, 6)",
    "round": "floor(v + 0.5)",
    "remainder": "a % b",
    "fmod": "a % b, whose sign is that of b",
    "stop_gradient": "stop(v)",
    "rsqrt": "1 / sqrt(v)",
    "selu": "1.0507009873554805 * elu(v, 1.6732632423543772)",
    "sinh": "(exp(v) - exp(-v)) / 2",
    "softmin": "softmax(-v)",
    "sort": "amax(v) or softmax(v): a cell has no order that depends on the values; an order that "
    "is known when it is written is take(v, index)",
    "std": "sqrt(mean(square(v - mean(v))))",
    "swish": "silu(v)",
    "tan": "sin(v) / cos(v)",
    "tanhshrink": "v - tanh(v)",
    "topk": "top = amax(v), then amax(where(v < top, v, -1e9)) for the next, and so on; "
    "where(v < last, 0, v) keeps the units that are as large as the last of them",
    "threshold": "where(v > limit, v, value)",
    "trunc": "where(v < 0, -floor(-v), floor(v))",
    "var": "mean(square(v - mean(v)))",
    "zeros_like": "0 * v",
    "ones_like": "0 * v + 1",
    **dict.fromkeys(["BatchNorm1d", "BatchNorm"],
                    "layer_norm(v, name) or rms_norm(v, name): a step sees no batch"),
    **dict.fromkeys(["transpose", "swapaxes"], "rename(S, row='col', col='row') of a matrix"),
    **dict.fromkeys(["hstack", "stack"], "cat([a, b])"),
    **dict.fromkeys(["gather", "index_select", "permute"], "take(v, index)"),
    **dict.fromkeys(["narrow", "unbind", "tensor_split", "hsplit"], "v[2:5], or chunk(v, 3)"),
    **dict.fromkeys(["fliplr", "flipud"], "flip(v)"),
    **dict.fromkeys(["add", "subtract", "sub", "multiply", "mul", "divide", "div", "true_divide"],
                    "the operators + - * /"),
    **dict.fromkeys(["equal", "eq", "not_equal", "ne"], "where with < or >; == is no condition"),
    **dict.fromkeys(["neg", "negative"], "-v"),
    **dict.fromkeys(["constant", "buffer", "register_buffer", "from_numpy"],
                    "vector(name, init, learned=False), or weight for a matrix"),
    **dict.fromkeys(["dense", "Dense", "Linear"], "linear(name, v)"),
    **dict.fromkeys(["parameter", "Parameter", "bias", "weight"],
                    "linear(name, v), vector(name) or scalar(name)"),
    **dict.fromkeys(["less", "lt", "greater", "gt", "less_equal", "le", "greater_equal", "ge"],
                    "the operators < <= > >="),
}  # fmt: skip
"""Names from torch, numpy, Keras and math, and how a cell says the same."""


def how_to_write(name: str) -> str:
    """What to write for a function that others call by this name."""
    from gatework.lang import words  # the words stand on the expressions, which ask here

    if name in words.__all__:
        return f"write {_call(name, getattr(words, name))}, imported from gatework"
    if name in INSTEAD:
        return f"write {INSTEAD[name]}"
    known = ", ".join(words.__all__)
    return f"the language has no {name}; its functions, imported from gatework, are {known}"


def _call(name: str, word: Callable[..., Any]) -> str:
    """A call of a word with all that it needs: where(condition, a, b)."""
    needed = [p for p in inspect.signature(word).parameters.values() if p.default is p.empty]
    return f"{name}({', '.join(p.name for p in needed)})"


def meant(name: str, called: bool) -> str:
    """What may have been meant by an unknown name; empty where nothing is likely.

    A name that other libraries have is no slip of the pen, however near it comes to one of ours.

    Args:
        name: The unknown name.
        called: Whether it was used as a function.
    """
    from gatework.lang import words

    if name in words.__all__ or name in INSTEAD:
        return how_to_write(name)
    if _known_elsewhere(name):
        return how_to_write(name)
    near = next((word for word in words.__all__ if _is_slip(name, word)), None)
    if near is not None:
        return f"did you mean {near}, imported from gatework?"
    return how_to_write(name) if called else ""


def _known_elsewhere(name: str) -> bool:
    """Whether math, torch or numpy have a function of that name."""
    loaded = (sys.modules.get(m) for m in ("torch", "torch.nn.functional", "numpy"))
    return any(hasattr(module, name) for module in (math, *loaded))


def _is_slip(written: str, word: str) -> bool:
    """Whether it is the word but for its case, or for a slip or, in a long one, two."""
    a, b = written.lower(), word.lower()
    allowed = 0 if len(b) < 4 else 1 if len(b) < 7 else 2
    return _edits(a, b) <= allowed


def _edits(a: str, b: str) -> int:
    """The letters to insert, drop, change or swap with the next (Damerau 1964)."""
    rows = [list(range(len(b) + 1))]
    for i, letter in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            cost = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (letter != other))
            if i > 1 and j > 1 and a[i - 2 : i] == other + b[j - 2]:
                cost = min(cost, rows[-2][j - 2] + 1)
            row.append(cost)
        rows.append(row)
    return rows[-1][-1]
