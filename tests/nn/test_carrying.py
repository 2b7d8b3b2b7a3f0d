"""A state carried from call to call: the numbers go on, the gradient does not."""

import pytest
import torch

import gatework as gw
from numerics import assert_same, flat

LAYERS = {
    "ours": lambda **o: gw.nn.LSTM(3, 4, num_layers=2, **o),
    "one state": lambda **o: gw.nn.GRU(3, 4, **o),
    "torch's": lambda **o: torch.nn.LSTM(3, 4, num_layers=2, **o),
}
every_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=list(LAYERS))


class Model(torch.nn.Module):
    """Two layers that keep their states in a dictionary."""

    def __init__(self):
        super().__init__()
        self.first, self.second = gw.nn.LSTM(3, 4), torch.nn.GRU(4, 2)

    def forward(self, x, state=None, scale=1.0):
        state = state or {"first": None, "second": None}
        y, first = self.first(x, state["first"])
        y, second = self.second(y, state["second"])
        return scale * y, {"first": first, "second": second}


@every_layer
def test_pieces_give_what_the_whole_sequence_gives(make):
    layer = make()
    x, carry = torch.randn(7, 2, 3), gw.nn.Carry(layer)
    whole = layer(x)
    parts = [carry(piece) for piece in x.split(3)]
    assert_same(flat((torch.cat([y for y, _ in parts]), parts[-1][1])), flat(whole), 1e-6)
    assert_same(flat(carry.state), flat(whole[1]), 1e-6)


@every_layer
def test_the_gradient_reaches_back_to_the_beginning_of_a_piece(make):
    layer = make()
    carry = gw.nn.Carry(layer)
    first, second = (torch.randn(3, 2, 3, requires_grad=True) for _ in range(2))
    _, state = carry(first)
    held = carry.state
    y, _ = carry(second)
    y.sum().backward()
    assert first.grad is None
    assert (second.grad[0] != 0).all()
    assert not any(s.requires_grad for s in flat(held).values())
    assert all(s.requires_grad for s in flat(state).values())  # what is returned is the model's
    expected = torch.autograd.grad(layer(second, held)[0].sum(), second)
    torch.testing.assert_close(second.grad, expected[0])


def test_models_with_several_states_and_further_arguments():
    model, x = Model(), torch.randn(6, 2, 3)
    carry = gw.nn.Carry(model)
    expected = model(x)[0]
    found = torch.cat([carry(x[:3], 2.0)[0], carry(x[3:], scale=2.0)[0]])
    torch.testing.assert_close(found, 2 * expected)
    carry.reset([1])
    assert (carry.state["first"][1][:, 1] == 0).all()
    assert (carry.state["second"][:, 0] != 0).all()


@every_layer
def test_reset_of_all_and_of_some_sequences(make):
    layer = make()
    carry, x = gw.nn.Carry(layer), torch.randn(4, 3, 3)
    carry.reset()
    fresh, _ = carry(x)
    carry.reset([False, True, False])
    y, _ = carry(x)
    torch.testing.assert_close(y[:, 1], fresh[:, 1])
    assert not torch.allclose(y[:, 0], fresh[:, 0])
    carry.reset()
    assert carry.state is None
    torch.testing.assert_close(carry(x)[0], fresh)


def test_resets_of_a_layer_return_to_its_own_initial_state():
    layer = gw.nn.LSTM(3, 4, learned_state=True)
    torch.nn.init.normal_(layer.initial_c_l0)
    carry, x = gw.nn.Carry(layer), torch.randn(6, 2, 3)
    resets = torch.tensor([[0, 0], [0, 1], [0, 0], [1, 0], [0, 0], [0, 0]]).bool()
    expected, _ = layer(x, resets=resets)
    pairs = zip(x.split(3), resets.split(3), strict=True)
    found = [carry(piece, resets=r)[0] for piece, r in pairs]
    torch.testing.assert_close(torch.cat(found), expected)


def test_a_learned_state_gets_a_gradient_where_a_sequence_begins_anew():
    layer = gw.nn.GRU(3, 4, learned_state=True)
    carry = gw.nn.Carry(layer)
    for reset, reached in ((None, True), ([], False), ([0], True), (None, True)):
        if reset is not None:
            carry.reset(reset)
        elif carry.state is not None:
            carry.reset()
        layer.zero_grad()
        carry(torch.randn(2, 2, 3))[0].sum().backward()
        gradient = layer.initial_h_l0.grad
        assert (gradient is not None and bool((gradient != 0).all())) == reached


def test_a_saved_state_is_carried_on(tmp_path):
    layer, x = gw.nn.LSTM(3, 4), torch.randn(6, 2, 3)
    first, second = gw.nn.Carry(layer), gw.nn.Carry(layer)
    first(x[:3])
    gw.nn.state.save(first.state, tmp_path / "state")
    second.state = gw.nn.state.load(tmp_path / "state")
    assert_same(flat(second(x[3:])), flat(first(x[3:])), 0)


def test_what_cannot_be_carried_is_refused():
    for step in (gw.nn.LSTMCell(3, 4), torch.nn.GRUCell(3, 4)):
        with pytest.raises(TypeError, match="makes single steps; carry the state"):
            gw.nn.Carry(step)
    with pytest.raises(TypeError, match="expected a model to call, got int"):
        gw.nn.Carry(3)
    with pytest.raises(TypeError, match="should return a pair"):
        gw.nn.Carry(lambda x, state: x)(torch.zeros(1))
    carry = gw.nn.Carry(gw.nn.LSTM(3, 4, num_layers=2))
    carry.reset([5])  # nothing is held yet, so everything begins anew
    carry(torch.randn(5, 3))
    with pytest.raises(ValueError, match="is that of one sequence alone"):
        carry.reset([0])
    carry.reset()
    carry(torch.randn(5, 2, 3))
    with pytest.raises(ValueError, match="there are 2 sequences, numbered from 0"):
        carry.reset([2])
    with pytest.raises(ValueError, match="one boolean for each of the 2 sequences"):
        carry.reset([True])
    assert "LSTM" in repr(carry)
