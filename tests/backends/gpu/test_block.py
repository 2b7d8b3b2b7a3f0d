"""The block form: any plan at all, against the reference's loop in float64."""

import pytest
import torch

import gatework as gw
from backends.gpu.emulator.emulated import Emulated
from gatework.backends.gpu.block import block
from gatework.backends.reference import Reference
from gatework.compiler.program import program
from loop_calls import assert_loop_agrees
from plan_calls import all_sizes, backward_call, random_call

CELLS = gw.cells.catalogue()
CORE = (
    "rnn", "layer_norm_lstm", "delta_net", "on_lstm", "stack_rnn", "slstm_heads", "clockwork_rnn",
    "ttt_linear",
)  # fmt: skip
STEPS, BATCH = 5, 3


def assert_all_plans_agree(cell, *, marking=False, steps=STEPS, tolerance=1e-5, **options):
    """The loops of all three plans of a cell."""
    sizes, plans = all_sizes(cell, 5, 13), program(cell, marking=marking)
    dtype = options.pop("dtype", torch.float32)
    machine = Emulated(seed=options.pop("seed", None))
    call = random_call(plans.forward, (steps, BATCH), sizes, dtype, **options)
    assert_loop_agrees(block, plans.forward, call, machine, tolerance)
    assert_loop_agrees(block, plans.keeping, call, machine, tolerance)
    kept = Reference().run(plans.keeping, call)
    backward = backward_call(cell, call, kept, marking)
    assert_loop_agrees(block, plans.backward, backward, machine, tolerance)


def names(core):
    """Every cell of the catalogue, those slow that are not at the core."""
    return [n if n in core else pytest.param(n, marks=pytest.mark.slow) for n in CELLS]


@pytest.mark.parametrize("name", names(CORE))
def test_every_cell_agrees(name):
    """Sequences in whole length, threads in any order."""
    assert_all_plans_agree(CELLS[name], seed=1)


@pytest.mark.parametrize("name", names(("layer_norm_lstm",)))
@pytest.mark.parametrize("reverse", [False, True])
def test_sequences_have_lengths_of_their_own(name, reverse):
    lengths = torch.tensor([2, STEPS, 0])
    assert_all_plans_agree(CELLS[name], lengths=lengths, reverse=reverse, seed=2)
