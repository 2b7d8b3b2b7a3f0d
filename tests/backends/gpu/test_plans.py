"""The very text of kernels against the reference: every form, lengths, directions, dtypes.

All memory that a call makes is full of NaN before the kernels run, so what nobody writes shows.
"""

import pytest
import torch

from backends.gpu.emulator.emulated import Emulated
from gatework import cells
from gatework.backends.gpu.backend import Gpu
from gatework.backends.reference import Reference
from gatework.compiler.program import program
from plan_calls import all_sizes, assert_plans_agree, assert_same, backward_call, random_call

FORMS = {"lstm": "group", "gru_reset_before": "group", "sru": "scan", "mlstm": "block"}
LENGTHS = torch.tensor([2, 0, 5])


@pytest.fixture(autouse=True)
def _poisoned(poisoned_memory):
    """What nobody writes is NaN."""


def form_of(backend, name):
    plan = program(getattr(cells, name)).forward
    (made,) = backend._made[plan].values()
    (prepared,) = made.prepared.values()
    return prepared.loop.form


@pytest.mark.parametrize(("lengths", "reverse"), [(None, True), (LENGTHS, False)])
@pytest.mark.parametrize("name", FORMS)
def test_each_form_gives_what_the_reference_gives(name, lengths, reverse):
    made, backend = getattr(cells, name), Gpu(Emulated(seed=1))
    assert_plans_agree(
        backend, made, (5, 3), all_sizes(made, 3, 8), torch.float32, lengths, reverse
    )
    assert form_of(backend, name) == FORMS[name]


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("lstm", torch.float16), *((n, torch.bfloat16) for n in ("lstm", "sru", "mlstm"))],
)
def test_sixteen_bits(name, dtype):
    made, backend = getattr(cells, name), Gpu(Emulated(seed=2))
    plans, sizes = program(made), all_sizes(made, 3, 8)
    call = random_call(plans.keeping, (4, 2), sizes, dtype)
    kept = backend.run(plans.keeping, call)
    assert_same(kept, Reference().run(plans.keeping, call), 4e-2)
    backward = backward_call(made, call, kept)
    expected = Reference().run(plans.backward, backward)
    assert_same(backend.run(plans.backward, backward), expected, 4e-2)


@pytest.mark.slow
@pytest.mark.parametrize("name", cells.catalogue())
def test_every_cell(name):
    """With lengths; each form's own tests go through the catalogue without."""
    made = cells.catalogue()[name]
    sizes = all_sizes(made, 3, 8)
    backend = Gpu(Emulated(seed=3))
    run = (5, 3), sizes, torch.float32, LENGTHS
    # some cells grow what is rounded
    assert_plans_agree(backend, made, *run, reverse=True, marking=True, tolerance=5e-5)


def test_a_sequence_of_marked_states():
    made, sizes = cells.mlstm, all_sizes(cells.mlstm, 3, 4)
    backend = Gpu(Emulated(seed=4))
    assert_plans_agree(backend, made, (18, 2), sizes, torch.float32, marking=True)
