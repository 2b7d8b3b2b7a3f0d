"""Expressions: one object each, simplified without changing their value, safe to copy and share."""

import gc
import math
import pickle
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gatework as gw
from gatework.lang.expressions import (
    Apply,
    Const,
    Count,
    Expr,
    Matrix,
    Reduce,
    apply,
    as_expr,
    const,
    count,
    expand,
    postorder,
    product,
    reduce,
    substitute,
    symbol,
)
from gatework.lang.functions import FUNCTIONS

a, b, c = (symbol(n, "state", "hidden") for n in "abc")
s = symbol("s", "parameter", "1")
x = symbol("x", "sequence", "input")
W = Matrix("hh", "g", "hidden", "hidden")


# ---- one object --------------------------------------------------------------------------------


def test_equal_expressions_are_one_object():
    assert a + b * 2 is a + b * 2
    assert gw.tanh(a) is apply("tanh", a)
    assert product(W, a) is product(Matrix("hh", "g", "hidden", "hidden"), a)
    assert a + b is not b + a
    assert symbol("a", "state", "hidden") is a
    assert symbol("a", "state", "other") is not a
    assert symbol("a", "sequence", "hidden") is not a
    assert const(1) is not const(1, "hidden")
    assert product(W, a) is not product(W, a, transposed=True)


def test_equality_is_identity_and_usable_in_sets():
    assert a == symbol("a", "state", "hidden")
    assert a != b
    assert len({a + b, a + b, b + a}) == 2


def test_unused_expressions_are_forgotten():
    from gatework.lang import expressions

    gc.collect()
    before = len(expressions._nodes)
    value = gw.tanh(symbol("only here", "state", "hidden")) + 12345.678
    assert len(expressions._nodes) > before
    del value
    gc.collect()
    assert len(expressions._nodes) == before


@pytest.mark.parametrize("copied", [lambda v: pickle.loads(pickle.dumps(v))])
def test_copies_are_the_same_object(copied):
    for value in (a, const(2.5), count("hidden"), product(W, a), gw.softmax(a * b), s / 3):
        assert copied(value) is value


def test_threads_get_the_same_objects():
    found: list[list[Expr]] = []
    barrier = threading.Barrier(8)

    def build():
        barrier.wait()
        found.append([gw.sigmoid(a * k + b) - gw.tanh(c / (k + 1)) for k in range(200)])

    threads = [threading.Thread(target=build) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 8
    for values in found[1:]:
        assert all(p is q for p, q in zip(values, found[0], strict=True))


def test_threads_define_cells_without_mixing_them():
    cells, errors = {}, []

    def define(k: int):
        try:
            for _ in range(20):

                @gw.cell
                def mine(x, h):
                    return gw.tanh(gw.linear(f"gate{k}", x, h)) * gw.vector(f"p{k}")

                cells.setdefault(k, []).append(mine)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=define, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
    for k, made in cells.items():
        for cell in made:
            assert cell.parameters[0].blocks == (f"gate{k}",)
            assert cell.parameters[-1].name == f"p{k}"


# ---- simplifying -------------------------------------------------------------------------------

RULES = {
    "a + 0": (a + 0, a),
    "0 + a": (0 + a, a),
    "a - 0": (a - 0, a),
    "0 - a": (0 - a, -a),
    "a - a": (a - a, const(0, "hidden")),
    "a + -b": (a + -b, a - b),
    "a * 1": (a * 1, a),
    "1 * a": (1 * a, a),
    "a * 0": (a * 0, const(0, "hidden")),
    "a * -1": (a * -1, -a),
    "a / 1": (a / 1, a),
    "0 / a": (0 / a, const(0, "hidden")),
    "neg neg": (0 - (-a), a),
    "+a": (+a, a),
    "a ** 1": (a**1, a),
    "a ** 0": (a**0, const(1, "hidden")),
    "2 + 3": (const(2) + 3, const(5)),
    "exp(0)": (gw.exp(0), const(1)),
    "where of one": (gw.where(a < b, c, c), c),
    "where 1": (gw.where(const(1), a, b), a),
    "where 0": (gw.where(const(0), a, b), b),
    "sum of a number": (gw.sum(s), s),
    "sum of a constant row": (gw.sum(const(2, "hidden")), 2 * count("hidden")),
    "max of a constant row": (reduce("max", const(2, "hidden")), const(2)),
    "W 0": (product(W, const(0, "hidden")), const(0, "hidden")),
    "no fold to infinity": (gw.exp(1000), Apply),
    "no fold of an error": (gw.log(-1), Apply),
    "no division by zero": (const(1) / 0, Apply),
    "count of one": (count("1"), const(1)),
}


@pytest.mark.parametrize(("found", "expected"), RULES.values(), ids=list(RULES))
def test_rules_of_simplification(found, expected):
    if isinstance(expected, type):
        assert isinstance(found, expected)
    else:
        assert found is expected


def test_a_number_is_never_lost_in_a_row():
    """Simplifying must keep the size: s * 1 over the units is still a row."""
    row = expand(s, "hidden")
    assert row.size == "hidden"
    assert (row + 0).size == "hidden"
    assert (s + const(0, "hidden")).size == "hidden"
    assert gw.where(const(1), s, a).size == "hidden"
    assert (s * const(1, "hidden")).size == "hidden"


def test_sizes_are_joined_and_mixed_ones_refused():
    assert (a + s).size == "hidden"
    assert (s * 2).size == "1"
    assert gw.sum(a).size == "1"
    with pytest.raises(ValueError, match="sizes 'hidden' and 'input'"):
        a + x
    with pytest.raises(ValueError, match="expects a row of size 'hidden', got 'input'"):
        product(W, x)


@pytest.mark.parametrize("value", [True, "a", None, [1], 1j])
def test_only_numbers_become_expressions(value):
    with pytest.raises(TypeError, match="expected a value of the cell or a number"):
        as_expr(value)


# Values on three units, to check simplified expressions against plain evaluation.
UNITS = 3
ROWS = {a: [0.5, -1.25, 2.0], b: [-0.75, 0.0, 1.5], c: [1.0, 3.0, -2.0], s: [0.25]}


def evaluate(node: Expr) -> list[float]:
    """The value of an expression, one number per unit, by the functions' plain definitions."""
    if node in ROWS:
        return ROWS[node]
    if isinstance(node, Const):
        return [node.value] * (1 if node.size == "1" else UNITS)
    if isinstance(node, Count):
        return [float(UNITS)]
    if isinstance(node, Reduce):
        return [{"sum": math.fsum, "max": max}[node.function](evaluate(node.args[0]))]
    assert isinstance(node, Apply)
    return pointwise(node.function, *map(evaluate, node.args))


def pointwise(function: str, *args: list[float]) -> list[float]:
    units = max(map(len, args))
    wide = [r * units if len(r) == 1 else r for r in args]
    return [FUNCTIONS[function].compute(*row) for row in zip(*wide, strict=True)]


NUMBERS = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
BINARY = ["add", "sub", "mul", "minimum", "maximum", "lt", "le"]
UNARY = ["neg", "tanh", "sigmoid", "softplus", "abs", "relu", "sign", "sin", "cos"]


def trees(children):
    return st.one_of(
        st.tuples(st.sampled_from(UNARY), children),
        st.tuples(st.sampled_from(BINARY), children, children),
        st.tuples(st.just("where"), children, children, children),
        st.tuples(st.just("div"), children, st.sampled_from([-2.0, -1.0, 1.0, 4.0])),
        st.tuples(st.just("pow"), children, st.sampled_from([0.0, 1.0, 2.0, 3.0])),
    )


TREES = st.recursive(st.one_of(NUMBERS, st.sampled_from("abcs")), trees, max_leaves=20)
LEAVES = {"a": a, "b": b, "c": c, "s": s}


def built(tree) -> Expr:
    if isinstance(tree, tuple):
        return apply(tree[0], *map(built, tree[1:]))
    return LEAVES[tree] if isinstance(tree, str) else const(tree)


def computed(tree) -> list[float]:
    if isinstance(tree, tuple):
        return pointwise(tree[0], *map(computed, tree[1:]))
    return ROWS[LEAVES[tree]] if isinstance(tree, str) else [tree]


@given(TREES)
@settings(max_examples=max(200, settings.default.max_examples))
def test_simplifying_keeps_the_value(tree):
    found, expected = evaluate(built(tree)), computed(tree)
    assert len(found) == len(expected), "the size changed"
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(TREES, TREES)
def test_substituting_is_building_with_the_replacement(tree, replacement):
    value = built(replacement)
    if value.size == "1":
        value = expand(value, "hidden")
    (found,) = substitute([built(tree)], {a: value})

    def replaced(part):
        if isinstance(part, tuple):
            return apply(part[0], *map(replaced, part[1:]))
        return value if part == "a" else built(part)

    assert evaluate(found) == pytest.approx(evaluate(expand_like(replaced(tree), found)), abs=1e-9)


def expand_like(value: Expr, other: Expr) -> Expr:
    return expand(value, other.size)


def test_substituting_nothing_changes_nothing():
    for name, cell in gw.cells.catalogue().items():
        found = substitute(cell.next_states, {})
        assert all(p is q for p, q in zip(found, cell.next_states, strict=True)), name


def test_substituted_values_are_simplified_through_products():
    (found,) = substitute([product(W, a * b) + c], {b: const(0, "hidden")})
    assert found is c


def test_postorder_gives_arguments_first_and_each_once():
    nodes = list(postorder([gw.tanh(a + b) * (a + b), a]))
    assert len(nodes) == len(set(nodes)) == 5
    position = {n: k for k, n in enumerate(nodes)}
    assert all(position[arg] < position[n] for n in nodes for arg in n.args)
    deep = a
    for _ in range(5000):
        deep = gw.tanh(deep)
    assert sum(1 for _ in postorder([deep])) == 5001


def test_values_on_numbers_are_those_of_torch():
    import torch

    from gatework.backends.reference import OPERATIONS

    values = [-30.0, -2.0, -0.5, 0.0, 0.5, 2.0, 30.0]
    assert set(OPERATIONS) == set(FUNCTIONS)
    for name, function in FUNCTIONS.items():
        for p in values:
            args = [p, 1.5, -0.5][: function.arity]
            try:
                expected = function.compute(*args)
            except (ArithmeticError, ValueError):
                continue
            tensors = [torch.tensor(v, dtype=torch.float64) for v in args]
            found = OPERATIONS[name](*tensors).item()
            assert found == pytest.approx(expected, rel=1e-13, abs=1e-300), f"{name}{args}"


def test_a_sum_over_units_takes_numbers_out_and_leaves_out_what_is_centred():
    number = reduce("sum", x)
    mean = number / count(x.size)
    centred = x - mean
    assert reduce("sum", x * number) is reduce("sum", x) * number
    assert reduce("sum", -(x / number)) is -(reduce("sum", x) / number)
    assert reduce("sum", centred) is const(0)
    assert reduce("sum", x * x + 2 * (centred / number)) is reduce("sum", x * x)
    assert reduce("sum", x * centred).args == (x * centred,)  # no number: it stays
    assert reduce("sum", x + x * centred).args == (x + x * centred,)
    assert reduce("sum", number / x).args == (number / x,)


def test_what_is_repeated_beside_what_is_centred_is_added_up_as_often():
    number = symbol("n", "constant", "1")
    found = reduce("sum", x - reduce("sum", x) / count(x.size) + number)
    assert set(found.args) == {number, count(x.size)}
    whole, key = symbol("S", "state", "key,value"), symbol("k", "sequence", "key,1")
    centred = whole - reduce("sum", whole, "key,1") / count("1,value")
    assert set(reduce("sum", centred + key, "key,1").args) == {key, count("1,value")}
    assert reduce("sum", centred + (number - number * key), "key,1").size == "key,1"
