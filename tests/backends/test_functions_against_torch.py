"""Every function and word on every kind of number: value and gradient are torch's.

One row a function. What torch does not give a number for, it may be NaN of: a branch that is not
taken adds exactly zero here, where torch may multiply zero by infinity.
"""

import math

import pytest
import torch

import gatework as gw
from float_numbers import NUMBERS
from gatework.lang import words
from gatework.lang.expressions import apply
from gatework.lang.functions import FUNCTIONS

F = torch.nn.functional
DOUBLE = [746.0, -746.0, 1e200, -1e200, 1e308, -1e308, 1e-200, 1e-308, 3e-310, -3e-310]


def softplus(v):
    return torch.logaddexp(v, torch.zeros_like(v))  # torch's own is cut off above 20


def power(exponent):
    return (lambda v: v**exponent), (lambda v: v**exponent)


def compared(sign):
    """A comparison, as numbers and as what `where` chooses by."""
    ours = lambda a, b: gw.where(sign(a, b), a, b) + apply("mul", sign(a, b), 2)  # noqa: E731
    return ours, lambda a, b: torch.where(sign(a, b), a, b) + 2 * sign(a, b).to(a.dtype)


def quotient(a, b):
    """⌊a / b⌋, whose derivative is 0, also where that of a / b is infinite."""
    return torch.floor((a / b).detach())


class FlatSign(torch.autograd.Function):
    """The sign, with the derivative 1 where it is less than 2."""

    @staticmethod
    def forward(ctx, v):
        ctx.save_for_backward(v)
        return torch.sign(v)

    @staticmethod
    def backward(ctx, g):
        (v,) = ctx.saved_tensors
        return torch.where(v.abs() < 2, g, 0)


FLAT_SIGN = gw.pointwise(gw.sign, lambda v: gw.where(gw.abs(v) < 2, 1, 0))


ONE = {  # ours and torch's
    "neg": (lambda v: -v, torch.neg),
    "abs": (gw.abs, torch.abs),
    "sign": (gw.sign, torch.sign),
    "relu": (gw.relu, F.relu),
    "sqrt": (gw.sqrt, torch.sqrt),
    "square": (gw.square, torch.square),
    "exp": (gw.exp, torch.exp),
    "expm1": (gw.expm1, torch.expm1),
    "log": (gw.log, torch.log),
    "log1p": (gw.log1p, torch.log1p),
    "sin": (gw.sin, torch.sin),
    "cos": (gw.cos, torch.cos),
    "tanh": (gw.tanh, torch.tanh),
    "sigmoid": (gw.sigmoid, torch.sigmoid),
    "softplus": (gw.softplus, softplus),
    "logsigmoid": (gw.logsigmoid, F.logsigmoid),
    "silu": (gw.silu, F.silu),
    "elu": (gw.elu, F.elu),
    "elu, alpha": (lambda v: gw.elu(v, 0.3), lambda v: F.elu(v, 0.3)),
    "hardsigmoid": (gw.hardsigmoid, lambda v: F.hardsigmoid(v.float()).to(v.dtype)),
    "floor": (gw.floor, torch.floor),
    "atan": (gw.atan, torch.atan),
    "erf": (gw.erf, torch.erf),
    "gelu": (gw.gelu, lambda v: v * (0.5 * (1 + torch.erf(v * math.sqrt(0.5))))),
    "gelu, tanh": (lambda v: gw.gelu(v, "tanh"), lambda v: F.gelu(v, approximate="tanh")),
    "softsign": (gw.softsign, F.softsign),
    "stop": (lambda v: v * gw.stop(v), lambda v: v * v.detach()),
    "surrogate": (FLAT_SIGN, FlatSign.apply),
    "leaky_relu": (gw.leaky_relu, F.leaky_relu),
    "leaky_relu, slope": (lambda v: gw.leaky_relu(v, -0.5), lambda v: F.leaky_relu(v, -0.5)),
    "clamp": (lambda v: gw.clamp(v, -0.5, 2), lambda v: torch.clamp(v, -0.5, 2)),
    "clamp_min": (lambda v: gw.clamp(v, min=-1), lambda v: torch.clamp(v, min=-1)),
    "clamp_max": (lambda v: gw.clamp(v, max=3), lambda v: torch.clamp(v, max=3)),
    "clamp, none": (lambda v: gw.clamp(v, 1, -1), lambda v: torch.clamp(v, 1, -1)),
    **{f"pow, {n}": power(n) for n in (2, 3, 4, 9, -1, -2, -3, 0.5, -0.5, 1.5, 1.7, -0.3)},
}
TWO = {
    "add": (lambda a, b: a + b,) * 2,
    "sub": (lambda a, b: a - b,) * 2,
    "mul": (lambda a, b: a * b,) * 2,
    "div": (lambda a, b: a / b,) * 2,
    "minimum": (gw.minimum, torch.minimum),
    "maximum": (gw.maximum, torch.maximum),
    "lt": compared(lambda a, b: a < b),
    "le": compared(lambda a, b: a <= b),
    "floor_divide": (
        lambda a, b: a // b,
        lambda a, b: torch.where(a.isnan() & ~a.isnan(), a, quotient(a, b)),
    ),
    "and, or, not": (
        lambda a, b: gw.where((a > 0.5) & ~(b <= 1) | (a < -2), a, b),
        lambda a, b: torch.where((a > 0.5) & ~(b <= 1) | (a < -2), a, b),
    ),
    "where": (lambda a, b: gw.where(a > 0.5, a, b), lambda a, b: torch.where(a > 0.5, a, b)),
}
ROUGH = {  # how exact torch is: its slope of 1/6, its powers, and exponents in single precision
    "gelu": 1e-3,  # 1 + erf(v) cancels where v is negative, there and here
    "gelu, tanh": 1e-4,
    "hardsigmoid": 4e-7,
    "pow, 1.7": 1e-5,
    "pow, -0.3": 1e-5,
}
NOT_POINTWISE = {  # maps, learned values, names, noise, and what sees a whole row
    "linear", "weight", "vector", "scalar", "observe", "dropout", "zoneout",
    "sum", "mean", "softmax", "layer_norm", "amax", "amin", "norm", "pointwise",
    "count", "normalize", "rms_norm",
    "cat", "chunk", "cumax", "cumsum", "flip", "rename", "roll", "shift", "split", "take",
}  # fmt: skip


def numbers(dtype):
    return torch.tensor(NUMBERS + DOUBLE * (dtype == torch.float64), dtype=dtype)


def ours(function, backend, rows):
    """A function of the input, or of the input and the state, as one step of a layer."""
    two = len(rows) == 2
    step = (lambda x, h: function(x, h)) if two else (lambda x, h: function(x))
    layer = gw.nn.Recurrent(gw.cell(sizes={"h": "input"})(step), rows[0].numel(), rows[0].numel())
    state = rows[1] if two else torch.zeros_like(rows[0])
    with gw.use_backend(backend):
        return layer.to(rows[0].dtype)(rows[0][None, None], state[None, None])[0].flatten()


def values_and_gradients(function, rows, cotangent=1.0):
    leaves = [r.clone().requires_grad_() for r in rows]
    value = function(leaves)
    given = torch.full_like(value, cotangent)
    found = torch.autograd.grad(value, leaves, given, materialize_grads=True)
    return [value.detach(), *found]


def assert_equal(found, expected, rows, rough=0.0):
    dtype = rows[0].dtype
    rtol = max(rough, 2e-6 if dtype == torch.float32 else 3e-14)
    for what, have, want in zip(("value", "gradient", "gradient"), found, expected, strict=False):
        # subnormal numbers may be zero; derivatives such as 1 - y² know y and no more
        atol = 2 * torch.finfo(dtype).tiny if what == "value" else 2 * torch.finfo(dtype).eps
        right = torch.isclose(have, want, rtol=rtol, atol=atol, equal_nan=True)
        wrong = [
            (*(r[k].item() for r in rows), "ours", have[k].item(), "torch's", want[k].item())
            for k in (~right).nonzero().flatten()
        ]
        assert not wrong, (what, wrong)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("name", ONE)
def test_one_value(name, backend, dtype):
    mine, torchs = ONE[name]
    rows = [numbers(dtype)]
    found = values_and_gradients(lambda r: ours(mine, backend, r), rows)
    expected = values_and_gradients(lambda r: torchs(*r), rows)
    assert_equal(found, expected, rows, ROUGH.get(name, 0.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("name", TWO)
def test_two_values(name, backend, dtype):
    mine, torchs = TWO[name]
    grid = torch.cartesian_prod(numbers(dtype), numbers(dtype))
    rows = list(grid.T.contiguous())
    found = values_and_gradients(lambda r: ours(mine, backend, r), rows)
    assert_equal(found, values_and_gradients(lambda r: torchs(*r), rows), rows)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_remainder_has_the_sign_of_the_divisor(backend):
    a, b = torch.linspace(-10, 10, 399), torch.linspace(0.3, 3, 399) * (-1) ** torch.arange(399)
    rows = [a.double(), b.double()]
    found = values_and_gradients(lambda r: ours(lambda a, b: a % b, backend, r), rows)
    expected = values_and_gradients(lambda r: torch.remainder(*r), rows)
    for have, want in zip(found, expected, strict=True):
        torch.testing.assert_close(have, want, rtol=1e-13, atol=1e-13)


def test_gelu_is_torchs():
    v = torch.linspace(-4, 4, 99, dtype=torch.float64)
    torch.testing.assert_close(ours(gw.gelu, "cpu", [v]), F.gelu(v), rtol=1e-12, atol=1e-14)


def test_every_function_and_word_has_a_row():
    listed = {name.partition(",")[0] for name in (*ONE, *TWO)}
    assert set(FUNCTIONS) <= listed
    assert listed - set(FUNCTIONS) | set(FUNCTIONS) >= set(words.__all__) - NOT_POINTWISE


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("name", ["relu", "clamp", "clamp_min", "clamp_max", "hardsigmoid"])
@pytest.mark.parametrize("cotangent", [math.inf, -math.inf, math.nan])
def test_a_flat_part_stops_any_gradient(name, backend, cotangent):
    mine, torchs = ONE[name]
    rows = [numbers(torch.float64)]
    found = values_and_gradients(lambda r: ours(mine, backend, r), rows, cotangent)
    assert_equal(found, values_and_gradients(lambda r: torchs(*r), rows, cotangent), rows, 1e-7)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("name", ["minimum", "maximum", "where"])
@pytest.mark.parametrize("cotangent", [math.inf, math.nan])
def test_what_is_not_chosen_gets_no_gradient(name, backend, cotangent):
    mine, torchs = TWO[name]
    rows = list(torch.cartesian_prod(numbers(torch.float32), numbers(torch.float32)).T.contiguous())
    found = values_and_gradients(lambda r: ours(mine, backend, r), rows, cotangent)
    assert_equal(found, values_and_gradients(lambda r: torchs(*r), rows, cotangent), rows)


# a branch, where it is not taken, and where its inside has no finite derivative
UNTAKEN = {
    "maximum under a root": (lambda v: gw.sqrt(gw.maximum(v, 0)), [-1.0]),
    "minimum under a logarithm": (lambda v: gw.log(gw.minimum(v, 0)), [1.0]),
    "maximum under a power": (lambda v: gw.maximum(v, 0) ** 0.5, [-1.0]),
    "relu under a root": (lambda v: gw.sqrt(gw.relu(v)), [-1.0, 0.0, -0.0]),
    "clamp under a quotient": (lambda v: 1 / gw.clamp(v, 0, 1), [-1.0]),
    "a root in where": (lambda v: gw.where(v > 0, gw.sqrt(v), 0), [0.0, -1.0, -math.inf]),
    "a quotient in where": (lambda v: gw.where(v > 0, 1 / v, 2), [0.0, -0.0]),
    "several in where": (
        lambda v: gw.where(v <= 0, 0, gw.log(v) * gw.sqrt(v) + v ** -2 / gw.log(v)), [0.0, -1.0],
    ),
    "where in where": (lambda v: gw.where(v > -2, gw.where(v > 0, v ** 0.5, 0), 0), [0.0, -1.0]),
    "a logarithm in maximum": (lambda v: gw.maximum(gw.log(v), -50), [0.0]),
    "a root in minimum": (lambda v: gw.minimum(gw.sqrt(v) + 1, 0.5), [0.0]),
    "a logarithm in relu": (lambda v: gw.relu(gw.log(v)), [0.0]),
    "a logarithm in clamp": (lambda v: gw.clamp(gw.log(v), -3, 3), [0.0]),
    "a root in elu": (lambda v: gw.where(v > 1, gw.elu(gw.sqrt(v)), 0), [0.0, -1.0]),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("name", UNTAKEN)
def test_a_branch_that_is_not_taken_adds_zero(name, backend, dtype):
    function, at = UNTAKEN[name]
    rows = [torch.tensor(at, dtype=dtype)]
    _, gradient = values_and_gradients(lambda r: ours(function, backend, r), rows)
    assert torch.equal(gradient, torch.zeros_like(gradient))
