"""exp, log and the circular functions of a whole vector, for both precisions.

Every function is right at ±inf and passes NaN on: a clamp is a comparison that NaN fails, never
LLVM's maxnum, which would replace NaN by the bound.

exp(x) = 2^k exp(r) with k = round(x / ln 2) and |r| <= ln 2 / 2, where exp(r) - 1 = r + r^2 P(r);
log(x) = k ln 2 + log(1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), by a polynomial in f / (2 + f);
sin and cos subtract the nearest multiple of pi / 2 in parts; atan and erf are the quotients of
polynomials of the Cephes library (Moshier 1989).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gatework.backends.cpu.vector.ir import Builder
from gatework.backends.cpu.vector.values import Value, Vector

LOG2_E = 1.4426950408889634


@dataclass(frozen=True)
class Format:
    """The constants of one precision; polynomials have their highest power first."""

    mantissa: int  # bits of the fraction
    bias: int  # of the exponent
    rounder: float  # adding it rounds to an integer, which stands in the lowest bits
    ln2: tuple[float, float]  # ln 2 in two parts, the first with few bits
    exp: tuple[float, ...]  # P in exp(r) = 1 + r + r^2 P(r)
    exp_range: tuple[float, float]  # below it exp is 0, above it inf
    log: tuple[float, ...]  # R in log(1 + f), a polynomial in s^2
    half_pi: tuple[float, ...]  # pi / 2 in parts
    circular_limit: float  # up to here these parts are enough
    sin: tuple[float, ...]  # sin(r) = r + r^3 S(r^2)
    cos: tuple[float, ...]  # cos(r) = 1 - r^2 / 2 + r^4 C(r^2)


def _inverse_factorials(*numbers: int) -> tuple[float, ...]:
    return tuple(1 / math.factorial(n) for n in numbers)


SINGLE = Format(
    mantissa=23,
    bias=127,
    rounder=1.5 * 2**23,
    ln2=(0.693359375, -2.12194440e-4),
    exp=(1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
         5.0000001201e-1),
    exp_range=(-104.0, 89.0),
    log=(0.24279078841, 0.28498786688, 0.40000972152, 0.66666662693),
    half_pi=(1.5707963705062866, -4.371138828673793e-8, -1.7151245100059e-15),
    circular_limit=8192.0,
    sin=(-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1),
    cos=(2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2),
)  # fmt: skip
DOUBLE = Format(
    mantissa=52,
    bias=1023,
    rounder=1.5 * 2**52,
    ln2=(6.93147180369123816490e-1, 1.90821492927058770002e-10),
    exp=_inverse_factorials(*range(14, 1, -1)),
    exp_range=(-746.0, 710.0),
    log=(1.479819860511658591e-1, 1.531383769920937332e-1, 1.818357216161805012e-1,
         2.222219843214978396e-1, 2.857142874366239149e-1, 3.999999999940941908e-1,
         6.666666666666735130e-1),
    half_pi=(1.5707963267948966, 6.123233995736766e-17),
    circular_limit=1e5,
    sin=(1.58969099521155010221e-10, -2.50507602534068634195e-8, 2.75573137070700676789e-6,
         -1.98412698298579493134e-4, 8.33333333332248946124e-3, -1.66666666666666324348e-1),
    cos=(-1.13596475577881948265e-11, 2.08757232129817482790e-9, -2.75573143513906633035e-7,
         2.48015872894767294178e-5, -1.38888888888741095749e-3, 4.16666666666666019037e-2),
)  # fmt: skip


class Quotient(NamedTuple):
    """A quotient of polynomials, the highest power first."""

    above: tuple[float, ...]
    below: tuple[float, ...]


ATAN = Quotient(  # (atan(r) - r) / r^3 in r^2, up to 0.66
    (-8.750608600031904122785e-1, -1.615753718733365076637e1, -7.500855792314704667340e1,
     -1.228866684490136173410e2, -6.485021904942025371773e1),
    (1.0, 2.485846490142306297962e1, 1.650270098316988542046e2, 4.328810604912902668951e2,
     4.853903996359136964868e2, 1.945506571482613964425e2),
)  # fmt: skip
ERF = Quotient(  # erf(x) / x in x^2, up to 1
    (9.60497373987051638749, 9.00260197203842689217e1, 2.23200534594684319226e3,
     7.00332514112805075473e3, 5.55923013010394962768e4),
    (1.0, 3.35617141647503099647e1, 5.21357949780152679795e2, 4.59432382970980127987e3,
     2.26290000613890934246e4, 4.92673942608635921086e4),
)  # fmt: skip
ERFC = Quotient(  # (1 - erf(x)) exp(x^2), from 1 to 8
    (2.46196981473530512524e-10, 5.64189564831068821977e-1, 7.46321056442269912687,
     4.86371970985681366614e1, 1.96520832956077098242e2, 5.26445194995477358631e2,
     9.34528527171957607540e2, 1.02755188689515710272e3, 5.57535335369399327526e2),
    (1.0, 1.32281951154744992508e1, 8.67072140885989742329e1, 3.54937778887819891062e2,
     9.75708501743205489753e2, 1.82390916687909736289e3, 2.24633760818710981792e3,
     1.65666309194161350182e3, 5.57535340817727675546e2),
)  # fmt: skip


class Elementary:
    """Writes the elementary functions of vectors of one type."""

    def __init__(self, builder: Builder, vector: Vector) -> None:
        self.b = builder
        self.vector = vector
        self.format = SINGLE if vector.element == "float" else DOUBLE

    def const(self, number: float) -> Value:
        """A number in every lane."""
        return self.vector.const(number)

    @property
    def narrow_limit(self) -> float:
        """Up to here e to the minus x is a normal number."""
        return self.format.bias * 0.69

    def clamp(self, x: Value, low: float, high: float) -> Value:
        """x held between two bounds; NaN stays NaN."""
        bound = self.const(low)
        x = self.b.select(self.b.fcmp("ogt", bound, x), bound, x)
        bound = self.const(high)
        return self.b.select(self.b.fcmp("olt", bound, x), bound, x)

    def polynomial(self, x: Value, coefficients: Sequence[float]) -> Value:
        """A polynomial by Horner's rule, the highest power first."""
        value = self.const(coefficients[0])
        for c in coefficients[1:]:
            value = self.b.fma(value, x, self.const(c))
        return value

    # ---- exp -----------------------------------------------------------------------------------

    def exp(self, x: Value) -> Value:
        """exp(x), subnormal results and overflow included."""
        q, k = self._exp_parts(self.clamp(x, *self.format.exp_range))
        half = self.b.binary("ashr", k, self.vector.integer(1))
        scaled = self.b.fmul(self.b.fadd(q, self.const(1)), self._power_of_two(half))
        return self.b.fmul(scaled, self._power_of_two(self.b.binary("sub", k, half)))

    def narrow_exp(self, x: Value) -> Value:
        """exp(x) in one scaling: results below the normal range are its lowest number."""
        high = self.format.exp_range[1]
        q, k = self._exp_parts(self.clamp(x, -self.narrow_limit, high))
        scale = self._power_of_two(k)
        return self.b.fmul(self.b.fadd(q, self.const(1)), scale)

    def narrow_expm1(self, x: Value, limit: float) -> Value:
        """exp(x) - 1 with full relative accuracy, x held within ±limit."""
        q, k = self._exp_parts(self.clamp(x, -limit, limit))
        scale = self._power_of_two(k)
        return self.b.fma(q, scale, self.b.fsub(scale, self.const(1)))

    def expm1(self, x: Value) -> Value:
        """exp(x) - 1: the narrow form where it is accurate, exp elsewhere."""
        limit = 16.0 if self.format is SINGLE else 40.0
        inside = self.b.fcmp("ole", self.absolute(x), self.const(limit))
        wide = self.b.fsub(self.exp(x), self.const(1))
        return self.b.select(inside, self.narrow_expm1(x, limit), wide)

    def _exp_parts(self, x: Value) -> tuple[Value, Value]:
        """exp(r) - 1 and the integers k, where x = k ln 2 + r."""
        rounder = self.const(self.format.rounder)
        shifted = self.b.fma(x, self.const(LOG2_E), rounder)
        k = self.b.fsub(shifted, rounder)
        r = self.b.fma(k, self.const(-self.format.ln2[0]), x)
        r = self.b.fma(k, self.const(-self.format.ln2[1]), r)
        p = self.polynomial(r, self.format.exp)
        q = self.b.fma(self.b.fmul(r, r), p, r)
        return q, self._integers(shifted)

    def _integers(self, shifted: Value) -> Value:
        """The integers that adding the rounder has left in the lowest bits."""
        ints = self.vector.integers
        return self.b.binary(
            "sub",
            self.b.bitcast(shifted, ints),
            self.b.bitcast(self.const(self.format.rounder), ints),
        )

    def _power_of_two(self, k: Value) -> Value:
        """2^k of integers, written as the exponent of a number."""
        biased = self.b.binary("add", k, self.vector.integer(self.format.bias))
        bits = self.b.binary("shl", biased, self.vector.integer(self.format.mantissa))
        return self.b.bitcast(bits, self.vector.type)

    # ---- log -----------------------------------------------------------------------------------

    def log(self, x: Value) -> Value:
        """log(x): -inf at 0, NaN below."""
        b, zero = self.b, self.const(0)
        tiny = b.fcmp("olt", x, self.const(2.0 ** (1 - self.format.bias)))
        lift = 2.0 ** (self.format.mantissa + 2)  # makes subnormal numbers normal
        f, k = self._split(b.select(tiny, b.fmul(x, self.const(lift)), x))
        k = b.fsub(k, b.select(tiny, self.const(self.format.mantissa + 2.0), zero))
        value = self._log_parts(f, k)
        infinite = b.fcmp("oeq", x, self.const(math.inf))
        value = b.select(infinite, x, value)
        value = b.select(b.fcmp("oeq", x, zero), self.const(-math.inf), value)
        return b.select(b.fcmp("uge", x, zero), self._pass_nan(x, value), self.const(math.nan))

    def _split(self, x: Value) -> tuple[Value, Value]:
        """f and k with x = 2^k (1 + f), 1 + f in [sqrt(1/2), sqrt(2)), x positive and normal."""
        b, v, form = self.b, self.vector, self.format
        bits = b.bitcast(x, v.integers)
        root = b.bitcast(self.const(math.sqrt(0.5)), v.integers)
        offset = b.binary("sub", bits, root)
        k = b.binary("ashr", offset, v.integer(form.mantissa))
        fraction = b.binary("sub", bits, b.binary("shl", k, v.integer(form.mantissa)))
        f = b.fsub(b.bitcast(fraction, v.type), self.const(1))
        return f, b.op(f"sitofp {v.integers} {k.text} to {v.type}", v.type)

    def _log_parts(self, f: Value, k: Value) -> Value:
        """k ln 2 + log(1 + f)."""
        b = self.b
        s = b.fdiv(f, b.fadd(f, self.const(2)))
        z = b.fmul(s, s)
        remainder = b.fmul(z, self.polynomial(z, self.format.log))
        half = b.fmul(b.fmul(f, f), self.const(0.5))
        low = b.fma(k, self.const(self.format.ln2[1]), b.fmul(s, b.fadd(half, remainder)))
        return b.fma(k, self.const(self.format.ln2[0]), b.fsub(f, b.fsub(half, low)))

    def log1p(self, x: Value) -> Value:
        """log(1 + x); what rounding 1 + x loses is put back."""
        b, one = self.b, self.const(1)
        u = b.fadd(x, one)
        lost = b.binary("fsub", x, b.binary("fsub", u, one))
        value = b.fadd(self.log(u), b.fdiv(lost, u))
        finite = b.fcmp("olt", self.absolute(x), self.const(math.inf))
        positive = b.fcmp("ogt", u, self.const(0))
        return b.select(b.binary("and", finite, positive), value, self.log(u))

    # ---- circular ------------------------------------------------------------------------------

    def sin(self, x: Value) -> Value:
        """sin(x)."""
        return self._circular(x, "sin", 0)

    def cos(self, x: Value) -> Value:
        """cos(x), which is sin a quarter turn later."""
        return self._circular(x, "cos", 1)

    def _circular(self, x: Value, name: str, quarter: int) -> Value:
        """By polynomials; where a lane's argument is too large for them, by the C library."""
        b, v = self.b, self.vector
        result = b.slot(v.type)
        b.store(self._circular_near(x, quarter), result, align=64)
        far = b.fcmp("ugt", self.absolute(x), self.const(self.format.circular_limit))
        bits = b.bitcast(far, f"i{v.lanes}")
        with b.when(b.op(f"icmp ne i{v.lanes} {bits.text}, 0", "i1")):
            b.store(b.call(f"llvm.{name}.{v.suffix}", v.type, x), result, align=64)
        return b.load(result, v.type, align=64)

    def _circular_near(self, x: Value, quarter: int) -> Value:
        """sin(x + quarter · π/2), by r = x - k · π/2 between -π/4 and π/4.

        The last two bits of k + quarter say whether it is r's sine or cosine, and with which sign.
        """
        b, v, form = self.b, self.vector, self.format
        rounder = self.const(form.rounder)
        shifted = b.fma(x, self.const(2 / math.pi), rounder)
        k = b.fsub(shifted, rounder)
        r = x
        for part in form.half_pi:
            r = b.fma(k, self.const(-part), r)
        z = b.fmul(r, r)
        sine = b.fma(b.fmul(b.fmul(z, r), self.polynomial(z, form.sin)), self.const(1), r)
        cosine = b.fma(
            b.fmul(z, z), self.polynomial(z, form.cos), b.fma(z, self.const(-0.5), self.const(1))
        )
        turn = b.binary("add", self._integers(shifted), v.integer(quarter))
        odd, back = self._has_bit(turn, 1), self._has_bit(turn, 2)
        value = b.select(odd, cosine, sine)
        return b.select(back, b.fneg(value), value)

    def _has_bit(self, integers: Value, bit: int) -> Value:
        """Truth where an integer has a bit set."""
        v, masked = self.vector, self.b.binary("and", integers, self.vector.integer(bit))
        return self.b.op(f"icmp ne {v.integers} {masked.text}, {v.integer(0).text}", v.mask)

    # ---- arc tangent and error function --------------------------------------------------------

    def atan(self, x: Value) -> Value:
        """atan(x): turned by π/2 or π/4 where it is large, then a quotient of polynomials."""
        b, size, one = self.b, self.absolute(x), self.const(1)
        large = b.fcmp("ogt", size, self.const(math.tan(3 * math.pi / 8)))
        middle = b.fcmp("ogt", size, self.const(0.66))
        turned = b.fdiv(b.fsub(size, one), b.fadd(size, one))
        r = b.select(middle, turned, size)
        r = b.select(large, b.fdiv(self.const(-1), size), r)
        at = b.select(middle, self.const(math.pi / 4), self.const(0))
        at = b.select(large, self.const(math.pi / 2), at)
        z = b.fmul(r, r)
        ratio = b.fdiv(self.polynomial(z, ATAN.above), self.polynomial(z, ATAN.below))
        return self._signed_as(x, b.fadd(at, b.fma(b.fmul(z, r), ratio, r)))

    def erf(self, x: Value) -> Value:
        """erf(x): near 0 a quotient of polynomials, beyond 1 minus what is left to 1."""
        b, one = self.b, self.const(1)
        size = self.clamp(self.absolute(x), 0.0, 6.0)  # where nothing is left to 1
        z = b.fmul(size, size)
        ratio = b.fdiv(self.polynomial(z, ERF.above), self.polynomial(z, ERF.below))
        rest = b.fdiv(self.polynomial(size, ERFC.above), self.polynomial(size, ERFC.below))
        far = b.fsub(one, b.fmul(self.narrow_exp(b.fneg(z)), rest))
        near = b.fcmp("olt", size, one)
        return self._signed_as(x, b.select(near, b.fmul(size, ratio), far))

    # ---- helpers -------------------------------------------------------------------------------

    def absolute(self, x: Value) -> Value:
        """|x|."""
        return self.b.call(f"llvm.fabs.{self.vector.suffix}", x.type, x)

    def _signed_as(self, x: Value, size: Value) -> Value:
        """A positive number with the sign of x."""
        return self.b.call(f"llvm.copysign.{self.vector.suffix}", x.type, size, x)

    def _pass_nan(self, x: Value, value: Value) -> Value:
        """The value, but NaN where x is NaN."""
        return self.b.select(self.b.fcmp("uno", x, x), x, value)
