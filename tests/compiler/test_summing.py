"""Sums over long rows, written so that they take fewer operations: the same numbers otherwise."""

from gatework.compiler.summing import fewer_operations
from gatework.lang.expressions import reduce, symbol

LONG, K, V = "key,value", "key,1", "1,value"
S, R = (symbol(n, "state", LONG) for n in "SR")
k, q = (symbol(n, "sequence", K) for n in "kq")
d, w = (symbol(n, "sequence", V) for n in "dw")


def test_a_sum_that_a_state_waits_for_leaves_outer_products_out():
    new = S + q * d
    total = reduce("sum", new * k, V)
    state, written = fewer_operations((new + k * total, total), states=1)
    expected = reduce("sum", S * k, V) + reduce("sum", q * k, "1") * d
    assert written is expected
    assert state is new + k * expected


def test_a_sum_that_no_state_waits_for_is_taken_with_the_state():
    new = S + q * d
    results = (new, reduce("sum", new * k, V))
    assert fewer_operations(results, states=1) == results


def test_a_sum_over_a_product_of_long_rows_stays():
    total = reduce("sum", (S + q * d) * R, V)
    results = (S + k * total, total)
    assert fewer_operations(results, states=1) == results


def test_two_sums_over_the_same_axes_are_one():
    one, other = reduce("sum", S * d, K), reduce("sum", R * w, K)
    assert fewer_operations((S, one + other), states=1)[1] is reduce("sum", S * d + R * w, K)


def test_two_sums_of_which_one_is_needed_alone_stay():
    one, other = reduce("sum", S * d, K), reduce("sum", R * w, K)
    results = (S, one + other, other)
    assert fewer_operations(results, states=1) == results
