"""The block form: any plan at all, against the reference's loop in float64."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gatework as gw
from axes_cells import random_axes_cells
from backends.gpu.emulator.emulated import Broken, Emulated
from gatework.backends.gpu.block import block, parts
from gatework.backends.gpu.block.sections import WAIT
from gatework.backends.gpu.loop import Setting
from gatework.backends.gpu.nvrtc import compile_text
from gatework.backends.reference import Reference
from gatework.compiler.program import program
from gatework.lang.axes import is_long
from gatework.lang.sizes import Sizes
from loop_calls import assert_loop_agrees, setting_of
from parts_of_suite import FEW, in_turn
from plan_calls import all_sizes, backward_call, random_call
from random_cells import random_cells

CELLS = gw.cells.catalogue()
CORE = (
    "rnn", "layer_norm_lstm", "delta_net", "on_lstm", "stack_rnn", "slstm_heads", "clockwork_rnn",
    "ttt_linear",
)  # fmt: skip
MARKED = [n for n, cell in CELLS.items() if any(is_long(s.size) for s in cell.states)]
STEPS, BATCH = 5, 3


def assert_all_plans_agree(
    cell, *, marking=False, shape=(STEPS, BATCH), dtype=torch.float32, tolerance=1e-5, seed=None,
    machine=None, **options,
):  # fmt: skip
    """The loops of all three plans of a cell."""
    sizes, plans = all_sizes(cell, 5, 13), program(cell, marking=marking)
    machine = machine or Emulated(seed=seed)
    call = random_call(plans.forward, shape, sizes, dtype, **options)
    assert_loop_agrees(block, plans.forward, call, machine, tolerance)
    assert_loop_agrees(block, plans.keeping, call, machine, tolerance)
    kept = Reference().run(plans.keeping, call)
    backward = backward_call(cell, call, kept, marking)
    assert_loop_agrees(block, plans.backward, backward, machine, tolerance)


def slow_but(core, cases):
    """Names of cells, or cases that begin with one: those slow that are not at the core."""
    cases = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [pytest.param(*c, marks=[] if c[0] in core else pytest.mark.slow) for c in cases]


SUMMED = "antisymmetric_rnn"  # a gradient is a sum of products with W and with its transpose
OFTEN = sorted({*CORE, *FEW, SUMMED})  # and all others with lengths: see test_plans.py


@pytest.mark.parametrize("name", slow_but(CORE, sorted({*OFTEN, *MARKED})))
def test_cells_of_every_kind_agree(name):
    """Sequences in whole length, threads in any order."""
    assert_all_plans_agree(CELLS[name], seed=1)


@pytest.mark.parametrize("name", slow_but(["layer_norm_lstm", "on_lstm"], OFTEN))
def test_sequences_have_lengths_of_their_own(name):
    """One has no step at all; they are run from the last step to the first."""
    lengths = torch.tensor([2, STEPS, 0])
    assert_all_plans_agree(CELLS[name], lengths=lengths, reverse=True, seed=2)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "ragged"), in_turn(CORE))
def test_they_are_run_in_both_directions(name, ragged):
    """As above the other way round: whole from the last step, of own lengths from the first."""
    lengths = torch.tensor([0, STEPS, 4]) if ragged else None
    assert_all_plans_agree(CELLS[name], lengths=lengths, reverse=not ragged)


@pytest.mark.parametrize(("name", "reverse"), slow_but(["delta_net"], in_turn(MARKED)))
def test_marked_states_are_computed_again(name, reverse):
    """Over three stretches, the last one not whole; one sequence ends or begins inside of one."""
    lengths = torch.tensor([35, 3, 20])
    options = {"marking": True, "reverse": reverse, "seed": 3}
    assert_all_plans_agree(CELLS[name], shape=(35, 3), lengths=lengths, **options)
    if name == "delta_net":
        assert_all_plans_agree(CELLS[name], shape=(33, 2), **options)


@pytest.mark.parametrize("name", slow_but(["delta_net", "slstm_heads"], MARKED))
def test_blocks_take_parts_of_a_sequence(name, monkeypatch):
    """However small the parts are: here each head, and each column, is a block's."""
    monkeypatch.setattr(parts, "LEAST", 1)
    monkeypatch.setattr(parts, "LANES", 1)
    assert_all_plans_agree(CELLS[name], seed=4)
    lengths = torch.tensor([17, 0, 4])
    options = {"marking": True, "lengths": lengths, "reverse": True}
    assert_all_plans_agree(CELLS[name], shape=(17, 3), tolerance=2e-4, **options)


@pytest.mark.slow
@pytest.mark.parametrize("name", CORE)
def test_rows_and_matrices_may_lie_far_away(name):
    """A card with little shared memory: long rows in scratch memory."""
    machine = Emulated(processors=1)
    machine.shared = 1024
    assert_all_plans_agree(CELLS[name], machine=machine)


def little_shared_memory():
    """Matrices that blocks hold in part or not at all, whole sequences or lengths of their own."""
    for name, turned in in_turn(CORE):
        yield from ((name, 3000, turned), (name, 2600, not turned))


@pytest.mark.parametrize(
    ("name", "shared", "ragged"), slow_but(["layer_norm_lstm"], little_shared_memory())
)
def test_blocks_share_products_of_matrices_that_one_cannot_hold(name, shared, ragged):
    machine = Emulated(seed=5)
    machine.shared = shared
    lengths = torch.tensor([0, STEPS, 3]) if ragged else None
    assert_all_plans_agree(CELLS[name], machine=machine, lengths=lengths, reverse=ragged)


@pytest.mark.slow
def test_a_wait_that_is_taken_out_is_noticed():
    """Each wait of a step of a cell with products and reductions, by threads in some order."""
    cell = CELLS["layer_norm_gru"]
    sizes, plan = all_sizes(cell, 40, 40), program(cell).forward
    call = random_call(plan, (4, 1), sizes, torch.float32)
    text = block(plan, setting_of(call), Emulated()).text
    before, waits = text.split("for (i64 k = 0;")[0].count(WAIT), text.count(WAIT)
    assert waits - 2 - before > 4  # two are behind the loop
    for place in range(before, waits - 2):
        with pytest.raises((AssertionError, Broken)):
            assert_agrees_in_any_order(replaced(text, WAIT, place), plan, call)


def assert_agrees_in_any_order(text, plan, call):
    """A text of the form gives what the reference gives, in whatever order threads run."""
    for seed in range(8):
        assert_loop_agrees(with_text(text), plan, call, Emulated(seed=seed))


def replaced(text, what, place):
    """The text without the place-th of what stands in it several times."""
    parts = text.split(what)
    return what.join([*parts[:place], parts[place] + parts[place + 1], *parts[place + 2 :]])


def with_text(text):
    """The form, with another text."""
    return lambda *given: replace(block(*given), text=text)


def test_a_team_is_as_large_as_its_matrices_ask_for():
    assert launched("on_lstm", 256).cluster == 4
    assert launched("clockwork_rnn", 256).cluster == 1  # which one block holds
    assert launched("on_lstm", 256, batch=60).cluster == 2  # as many as are there at the same time
    assert launched("on_lstm", 256, batch=200).cluster == 1
    assert launched("on_lstm", 256, machine=Emulated("sm_80")).cluster == 1


def launched(name, units, batch=16, machine=None):
    """How the forward pass of a catalogue's cell is launched."""
    cell = CELLS[name]
    setting = Setting(real_sizes(cell, units), "bfloat16", 512, batch)
    return block(program(cell).forward, setting, machine or Emulated()).launch


def parts_of(name, plan="forward", units=256, batch=16):
    """How a catalogue's cell is divided on a card of 132 processors."""
    cell = CELLS[name]
    setting = Setting(real_sizes(cell, units), "bfloat16", 512, batch)
    return parts.parts_of(getattr(program(cell), plan), setting, Emulated())


def test_axes_are_divided_where_nothing_meets_along_them():
    assert parts_of("delta_net") == {"head": 4, "value": 2}
    assert parts_of("delta_net", "backward") == {"head": 4}  # keys' gradients are sums over values
    assert parts_of("delta_net", batch=300) == {"head": 2}  # as many as a card has room for
    assert parts_of("ntm") == parts_of("lstm") == {}


@pytest.mark.parametrize("name", ["gru", "gla"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_memory_may_hold_halves(name, dtype):
    assert_all_plans_agree(CELLS[name], dtype=dtype, tolerance=2e-2)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(cell=random_cells(noise=True, further=True), reverse=st.booleans())
def test_random_cells_agree(cell, reverse):
    lengths = torch.tensor([2, 4, 0])
    assert_all_plans_agree(cell, shape=(4, 3), lengths=lengths, reverse=reverse, tolerance=1e-4)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(cell=random_axes_cells(), reverse=st.booleans())
def test_random_cells_with_axes_agree(cell, reverse):
    assert_all_plans_agree(cell, shape=(3, 2), reverse=reverse, tolerance=1e-4)


def real_sizes(cell, units):
    """Sizes of a layer of so many units."""
    own = dict.fromkeys(cell.size_names(), units)
    axes = cell.axis_lengths(units, {})
    return Sizes.of({"1": 1, "input": units, "hidden": units, **own, **axes})


@pytest.mark.parametrize("name", slow_but(["layer_norm_lstm", "delta_net"], CORE))
@pytest.mark.parametrize("architecture", ["sm_90a", "sm_80"])
def test_kernels_of_real_sizes_fit_in_registers(name, architecture):
    cell, machine = CELLS[name], Emulated(architecture)
    sizes, plans = real_sizes(cell, 256), program(cell, marking=True)
    for plan in (plans.keeping, plans.backward):
        loop = block(plan, Setting(sizes, "bfloat16", 512, 16), machine)
        assert compile_text(loop.text, architecture).spilled == 0
        assert loop.launch.shared <= machine.shared


def test_the_text_does_not_grow_with_the_sizes():
    cell = CELLS["delta_net"]
    plan, machine = program(cell, marking=True).backward, Emulated()
    texts = [
        block(plan, Setting(real_sizes(cell, n), "float", 512, 16), machine).text for n in (64, 512)
    ]
    assert len(texts[1]) < len(texts[0]) + 1000
