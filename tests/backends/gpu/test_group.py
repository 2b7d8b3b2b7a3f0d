"""The form group, its very text on the CPU, against the reference's loop in float64."""

from dataclasses import replace

import pytest
import torch

import gatework as gw
from backends.gpu.emulator.emulated import Emulated
from gatework.backends.gpu.backend import Gpu
from gatework.backends.gpu.configurations import Configuration
from gatework.backends.gpu.group import group, loop
from gatework.backends.gpu.group.asking import ask
from gatework.backends.gpu.loop import Refused, Setting
from gatework.backends.reference import Reference
from gatework.compiler.program import program
from gatework.compiler.stepping import aliases_of
from gatework.lang.sizes import Sizes
from loop_calls import assert_loop_agrees
from plan_calls import all_sizes, assert_plans_agree, backward_call, random_call

CELLS = gw.cells.catalogue()
CORE = ("lstm", "gru_reset_before", "layer_norm_lstm", "projected_lstm")
STEPS = 4
TOLERANCE = {torch.float32: 2e-5, torch.float16: 1e-2, torch.bfloat16: 8e-2}

CLUSTER = Configuration(blocks=2, tiles=1, warps=4, octets=1, groups=1)
GRID = replace(CLUSTER, exchange="grid")
SCATTER = replace(CLUSTER, warps=2, scattered=True)


def divided(configuration):
    """The form, in one configuration."""

    def form(plan, setting, machine):
        asked = ask(plan, {} if setting.ragged else aliases_of(plan))
        return loop(asked, setting, machine, [configuration])

    return form


def assert_agrees(name, which, form=group, *, batch=3, units=20, seed=1, **options):
    """A cell's loops are those of the reference, threads in any order; `which` are its plans."""
    dtype = options.pop("dtype", torch.float32)
    cell, machine = CELLS[name], Emulated(seed=seed)
    plans, sizes = program(cell), all_sizes(cell, 7, units)
    call = random_call(plans.forward, (STEPS, batch), sizes, dtype, **options)
    for plan in which:
        own = call
        if plan == "backward":
            own = backward_call(cell, call, Reference().run(plans.keeping, call))
        assert_loop_agrees(form, getattr(plans, plan), own, machine, TOLERANCE[dtype])


def names(core):
    """Every cell of the catalogue, those slow that are not at the core."""
    return [n if n in core else pytest.param(n, marks=pytest.mark.slow) for n in CELLS]


@pytest.mark.parametrize("name", names(CORE))
def test_every_cell_agrees(name):
    """With all that surrounds the loop, in the configuration that the rule chooses."""
    cell, gpu = CELLS[name], Gpu(Emulated(seed=1), [group])
    try:
        ask(program(cell).forward, {})
    except Refused as reason:
        pytest.skip(str(reason))
    sizes, tolerance = all_sizes(cell, 7, 20), TOLERANCE[torch.float32]
    assert_plans_agree(gpu, cell, (STEPS, 3), sizes, torch.float32, tolerance=tolerance)


@pytest.mark.parametrize("name", ["lstm", "layer_norm_gru"])
@pytest.mark.parametrize("configuration", [CLUSTER, GRID], ids=["cluster", "grid"])
def test_sequences_have_lengths_of_their_own(name, configuration):
    lengths = torch.tensor([4, 0, 2])
    plans = ("keeping", "backward")
    assert_agrees(name, plans, divided(configuration), lengths=lengths, reverse=name == "lstm")


@pytest.mark.parametrize(
    ("name", "plans", "configuration", "batch", "units"),
    [
        ("gru_reset_before", ("backward",), GRID, 3, 30),
        ("projected_lstm", ("forward", "backward"), replace(GRID, tiles=2, warps=2), 5, 20),
        ("layer_norm_lstm", ("backward",), replace(CLUSTER, blocks=3, octets=2), 11, 40),
        ("gru", ("forward",), replace(CLUSTER, blocks=1, tiles=2), 3, 20),
        ("lstm", ("forward",), replace(GRID, groups=3, warps=8), 5, 33),
        ("peephole_lstm", ("keeping",), replace(CLUSTER, tiles=2, warps=2, octets=2), 11, 50),
    ],
)
def test_it_can_be_divided_in_many_ways(name, plans, configuration, batch, units):
    assert_agrees(name, plans, divided(configuration), batch=batch, units=units, seed=2)


@pytest.mark.parametrize(
    ("name", "configuration", "batch", "units"),
    [
        ("lstm", SCATTER, 3, 20),
        ("gru", replace(SCATTER, blocks=4, octets=2), 11, 50),
        ("rnn", replace(SCATTER, blocks=3, warps=3, groups=2), 3, 39),
    ],
)
def test_partial_sums_may_be_sent_in_place_of_operands(name, configuration, batch, units):
    lengths = torch.arange(batch) % (STEPS + 1) if name == "gru" else None
    form = divided(configuration)
    assert_agrees(name, ("backward",), form, batch=batch, units=units, lengths=lengths)


@pytest.mark.parametrize(
    ("name", "plan", "configuration"),
    [
        ("gru_reset_before", "forward", replace(GRID, groups=2)),
        ("lstm", "backward", replace(SCATTER, groups=2)),
        ("layer_norm_gru", "keeping", CLUSTER),
    ],
)
def test_more_sequences_than_groups_have_room_for_run_in_rounds(name, plan, configuration):
    lengths = torch.arange(19) % (STEPS + 1) if name != "layer_norm_gru" else None
    form = divided(configuration)
    assert configuration.rounds(19) > 1
    assert_agrees(name, (plan,), form, batch=19, lengths=lengths)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("name", "plans", "configuration"),
    [
        ("lstm", ("keeping",), GRID),
        ("lstm", ("backward",), replace(SCATTER, tiles=2)),
        ("layer_norm_lstm", ("forward",), CLUSTER),
    ],
)
def test_halves_go_around_as_they_are(name, plans, configuration, dtype):
    assert_agrees(name, plans, divided(configuration), dtype=dtype, units=37)


@gw.cell(given={"speaker": "hidden"})
def informed(x, gap, speaker, /, h):
    """It reads a row that is the same at every step, whole and by unit, and single numbers."""
    h = gw.dropout(h, 0.3, per="sequence")
    return gw.tanh(gw.linear("n", x, h, speaker) + gap * gw.sum(speaker * h))


@gw.cell
def choosing(x, h):
    """Its maximum over the units is one of partial maxima."""
    return gw.zoneout(gw.softmax(gw.linear("z", x, h)) * h, h, 0.2)


@pytest.mark.parametrize("cell", [informed, choosing], ids=["constants", "maximum"])
def test_constants_noise_and_maxima(cell):
    gpu, sizes = Gpu(Emulated(seed=3), [group]), all_sizes(cell, 7, 20)
    assert_plans_agree(gpu, cell, (STEPS, 3), sizes, torch.float32, torch.tensor([1, 4, 0]))


def test_a_loop_without_products_has_no_exchange():
    assert_agrees("indrnn", ("keeping", "backward"))


def test_a_nan_stays_with_its_sequence():
    """Every NaN is a number that arrives, also one whose bits are those of a word not written."""
    cell, (steps, batch) = CELLS["rnn"], (3, 2)
    plan, sizes = program(cell).forward, Sizes.of({"1": 1, "input": 7, "hidden": 20})
    call = random_call(plan, (steps, batch), sizes, torch.float32)
    h = call.tensors[1]
    h[1] = torch.full((20,), -1, dtype=torch.int32).view(torch.float32)
    form = divided(GRID)
    found = Gpu(Emulated(), [form]).run(plan, call)
    expected = Reference().run(plan, call)
    torch.testing.assert_close(found.outputs, expected.outputs, equal_nan=True)


def test_a_plan_that_fits_nowhere_is_refused():
    plan = program(CELLS["lstm"]).forward
    setting = Setting(Sizes.of({"1": 1, "input": 8, "hidden": 8192}), "float", 5, 2)
    with pytest.raises(Refused, match="do not fit"):
        group(plan, setting, Emulated())
