"""A trace as arrays and tables: every number is where its axes say."""

import itertools
from importlib import import_module

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

import gatework as gw

T, B, I, H = 5, 3, 4, 6
LENGTHS = [3, 5, 0]


def layer_of(cell=gw.cells.lstm, **options) -> gw.nn.Recurrent:
    return gw.nn.Recurrent(cell, I, H, **options)


FORMS = {
    "time first": ({}, (T, B, I), ("time", "batch", "unit")),
    "batch first": ({"batch_first": True}, (B, T, I), ("batch", "time", "unit")),
    "one sequence": ({"batch_first": True}, (T, I), ("time", "unit")),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_every_number_is_where_its_axes_say(form):
    options, shape, dims = form
    layer = layer_of(num_layers=2, bidirectional=True, **options)
    trace = layer.trace(torch.randn(shape))
    assert trace.dims == dims
    table, data, arrays = trace.to_pandas(), trace.to_xarray(), trace.to_numpy()
    assert list(table.columns) == list(data.data_vars) == list(arrays) == list(trace)
    assert list(table.index.names) == ["layer", "direction", *dims]
    assert data["f"].dims == ("layer", "direction", *dims)
    for k, direction in itertools.product(range(2), ("forward", "reverse")):
        layer_trace = trace.layer(k)
        found = layer_trace if direction == "forward" else layer_trace.reverse
        at = {"time": 1, "batch": 2, "unit": 4}
        place = tuple(at[d] for d in dims)
        for name in ("f", "i.pre", "c"):
            want = found[name][place].item()
            where = {d: at[d] for d in dims}
            assert data[name].sel(layer=k, direction=direction, **where).item() == want
            assert table.loc[(k, direction, *place), name] == want
            assert arrays[name][(k, int(direction == "reverse"), *place)] == want


@pytest.mark.parametrize("batch_first", [False, True])
def test_steps_past_an_end_are_left_out(batch_first):
    layer = layer_of(gw.cells.gru, batch_first=batch_first)
    x = torch.randn(B, T, I) if batch_first else torch.randn(T, B, I)
    trace = layer.trace(x, lengths=LENGTHS)
    data, table = trace.to_xarray(), trace.to_pandas()
    assert data["length"].values.tolist() == LENGTHS
    steps = table.index.to_frame()
    for b, length in enumerate(LENGTHS):
        one = data["z"].isel(layer=0, direction=0, batch=b).transpose("time", "unit").values
        assert np.isfinite(one[:length]).all()
        assert np.isnan(one[length:]).all()
        assert sorted({*steps.loc[steps["batch"] == b, "time"]}) == list(range(length))
    assert np.isfinite(table.to_numpy()).all()


def test_a_packed_trace_has_the_order_of_the_sequences_as_they_were_given():
    layer, x, lengths = layer_of(), torch.randn(T, B, I), [3, 5, 1]
    packed = layer.trace(pack_padded_sequence(x, lengths, enforce_sorted=False))
    direct = layer.trace(x, lengths=lengths)
    assert packed.lengths.tolist() == lengths
    assert packed.to_xarray().equals(direct.to_xarray())
    assert packed.to_pandas().equals(direct.to_pandas())


def test_values_of_other_sizes_have_axes_of_their_own():
    @gw.cell
    def odd(x, h):
        gw.observe("mean", gw.mean(x))
        seen = gw.observe("seen", gw.tanh(x))
        return gw.tanh(gw.linear("a", seen, h) + gw.observe("level", gw.sum(h)))

    trace = layer_of(odd, num_layers=2, bidirectional=True).trace(torch.randn(T, B, I))
    data, table = trace.to_xarray(), trace.to_pandas()
    assert data["h"].dims[-1] == "unit"
    assert data["level"].dims[-1] == "number"
    assert data["seen"].sizes["feature"] == 2 * H
    first = data["seen"].sel(layer=0).values
    assert np.isfinite(first[..., :I]).all()
    assert np.isnan(first[..., I:]).all()
    assert len(table) == 2 * 2 * T * B * 2 * H
    assert table["level"].count() == 2 * 2 * T * B
    assert table["h"].count() == 2 * 2 * T * B * H


def test_values_with_axes_have_those_of_the_cell():
    layer = gw.nn.Recurrent(gw.cells.gated_delta_net, I, head=2, key=3, value=4, num_layers=2)
    trace = layer.trace(torch.randn(T, B, I), lengths=[T, 2][:B] + [1] * (B - 2))
    data = trace.to_xarray()
    assert data["S"].dims[-3:] == ("head", "key", "value")
    assert data["a"].dims[-1] == "head"
    assert data["output"].dims[-2:] == ("head", "value")
    S = trace["S"].unflatten(-1, (2, 3, 4))[1, 0, 1, 2, 3].item()
    found = data["S"].isel(layer=1, direction=0, time=1, batch=0, head=1, key=2, value=3)
    assert found.item() == S


def test_a_stacked_value_is_differentiable():
    layer = layer_of(num_layers=2, bidirectional=True)
    x = torch.randn(T, B, I, requires_grad=True)
    stacked = layer.trace(x).stacked("f")
    assert stacked.shape == (2, 2, T, B, H)
    stacked.sum().backward()
    assert (x.grad != 0).any()
    assert all((p.grad != 0).any() for n, p in layer.named_parameters() if n.startswith("weight"))


def test_bfloat16_becomes_float32():
    trace = layer_of(dtype=torch.bfloat16).trace(torch.randn(T, B, I, dtype=torch.bfloat16))
    assert trace.to_numpy()["f"].dtype == np.float32
    assert trace.to_xarray()["f"].dtype == np.float32


@pytest.mark.parametrize(("method", "package"), [("to_xarray", "xarray"), ("to_pandas", "pandas")])
def test_a_missing_package_is_named(method, package, monkeypatch):
    trace = layer_of().trace(torch.randn(T, B, I))

    def without(name):
        if name == package:
            raise ModuleNotFoundError(name)
        return import_module(name)

    monkeypatch.setattr("gatework.nn.tables.import_module", without)
    with pytest.raises(ImportError, match=rf"{method}\(\) needs {package}.*pip install {package}"):
        getattr(trace, method)()
