"""A value with axes held: for each head, for some heads; cells with axes that are equal."""

import pytest
import torch

import gatework as gw
from gatework import equivalent

H, K, V = 2, 3, 4


def gated():
    torch.manual_seed(0)
    layer = gw.nn.Recurrent(gw.cells.gated_delta_net, 5, head=H, key=K, value=V)
    return layer, torch.randn(7, 3, 5)


def shown(layer, x, name, pin):
    return layer.trace(x, pin={name: pin})[name].detach()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_gate_is_held_at_a_number_of_each_head(backend):
    layer, x = gated()
    with gw.use_backend(backend):
        for pin in (
            {"head": [0.25, 0.75]},
            {"head": torch.tensor([0.25, 0.75])},
            torch.tensor([0.25, 0.75]),
        ):
            held = shown(layer, x, "a", pin)
            assert torch.equal(held, torch.tensor([0.25, 0.75]).expand_as(held))
        free = layer.trace(x)["a"].detach()
        some = shown(layer, x, "a", {"head": {1: 0.5}})
    assert bool((some[..., 1] == 0.5).all())
    torch.testing.assert_close(some[..., 0], free[..., 0])


def test_a_state_and_a_gate_of_heads_and_keys_are_held_along_one_of_their_axes():
    layer, x = gated()
    S = shown(layer, x, "S", {"key": {2: 0.5}}).unflatten(-1, (H, K, V))
    assert bool((S[..., 2, :] == 0.5).all())
    assert bool((S[..., :2, :] != 0.5).any())
    layer = gw.nn.Recurrent(gw.cells.gla, 5, head=H, key=K, value=V)
    rows = torch.rand(H, 1)
    expected = rows.expand(H, K).flatten()
    for pin in (rows, {"head": rows.flatten()}, rows.expand(H, K)):
        held = shown(layer, x, "decay", pin)
        torch.testing.assert_close(held, expected.expand_as(held))


def test_what_holds_the_heads_has_a_gradient():
    layer, x = gated()
    level = torch.tensor([0.25, 0.75], requires_grad=True)
    layer(x, pin={"a": {"head": level}})[0].square().sum().backward()
    assert level.grad is not None
    assert bool((level.grad != 0).all())


WRONG = {
    "an axis it lacks": ("a", {"key": {0: 1.0}}, "along 'key'; expected one axis.*has head"),
    "two axes": ("S", {"head": {0: 1.0}, "key": {0: 1.0}}, "along 'head', 'key'; expected one"),
    "no such head": ("a", {"head": {2: 1.0}}, "names head 2; there are 2, numbered from 0"),
    "too few": ("S", {"key": [1.0, 2.0]}, "along 'key' should be 3 numbers.*shape \\[2\\]"),
    "a wrong shape": ("S", torch.ones(H, V, K), "the axes \\[2, 3, 4\\].*shape \\[2, 4, 3\\]"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_the_axes_is_refused(case):
    name, pin, message = WRONG[case]
    layer, x = gated()
    with pytest.raises(ValueError, match=message):
        layer(x, pin={name: pin})


def test_a_value_without_axes_is_not_held_along_one():
    with pytest.raises(ValueError, match=r"along 'head'; expected one axis.*which has none"):
        gw.nn.GRU(5, 4)(torch.randn(3, 2, 5), pin={"z": {"head": {0: 1.0}}})


def test_a_gated_delta_net_that_forgets_nothing_is_a_delta_net():
    cells = gw.cells
    assert equivalent(cells.gated_delta_net.pin(a=1), cells.delta_net)
    assert not equivalent(cells.gated_delta_net.pin(a=0.5), cells.delta_net)
    assert not equivalent(cells.gated_delta_net, cells.delta_net)
    assert equivalent(cells.delta_net.pin(b=0.5), cells.gated_delta_net.pin(a=1, b=0.5))


def test_a_cell_with_a_held_gate_computes_what_the_held_layer_does():
    layer, x = gated()
    pinned = gw.nn.Recurrent(gw.cells.gated_delta_net.pin(a=0.5), 5, head=H, key=K, value=V)
    whole = layer.cell.parameters[0].spans(layer.sizes(0))
    for gate, rows in pinned.cell.parameters[0].spans(pinned.sizes(0)).items():
        pinned.weight_ih_l0.data[rows] = layer.weight_ih_l0.data[whole[gate]]
    torch.testing.assert_close(pinned(x)[0], layer(x, pin={"a": 0.5})[0])
