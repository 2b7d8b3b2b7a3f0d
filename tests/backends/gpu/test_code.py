"""Every function of the language as C: torch's values on every kind of number."""

import math

import pytest
import torch

from backends.gpu.emulator.emulated import Emulated, slots
from float_numbers import NUMBERS
from gatework.backends.gpu import code
from gatework.backends.gpu import text as texts
from gatework.backends.gpu.machine import Launch
from gatework.backends.gpu.nvrtc import compile_text
from gatework.lang.expressions import apply, const, count, symbol
from gatework.lang.functions import FUNCTIONS

SIZES = {"1": 1, "hidden": 7}
X, Y, Z = (symbol(n, "state", "hidden") for n in "xyz")
F = torch.nn.functional


def zeros_and_ones(relation):
    return lambda a, b: relation(a, b).float()


def bounded(clamp):
    return lambda v, bound: torch.where(bound.isnan(), v, clamp(v, bound))  # bounds are numbers


ONE = {
    "neg": torch.neg, "abs": torch.abs, "sign": torch.sign, "relu": F.relu, "floor": torch.floor,
    "sqrt": torch.sqrt, "exp": torch.exp, "expm1": torch.expm1, "log": torch.log,
    "log1p": torch.log1p, "sin": torch.sin, "cos": torch.cos, "atan": torch.atan,
    "erf": torch.erf, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "hardsigmoid": F.hardsigmoid,
    "softplus": lambda v: torch.logaddexp(v, torch.zeros_like(v)), "stop": lambda v: v,
}  # fmt: skip
TWO = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div,
    "lt": zeros_and_ones(torch.lt), "le": zeros_and_ones(torch.le),
    "minimum": torch.minimum, "maximum": torch.maximum,
    "clamp_min": bounded(torch.clamp_min), "clamp_max": bounded(torch.clamp_max),
}  # fmt: skip
THREE = {
    "where": lambda c, a, b: torch.where(c != 0, a, b),
    "surrogate": lambda value, v, slope: value,
}
EXPONENTS = [2.0, 3.0, 4.0, 9.0, -1.0, -2.0, -3.0, 0.5, -0.5, 1.5, 1.7, -0.3]
SYMBOLS = {1: (X,), 2: (X, Y), 3: (X, Y, Z)}


def test_every_function_has_code_and_is_tried():
    assert set(code.WRITERS) == set(FUNCTIONS)
    assert {*ONE, *TWO, *THREE, "pow"} == set(FUNCTIONS)
    assert all(FUNCTIONS[n].arity == k for k, t in ((1, ONE), (2, TWO), (3, THREE)) for n in t)


def body(nodes):
    """A kernel that computes all values of each unit of three rows."""
    lines, names = code.evaluated(nodes, {X: "x", Y: "y", Z: "z"}, SIZES)
    stores = [f"a.out[{k} * a.count + i] = {names[n]};" for k, n in enumerate(nodes)]
    return """
struct Arguments { const float* x; const float* y; const float* z; float* out; i64 count; };
extern "C" __global__ void __launch_bounds__(64) run(const Arguments a) {
  for (int i = threadIdx.x; i < a.count; i += blockDim.x) {
    const float x = a.x[i], y = a.y[i], z = a.z[i];
    @LINES@
  }
}
""".replace("@LINES@", "\n    ".join([*lines, *stores]))


def values(nodes, rows, element="float"):
    x, y, z = (*rows, *rows, *rows)[:3]
    out = torch.full((len(nodes), x.numel()), torch.nan)
    text = texts.assembled(body(nodes), element)
    Emulated().kernel(text).launch(Launch(1, 64), slots(x, y, z, out, x.numel()))
    return out


def assert_torchs(found, expected, what, rtol=1e-6):
    tiny = 2 * torch.finfo(torch.float32).tiny  # subnormal numbers may be zero
    torch.testing.assert_close(found, expected, rtol=rtol, atol=tiny, equal_nan=True, msg=what)


def grid(count):
    numbers = torch.tensor(NUMBERS)
    if count == 1:
        return [torch.cat([numbers, torch.linspace(-20, 20, 999)])]
    return list(torch.cartesian_prod(*[numbers] * count).T.contiguous())


@pytest.mark.parametrize("table", [ONE, TWO, THREE], ids=["one", "two", "three"])
def test_values_are_torchs(table):
    count = FUNCTIONS[next(iter(table))].arity
    rows = grid(count)
    found = values([apply(name, *SYMBOLS[count]) for name in table], rows)
    for row, (name, torchs) in zip(found, table.items(), strict=True):
        assert_torchs(row, torchs(*rows), lambda m, name=name: f"{name}: {m}")


def test_powers_are_torchs():
    [x] = grid(1)
    found = values([X**e for e in EXPONENTS], [x])
    for row, e in zip(found, EXPONENTS, strict=True):
        assert_torchs(row, x**e, lambda m, e=e: f"x ** {e}: {m}", rtol=1e-5)


def test_fast_functions_are_as_exact_as_16_bits():
    x = torch.linspace(-80, 80, 4001)
    names = ["sigmoid", "tanh", "softplus", "exp", "hardsigmoid"]
    found = values([apply(n, X) for n in names], [x], "bfloat16")
    for row, name in zip(found, names, strict=True):
        torch.testing.assert_close(row, ONE[name](x), rtol=1e-5, atol=1e-6, msg=name)
    special = torch.tensor([math.inf, -math.inf, math.nan])
    found = values([apply(n, X) for n in ("sigmoid", "tanh")], [special], "half")
    torch.testing.assert_close(found[0], special.sigmoid(), equal_nan=True)
    torch.testing.assert_close(found[1], special.tanh(), equal_nan=True)


def test_numbers_and_counts():
    numbers = [0.1, 1 / 3, 1e-45, 3.4028234e38, 1e39, -math.inf, math.nan, 16777217.0, -2.5]
    found = values([*map(const, numbers), count("hidden")], [torch.ones(1)])[:, 0]
    expected = torch.tensor([*numbers, 7.0], dtype=torch.float64).float()
    assert torch.equal(found.view(torch.int32), expected.view(torch.int32))


@pytest.mark.parametrize("element", ["float", "half", "bfloat16"])
@pytest.mark.parametrize("architecture", ["sm_90a", "sm_80"])
def test_every_function_compiles_for_cards(architecture, element):
    tables = ((1, ONE), (2, TWO), (3, THREE))
    nodes = [apply(name, *SYMBOLS[k]) for k, table in tables for name in table]
    text = texts.assembled(body([*nodes, *(X**e for e in EXPONENTS)]), element)
    assert compile_text(text, architecture).spilled == 0


def test_what_is_no_function_of_units_is_refused():
    matrix = symbol("w", "parameter", "hidden")
    with pytest.raises(KeyError, match="without a name"):
        code.expression((X + 1) * 2, {X: "x"}, SIZES)
    with pytest.raises(NotImplementedError, match="Symbol is no function"):
        code.expression(matrix, {}, SIZES)


def test_a_text_is_spliced_whole():
    assert texts.spliced("@A@ + @B@", {"A": "x", "B": "@y"}) == "x + @y"
    with pytest.raises(ValueError, match=r"without a match: \['B', 'C'\]"):
        texts.spliced("@A@ + @B@", {"A": "x", "C": "y"})
