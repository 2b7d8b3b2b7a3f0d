"""The pointwise functions of the language as vector instructions."""

from __future__ import annotations

from collections.abc import Callable

from gatework.backends.cpu.vector.elementary import Elementary
from gatework.backends.cpu.vector.ir import FloatRelation
from gatework.backends.cpu.vector.values import Value
from gatework.lang.functions import ByFunction

Emitter = Callable[..., Value]


def emit(e: Elementary, function: str, args: tuple[Value, ...]) -> Value:
    """Write one function of the language, every argument a vector."""
    return EMITTERS[function](e, *args)


def power(e: Elementary, a: Value, exponent: float) -> Value:
    """a ** exponent: roots, small whole powers by multiplication, others by the C library."""
    if abs(exponent) == 0.5:  # what torch takes for it: not the same at -0 and -inf
        root = e.b.call(f"llvm.sqrt.{e.vector.suffix}", a.type, a)
        return root if exponent > 0 else e.b.fdiv(e.const(1), root)
    if exponent.is_integer() and 0 < abs(exponent) <= 8:
        result = a
        for _ in range(int(abs(exponent)) - 1):
            result = e.b.fmul(result, a)
        return result if exponent > 0 else e.b.fdiv(e.const(1), result)
    return e.b.call(f"llvm.pow.{e.vector.suffix}", a.type, a, e.const(exponent))


def _relation(name: FloatRelation) -> Emitter:
    def compare(e: Elementary, a: Value, b: Value) -> Value:
        return e.b.select(e.b.fcmp(name, a, b), e.const(1), e.const(0))

    return compare


def _intrinsic(name: str) -> Emitter:
    def call(e: Elementary, *args: Value) -> Value:
        return e.b.call(f"llvm.{name}.{e.vector.suffix}", e.vector.type, *args)

    return call


def _where(e: Elementary, condition: Value, a: Value, b: Value) -> Value:
    return e.b.select(e.b.fcmp("une", condition, e.const(0)), a, b)


def _relu(e: Elementary, x: Value) -> Value:
    zero = e.const(0)
    return e.b.select(e.b.fcmp("olt", x, zero), zero, x)  # NaN is not below zero: it stays


def _sign(e: Elementary, x: Value) -> Value:
    zero = e.const(0)
    below = e.b.select(e.b.fcmp("olt", x, zero), e.const(-1), zero)  # 0 of NaN, as torch has it
    return e.b.select(e.b.fcmp("ogt", x, zero), e.const(1), below)


def _clamp(relation: FloatRelation) -> Emitter:
    def clamp(e: Elementary, x: Value, bound: Value) -> Value:
        return e.b.select(e.b.fcmp(relation, x, bound), bound, x)  # NaN stays

    return clamp


def _tanh(e: Elementary, x: Value) -> Value:
    # t = exp(2x) - 1 keeps tanh accurate near 0; at the limit t / (t + 2) rounds to ±1
    t = e.narrow_expm1(e.b.fadd(x, x), 20.0 if e.vector.element == "float" else 40.0)
    return e.b.fdiv(t, e.b.fadd(t, e.const(2)))


def _sigmoid(e: Elementary, x: Value) -> Value:
    return e.b.fdiv(e.const(1), e.b.fadd(e.const(1), e.narrow_exp(e.b.fneg(x))))


def _softplus(e: Elementary, x: Value) -> Value:
    distance = e.absolute(x)
    tail = e.log1p(e.narrow_exp(e.b.fneg(distance)))
    far = e.b.fcmp("ogt", distance, e.const(e.narrow_limit))
    return e.b.fadd(_relu(e, x), e.b.select(far, e.const(0), tail))


def _hardsigmoid(e: Elementary, x: Value) -> Value:
    above = e.clamp(e.b.fadd(x, e.const(3)), 0.0, 6.0)
    return e.b.fmul(above, e.const(1 / 6))


EMITTERS: ByFunction[Emitter] = ByFunction(
    {
        "add": lambda e, a, b: e.b.fadd(a, b),
        "sub": lambda e, a, b: e.b.fsub(a, b),
        "mul": lambda e, a, b: e.b.fmul(a, b),
        "div": lambda e, a, b: e.b.fdiv(a, b),
        "neg": lambda e, a: e.b.fneg(a),
        "lt": _relation("olt"),
        "le": _relation("ole"),
        "where": _where,
        "minimum": _intrinsic("minimum"),
        "maximum": _intrinsic("maximum"),
        "clamp_min": _clamp("olt"),
        "clamp_max": _clamp("ogt"),
        "stop": lambda e, a: a,
        "surrogate": lambda e, value, v, slope: value,
        "abs": lambda e, a: e.absolute(a),
        "sign": _sign,
        "relu": _relu,
        "floor": _intrinsic("floor"),
        "sqrt": _intrinsic("sqrt"),
        "exp": Elementary.exp,
        "expm1": Elementary.expm1,
        "log": Elementary.log,
        "log1p": Elementary.log1p,
        "sin": Elementary.sin,
        "cos": Elementary.cos,
        "atan": Elementary.atan,
        "erf": Elementary.erf,
        "tanh": _tanh,
        "sigmoid": _sigmoid,
        "softplus": _softplus,
        "hardsigmoid": _hardsigmoid,
    },
    "machine code",
    "EMITTERS of gatework/backends/cpu/vector/pointwise.py",
)
