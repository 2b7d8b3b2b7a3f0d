"""The register tile against NumPy: every height, width and order, sums of any length.

Letters: R rows and V vectors of W lanes of the tile, K the length of the sums.
"""

import numpy as np
import pytest

from gatework.backends.cpu.vector.ir import Module
from gatework.backends.cpu.vector.target import host, without
from gatework.backends.cpu.vector.tile import Tile
from machine_code import DTYPES, compiled

LENGTHS = [0, 1, 2, 3, 4, 5, 11, 12, 40]
PARAMS = [("ptr", "c"), ("i64", "ldc"), ("ptr", "a"), ("i64", "lda"), ("ptr", "index"),
          ("ptr", "panel"), ("i64", "k"), ("i1", "add")]  # fmt: skip
TARGETS = {"host": host(), "sse": without(("avx", "fma"))}


def native(tile, target):
    """The tile by itself: what calls it, and nothing else, is exported."""
    module = Module()
    tile.write(module)
    with module.function("f", PARAMS, exported=True) as (b, arguments):
        b.call_local(tile.name, *arguments)
    return compiled(module, "f", PARAMS, target)


def check(tile, run, k, add, element):
    """C[R, V·W] (+)= A[R, K] · P[K, V·W], with rows of A in any order and room between rows."""
    random, dtype = np.random.default_rng(0), DTYPES[element]
    width = tile.vectors * tile.vector.lanes
    count = tile.rows if tile.by_rows else k  # rows of memory that are read
    a = random.normal(size=(count + 2, (k if tile.by_rows else tile.rows) + 3)).astype(dtype)
    index = random.permutation(count + 2)[:count]
    panel = random.normal(size=(k, width)).astype(dtype)
    c = np.full((tile.rows, width + 5), np.nan, dtype)
    c[:, :width] = random.normal(size=(tile.rows, width)) if add else np.nan
    left = a[index, :k] if tile.by_rows else a[index, : tile.rows].T
    expected = left.astype(np.float64) @ panel + (c[:, :width] if add else 0)
    run(c, c.shape[1], a, a.shape[1], index, panel, k, add)
    tolerance = {"float": 1e-5, "double": 1e-13}[element]
    np.testing.assert_allclose(c[:, :width], expected, rtol=0, atol=tolerance)
    assert np.isnan(c[:, width:]).all()


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("element", DTYPES)
@pytest.mark.parametrize("by_rows", [True, False], ids=["rows", "columns"])
@pytest.mark.parametrize("rows", [1, 2, 3, 6])
def test_a_tile_is_a_product(rows, by_rows, element, target):
    for vectors in range(1, target.tile_vectors + 1):
        tile = Tile(target.vector(element), rows, vectors, by_rows)
        run = native(tile, target)
        for k in LENGTHS:
            for add in (False, True):
                check(tile, run, k, add, element)


def test_low_tiles_keep_several_sums_of_each_element():
    """Twelve sums keep the multiply-adders busy: two rows of three vectors need two sets."""
    vector = host().vector("float")
    sets = {(r, v): Tile(vector, r, v).sets for r in (1, 2, 3, 6) for v in (1, 2, 3, 4)}
    assert (sets[1, 1], sets[1, 3], sets[1, 4], sets[2, 3], sets[2, 4], sets[6, 1]) == (
        4, 4, 3, 2, 1, 2,
    )  # fmt: skip
    assert all(n <= 4 for n in sets.values())
