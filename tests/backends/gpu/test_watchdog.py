"""Blocks that wait for each other: every kernel ends, whatever happens, and needs all its waits."""

from dataclasses import replace

import pytest
import torch

from backends.gpu.emulator.emulated import Broken, Emulated
from backends.gpu.test_group import CELLS, CLUSTER, GRID, SCATTER, STEPS, divided
from gatework.backends.reference import Reference
from gatework.compiler.program import program
from loop_calls import LoopCall, assert_loop_agrees, setting_of
from plan_calls import all_sizes, backward_call, random_call

CONFIGURATIONS = {"cluster": CLUSTER, "grid": GRID, "scattered": SCATTER}


class Launched(Emulated):
    """A machine whose last kernel can be asked."""

    def kernel(self, text, about=""):
        self.last = super().kernel(text, about)
        return self.last


def backward_of(name):
    """A cell's backward plan and a call of it."""
    cell = CELLS[name]
    plans, sizes = program(cell), all_sizes(cell, 7, 20)
    call = random_call(plans.forward, (STEPS, 3), sizes, torch.float32)
    return plans.backward, backward_call(cell, call, Reference().run(plans.keeping, call))


def launched(configuration, name, **options):
    """What the kernel of a cell's backward pass said of its waits."""
    machine = Launched(**options)
    plan, call = backward_of(name)
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


WAITS = [  # of the kernel's text, and what stands in its place
    ("cluster", "wait(barrier(exchange, part), (parities & bit) != 0, watch);", ""),
    ("cluster", "sync_some(at.tile + 1, WARPS * 32);", ""),
    ("cluster", "sync_cluster();", ""),  # before the loop
    ("grid", "while (!all && patience.goes_on());", "while (false);"),
    ("grid", "while (any_empty(v) && patience.goes_on()) v =", "if (false) v ="),
    ("scattered", "wait(barrier(step), step >> 1 & 1, watch);", ""),
    ("scattered", "sync_cluster();", ""),
]


@pytest.mark.slow
@pytest.mark.parametrize(("configuration", "wait", "nothing"), WAITS)
def test_a_wait_that_a_group_does_without_shows(configuration, wait, nothing):
    plan, call = backward_of("lstm" if configuration == "scattered" else "layer_norm_lstm")

    def form(plan, setting, machine):
        loop = divided(CONFIGURATIONS[configuration])(plan, setting, machine)
        own = loop.text.index("struct Arguments")  # not in the primitives
        assert wait in loop.text[own:], "the text has changed: name its waits in WAITS"
        return replace(loop, text=loop.text[:own] + loop.text[own:].replace(wait, nothing, 1))

    def agrees(seed):
        try:
            assert_loop_agrees(form, plan, call, Emulated(seed=seed), 2e-5)
        except (AssertionError, Broken):
            return False
        return True

    assert not all(agrees(seed) for seed in range(16))
