"""What surrounds a loop on the GPU, with a machine that interprets loops: see `Interpreted`."""

import gc
import threading
import weakref
from dataclasses import replace

import pytest
import torch

from gatework import cells
from gatework.backends.gpu import backend as backends_gpu
from gatework.backends.gpu.backend import Gpu
from gatework.backends.gpu.loop import Refused
from gatework.backends.gpu.machine import Launch
from gatework.backends.reference import Reference
from gatework.compiler.plan import plan as plan_of
from gatework.compiler.program import program
from gatework.compiler.recurrence import of_cell
from gatework.lang import cell, linear, sigmoid, tanh, vector
from gatework.lang.sizes import Sizes
from interpreted_loops import Interpreted, interpreted, refusing, tf32_allowed
from plan_calls import (
    all_sizes,
    assert_plans_agree,
    assert_same,
    backward_call,
    changed,
    compare,
    named,
    random_call,
)

CELLS = [
    "rnn", "lstm", "gru", "gru_reset_before", "peephole_lstm", "layer_norm_lstm", "mlstm",
    "projected_lstm", "delta_net",
]  # fmt: skip


def gpu(idle=False):
    return Gpu(Interpreted(idle), [interpreted])


@pytest.fixture(autouse=True)
def _poisoned(poisoned_memory):
    """What nobody writes is NaN."""


@pytest.mark.parametrize("lengths", [None, [2, 0, 5]])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_equals_the_reference(name, reverse, lengths):
    made, lengths = getattr(cells, name), None if lengths is None else torch.tensor(lengths)
    sizes = all_sizes(made, 3, 8)
    assert_plans_agree(gpu(), made, (5, 3), sizes, torch.float32, lengths, reverse)


@pytest.mark.parametrize("lengths", [None, [18, 0, 7]])
def test_marked_states(lengths):
    sizes = all_sizes(cells.mlstm, 3, 4)
    lengths = None if lengths is None else torch.tensor(lengths)
    shape = 18, 3
    assert_plans_agree(gpu(), cells.mlstm, shape, sizes, torch.float32, lengths, marking=True)


@cell
def mixed(x, h):
    """All that is done before the loop in one: functions, two maps of a value, nested maps."""
    f = sigmoid(linear("f", x))
    inner = linear("inner", tanh(linear("outer", x)), bias=False, group="deep")
    n = tanh(linear("n", x) + inner + linear("n", h, bias=False) + vector("shift"))
    return f * h + (1 - f) * n


@pytest.mark.parametrize("lengths", [None, [2, 0, 5]])
def test_all_that_is_done_before_the_loop(lengths):
    lengths = None if lengths is None else torch.tensor(lengths)
    assert_plans_agree(gpu(), mixed, (5, 3), all_sizes(mixed, 3, 7), torch.float32, lengths)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("lengths", [None, [2, 0, 5]])
@pytest.mark.parametrize("made", [cells.lstm, cells.layer_norm_lstm, mixed])
def test_sixteen_bits(made, lengths, dtype):
    """As exact as 16 bits are: products are rounded to them before the loop reads them."""
    lengths = None if lengths is None else torch.tensor(lengths)
    plans, sizes = program(made), all_sizes(made, 3, 8)
    call = random_call(plans.keeping, (5, 3), sizes, dtype, lengths=lengths)
    kept, expected = gpu().run(plans.keeping, call), Reference().run(plans.keeping, call)
    assert_same(kept, expected, 2e-2)
    found = gpu().run(plans.backward, backward_call(made, call, kept))
    assert {t.dtype for t in (*found.outputs, *found.states, *found.gradients)} == {dtype}
    assert_same(found, Reference().run(plans.backward, backward_call(made, call, kept)), 2e-2)


@pytest.mark.parametrize("shape", [(0, 2), (2, 0), (0, 0)])
def test_nothing_to_do(shape):
    machine = Interpreted()
    backend = Gpu(machine, [interpreted])
    assert_plans_agree(backend, cells.lstm, shape, all_sizes(cells.lstm, 3, 4), torch.float32)
    lengths = torch.zeros(shape[1], dtype=torch.int64)
    sizes = all_sizes(cells.lstm, 3, 4)
    assert_plans_agree(backend, cells.lstm, shape, sizes, torch.float32, lengths)
    assert not machine.launches


def test_gradients_are_zero_where_no_sequence_has_a_step():
    sizes, lengths = all_sizes(cells.gru, 3, 5), torch.zeros(4, dtype=torch.int64)
    assert_plans_agree(gpu(), cells.gru, (3, 4), sizes, torch.float32, lengths)


@pytest.mark.parametrize("name", ["rnn", "lstm", "layer_norm_gru"])
def test_padding_is_never_read(name):
    """Whatever stands behind a sequence's end, NaN too, changes nothing."""
    made, lengths = getattr(cells, name), torch.tensor([2, 0, 4])
    plans, sizes = program(made), all_sizes(made, 3, 5)
    call = random_call(plans.keeping, (4, 3), sizes, torch.float32, lengths=lengths)
    expected = Reference().run(plans.keeping, call)
    backward = backward_call(made, call, expected)
    gradients = Reference().run(plans.backward, backward)

    def ruined(plan, one):
        given = [(n, t) for n, t in named(plan, one).items() if n[0] == "sequence"]
        active = call.active()
        return changed(plan, one, {n: torch.where(active, t, torch.nan) for n, t in given})

    assert_same(gpu().run(plans.keeping, ruined(plans.keeping, call)), expected, 1e-5)
    assert_same(gpu().run(plans.backward, ruined(plans.backward, backward)), gradients, 1e-5)


def test_lengths_beyond_the_steps_are_all_steps():
    plan = program(cells.gru).forward
    sizes, lengths = all_sizes(cells.gru, 3, 5), torch.tensor([9, -1, 4])
    call = random_call(plan, (4, 3), sizes, torch.float32, lengths=lengths)
    assert_same(gpu().run(plan, call), Reference().run(plan, call), 1e-5)


def test_states_that_are_not_given():
    plan = program(cells.lstm).keeping
    call = random_call(plan, (4, 3), all_sizes(cells.lstm, 3, 5), torch.float32)
    call = changed(plan, call, {("state", "c"): None})
    assert_same(gpu().run(plan, call), Reference().run(plan, call), 1e-5)


def test_a_single_step_without_the_gradient_of_the_state_before():
    plans, sizes = program(cells.gru), all_sizes(cells.gru, 3, 5)
    call = random_call(plans.keeping, (1, 3), sizes, torch.float32)
    backward = backward_call(cells.gru, call, Reference().run(plans.keeping, call))
    found = gpu().run(plans.backward_of_one, backward)
    assert_same(found, Reference().run(plans.backward_of_one, backward), 1e-5)


def test_unwanted_results_are_left_out_call_by_call():
    """One backend, one shape: what an earlier call left out is there when it is wanted."""
    plan, backend = program(cells.gru).backward, gpu()
    names = ("d_x", "weight_ih", "weight_hh", "bias_ih", "bias_hh")
    for skip in (names, (), ("d_x",), names[1:], ("weight_hh", "bias_ih"), ()):
        call = random_call(
            plan, (3, 9), all_sizes(cells.gru, 3, 5), torch.float32, skip=frozenset(skip)
        )
        assert_same(backend.run(plan, call), Reference().run(plan, call), 1e-5)
    assert len(backend._machine.loops) == 1, "a loop does not depend on what is skipped"


def test_gradients_have_memory_of_their_own():
    """Two biases may have equal gradients; who gets them may change them."""
    plan = program(cells.lstm).backward
    call = random_call(plan, (3, 2), all_sizes(cells.lstm, 3, 5), torch.float32)
    *_, first, second = gpu().run(plan, call).gradients
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    first.zero_()
    assert second.any()


def test_what_is_handed_out_has_memory_of_its_own():
    plan = program(cells.lstm).keeping
    call = random_call(plan, (3, 2), all_sizes(cells.lstm, 3, 5), torch.float32)
    result = gpu().run(plan, call)
    y, *kept = result.outputs
    storages = [t.untyped_storage().data_ptr() for t in (*kept, *result.states)]
    assert y.untyped_storage().data_ptr() not in storages
    assert len({s.untyped_storage().data_ptr() for s in result.states}) == 2


# ---- tensors as they come ----------------------------------------------------------------------


def test_tensors_that_are_not_contiguous():
    plan = program(cells.rnn).forward
    call = random_call(plan, (4, 3), all_sizes(cells.rnn, 6, 6), torch.float32)
    x, turned = ("sequence", "x"), ("parameter", "weight_hh")
    given = named(plan, call)
    new = {x: given[x].transpose(0, 1).contiguous().transpose(0, 1), turned: given[turned].T}
    call = changed(plan, call, new)
    assert_same(gpu().run(plan, call), Reference().run(plan, call), 1e-5)


def test_addresses_that_a_wide_read_cannot_take():
    """A tensor may begin anywhere in its memory; the machine checks that it gets none of those."""
    plan = program(cells.rnn).keeping
    call = random_call(plan, (4, 3), all_sizes(cells.rnn, 8, 8), torch.float32)

    def moved(tensor):
        room = torch.empty(tensor.numel() + 1)
        return room[1:].view(tensor.shape).copy_(tensor)

    apart = call._replace(tensors=[moved(t) for t in call.tensors])
    assert_same(gpu().run(plan, apart), Reference().run(plan, call), 1e-5)


@cell
def reading_a_part(x, h):
    """What is done before the loop is a part of a row, which begins where the part does."""
    return tanh(tanh(linear("w", x, size="hidden+1"))[1:] + linear("h", h))


def test_parts_of_rows_that_a_wide_read_cannot_take():
    sizes = all_sizes(reading_a_part, 3, 8)
    assert_plans_agree(gpu(), reading_a_part, (1, 1), sizes, torch.float32)


def test_lazily_negated_tensors():
    plan = program(cells.rnn).forward
    call = random_call(plan, (4, 3), all_sizes(cells.rnn, 4, 4), torch.float32)
    x = torch.complex(torch.randn(4, 3, 4), torch.randn(4, 3, 4)).conj().imag
    assert x.is_neg()
    call = changed(plan, call, {("sequence", "x"): x})
    assert_same(gpu().run(plan, call), Reference().run(plan, call), 1e-5)


@pytest.mark.parametrize(
    ("role", "name", "wrong"),
    [
        ("sequence", "x", torch.zeros(4, 3, 5)),
        ("state", "h", torch.zeros(2, 5)),
        ("parameter", "weight_hh", torch.zeros(5, 4)),
        ("parameter", "bias_hh", torch.zeros(5, dtype=torch.float64)),
        ("parameter", "bias_hh", torch.zeros(5, device="meta")),
    ],
)
def test_wrong_tensors_never_reach_native_code(role, name, wrong):
    plan = program(cells.rnn).forward
    call = random_call(plan, (4, 3), all_sizes(cells.rnn, 6, 5), torch.float32)
    with pytest.raises(ValueError, match=f"{name} should be torch.float32 of shape .* on cpu"):
        gpu().run(plan, changed(plan, call, {(role, name): wrong}))


def test_wrong_calls_never_reach_native_code():
    plan = program(cells.rnn).forward
    call = random_call(plan, (4, 3), all_sizes(cells.rnn, 6, 5), torch.float32)
    with pytest.raises(ValueError, match=r"lengths should have shape \[3\], got \[2\]"):
        gpu().run(plan, call._replace(lengths=torch.ones(2, dtype=torch.int64)))
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        gpu().run(plan, call._replace(tensors=call.tensors[:-1]))
    with pytest.raises(ValueError, match="bias_hh should be a tensor, got None"):
        gpu().run(plan, changed(plan, call, {("parameter", "bias_hh"): None}))


def test_freed_memory_never_reaches_native_code():
    plan = program(cells.rnn).forward
    call = random_call(plan, (4, 3), all_sizes(cells.rnn, 6, 5), torch.float32)
    call.tensors[0].untyped_storage().resize_(0)
    with pytest.raises(ValueError, match="x has no memory"):
        gpu().run(plan, call)


@pytest.mark.parametrize("enabled", [False, True])
def test_torch_neither_records_nor_casts_its_products(enabled):
    plan = program(cells.lstm).keeping
    call = random_call(plan, (4, 3), all_sizes(cells.lstm, 3, 5), torch.float32)
    expected = Reference().run(plan, call)
    asking = call._replace(tensors=[t.requires_grad_() for t in call.tensors])
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
        found = gpu().run(plan, asking)
    assert_same(found, expected, 1e-5)
    assert not any(t.requires_grad for t in (*found.outputs, *found.states))


# ---- what is refused ---------------------------------------------------------------------------


def test_what_is_refused_has_a_reason():
    plan = program(cells.rnn).forward
    call = random_call(plan, (4, 3), all_sizes(cells.rnn, 6, 5), torch.float32)
    assert Gpu().refusal(plan, call) == "it runs on CUDA only, and a tensor is on cpu"
    assert gpu().refusal(plan, call) is None
    wide = call._replace(tensors=[t.double() for t in call.tensors])
    assert "a tensor is torch.float64" in gpu().refusal(plan, wide)


def test_a_card_that_runs_no_kernels_is_refused(monkeypatch):
    def card(device):
        raise Refused("ROCm; kernels are made for CUDA")

    backend, plan = gpu(), program(cells.rnn).forward
    call = random_call(plan, (4, 3), all_sizes(cells.rnn, 6, 5), torch.float32)
    monkeypatch.setattr(backend, "_machine_of", card)
    assert backend.refusal(plan, call) == "ROCm; kernels are made for CUDA"
    assert not backend.takes_halves("cuda")


def test_to_refuse_nothing_is_compiled():
    """Training asks about the forward plan, and runs another."""
    backend, plan = gpu(), program(cells.rnn).forward
    call = random_call(plan, (4, 3), all_sizes(cells.rnn, 6, 5), torch.float32)
    assert backend.refusal(plan, call) is None
    assert not backend._machine.loops


class Somewhere(torch.Tensor):
    """A tensor whose numbers are elsewhere."""

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return NotImplemented


def test_tensors_that_stand_for_numbers_are_refused():
    plan = program(cells.rnn).forward
    call = random_call(plan, (4, 3), all_sizes(cells.rnn, 6, 5), torch.float32)
    x = torch.Tensor._make_wrapper_subclass(Somewhere, (4, 3, 6), dtype=torch.float32)
    reason = gpu().refusal(plan, changed(plan, call, {("sequence", "x"): x}))
    assert reason == "it reads memory, and a tensor is a Somewhere, which has none of its own"


def test_the_first_form_that_does_not_refuse_runs():
    plan, machine = program(cells.rnn).forward, Interpreted()
    call = random_call(plan, (4, 3), all_sizes(cells.rnn, 6, 5), torch.float32)
    backend = Gpu(machine, [refusing, interpreted])
    assert_same(backend.run(plan, call), Reference().run(plan, call), 1e-5)
    assert machine.launches == 1
    reason = "no refusing: it runs no plan, not even one of 3 sequences"
    assert backend.about(plan, call) == f"form interpreted: one kernel, interpreted; {reason}"


@pytest.mark.parametrize(
    ("launch", "resident", "reason"),
    [
        (Launch(100, 32, together=True), 99, "99 of its 100 blocks are on this card"),
        (Launch(64, 32, cluster=16), 0, "0 of its 1 clusters of 16 blocks are on this card"),
        (Launch(100, 32, together=True), 100, None),
        (Launch(64, 32, cluster=16), 1, None),
        (Launch(1000, 32), 0, None),
    ],
)
def test_blocks_that_wait_for_each_other_are_there_at_once(launch, resident, reason, monkeypatch):
    def crowded(plan, setting, machine):
        return replace(interpreted(plan, setting, machine), launch=launch)

    plan = program(cells.rnn).forward
    call = random_call(plan, (4, 3), all_sizes(cells.rnn, 6, 5), torch.float32)
    monkeypatch.setattr(Interpreted, "resident", lambda *_: resident)
    about = Gpu(Interpreted(), [crowded]).about(plan, call)
    assert "interpreted" in about if reason is None else f"no crowded: {reason}" in about


def test_a_form_that_forgets_a_result_is_found():
    def forgetful(plan, setting, machine):
        loop = interpreted(plan, setting, machine)
        return replace(loop, arguments=tuple(a for a in loop.arguments if a != "final h"))

    plan = program(cells.rnn).forward
    call = random_call(plan, (4, 3), all_sizes(cells.rnn, 6, 5), torch.float32)
    with pytest.raises(ValueError, match=r"form 'interpreted' writes no \['final h'\]"):
        Gpu(Interpreted(), [forgetful]).run(plan, call)


def test_what_no_form_runs_is_left_to_the_reference():
    plan = program(cells.rnn).backward
    call = random_call(plan, (4, 3), all_sizes(cells.rnn, 6, 5), torch.float32)
    backend = Gpu(Interpreted(), [refusing])
    assert backend.refusal(plan, call) is None
    assert backend.about(plan, call) == (
        "step by step with torch's operations; no refusing: it runs no plan, not even one of 3 "
        "sequences"
    )
    compare("outputs", backend.run(plan, call).outputs, Reference().run(plan, call).outputs, 0)


# ---- what is kept ------------------------------------------------------------------------------


def test_a_shape_is_prepared_once():
    plan, backend = program(cells.rnn).forward, gpu()
    for _ in range(3):
        for steps in (2, 4):
            call = random_call(plan, (steps, 3), all_sizes(cells.rnn, 6, 5), torch.float32)
            backend.run(plan, call)
            backend.refusal(plan, call)
    assert len(backend._machine.loops) == 2


def test_how_exact_products_are_distinguishes_calls():
    plan, backend = program(cells.rnn).forward, gpu()
    call = random_call(plan, (2, 3), all_sizes(cells.rnn, 6, 5), torch.float32)
    backend.run(plan, call)
    with tf32_allowed():
        backend.run(plan, call)
        half = call._replace(tensors=[t.half() for t in call.tensors])
        backend.run(plan, half)
    backend.run(plan, half)
    assert [s.exact for _, s, _ in backend._machine.loops] == [True, False, True]


def test_as_many_shapes_are_kept_as_agreed(monkeypatch):
    monkeypatch.setattr(backends_gpu, "SHAPES_KEPT", 2)
    plan, backend = program(cells.rnn).forward, gpu()
    for steps in (1, 2, 3, 1):
        call = random_call(plan, (steps, 3), all_sizes(cells.rnn, 6, 5), torch.float32)
        assert_same(backend.run(plan, call), Reference().run(plan, call), 1e-5)
    assert len(backend._machine.loops) == 4
    (made,) = backend._made[plan].values()
    assert len(made.prepared) == len(made.loops) == 2


def test_what_is_prepared_goes_with_the_sizes_and_the_plan():
    made, backend = plan_of(of_cell(cells.rnn)), Gpu(Interpreted(idle=True), [interpreted])
    sizes = Sizes({"1": 1, "input": 3, "hidden": 4})
    call = random_call(made, (2, 3), sizes, torch.float32)
    backend.run(made, call)
    backend._machine.loops.clear()  # it holds both
    gone = weakref.ref(sizes), weakref.ref(made)
    del sizes, call
    gc.collect()
    assert gone[0]() is None
    assert not backend._made[made]
    del made
    gc.collect()
    assert gone[1]() is None
    assert not backend._made


def test_threads_may_call_at_the_same_time():
    plan, backend = program(cells.lstm).keeping, gpu()
    calls = [
        random_call(plan, (3, batch), all_sizes(cells.lstm, 3, 5), torch.float32, seed=batch)
        for batch in (1, 2, 3) for _ in range(2)
    ]  # fmt: skip
    expected = [Reference().run(plan, c) for c in calls]
    found = [None] * len(calls)

    def run(k):
        for _ in range(5):
            found[k] = backend.run(plan, calls[k])

    threads = [threading.Thread(target=run, args=(k,)) for k in range(len(calls))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for have, want in zip(found, expected, strict=True):
        assert_same(have, want, 1e-5)
    assert len(backend._machine.loops) == 3
