"""The routines that every kernel calls, against NumPy, at sizes off the grid of the vectors.

Letters: K the length of the sums, W lanes of a vector, V vectors of a block.

What is read has NaN between its rows and behind the last one, what is written lies in memory full
of NaN: what a routine reads or writes too much shows, and so does what it leaves out. Sums over
rows have a file of their own, `test_sums`.
"""

import numpy as np
import pytest
import torch

from gatework.backends.cpu.vector.blocks import Blocks
from gatework.backends.cpu.vector.ir import Module
from gatework.backends.cpu.vector.routines import transposed
from gatework.backends.cpu.vector.target import host, without
from machine_code import DTYPES, compiled, routine

TARGETS = {"host": host(), "avx2": without(("avx512",)), "sse": without(("avx", "fma"))}
GAP = 3  # numbers between rows
every_element = pytest.mark.parametrize("element", DTYPES)
every_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
add_or_not = pytest.mark.parametrize("add", [False, True])


def block(target, element, columns):
    """How many columns a block has, V at most, and how far apart its rows lie."""
    blocks = Blocks(columns, target.vector(element), target.tile_vectors)
    return min(columns, blocks.width), blocks.width


def normal(*shape, element):
    return torch.randn(shape, dtype=torch.float64).numpy().astype(DTYPES[element])


def source(rows, columns, gap=GAP, *, element):
    """Random rows, NaN between them and behind the last."""
    found = np.full((rows + 16, columns + gap), np.nan, DTYPES[element])
    found[:rows, :columns] = normal(rows, columns, element=element)
    return found


def rows_of(count, among):
    """Some rows in any order."""
    return torch.randperm(among)[:count].numpy()


def result(rows, pitch, columns, add, element):
    """Memory for a result: what is added to it stands in the first columns of each row."""
    found = np.full((rows, pitch), np.nan, DTYPES[element])
    if add:
        found[:, :columns] = normal(rows, columns, element=element)
    return found


def assert_close(found, expected, element):
    tolerance = {"float": 3e-5, "double": 1e-13}[element]
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


# ---- products with packed weights --------------------------------------------------------------

HEIGHTS = [1, 2, 5, 6, 7, 13, 20]  # rows, which are cut into tiles of six at most
SUMS = [1, 2, 7, 33]


@add_or_not
@every_element
@every_target
def test_a_product_with_a_panel(target, element, add):
    """C[count, V·W] (+)= A[rows, K] · panel, for every V."""
    for vectors in range(1, target.tile_vectors + 1):
        width = vectors * target.vector(element).lanes
        run = routine(f"product_{vectors}", target, element)
        for count in HEIGHTS:
            for k in SUMS:
                a = source(count + 4, k, element=element)
                rows, panel = rows_of(count, count + 4), normal(k, width, element=element)
                c = result(count, width, width, add, element)
                expected = a[rows, :k] @ panel + (c if add else 0)
                run(c, a, k + GAP, rows, count, panel, k, add)
                assert_close(c, expected, element)


@add_or_not
@every_element
@every_target
def test_a_contraction_with_a_panel(target, element, add):
    """C[count, V·W] (+)= A[rows, count]ᵀ · panel, for every V."""
    for vectors in range(1, target.tile_vectors + 1):
        width = vectors * target.vector(element).lanes
        run = routine(f"contract_{vectors}", target, element)
        for count in HEIGHTS:
            for k in SUMS:
                a = source(k + 4, count, element=element)
                rows, panel = rows_of(k, k + 4), normal(k, width, element=element)
                c = result(count, width + GAP, width, add, element)
                expected = a[rows, :count].T @ panel + (c[:, :width] if add else 0)
                run(c, width + GAP, a, count + GAP, rows, count, panel, k, add)
                assert_close(c[:, :width], expected, element)
                assert np.isnan(c[:, width:]).all()


# ---- products with weights as they lie ---------------------------------------------------------

DIRECT = [(1, 1, 1), (2, 3, 5), (1, 17, 33), (3, 64, 9), (2, 33, 64)]  # rows, K, units


@add_or_not
@every_element
@every_target
@pytest.mark.parametrize(("count", "k", "units"), DIRECT)
def test_dot(count, k, units, target, element, add):
    """C[count, units] (+)= A[rows, K] · W[units, K]ᵀ."""
    units, pitch = block(target, element, units)
    a, w = source(count + 2, k, element=element), source(units, k, 1, element=element)
    rows, c = rows_of(count, count + 2), result(count, pitch, units, add, element)
    expected = a[rows, :k] @ w[:units, :k].T + (c[:, :units] if add else 0)
    routine("dot", target, element)(c, a, k + GAP, rows, count, w, k + 1, units, k, add)
    assert_close(c[:, :units], expected, element)


@add_or_not
@every_element
@every_target
@pytest.mark.parametrize(("count", "k", "columns"), DIRECT)
def test_spread(count, k, columns, target, element, add):
    """C[count, columns] (+)= A[rows, K] · W[K, columns]; nothing behind the columns is written."""
    columns, pitch = block(target, element, columns)
    a, w = source(count + 2, k, element=element), source(k, columns, 1, element=element)
    rows, c = rows_of(count, count + 2), result(count, pitch, columns, add, element)
    expected = a[rows, :k] @ w[:k, :columns] + (c[:, :columns] if add else 0)
    routine("spread", target, element)(
        c, a, k + GAP, rows, count, w, columns + 1, columns, k, add
    )  # fmt: skip
    assert_close(c[:, :columns], expected, element)
    assert np.isnan(c[:, columns:]).all()


# ---- packing -----------------------------------------------------------------------------------

PACKED = [(1, 1), (3, 5), (40, 9), (7, 33), (5, 64), (2, 1000)]  # rows or K, columns


@every_element
@every_target
@pytest.mark.parametrize(("count", "columns"), PACKED)
def test_gather(count, columns, target, element):
    """panel[count, V·W] = the columns of some rows, zeros behind the last; one block at most."""
    here, pitch = block(target, element, columns)
    weights, rows = source(count + 3, columns, element=element), rows_of(count, count + 3)
    panel = np.full((count + 1, pitch), np.nan, weights.dtype)
    routine("gather", target, element)(panel, weights, columns + GAP, rows, count, columns)
    np.testing.assert_array_equal(panel[:count, :here], weights[rows, :here])
    assert not panel[:count, here:].any()
    assert np.isnan(panel[count]).all()


@every_element
@every_target
@pytest.mark.parametrize(("k", "rows"), PACKED)
def test_transpose(k, rows, target, element):
    """panel[K, V·W] = some rows as columns, any numbers behind the last; one block at most."""
    here, pitch = block(target, element, rows)
    weights = source(rows, k, element=element)
    panel = np.full((k + 1, pitch), np.nan, weights.dtype)
    routine("transpose", target, element)(panel, weights, k + GAP, rows, k)
    np.testing.assert_array_equal(panel[:k, :here], weights[:here, :k].T)
    assert np.isfinite(panel[:k]).all()
    assert np.isnan(panel[k]).all()


@pytest.mark.parametrize("element", DTYPES)
def test_a_square_of_vectors_is_transposed_in_registers(element):
    vector, module = host().vector(element), Module()
    lanes, params = vector.lanes, [("ptr", "source"), ("ptr", "to")]
    with module.function("f", params, exported=True) as (b, (source, to)):
        lines = [b.load(b.at(source, element, i * lanes), vector.type) for i in range(lanes)]
        for i, line in enumerate(transposed(b, vector, lines)):
            b.store(line, b.at(to, element, i * lanes))
    square = np.arange(lanes * lanes, dtype=DTYPES[element]).reshape(lanes, lanes)
    found = np.zeros_like(square)
    compiled(module, "f", params, host())(square, found)
    np.testing.assert_array_equal(found, square.T)


# ---- copies ------------------------------------------------------------------------------------


@add_or_not
@every_element
@every_target
@pytest.mark.parametrize(("count", "columns"), [(1, 1), (3, 5), (2, 33), (4, 64), (0, 5)])
def test_put(count, columns, target, element, add):
    """A block is copied or added; nothing behind its last column is written."""
    given = source(count, columns, element=element)
    to = result(count, columns + 1, columns, add, element)
    expected = given[:count, :columns] + (to[:, :columns] if add else 0)
    routine("put", target, element)(
        to, columns + 1, given, columns + GAP, count, columns, add
    )  # fmt: skip
    np.testing.assert_array_equal(to[:, :columns], expected)
    assert np.isnan(to[:, columns:]).all()


@every_element
def test_a_copied_zero_keeps_its_sign(element):
    given, to = np.full((1, 3), -0.0, DTYPES[element]), np.zeros((1, 3), DTYPES[element])
    routine("put", host(), element)(to, 3, given, 3, 1, 3, False)
    assert np.signbit(to).all()
