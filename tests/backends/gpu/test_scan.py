"""The scan form: loops whose units go their own ways, against the reference's loop in float64."""

import pytest
import torch

import gatework as gw
from backends.gpu.emulator.emulated import Emulated
from gatework.backends.gpu.backend import Gpu
from gatework.backends.gpu.loop import Refused, Setting
from gatework.backends.gpu.scan import Chunks, chunks_of, in_chunks, scan
from gatework.backends.gpu.scan.cell import Cell
from gatework.backends.reference import Reference
from gatework.compiler.linear import linear
from gatework.compiler.program import Program, program
from gatework.compiler.recurrence import of_cell
from gatework.compiler.resets import ENDS, with_resets
from gatework.compiler.stepping import aliases_of
from gpu_compiling import registers_and_spills
from loop_calls import assert_loop_agrees
from parts_of_suite import in_turn
from plan_calls import (
    all_sizes,
    assert_plans_agree,
    backward_call,
    changed,
    named,
    random_call,
)

CELLS = gw.cells.catalogue()
UNIT_BY_UNIT = [
    "brc", "indrnn", "indy_gru", "indy_lstm", "lru", "min_gru", "min_lstm", "qrnn", "rg_lru", "s5",
    "sru", "t_gru", "t_lstm", "t_rnn", "unicornn",
]  # fmt: skip
CORE = ("min_gru", "qrnn", "s5")
HALVES = {torch.float16: 2e-3, torch.bfloat16: 2e-2}


def names(core=CORE):
    """Every cell, those slow that are not at the core."""
    return [n if n in core else pytest.param(n, marks=pytest.mark.slow) for n in UNIT_BY_UNIT]


def chunked(count, width=8):
    """The form with steps in so many chunks, where a loop is linear."""

    def form(plan, setting, machine):
        found = linear(plan)
        if found is None:
            return scan(plan, setting, machine)
        cell = Cell(plan, setting, {} if setting.ragged else aliases_of(plan))
        return in_chunks(cell, found, Chunks(count, width))

    return form


FORMS = {"pass": scan, "chunks": chunked(4)}


def paired(one, other, core=()):
    """Every cell in both forms, one of the two with each of two values: in turn from cell to cell.

    So each pair of a cell, a form and a value is there, and half of the triples.
    """
    cases = []
    for name, turned in in_turn(UNIT_BY_UNIT):
        marks = [] if name in core else pytest.mark.slow
        values = (other, one) if turned else (one, other)
        pairs = zip(FORMS, values, strict=True)
        cases += [pytest.param(name, form, value, marks=marks) for form, value in pairs]
    return cases


def without_states(plan, call):
    """The call with states that begin at zero."""
    tensors = zip(plan.recurrence.reads, call.tensors, strict=True)
    return call._replace(tensors=[None if role == "state" else t for (role, _), t in tensors])


def assert_all_plans_agree(
    name, form, *, steps=7, batch=3, units=5, dtype=torch.float32, given=True, tolerance=1e-5,
    **options,
):  # fmt: skip
    """The loops of the three plans of a cell."""
    cell = CELLS[name]
    plans, machine = program(cell), Emulated(seed=1)
    sizes = all_sizes(cell, 3, units)
    call = random_call(plans.keeping, (steps, batch), sizes, dtype, **options)
    kept = Reference().run(plans.keeping, call)
    backward = backward_call(cell, call, kept)
    for plan, one in [
        (plans.forward, random_call(plans.forward, (steps, batch), sizes, dtype, **options)),
        (plans.keeping, call),
        (plans.backward, backward),
    ]:
        one = one if given else without_states(plan, one)
        assert_loop_agrees(form, plan, one, machine, tolerance)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", names())
def test_every_cell_agrees(name, form):
    assert_all_plans_agree(name, FORMS[form])


@pytest.mark.parametrize(("form", "reverse"), [(f, k % 2 == 0) for k, f in enumerate(FORMS)])
@pytest.mark.parametrize("name", names(("qrnn",)))
def test_sequences_have_lengths_of_their_own(name, form, reverse):
    lengths = torch.tensor([7, 0, 3, 1])
    assert_all_plans_agree(name, FORMS[form], batch=4, lengths=lengths, reverse=reverse)


@pytest.mark.parametrize("name", names(("lru",)))
def test_states_begin_at_zero_where_none_are_given(name):
    for form in FORMS.values():
        assert_all_plans_agree(name, form, given=False, reverse=True)


@pytest.mark.parametrize(("name", "form", "dtype"), paired(*HALVES))
def test_halves(name, form, dtype):
    assert_all_plans_agree(name, FORMS[form], dtype=dtype, tolerance=HALVES[dtype])


@pytest.mark.parametrize("steps", [1, 2, 3, 9, 40])
@pytest.mark.parametrize("name", ["min_lstm", "t_gru"])
def test_chunks_of_any_number_of_steps(name, steps):
    """Fewer steps than chunks, one more, and more in a chunk than is read ahead."""
    assert_all_plans_agree(name, chunked(8), steps=steps, batch=1, units=9)


@pytest.mark.parametrize("name", ["lru", "indy_lstm"])
def test_many_chunks(name):
    assert_all_plans_agree(name, chunked(64), steps=70, batch=2)
    assert_all_plans_agree(name, chunked(16, 32), steps=70, batch=2)


@pytest.mark.parametrize(("name", "form", "lengths"), paired(None, [5, 0, 2], ["t_lstm"]))
def test_whole_calls_agree(name, form, lengths):
    """With the products before and after the loop, rows that lie side by side, empty batches."""
    backend = Gpu(Emulated(seed=2), [FORMS[form]])
    sizes = all_sizes(CELLS[name], 3, 5)
    for batch, own in [(3, lengths and torch.tensor(lengths)), (0, None)]:
        shape = 5, batch
        assert_plans_agree(backend, CELLS[name], shape, sizes, torch.float32, own, True)


@gw.cell(output=True)
def mixed(x, h, last):
    """Single numbers, rows that are the same at every step, vectors, two steps' gates.

    The gradient of a single number is a sum over the units, so there is none here.
    """
    kept = gw.dropout(gw.linear("u", x), 0.3, per="sequence")
    gate = gw.sigmoid(gw.stop(gw.scalar("slope") + gw.mean(x)) * gw.linear("gate", x))
    h = gate * last * h + (1 - gate) * kept
    return gw.tanh(h) * gw.vector("out"), (h, gate)


@pytest.mark.parametrize("to", ["zero", "state"])
@pytest.mark.parametrize("form", FORMS)
def test_all_that_a_step_may_read(form, to):
    plans = Program(with_resets(of_cell(mixed), to))
    sizes, machine = all_sizes(mixed, 3, 5), Emulated(seed=3)
    call = random_call(plans.keeping, (9, 3), sizes, torch.float32)
    ends = (torch.rand(9, 3, 1) < 0.3).float()
    call = changed(plans.keeping, call, {("sequence", ENDS): ends})
    assert_loop_agrees(FORMS[form], plans.keeping, call, machine)
    kept = Reference().run(plans.keeping, call)
    written = dict(zip(plans.keeping.recurrence.outputs, kept.outputs, strict=True))
    known = {**named(plans.keeping, call), **{("sequence", n): v for n, v in written.items()}}
    backward = random_call(plans.backward, (9, 3), sizes, torch.float32, reverse=True)
    known = {n: known[n] for n in plans.backward.recurrence.reads if n in known}
    assert_loop_agrees(
        FORMS[form], plans.backward, changed(plans.backward, backward, known), machine
    )


def test_factors_that_overflow_do_not_harm_a_state_of_zero():
    """0 times a product of factors that is too large for a float is still 0."""

    @gw.cell
    def growing(x, h):
        return 1e8 * h + gw.linear("u", x)

    plan = program(growing).forward
    call = random_call(plan, (40, 2), all_sizes(growing, 3, 3), torch.float32)
    zeros = call._replace(tensors=[torch.zeros_like(t) for t in call.tensors])
    assert_loop_agrees(chunked(4), plan, zeros, Emulated())


def test_a_step_that_reads_whole_rows_is_refused():
    with pytest.raises(Refused, match="reads whole rows"):
        scan(program(CELLS["gru"]).forward, setting(16, 100, 64), Emulated())


# ---- which kernel -------------------------------------------------------------------------------


def setting(batch, steps, units, element="float"):
    sizes = {"1": 1, "input": units, "hidden": units}
    return Setting(gw.lang.sizes.Sizes.of(sizes), element, steps, batch)


@pytest.mark.parametrize(
    ("batch", "steps", "units", "expected"),
    [
        (64, 512, 1024, None),  # units enough
        (16, 50, 256, None),  # steps too few
        (16, 512, 256, Chunks(16, 32)),
        (32, 1024, 512, Chunks(4, 32)),
        (1, 4096, 256, Chunks(64, 8)),
        (1, 64, 32, Chunks(4, 32)),
    ],
)
def test_steps_are_cut_where_there_are_few_units(batch, steps, units, expected):
    assert chunks_of(setting(batch, steps, units), units, Emulated()) == expected


def test_a_loop_that_is_not_linear_is_run_in_one_pass():
    plan, chosen = program(CELLS["indrnn"]), setting(1, 4096, 64)
    assert scan(plan.forward, chosen, Emulated()).launch.shared == 0
    assert scan(plan.backward, chosen, Emulated()).launch.shared > 0


def test_the_text_does_not_depend_on_how_many_steps_and_sequences_there_are():
    plan = program(CELLS["min_gru"]).keeping
    texts = {scan(plan, setting(*s, 256), Emulated()).text for s in [(10, 512), (12, 700)]}
    assert len(texts) == 1


SHAPES = {"pass": (256, 64, 512), "chunks": (16, 1024, 256)}


KERNELS = [  # every pair of a shape, an element and a card
    ("pass", "float", "sm_90a"),
    ("pass", "bfloat16", "sm_80"),
    ("chunks", "float", "sm_80"),
    ("chunks", "bfloat16", "sm_90a"),
]


@pytest.mark.parametrize(("shape", "element", "architecture"), KERNELS)
@pytest.mark.parametrize("name", names(("min_gru",)))
def test_no_kernel_spills(name, shape, element, architecture):
    for plan in (program(CELLS[name]).keeping, program(CELLS[name]).backward):
        loop = scan(plan, setting(*SHAPES[shape], element), Emulated())
        registers, spilled = registers_and_spills(loop.text, architecture)
        assert spilled == 0
        assert registers * loop.launch.threads <= 65536
