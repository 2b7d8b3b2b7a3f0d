"""Products over all steps: which gates are one, and how exact a product of parts is."""

import pytest
import torch

from gatework import cells
from gatework.backends.gpu.after import After, side_by_side
from gatework.backends.gpu.before import Before
from gatework.backends.gpu.matmul import by_parts, is_exact, parts
from gatework.backends.gpu.products import Part, runs, sums
from gatework.compiler.program import program
from gatework.lang import cell, linear, sigmoid, tanh
from interpreted_loops import tf32_allowed
from plan_calls import all_sizes


def part(of, start, stop):
    return Part(of, slice(start, stop))


def test_neighbours_are_one_in_any_order():
    items = [("c", None, (part("w", 4, 6),)), ("a", None, (part("w", 0, 2),))]
    items.append(("b", None, (part("w", 2, 4),)))
    assert runs(items) == [(["a", "b", "c"], (part("w", 0, 6),))]


def test_neighbours_in_one_part_alone_stay_apart():
    items = [("a", None, (part("w", 0, 2), part("d", 2, 4)))]
    items.append(("b", None, (part("w", 2, 4), part("d", 0, 2))))
    assert [together for together, _ in runs(items)] == [["a"], ["b"]]


def test_what_has_nothing_in_common_stays_apart():
    items = [("a", "x", (part("w", 0, 2),)), ("b", "y", (part("w", 2, 4),))]
    items += [("c", "x", (part("v", 2, 4),))]
    assert [together for together, _ in runs(items)] == [["a"], ["b"], ["c"]]


def made(cell, skip=()):
    """What is done before the loop of a cell's forward plan, and after that of its backward one."""
    plans, sizes = program(cell), all_sizes(cell, 3, 5)
    plan = plans.backward
    sides = side_by_side(plan, sizes, [n for n in plan.written if n != "d_x"])
    return Before(plans.forward, sizes), After(plan, sizes, sides, frozenset(skip)), sides


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "gru_reset_before", "peephole_lstm"])
def test_all_gates_are_one_product_before_the_loop(name):
    before, _, _ = made(getattr(cells, name))
    (stack,) = before.stacks
    assert not before.rest
    assert len(stack.values) == len(before.names)
    assert set(before.pitches().values()) == {5 * len(stack.values)}
    ((_, weight),), (bias,) = stack.factors, stack.vectors
    assert weight == part("weight_ih", 0, 5 * len(stack.values))
    assert bias == part("bias_ih", 0, 5 * len(stack.values))


def test_the_lstm_has_a_product_for_each_weight():
    _, after, sides = made(cells.lstm)
    assert {p.of for p in sides.values()} == {"all of hidden"}
    whole = part("all of hidden", 0, 20)
    assert [(t.columns, t.rows) for terms in after.sums.values() for t in terms] == [
        (whole, part("weight_ih", 0, 20))
    ]
    assert not after.rest
    assert {n: [g.columns for g in found] for n, found in after.weights.items()} == {
        "weight_ih": [whole], "weight_hh": [whole]
    }  # fmt: skip
    assert after.vectors == {"bias_ih": [whole], "bias_hh": [whole]}


def test_the_gru_has_one_more_as_its_candidate_differs():
    _, after, _ = made(cells.gru)
    assert {n: len(found) for n, found in after.weights.items()} == {
        "weight_ih": 1, "weight_hh": 2
    }  # fmt: skip


def test_one_sum_over_all_rows_serves_all_vectors():
    _, after, _ = made(cells.peephole_lstm)
    assert len(after.vectors) > 2
    columns = [c for found in after.vectors.values() for c in found]
    assert {c.of for c in columns} == {"all of hidden"}


def test_what_is_skipped_is_not_done():
    _, after, _ = made(cells.lstm, skip=("d_x", "weight_ih", "bias_hh"))
    assert not after.sums
    assert set(after.weights) == {"weight_hh"}
    assert set(after.vectors) == {"bias_ih"}


@cell
def gated_from_outside(x, h):
    """A gate that reads the input alone, so that a function of a product is done before."""
    f = sigmoid(linear("f", x))
    return f * h + (1 - f) * tanh(linear("n", x) + linear("m", h, bias=False))


def test_functions_of_products_are_done_by_operations():
    before, _, _ = made(gated_from_outside)
    hoisted = program(gated_from_outside).forward.hoisted
    assert before.rest
    assert {*before.rest} | {*before.names} == {*hoisted}
    (stack,) = before.stacks
    assert len(stack.values) == 2


def test_sums_are_as_large_as_can_be():
    plan = program(cells.gru).backward
    (value,) = plan.deferred.values()
    ((whole, terms),) = sums([value]).items()
    assert whole is value
    assert len(terms) == 3


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e6])
def test_products_of_parts_are_as_exact_as_float32(scale):
    """Errors of a whole product, against float64, within a half more than torch's own."""
    g = torch.Generator().manual_seed(1)
    a = torch.randn(96, 300, generator=g) * scale
    b = torch.randn(300, 64, generator=g)
    exact = a.double() @ b.double()
    own, found = ((p.double() - exact).norm() for p in (a @ b, by_parts(a, b)))
    assert found <= 1.5 * own


def test_the_parts_of_a_number_are_the_number():
    numbers = torch.randn(1000) * torch.logspace(-20, 20, 1000)
    torch.testing.assert_close(sum(p.float() for p in parts(numbers)), numbers, rtol=1e-7, atol=0)


def test_products_are_exact_unless_tf32_is_allowed():
    assert is_exact()
    with tf32_allowed():
        assert not is_exact()
    assert is_exact()
