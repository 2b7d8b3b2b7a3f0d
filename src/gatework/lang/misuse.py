"""What Python, numpy and torch may try with a cell's value and a cell cannot do: what to write.

A value has no number while the cell is traced. Each way in which other code could take it for one
is an error that names the word of the language for what was wanted.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from gatework.lang.advice import how_to_write

NO_NUMBER = "a cell's value has no number yet, so "
ONE_ROW = "a cell's value is one row, "
JUMPS = "a cell has no {}; write it with floor(v), or the jump as where(condition, a, b)"
MATRICES = (
    "a cell's value is mapped by a matrix that has a name: a learned one by linear(name, v), a "
    "known one by weight(name, init=…, learned=False)(v)"
)
BITS = (
    "{} combines conditions, such as (a < b) & (c < d); other values are combined by a * b, "
    "maximum(a, b) and 1 - a, or by one where(…) in another"
)
NO_BITS = "{} says nothing of a cell's values; conditions are combined by &, | and ~"
PARTS = (
    ONE_ROW + "whose parts are v[2], v[2:], v[:-1], with whole numbers and no step; take(v, index) "
    "picks units by a list of them, flip(v) turns a row round, chunk(v, n) cuts it in equal parts"
)
MATH = (
    NO_NUMBER + "{} cannot take it, nor can the functions of the module math; use the functions "
    "imported from gatework, such as tanh, exp and sin"
)

REFUSED = {
    "bool": "a cell cannot branch on a value: it is traced once, for every input at the same time; "
    "write where(condition, a, b), minimum(a, b) or maximum(a, b)",
    "rpow": "the exponent of ** must be a number; write exp(v * log(base)) for base ** v",
    **dict.fromkeys(["matmul", "rmatmul"], MATRICES),
    **{n: MATH.format(f"{n}()") for n in ("float", "int", "complex")},
    "index": NO_NUMBER + "it cannot count or index anything; a number that the cell needs while it "
    "is traced is a constant, a keyword-only argument: def my_cell(x, h, *, depth=3)",
    **dict.fromkeys(["divmod", "rdivmod"], JUMPS.format("divmod")),
    **{n: JUMPS.format(f"{n}()") for n in ("round", "ceil", "trunc")},
    **{
        f"{side}{n}": NO_BITS.format(sign)
        for n, sign in {"xor": "^", "lshift": "<<", "rshift": ">>"}.items()
        for side in ("", "r")
    },
    "len": ONE_ROW + "whose number of units is known once a layer is built; mean(v) divides by it",
    **dict.fromkeys(
        ["setitem", "delitem"],
        ONE_ROW + "which is never changed; cat([a, b]) puts a new one together of parts v[:2] and "
        "v[3:], where(condition, a, b) chooses unit by unit",
    ),
    **dict.fromkeys(
        ["iter", "reversed", "contains"],
        ONE_ROW + "which cannot be gone through unit by unit; sum, mean and softmax over the "
        "units are imported from gatework",
    ),
}
"""Python's own operations, without the underscores around their names."""

OF_NUMPY: dict[str, Callable[..., Any]] = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul,
    "divide": operator.truediv, "less": operator.lt, "less_equal": operator.le,
    "greater": operator.gt, "greater_equal": operator.ge,
}  # fmt: skip
"""What numpy calls the operators, when its scalar stands first: np.float64(2) * v."""


class Misused:
    """A value that refuses what it cannot do, by a sentence."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"a cell's value has no attribute {name!r}; {how_to_write(name)}")

    def __format__(self, form: str) -> str:
        if form:
            raise TypeError(f"{NO_NUMBER}it cannot be written as {form!r}; {{v}} shows its name")
        return str(self)

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = getattr(function, "__name__", str(function))
        raise TypeError(f"torch.{name} was given a cell's value; {how_to_write(name)}")

    def __array_ufunc__(self, function: Any, method: str, *args: Any, **options: Any) -> Any:
        from gatework.lang.expressions import as_expr  # which stands on this module

        name = function.__name__
        if method == "__call__" and name in OF_NUMPY:
            scalars = (a.item() if getattr(a, "ndim", None) == 0 else a for a in args)
            return OF_NUMPY[name](*map(as_expr, scalars))
        raise TypeError(f"np.{name} was given a cell's value; {how_to_write(name)}")

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name = function.__name__
        raise TypeError(f"np.{name} was given a cell's value; {how_to_write(name)}")


def _refusing(sentence: str) -> Callable[..., Any]:
    def refuse(self: Misused, *args: Any) -> Any:
        raise TypeError(sentence)

    return refuse


for _name, _sentence in REFUSED.items():
    setattr(Misused, f"__{_name}__", _refusing(_sentence))
