"""A kernel whose blocks wait for each other ends, whatever happens, and says so."""

import pytest
import torch

from backends.gpu.emulator.emulated import Broken, Emulated
from backends.gpu.test_group import CELLS, CLUSTER, GRID, SCATTER, STEPS, divided
from gatework.backends.reference import Reference
from gatework.compiler.program import program
from loop_calls import LoopCall, setting_of
from plan_calls import all_sizes, backward_call, random_call

CONFIGURATIONS = {"cluster": CLUSTER, "grid": GRID, "scattered": SCATTER}


class Launched(Emulated):
    """A machine whose last kernel can be asked."""

    def kernel(self, text, about=""):
        self.last = super().kernel(text, about)
        return self.last


def launched(configuration, name, **options):
    """What the kernel of a cell's backward pass said of its waits."""
    cell, machine = CELLS[name], Launched(**options)
    plans, sizes = program(cell), all_sizes(cell, 7, 20)
    call = random_call(plans.forward, (STEPS, 3), sizes, torch.float32)
    plan, call = plans.backward, backward_call(cell, call, Reference().run(plans.keeping, call))
    form = divided(CONFIGURATIONS[configuration])
    LoopCall(plan, call).launch(form(plan, setting_of(call), machine), machine)
    return machine.last.said


@pytest.mark.parametrize(
    ("name", "configuration"),
    [
        ("lstm", "cluster"),
        ("lstm", "grid"),
        ("lstm", "scattered"),
        ("layer_norm_lstm", "cluster"),
        ("layer_norm_lstm", "grid"),
    ],
)
def test_a_block_that_says_nothing_hangs_no_other(name, configuration):
    assert launched(configuration, name, seed=1) == 0
    for seed in (None, 0, 1):
        assert launched(configuration, name, seed=seed, silent=1, patient=True) in (1, 2)
    with pytest.raises(Broken, match="nobody can go on"):
        launched(configuration, name, silent=0)
