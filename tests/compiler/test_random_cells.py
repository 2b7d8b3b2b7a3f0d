"""Derived gradients of random cells equal autograd's through the reference's forward plan.

The reference runs the derived plans, too: what is compared is equations. Machine code of random
cells is compared in tests/backends/cpu/test_random_cells.py.
"""

from typing import get_args

import pytest
from hypothesis import Phase, given, note, settings
from hypothesis import strategies as st

import gatework as gw
from axes_cells import random_axes_cells
from gatework.analysis import calculus
from gatework.analysis.equivalence import equivalent
from gatework.lang.expressions import Apply, Arrange, Arrangement, Product, Reduce, postorder
from gatework.lang.functions import FUNCTIONS
from gatework.lang.printing import equations
from numerics import assert_same, problem
from random_cells import random_cells

# steps, lengths of the sequences (None: all have all steps)
SHAPES = [(1, None), (4, None), (5, (5, 2, 0)), (3, (0, 3, 1))]
EXAMPLES = max(250, settings.default.max_examples)
PARTS = 5  # of the examples: workers share them


def gradients_agree(cell, shape, hidden_size, reverse, seed):
    note("\n".join(equations(cell)))
    steps, lengths = shape
    random = problem(
        cell,
        steps=steps,
        lengths=lengths,
        batch=len(lengths or "ab"),
        hidden_size=hidden_size,
        reverse=reverse,
        seed=seed,
        scale=0.5,
    )
    with gw.use_backend("reference"):
        assert_same(random.derived(), random.by_autograd(), 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
@given(
    random_cells(noise=True, further=True),
    st.sampled_from(SHAPES),
    st.sampled_from([4, 1, 7]),
    st.booleans(),
    st.integers(0, 5),
)
@settings(max_examples=EXAMPLES // PARTS)
def test_derived_gradients_are_autograds(part, cell, shape, hidden_size, reverse, seed):
    gradients_agree(cell, shape, hidden_size, reverse, seed)


@pytest.mark.slow
@given(random_axes_cells(), st.sampled_from(SHAPES), st.booleans(), st.integers(0, 5))
def test_derived_gradients_of_cells_with_axes_are_autograds(cell, shape, reverse, seed):
    """Sums along axes, maps per key."""
    gradients_agree(cell, shape, 12, reverse, seed)


@given(random_cells())
@settings(max_examples=30)
def test_a_random_cell_equals_itself(cell):
    assert equivalent(cell, cell)


@pytest.mark.parametrize("function", ["tanh", "mul", "div"])
def test_a_wrong_derivative_is_found(function, monkeypatch):
    """The check above can fail: each rule in turn is made wrong by a tenth."""
    right = calculus.RULES[function]

    def wrong(g, *rest):
        return tuple(None if part is None else 1.1 * part for part in right(g, *rest))

    monkeypatch.setitem(calculus.RULES, function, wrong)

    @given(random_cells())
    @settings(max_examples=400, phases=[Phase.generate])
    def check(cell):
        gradients_agree(cell, (2, None), 3, False, 0)

    with pytest.raises(AssertionError, match=r"gradient of [\w ]+: differs by"):
        check()


def test_the_strategy_makes_what_it_promises():
    """One to three states, one to three dependent products, most functions, noise, own sizes."""
    seen_states, seen_functions, seen_depths = set(), set(), set()

    @given(random_cells(noise=True, further=True))
    @settings(max_examples=400, phases=[Phase.generate])
    def collect(cell):
        seen_states.add(len(cell.states))
        nodes = list(postorder(cell.next_states))
        seen_functions.update(n.function for n in nodes if isinstance(n, Apply | Reduce))
        seen_functions.update(n.kind for n in nodes if isinstance(n, Arrange))
        depth = {}
        for n in nodes:
            below = max((depth[a] for a in n.args), default=0)
            depth[n] = below + isinstance(n, Product)
        seen_depths.add(max(depth.values()))

    collect()
    assert seen_states == {1, 2, 3}
    assert seen_depths >= {1, 2, 3}
    # index_add is there in gradients alone, and what renames axes has some: see random_axes_cells
    arrangements = set(get_args(Arrangement)) - {"index_add", "rename"}
    assert set(FUNCTIONS) | {"sum", "max"} | arrangements == seen_functions
