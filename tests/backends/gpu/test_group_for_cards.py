"""Kernels of the form group compile for cards, and nothing of a thread spills at chosen sizes."""

import pytest

import gatework as gw
from backends.gpu.emulator.emulated import Emulated
from gatework.backends.gpu.group import group
from gatework.backends.gpu.loop import Refused, Setting
from gatework.compiler.program import program
from gatework.lang.sizes import Sizes
from gpu_compiling import HOPPER, compiled
from parts_of_suite import FEW
from plan_calls import all_sizes

CELLS = gw.cells.catalogue()
STEPS = 256
SHAPES = ((16, 768), (64, 512), (8, 128), (1, 256))  # sequences and units
TRAINING = ("keeping", "backward")  # what a forward pass does is a part of it
PLANS = ("forward", *TRAINING)
FAST = {
    ("lstm", 16, 768, "half", "keeping"), ("lstm", 64, 512, "float", "backward"),
    ("gru", 1, 256, "float", "forward"), ("gru", 8, 128, "half", "backward"),
}  # fmt: skip


class Card(Emulated):
    """A card, as far as a kernel is compiled for it."""

    def kernel(self, text, about=""):
        return compiled(text, self.architecture)


def made(name, plan, batch, sizes, element, architecture=HOPPER):
    """The kernel of a cell's plan."""
    setting = Setting(sizes, element, STEPS, batch, reverse=plan == "backward")
    return group(getattr(program(CELLS[name]), plan), setting, Card(architecture))


def cases():
    """Cells, shapes, elements and plans."""
    for name in ("lstm", "gru"):
        for batch, units in SHAPES:
            for element in ("half", "float"):
                for plan in PLANS:
                    case = name, batch, units, element, plan
                    yield case if case in FAST else pytest.param(*case, marks=pytest.mark.slow)


@pytest.mark.parametrize(("name", "batch", "units", "element", "plan"), [*cases()])
def test_no_thread_spills(name, batch, units, element, plan):
    sizes = Sizes.of({"1": 1, "input": units, "hidden": units})
    kernel = made(name, plan, batch, sizes, element)
    found = compiled(kernel.text)
    assert found.spilled == 0, f"{found.registers} registers, {kernel.about}"


def cards():
    """Every cell for Hopper, and a cell of each kind for the cards before it."""
    for name in CELLS:
        fast = name == "projected_lstm"
        yield pytest.param(name, HOPPER, marks=[] if fast else pytest.mark.slow)
        if name in FEW:
            yield pytest.param(name, "sm_80", marks=[] if fast else pytest.mark.slow)


@pytest.mark.parametrize(("name", "architecture"), [*cards()])
def test_every_cell_compiles(name, architecture):
    for plan in TRAINING:
        try:
            sizes = all_sizes(CELLS[name], 32, 96)
            kernel = made(name, plan, 16, sizes, "bfloat16", architecture)
        except Refused as reason:
            pytest.skip(str(reason))
        assert kernel.launch.cluster == 1 or architecture == HOPPER
