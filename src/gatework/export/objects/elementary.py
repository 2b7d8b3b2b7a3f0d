"""Functions of numbers that call no library, for machines with and without fused instructions."""

from __future__ import annotations

import math
from dataclasses import replace

from gatework.backends.cpu.vector.elementary import Elementary
from gatework.backends.cpu.vector.ir import Builder
from gatework.backends.cpu.vector.pointwise import emit
from gatework.backends.cpu.vector.values import Value, Vector
from gatework.lang.expressions import Apply, Const

HALF_PI = (1.5703125, 4.837512969970703125e-4, 7.54978995489188216e-8)  # few bits each


class Freestanding(Elementary):
    """The elementary functions where there is no C library."""

    def __init__(self, builder: Builder, vector: Vector, fused: bool) -> None:
        super().__init__(builder, vector)
        if not fused:
            self.format = replace(self.format, half_pi=HALF_PI)

    def apply(self, node: Apply, args: tuple[Value, ...]) -> Value:
        """A function of the language."""
        if node.function == "pow":
            exponent = node.args[1]
            assert isinstance(exponent, Const)
            return self.power(args[0], exponent.value)
        return self.floor(*args) if node.function == "floor" else emit(self, node.function, args)

    def power(self, x: Value, exponent: float) -> Value:
        """x to a power: whole ones by multiplications, roots of roots, others by the logarithm."""
        if exponent < 0:
            return self.b.fdiv(self.const(1), self.power(x, -exponent))
        if exponent.is_integer() and exponent <= 1024:
            return self._whole_power(x, int(exponent))
        if math.frexp(exponent)[0] == 0.5 and 2**-10 <= exponent < 1:
            root = self.b.call(f"llvm.sqrt.{self.vector.suffix}", x.type, x)
            return self.power(root, 2 * exponent)
        return self.exp(self.b.fmul(self.const(exponent), self.log(x)))

    def _whole_power(self, x: Value, exponent: int) -> Value:
        """By squaring."""
        if exponent < 2:
            return x if exponent else self.const(1)
        half = self._whole_power(self.b.fmul(x, x), exponent // 2)
        return self.b.fmul(half, x) if exponent % 2 else half

    def floor(self, x: Value) -> Value:
        """The whole number at or below x, by way of integers, which all machines have."""
        b, v = self.b, self.vector
        whole = b.op(f"fptosi {x.type} {x.text} to {v.integers}", v.integers)
        cut = b.op(f"sitofp {v.integers} {whole.text} to {v.type}", v.type)
        below = b.select(b.fcmp("olt", x, cut), b.fsub(cut, self.const(1)), cut)
        return b.select(b.fcmp("olt", self.absolute(x), self.const(2.0**23)), below, x)

    def _circular(self, x: Value, name: str, quarter: int) -> Value:
        return self._circular_near(x, quarter)
