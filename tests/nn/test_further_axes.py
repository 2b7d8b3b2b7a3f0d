"""Axes that no state has, and values that are read along other axes of the same lengths."""

import pickle

import pytest
import torch

import gatework as gw
from axes_cells import AXES_CELLS
from gatework import cell, linear, rename, tanh
from gatework.lang import DefinitionError
from gatework.lang.writing import cell_as_data, cell_of_data

DOUBLE = torch.float64


@cell
def covarying(x, h, c):
    other = rename(h, hidden="other")
    c = 0.9 * c + gw.sum(h * tanh(other + linear("q", x, size="other")), "other")
    return tanh(linear("n", x, c, size="hidden")), c


def covarying_of_torch(layer, x):
    q, n = (layer.weight_ih_l0.split(layer.hidden_size), layer.bias_ih_l0.split(layer.hidden_size))
    h = c = x.new_zeros(x.shape[1], layer.hidden_size)
    rows = []
    for row in x:
        asked = torch.tanh(h + row @ q[0].T + n[0])
        c = 0.9 * c + h * asked.sum(-1, keepdim=True)
        h = torch.tanh(row @ q[1].T + n[1] + c @ layer.weight_nh_l0.T + layer.bias_nh_l0)
        rows.append(h)
    return torch.stack(rows)


def assert_equal_to(layer, x, backend, expected):
    """The layer's output on a backend is as expected, and so are all gradients."""
    sources = [x, *layer.parameters()]
    with gw.use_backend(backend):
        y, _ = layer(x)
        found = torch.autograd.grad(y.square().sum(), sources)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(found, torch.autograd.grad(expected.square().sum(), sources))


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_the_hidden_size_may_be_an_axis(backend):
    layer = gw.nn.Recurrent(covarying, 3, 5, dtype=DOUBLE)
    assert layer.sizes(0)["other"] == 5
    x = torch.randn(6, 2, 3, dtype=DOUBLE, requires_grad=True)
    assert_equal_to(layer, x, backend, covarying_of_torch(layer, x))


@cell(axes={"S": ("row", "col", "head")}, output=True)
def turning(x, S):
    v = tanh(linear("v", x, size=("row", "col", "head")))
    flipped = rename(S, row="col", col="row")
    turned = rename(0.3 * S + v, row="a", col="b", head="c")
    read = rename(turned, a="head", b="row", c="col")
    return read + flipped * v, 0.5 * rename(S, row="col", col="head", head="row") + v


def turning_of_torch(layer, x):
    n = layer.sizes(0)["row"]
    S, rows = x.new_zeros(x.shape[1], n, n, n), []
    for row in x:
        v = torch.tanh(row @ layer.weight_ih_l0.T + layer.bias_ih_l0).view(-1, n, n, n)
        read = (0.3 * S + v).permute(0, 2, 3, 1)
        rows.append((read + S.transpose(1, 2) * v).flatten(1))
        S = 0.5 * S.permute(0, 3, 1, 2) + v
    return torch.stack(rows)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("n", [1, 3, 9])
def test_axes_change_places(backend, n):
    layer = gw.nn.Recurrent(turning, 3, row=n, dtype=DOUBLE)  # the others are as long
    x = torch.randn(4, 2, 3, dtype=DOUBLE, requires_grad=True)
    assert_equal_to(layer, x, backend, turning_of_torch(layer, x))


def test_such_a_cell_stands_inside_a_plain_one():
    @cell
    def around(x, h, c):
        h, c = covarying.equations(x, 0.5 * h, c, prefix="inner")
        return tanh(h), c

    layer = gw.nn.Recurrent(around, 3, 5)
    x = torch.randn(4, 2, 3)
    y, _ = layer(x)
    with gw.use_backend("reference"):
        torch.testing.assert_close(layer(x)[0], y)
    assert layer.sizes(0)["other"] == 5
    names = layer.trace(x).to_xarray().dims
    assert {"unit", "other"} <= set(names)


def test_reading_along_an_axis_and_back_is_nothing():
    @cell(axes={"S": ("row", "col")})
    def back(x, S):
        once = rename(rename(S, row="a", col="row"), a="col")
        return rename(once, row="col", col="row") + linear("v", x, size="col")

    assert gw.explain(back).equations[-1] == "S' = S + v"


def test_lengths_are_given_or_follow():
    dendritic = AXES_CELLS["dendritic"][0]
    assert repr(gw.nn.Recurrent(dendritic, 3, 8, basis=5)) == (
        "Recurrent(dendritic, 3, 8, basis=5, unit=8)"
    )
    assert gw.nn.Recurrent(dendritic, 3, 8).sizes(0)["basis"] == 16
    with pytest.raises(TypeError, match="needs the size 'basis'; give basis=…"):
        gw.nn.Recurrent(dendritic, 3, unit=8)
    remembering = AXES_CELLS["fast_weights"][0]
    assert gw.nn.Recurrent(remembering, 3, 8).sizes(0)["other"] == 8
    assert gw.nn.Recurrent(remembering, 3, other=8).hidden_size == 8
    with pytest.raises(ValueError, match="rename\\(v, unit='other'\\) reads an axis of 8 units"):
        gw.nn.Recurrent(remembering, 3, 8, other=9)


def test_axes_have_the_order_in_which_they_are_named():
    @cell(axes={"z": ("unit",)})
    def ordered(x, z):
        w = gw.vector("w", lambda *lengths: torch.ones(lengths), size=("out", "unit"))
        return rename(tanh(gw.sum(w * z, "unit")), out="unit") + linear("v", x, size="unit")

    assert ordered.parameters[-1].rows == ("unit,out",)


def test_such_cells_are_kept_and_sent():
    for equations in (covarying, AXES_CELLS["fast_weights"][0], turning):
        assert pickle.loads(pickle.dumps(equations)).next_states == equations.next_states
        assert cell_of_data(cell_as_data(equations)).next_states == equations.next_states
        assert gw.equivalent(equations, equations)
    assert any("rename(S, col=row, row=col)" in line for line in gw.explain(turning).equations)


def test_a_map_along_one_axis_is_told_as_a_sum():
    with pytest.raises(DefinitionError) as error:

        @cell(axes={"S": ("key", "value")})
        def mapped(x, S):
            return gw.weight("w", size="value", of="value")(S) + linear("v", x, size="value")

    assert "sum(vector('w', size=('out', 'value')) * v, dim='value')" in str(error.value)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x, S: rename(S, key=3), "rename says which axis is read as which"),
        (lambda x, S: rename(S), "rename says which axis is read as which"),
        (lambda x, S: rename(S, kei="other"), "which has ('key', 'value'); got 'kei'"),
        (lambda x, S: rename(S, key="value"), "would give ('key', 'value') the same axis twice"),
    ],
)
def test_what_rename_refuses(function, message):
    with pytest.raises(DefinitionError) as error:
        cell(axes={"S": ("key", "value")})(function)
    assert message in str(error.value)
