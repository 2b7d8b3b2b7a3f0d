"""States that are marked every few steps and computed again in between: all else is as it was."""

import pytest
import torch

import gatework as gw
from gatework import cell, cells, linear, tanh
from gatework.backends.cpu import schedule
from gatework.backends.cpu.backend import Cpu
from gatework.backends.cpu.kernel.layout import lay_out
from gatework.backends.cpu.kernel.setting import Setting
from gatework.backends.cpu.schedule import MERGED_ROWS
from gatework.backends.cpu.vector.target import host
from gatework.backends.reference import Reference
from gatework.compiler import program as programs
from gatework.compiler.program import program, worth_marking
from gatework.compiler.recurrence import STRETCH
from gatework.lang.sizes import Sizes
from parts_of_suite import mostly_slow
from plan_calls import all_sizes, assert_plans_agree, backward_call, compare, random_call

MEMORIES = ["delta_net", "gated_delta_net", "gla", "mlstm", "mamba2", "s6"]
STEPS = [1, STRETCH - 1, STRETCH, 2 * STRETCH + 5]


@cell(axes={"S": ("key", "value"), "R": ("key", "value")}, output=True)
def two_memories(x, S, R):
    """Two memories, each of which reads the other, before and after the step."""
    k, v = linear("k", x, size="key"), linear("v", x, size="value")
    S = 0.5 * S + k * (v - gw.sum(k * R, "key"))
    R = 0.5 * R + tanh(S) * k
    return gw.sum(k * S * R, "key"), (S, R)


def marking(name):
    """A cell of the catalogue, or the one above."""
    return two_memories if name == "two_memories" else getattr(cells, name)


@pytest.fixture(params=[1, 3, 64])
def together(request, monkeypatch):
    """How many sequences a thread takes through all steps together."""
    count = request.param
    monkeypatch.setattr(schedule, "_together", lambda plan, *_: count if plan.replays else 0)


@pytest.mark.parametrize("name", [*MEMORIES, "two_memories"])
def test_long_states_are_marked_and_not_kept(name):
    plans = program(marking(name), marking=True)
    replays = plans.backward.replays
    assert replays
    assert {r.marks for r in replays} == plans.derivative.forward.marked
    assert plans.derivative.forward.marked <= {*plans.derivative.kept}
    long = {r.state.size for r in replays}
    outputs = plans.derivative.forward.outputs
    kept = {n for n in plans.derivative.kept if outputs[n].size in long}
    assert kept == plans.derivative.forward.marked


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("name", mostly_slow(["gated_delta_net", "two_memories"], ["two_memories"]))
def test_equals_the_reference(name, steps, together, threads):
    one = marking(name)
    sizes = all_sizes(one, 5, 6)
    assert_plans_agree(Cpu(), one, (steps, 5), sizes, torch.float64, marking=True)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", MEMORIES)
def test_all_memories_equal_the_reference(name, dtype, threads):
    one = marking(name)
    assert_plans_agree(Cpu(), one, (37, 7), all_sizes(one, 5, 6), dtype, marking=True)


@pytest.mark.parametrize("name", mostly_slow(MEMORIES, ["gla"]))
def test_so_many_sequences_that_other_cells_map_them_in_the_loop(name, threads):
    """What is computed again reads what stands before the loop, which must be there."""
    one, shape = marking(name), (STRETCH + 2, MERGED_ROWS + 1)
    assert_plans_agree(Cpu(), one, shape, all_sizes(one, 5, 6), torch.float64, marking=True)


@pytest.mark.parametrize("values", [1, 7, 31, 64, 65, 131])
def test_the_last_axis_is_a_few_vectors_long_or_many(values, threads):
    """Of a few vectors the rows that a whole loop shares are held in registers."""
    sizes = Sizes.of({"1": 1, "input": 5, "hidden": 6, "key": 6, "value": values})
    assert_plans_agree(Cpu(), two_memories, (3, 2), sizes, torch.float64, marking=True)


def test_sums_of_replayed_states_are_taken_with_them():
    """The gradient of the query reads nothing else of the loop."""
    plan = program(cells.delta_net, marking=True).backward
    sizes = Sizes.of({"1": 1, "input": 5, "head": 1, "key": 3, "value": 4})
    named = {n: sizes[n] for n in plan.recurrence.sizes}
    setting = Setting(host(), "double", named, 1, ragged=False, merged=False, together=1)
    layout = lay_out(plan, setting, frozenset())
    (again,) = layout.passes["replay"].stages
    assert {p.argument for w in again.works for p in w.places()} == {"state S", "sequence later0"}
    assert "later0" in layout.private
    in_loop = [p for s in layout.passes["step"].stages for w in s.works for p in w.places()]
    assert "sequence later0" not in {p.argument for p in in_loop}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", mostly_slow(["mlstm", "two_memories"], ["two_memories"]))
def test_lengths_and_direction(name, reverse, together, threads):
    one, lengths = marking(name), torch.tensor([0, 37, 16, 17, 5, 33])
    shape, sizes = (37, 6), all_sizes(one, 5, 6)
    assert_plans_agree(Cpu(), one, shape, sizes, torch.float64, lengths, reverse, marking=True)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, [37, 0, 20]])
@pytest.mark.parametrize("name", ["delta_net", "mlstm", "two_memories"])
def test_the_reference_gives_the_same_with_and_without_marks(name, lengths, reverse):
    one, shape = marking(name), (37, 3)
    options = {"lengths": lengths and torch.tensor(lengths), "reverse": reverse}
    sizes, found = all_sizes(one, 5, 6), []
    for marks in (False, True):
        plans = program(one, marking=marks)
        call = random_call(plans.keeping, shape, sizes, torch.float64, **options)
        kept = Reference().run(plans.keeping, call)
        back = backward_call(one, call, kept, marks)
        reads = zip(plans.backward.recurrence.reads, back.tensors, strict=True)
        given = [torch.ones_like(t) if "d_" in n[1] else t for n, t in reads]
        found.append(Reference().run(plans.backward, back._replace(tensors=given)))
    for kind in found[0]._fields:
        compare(kind, getattr(found[1], kind), getattr(found[0], kind), 1e-12)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}])
@pytest.mark.parametrize("name", mostly_slow(MEMORIES[:4], ["delta_net"]))
def test_gradients_are_the_same(name, options, monkeypatch, threads):
    """A state that is computed again is the state that was there, to the last bit.

    Sums of `gla` and `mlstm` add in another order, which is seen in roundings.
    """
    roundings = 1e-6 if name in ("gla", "mlstm") else 0.0
    one, x = marking(name), torch.randn(37, 5, 7, requires_grad=True)
    lengths, ends = torch.tensor([37, 0, 21, 16, 30]), torch.rand(37, 5) < 0.1
    for given in ({}, {"lengths": lengths}, {"resets": ends}):
        found = []
        for worth in (1, 10**9):
            monkeypatch.setattr(programs, "WORTH_MARKING", worth)
            torch.manual_seed(0)
            layer = gw.nn.Recurrent(one, 7, head=2, key=5, value=19, **options)
            y, state = layer(x, **given)
            (last,) = state if isinstance(state, tuple) and len(state) == 1 else (state,)
            last = last[0] if isinstance(last, tuple) else last
            loss = (y.sin() * torch.arange(y.shape[-1])).sum() + last.square().sum()
            found.append(torch.autograd.grad(loss, [x, *layer.parameters()]))
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=roundings * b.abs().max().item())


def test_a_layer_marks_by_its_sizes(monkeypatch):
    monkeypatch.setattr(programs, "WORTH_MARKING", 30)
    sizes = {"head": 1, "key": 5, "value": 5, "head,key,value": 25}
    assert not worth_marking(cells.delta_net, sizes)
    assert worth_marking(cells.delta_net, sizes | {"head,key,value": 30})
    assert not worth_marking(cells.lstm, {"hidden": 1000})


def test_what_reads_a_whole_state_keeps_it():
    """The gradient of a weight on a state needs its rows of all steps."""

    @cell(axes={"S": ("key", "value")}, output=True)
    def mapped(x, S):
        k, v = linear("k", x, size="key"), linear("v", x, size="value")
        S = 0.5 * S + k * (v + linear("w", S, size="value"))
        return gw.sum(k * S, "key"), S

    plans = program(mapped, marking=True)
    assert not plans.backward.replays
    assert plans.derivative.kept == program(mapped).derivative.kept


def test_gradients_of_every_sequence_of_a_batch(monkeypatch):
    """What is kept has another number of rows than there are steps; vmap and lengths know it."""
    monkeypatch.setattr(programs, "WORTH_MARKING", 1)
    layer = gw.nn.Recurrent(cells.mlstm, 5, head=1, key=3, value=4, dtype=torch.float64)
    weights = {n: w.detach() for n, w in layer.named_parameters()}
    x, lengths = torch.randn(2 * STRETCH + 3, 3, 5, dtype=torch.float64), torch.tensor([35, 1, 18])

    def loss(weights, x, length):
        options = {"lengths": length[None]}
        y, _ = torch.func.functional_call(layer, weights, (x[:, None],), options)
        return y.sin().sum()

    found = torch.func.vmap(torch.func.grad(loss), (None, 1, 0))(weights, x, lengths)
    for k in range(3):
        expected = torch.func.grad(loss)(weights, x[:, k], lengths[k])
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name][k], gradient)


def test_a_compiled_layer_marks_too(monkeypatch):
    monkeypatch.setattr(programs, "WORTH_MARKING", 1)
    layer = gw.nn.Recurrent(cells.delta_net, 5, head=1, key=3, value=4)
    compiled = torch.compile(layer, backend="aot_eager")
    for steps in (STRETCH + 1, 3 * STRETCH):
        x = torch.randn(steps, 2, 5, requires_grad=True)
        one, other = (torch.autograd.grad(run(x)[0].sin().sum(), x) for run in (layer, compiled))
        torch.testing.assert_close(one, other)
