"""A pinned number that changes runs the same kernel; what can be held, and what is refused."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

import gatework as gw

I, H = 3, 5


def gradients(layer, x, **asked):
    y, state = layer(x, **asked)
    parts = state if isinstance(state, tuple) else (state,)
    loss = sum(v.square().sum() for v in (y, *parts))
    return [y, *torch.autograd.grad(loss, [*layer.parameters()], materialize_grads=True)]


def fresh(number):
    """A layer of a cell that no other test has, so that nothing of it is compiled."""

    @gw.cell
    def fresh(x, h):
        z = gw.sigmoid(gw.linear("z", x, h))
        return z * h + number * (1 - z) * gw.tanh(gw.linear("n", x, h))

    return gw.nn.Recurrent(fresh, I, H, num_layers=2, bidirectional=True)


WAYS = {
    "call": lambda layer, x, p: gradients(layer, x, pin={"z": p}),
    "trace": lambda layer, x, p: layer.trace(x, pin={"z": p}, names=["h"]),
    "some units": lambda layer, x, p: gradients(layer, x, pin={"z": {1: p}}),
    "lengths": lambda layer, x, p: gradients(layer, x, pin={"z": p}, lengths=[4, 1]),
    "resets": lambda layer, x, p: gradients(layer, x, pin={"z": p}, resets=torch.ones(4, 2) > 0),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_hundred_numbers_need_no_more_kernels_than_one(way, loaded):
    layer, x = fresh(1.5), torch.randn(4, 2, I)
    way(layer, x, 0.25)
    first = len(loaded)
    for k in range(1, 100):
        way(layer, x, k / 101)
    assert len(loaded) == first > 0


def test_from_open_to_closed_there_are_three_programs(loaded):
    layer, x, counts = fresh(1.25), torch.randn(4, 2, I), []
    for k in range(31):
        gradients(layer, x, pin={"z": k / 30})
        counts.append(len(loaded))
    assert counts[1] == counts[29]
    held = layer._stack[0][0].jobs[True]._variants
    assert {h.numbers for h, _, _ in held} == {(("z", 0.0),), (("z", 1.0),), ()}


def test_holding_a_model_at_a_changing_number_compiles_once(loaded):
    layer, x = fresh(1.75), torch.randn(4, 2, I)
    counts = []
    for k in range(1, 20):
        with gw.lens.hold(layer, {"l0.z": k / 20, "l1_reverse.z": {2: k / 21}}):
            gradients(layer, x)
        counts.append(len(loaded))
    assert len(set(counts)) == 1


@pytest.mark.parametrize("number", [0, 1, 0.5, -2, -0.0, 0.3, np.float32(0.3), Fraction(1, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_pinned_number_gives_what_the_pinned_cell_gives(number, dtype):
    layer, x = gw.nn.LSTM(I, H, dtype=dtype), torch.randn(4, 2, I, dtype=dtype)
    layer.eval()
    other = gw.nn.Recurrent(gw.cells.lstm.pin(f=number), I, H, dtype=dtype)
    kept = {p.name: layer.cell.parameters[k] for k, p in enumerate(other.cell.parameters)}
    sizes = {"1": 1, "input": I, "hidden": H}
    with torch.no_grad():
        for p in other.cell.parameters:
            spans = kept[p.name].spans(sizes)
            whole = getattr(layer, f"{p.name}_l0")
            getattr(other, f"{p.name}_l0").copy_(torch.cat([whole[spans[b]] for b in p.blocks]))
    for a, b in zip(gradients(layer, x, pin={"f": number})[:1], gradients(other, x), strict=False):
        torch.testing.assert_close(a, b)
    found = gradients(layer, x, pin={"f": number})
    with gw.use_backend("reference"):
        expected = gradients(layer, x, pin={"f": number})
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("pin", [0.3, {2: 0.3}])
def test_a_pinned_number_is_not_rounded_to_the_weights_half_precision(pin):
    layer, x = gw.nn.GRU(I, H, dtype=torch.bfloat16), torch.randn(4, 2, I, dtype=torch.bfloat16)
    wide = gw.nn.GRU(I, H)
    wide.load_state_dict(layer.state_dict())
    expected = wide(x.float(), pin={"z": pin})[0].to(torch.bfloat16)
    assert torch.equal(layer(x, pin={"z": pin})[0], expected)


def test_under_vmap_a_pinned_number_is_one_for_all():
    layer, x = gw.nn.GRU(I, H), torch.randn(6, 4, 2, I)
    found = torch.vmap(lambda x: layer(x, pin={"z": 0.4})[0])(x)
    torch.testing.assert_close(found, torch.stack([layer(v, pin={"z": 0.4})[0] for v in x]))


REFUSED = {
    "no mapping": (3, TypeError, "pin= expects a mapping"),
    "zero": (0, TypeError, "pin= expects a mapping"),
    "names alone": (["z"], TypeError, "pin= expects a mapping"),
    "no name": ({3: 1.0}, TypeError, "by a string, got 3"),
    "bool": ({"z": True}, TypeError, "should be a number, got bool"),
    "nan": ({"z": math.nan}, ValueError, "must be finite, got nan"),
    "infinite": ({"z": -math.inf}, ValueError, "must be finite, got -inf"),
    "too large": ({"z": 1e39}, ValueError, "torch.float32 must be finite, got 1e\\+39"),
    "very large": ({"z": 10**400}, ValueError, "must be finite, got a larger int"),
    "beyond print": ({"z": -(10**9000)}, ValueError, "must be finite, got a larger int"),
    "unit nan": ({"z": {0: math.nan}}, ValueError, r"pin\['z'\]\[0\].* must be finite, got nan"),
    "unit large": ({"z": {0: 10**400}}, ValueError, "must be finite, got a larger int"),
    "text": ({"z": "half"}, TypeError, "should be a number, a tensor, or a mapping"),
}


@pytest.mark.parametrize(("pin", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_held_is_said(pin, kind, message):
    layer, x = gw.nn.GRU(I, H), torch.randn(4, 2, I)
    for run in (layer, layer.trace):
        with pytest.raises(kind, match=message):
            run(x, pin=pin)


@pytest.mark.parametrize("names", [3, [3], [None], [["z"]]])
def test_names_that_are_none_are_said(names):
    layer, x = gw.nn.GRU(I, H), torch.randn(4, 2, I)
    with pytest.raises(TypeError, match=r"expects a name or several|by a string"):
        layer.trace(x, names=names)
    with pytest.raises(TypeError, match=r"expected|by a string"):
        gw.lens.watch(layer, names).__enter__()


@pytest.mark.parametrize("name", ["gru", "lstm", "layer_norm_lstm"])
def test_a_layer_of_a_pinned_cell_traces_what_its_parameters_give(name):
    """What went into a held gate is no value of the pinned cell: its weights are gone."""
    whole = gw.cells.catalogue()[name]
    gate = next(n for n in whole.names if f"{n}.pre" in whole.names)
    cell = whole.pin({gate: 0.5})
    assert f"{gate}.pre" not in cell.names
    layer = gw.nn.Recurrent(cell, 3, 4)
    x = torch.randn(5, 2, 3)
    with gw.use_backend("reference"):
        expected = layer.trace(x)
    found = layer.trace(x)
    for value in (n for n, v in cell.names.items() if v.args):
        torch.testing.assert_close(found[value], expected[value])
    with pytest.raises(ValueError, match=f"{gate}.pre"):
        layer.trace(x, names=[f"{gate}.pre"])
