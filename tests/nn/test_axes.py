"""States with axes: layers against torch loops, machine code against the reference."""

import pytest
import torch
from hypothesis import given, note, settings
from hypothesis import strategies as st

import gatework as gw
from axes_cells import AXES_CELLS, gates_of_input, random_axes_cells
from gatework import cell, linear
from gatework.backends.cpu import Cpu
from gatework.lang import DefinitionError
from gatework.lang.printing import equations
from gatework.lang.sizes import Sizes
from machine_code import AS_IT_STANDS
from numerics import on_threads, randomised
from plan_calls import assert_plans_agree

LENGTHS = (1, 2, 3, 4, 5, 8, 9, 17, 33)


def layer_of(name, lengths, dtype=torch.float64, **options):
    equations, _, axes = AXES_CELLS[name]
    sizes = dict(zip(axes, lengths, strict=False))
    return randomised(gw.nn.Recurrent(equations, 5, **sizes, dtype=dtype, **options)), sizes


@pytest.mark.parametrize(
    ("backend", "lengths"),
    [
        ("reference", (2, 3, 5)),
        ("cpu", (3, 17, 5)),
        pytest.param("cpu", (1, 1, 1), marks=pytest.mark.slow),
        pytest.param("cpu", (4, 6, 33), marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", AXES_CELLS)
def test_outputs_and_gradients_are_those_of_a_loop(name, lengths, backend):
    layer, sizes = layer_of(name, lengths)
    x = torch.randn(7, 3, 5, dtype=torch.float64, requires_grad=True)
    sources = [x, *layer.parameters()]
    with gw.use_backend(backend):
        y, state = layer(x)
        last = state[-1] if isinstance(state, tuple) else state
        found = torch.autograd.grad(y.square().sum() + last.square().sum(), sources)
    expected, held = AXES_CELLS[name][1](x, gates_of_input(layer, x), sizes)
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(last[0], held.flatten(1), rtol=1e-10, atol=1e-10)
    loss = expected.square().sum() + held.square().sum()
    torch.testing.assert_close(found, torch.autograd.grad(loss, sources), rtol=1e-9, atol=1e-9)


def sizes_of(key, value):
    lengths = {"key": key, "value": value, "other_key": key, "other_value": value}
    return Sizes.of({"1": 1, "input": 3, "hidden": 4, **lengths})


@given(
    random_axes_cells(),
    st.tuples(st.integers(1, 4), st.integers(1, 5)),
    st.tuples(*[st.sampled_from(LENGTHS)] * 2),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=8)
def test_machine_code_of_random_cells(cell, shape, lengths, reverse, ragged):
    note("\n".join(equations(cell)))
    sizes = sizes_of(*lengths)
    of_each = torch.arange(shape[1]) % (shape[0] + 1) if ragged else None
    assert_plans_agree(Cpu(), cell, shape, sizes, torch.float64, of_each, reverse)


@pytest.mark.slow
@given(
    random_axes_cells(),
    st.tuples(st.integers(1, 6), st.integers(1, 9)),
    st.tuples(*[st.sampled_from(LENGTHS)] * 2),
    st.booleans(),
    st.booleans(),
)
def test_machine_code_of_more_random_cells(cell, shape, lengths, reverse, ragged):
    """As it stands, so that there are many: those above are optimised."""
    note("\n".join(equations(cell)))
    sizes = sizes_of(*lengths)
    of_each = torch.arange(shape[1]) % (shape[0] + 1) if ragged else None
    assert_plans_agree(Cpu(AS_IT_STANDS), cell, shape, sizes, torch.float64, of_each, reverse)


def test_what_is_largest_is_what_was_largest():
    """S is computed again in the backward pass: rounded otherwise, no unit would be the largest."""

    @cell(axes={"S": ("head", "key", "value"), "m": ("head",)}, output=True)
    def peaks(x, S, m):
        k = linear("k", x, size=("head", "key"))
        v = linear("v", x, size=("head", "value"))
        a = 0.9 * m
        m = gw.maximum(a, linear("i", x, size="head"))
        S = gw.exp(a - m) * S + k * v * 0.1
        r = gw.sum(S, dim="key")
        S = S + gw.layer_norm(gw.amax(S, dim="value"), dim="key")
        return r + gw.mean(S, dim="key"), (S, m)

    for steps, keys, values in ((6, 5, 1), (6, 5, 4), (6, 5, 5), (21, 17, 33)):
        sizes = {"1": 1, "input": 3, "hidden": 4, "head": 2, "key": keys, "value": values}
        shape, marking = (steps, 5), steps > 16  # else it is kept at every step
        assert_plans_agree(Cpu(), peaks, shape, Sizes.of(sizes), torch.float64, marking=marking)


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_several_threads_give_what_one_gives(threads):
    layer, _ = layer_of("gated_heads", (2, 24, 40), torch.float32)
    x = torch.randn(40, 9, 5)
    one, several = (on_threads(n, layer, x) for n in (1, threads))
    torch.testing.assert_close(several, one, rtol=1e-4, atol=1e-4)


def test_lengths_directions_stacks_and_streams():
    layer, _ = layer_of("gated_heads", (2, 3, 4), num_layers=2, bidirectional=True)
    assert layer.sizes(1)["input"] == 16
    x = torch.randn(6, 3, 5, dtype=torch.float64)
    y, _ = layer(x, lengths=[6, 0, 4])
    alone, _ = layer(x[:4, 2:])
    torch.testing.assert_close(y[:4, 2:], alone)
    assert not y[4:, 2].any()
    assert not y[:, 1].any()
    one, _ = layer_of("matrix_memory", (2, 3, 4))
    stream = one.stream(3)
    stepped = torch.stack([stream.step(step).clone() for step in x])
    torch.testing.assert_close(stepped, one(x)[0])


def test_resets_pins_and_traces():
    layer, _ = layer_of("gated_heads", (2, 3, 4))
    x = torch.randn(6, 3, 5, dtype=torch.float64)
    resets = torch.zeros(6, 3, dtype=torch.bool)
    resets[3] = True
    torch.testing.assert_close(layer(x, resets=resets)[0][3:], layer(x[3:])[0])
    trace = layer.trace(x, pin={"a": 1.0})
    assert trace["S"].shape == (6, 3, 24)
    assert trace["a"].shape == (6, 3, 2)
    assert bool((trace["a"] == 1).all())
    pinned = gw.nn.Recurrent(layer.cell.pin(b=0), 5, head=2, key=3, value=4)
    assert not pinned(x.float())[0].any()  # nothing is ever written


def test_code_does_not_grow_with_the_axes():
    def size(key):
        layer, _ = layer_of("delta_rule", (key, 64), torch.float32)
        plan = layer._stack[0][0].jobs[True].program.backward
        from gatework.backends.cpu.kernel.build import build
        from gatework.backends.cpu.kernel.setting import Setting
        from gatework.backends.cpu.vector.target import host

        sizes = {n: layer._stack[0][0].sizes[n] for n in plan.recurrence.sizes | {"1"}}
        setting = Setting(host(), "float", sizes, 1, ragged=False, merged=False)
        return len(build(plan, setting, frozenset()).ir.splitlines())

    assert size(64) == size(16)


def test_gates_with_axes_are_gates():
    gated = AXES_CELLS["gated_heads"][0]
    assert list(gw.analysis.gates.named_gates(gated)) == ["a", "b"]
    assert [k.name for k in gw.analysis.gates.keepers(gated)["S"]] == ["a"]
    assert gw.equivalent(gated, gated)
    assert not gw.equivalent(gated.pin(a=1), gated)


# ---- errors ------------------------------------------------------------------------------------


def refused(function, axes=None):
    with pytest.raises((DefinitionError, TypeError, ValueError)) as error:
        cell(axes=axes or {"S": ("key", "value")})(function)
    return str(error.value)


def test_sums_name_axes_that_a_value_has():
    message = refused(lambda x, S: S + gw.sum(linear("k", x, size="key"), "value"))
    assert "dim= names axes of the value, key; got 'value'" in message


def test_what_is_repeated_beside_what_is_centred_is_added_up_as_often():
    @cell(axes={"S": ("key", "value")}, output=True)
    def centred(x, S):
        k = linear("k", x, bias=False, size="key")
        return gw.sum(S - gw.mean(S, "value") + k, "value"), S

    layer = gw.nn.Recurrent(centred, 3, key=2, value=5)
    x = torch.randn(1, 1, 3)
    y, _ = layer(x, torch.randn(1, 1, 10))
    torch.testing.assert_close(y, 5 * x @ layer.weight_ih_l0.T)


def test_maps_name_each_axis_once():
    message = refused(lambda x, S: S + linear("k", x, size=("key", "key")))
    assert "size= names each axis of a value once, got ('key', 'key')" in message
    message = refused(lambda x, S: S + linear("k", x, size=("key", 3)))
    assert "or axes, size=('key', 'value'); got ('key', 3)" in message
    message = refused(lambda x, S: S + linear("k", x, size=("key", "head")))
    assert "the new 'S' has the size ('key', 'value', 'head') but the state has" in message


def test_values_with_axes_do_not_mix_with_plain_ones():
    message = refused(lambda x, S: S + linear("k", x))
    assert "'hidden' and ('key', 'value') cannot be combined" in message


def test_axes_have_one_order():
    message = refused(lambda x, S, R: (S, R), {"S": ("key", "value"), "R": ("value", "key")})
    assert "names the same axes in two orders" in message


@pytest.mark.parametrize(
    "axes", [{"S": "key"}, {"S": ("key", "key")}, {"S": ("a b", "c")}, {"S": 3}]
)
def test_axes_are_names(axes):
    assert "axes" in refused(lambda x, S: S, axes)


def test_axes_of_a_state_that_is_none():
    assert "R" in refused(lambda x, S: S, {"R": ("key", "value")})


def test_a_layer_is_told_what_it_lacks():
    delta = AXES_CELLS["delta_rule"][0]
    with pytest.raises(ValueError, match="has value=3 units, which make no hidden_size of 8"):
        gw.nn.Recurrent(delta, 5, 8, key=2, value=3)
    with pytest.raises(TypeError, match="needs the size 'value'"):
        gw.nn.Recurrent(delta, 5, key=2)
    with pytest.raises(TypeError, match="cell 'lstm' needs hidden_size"):
        gw.nn.Recurrent(gw.cells.lstm, 5)


def test_lengths_follow_from_the_size_of_the_output():
    gated = AXES_CELLS["gated_heads"][0]
    assert gw.nn.Recurrent(gated, 5, 24).extra_sizes == {"head": 4, "key": 16, "value": 6}
    assert gw.nn.Recurrent(gated, 5, 9, head=3).extra_sizes == {"head": 3, "key": 16, "value": 3}
    assert gw.nn.Recurrent(gated, 5, head=3, key=2, value=3).hidden_size == 9
    assert gw.nn.Recurrent(gated, 5, 7).extra_sizes == {"head": 1, "key": 16, "value": 7}
