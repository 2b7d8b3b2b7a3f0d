"""Every function of the language against mpmath-free float64 references."""

import math

import numpy as np
import pytest

from gatework.backends.cpu.vector import pointwise, target
from gatework.backends.cpu.vector.elementary import Elementary
from gatework.backends.cpu.vector.ir import Module
from gatework.lang.functions import FUNCTIONS
from machine_code import compiled

WRITTEN_OUT = {"pow"}  # products, a root or an exponential, by its exponent
SPECIAL = [0.0, -0.0, math.inf, -math.inf, math.nan, 1e-40, 1e-30, -1e-30, 88.5, -88.5, 104, -104]
TARGETS = {"host": (), "avx2": ("avx512",)}


def _one(function, arity, dtype, switched_off=()):
    """A compiled function over whole arrays."""
    t = target.without(switched_off)
    element = "float" if dtype == np.float32 else "double"
    vector = t.vector(element)
    module = Module()
    params = [("ptr", f"a{i}") for i in range(arity)] + [("ptr", "out"), ("i64", "n")]
    with module.function("f", params, exported=True) as (b, values):
        *inputs, out, n = values
        with b.loop(n, step=vector.lanes) as i:
            args = tuple(b.load(b.at(p, element, i), vector.type) for p in inputs)
            b.store(function(Elementary(b, vector), *args), b.at(out, element, i))
    native = compiled(module, "f", params, t)

    def call(*arrays):
        out = np.full_like(arrays[0], math.nan)
        native(*arrays, out, out.size)
        return out

    return call


def _arguments(dtype, low, high):
    body = np.linspace(low, high, 4096 - len(SPECIAL))
    return np.concatenate([body, SPECIAL]).astype(dtype)


def _numpy_softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


ONE_ARGUMENT = {
    "neg": (np.negative, -5, 5),
    "abs": (np.abs, -5, 5),
    "sign": (lambda x: (x > 0) * 1.0 - (x < 0), -5, 5),
    "relu": (lambda x: np.where(np.isnan(x), x, np.maximum(x, 0)), -5, 5),
    "sqrt": (np.sqrt, -1, 50),
    "exp": (np.exp, -110, 100),
    "expm1": (np.expm1, -60, 60),
    "log": (np.log, -1, 60),
    "log1p": (np.log1p, -1.5, 60),
    "sin": (np.sin, -60, 60),
    "cos": (np.cos, -60, 60),
    "atan": (np.arctan, -9, 9),
    "erf": (np.vectorize(math.erf, otypes=[np.float64]), -7, 7),
    "floor": (np.floor, -9, 9),
    "stop": (np.positive, -9, 9),
    "tanh": (np.tanh, -25, 25),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), -110, 110),
    "softplus": (_numpy_softplus, -60, 60),
    "hardsigmoid": (lambda x: np.clip(x + 3, 0, 6) / 6, -5, 5),
}


def test_every_function_has_machine_code_and_is_tried():
    assert set(pointwise.EMITTERS) | WRITTEN_OUT == set(FUNCTIONS)
    assert set(ONE_ARGUMENT) == {name for name, f in FUNCTIONS.items() if f.arity == 1}


@pytest.mark.parametrize("processor", TARGETS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ONE_ARGUMENT)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_one_argument(name, dtype, processor):
    expected, low, high = ONE_ARGUMENT[name]
    emit = lambda e, x: pointwise.emit(e, name, (x,))  # noqa: E731
    x = _arguments(dtype, low, high)
    got = _one(emit, 1, dtype, TARGETS[processor])(x)
    want = expected(x.astype(np.float64 if dtype == np.float32 else np.longdouble))
    tolerance = 4e-7 if dtype == np.float32 else 1e-14
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(got, want.astype(dtype), rtol=tolerance, atol=tolerance)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["expm1", "log1p", "tanh", "sin", "atan", "erf"])
def test_small_arguments_keep_their_digits(name, dtype):
    expected = ONE_ARGUMENT[name][0]
    x = np.geomspace(1e-20, 0.5, 4096).astype(dtype)
    got = _one(lambda e, v: pointwise.emit(e, name, (v,)), 1, dtype)(x)
    rtol = 5e-7 if dtype == np.float32 else 1e-14
    np.testing.assert_allclose(got, expected(x.astype(np.longdouble)).astype(dtype), rtol=rtol)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ["sin", "cos"])
def test_large_angles(name):
    x = np.geomspace(1, 1e30, 4096).astype(np.float32)
    got = _one(lambda e, v: pointwise.emit(e, name, (v,)), 1, np.float32)(x)
    want = ONE_ARGUMENT[name][0](x.astype(np.float64))
    np.testing.assert_allclose(got, want, atol=4e-7)


@pytest.mark.parametrize("processor", TARGETS)
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("add", np.add), ("sub", np.subtract), ("mul", np.multiply), ("div", np.divide),
        ("minimum", np.minimum), ("maximum", np.maximum),
        ("lt", lambda a, b: (a < b) * 1.0), ("le", lambda a, b: (a <= b) * 1.0),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_two_arguments(name, expected, processor):
    rng = np.random.default_rng(0)
    a, b = rng.choice([*SPECIAL[:6], 1.5, -2.0], size=(2, 512)).astype(np.float32)
    emit = lambda e, x, y: pointwise.emit(e, name, (x, y))  # noqa: E731
    got = _one(emit, 2, np.float32, TARGETS[processor])(a, b)
    np.testing.assert_array_equal(got, expected(a, b).astype(np.float32))


@pytest.mark.parametrize("exponent", [2.0, 3.0, -1.0, -2.0, 0.5, 1.7, -0.3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_powers(exponent, dtype):
    x = np.linspace(0.01, 5, 512).astype(dtype)
    got = _one(lambda e, v: pointwise.power(e, v, exponent), 1, dtype)(x)
    np.testing.assert_allclose(got, x**exponent, rtol=1e-6 if dtype == np.float32 else 1e-14)


def test_where_takes_any_number_but_zero_as_true():
    c = np.array([0.0, -0.0, 1.0, -2.0, 0.5, math.inf, 0.0, 1.0] * 4, np.float32)
    a, b = np.ones_like(c), np.zeros_like(c)
    got = _one(lambda e, *v: pointwise.emit(e, "where", v), 3, np.float32)(c, a, b)
    np.testing.assert_array_equal(got, (c != 0).astype(np.float32))
