"""Padding in front and gaps: as a layer that never sees those steps, and as Keras."""

import numpy as np
import pytest
import torch
from torch import nn

import gatework as gw

MASK = torch.tensor(
    [[0, 0, 1, 1, 1, 1], [1, 0, 0, 1, 0, 1], [1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0]]
).bool()  # padding in front, gaps, padding behind, nothing that counts: [B, T]


def skipping(layer, x, mask):
    """One sequence [T, 1, I] step by step: a masked step leaves the state, repeats the output."""
    state, outputs = None, []
    y = torch.zeros(1, 1, layer.hidden_size)
    for x_t, real in zip(x, mask, strict=True):
        if real:
            y, state = layer(x_t[None], state)
        outputs.append(y)
    return torch.cat(outputs), state


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("repeat", [False, True])
@pytest.mark.parametrize("theirs", [nn.GRU, nn.LSTM])
def test_equals_a_loop_that_skips_masked_steps(theirs, repeat, batch_first):
    theirs = theirs(3, 5, num_layers=2)
    ours = getattr(gw.nn, type(theirs).__name__)(3, 5, num_layers=2, batch_first=batch_first)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(4, 6, 3)
    leaf, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    swap = (lambda v: v) if batch_first else (lambda v: v.transpose(0, 1))
    packed = gw.nn.compacted(swap(leaf), swap(MASK), batch_first)
    y, state = ours(packed.input, lengths=packed.lengths)
    y = swap(packed.restored(y, repeat=repeat))
    for k in range(3):
        wanted, final = skipping(theirs, other[k, :, None], MASK[k])
        if not repeat:
            wanted = wanted * MASK[k][:, None, None]
        torch.testing.assert_close(y[k], wanted[:, 0], atol=1e-6, rtol=1e-5)
        wanted.square().sum().backward()
        for mine, their in zip(tuples(state), tuples(final), strict=True):
            torch.testing.assert_close(mine[:, k], their[:, 0], atol=1e-6, rtol=1e-5)
    assert not y[3].any()
    y.square().sum().backward()
    torch.testing.assert_close(leaf.grad, other.grad if other.grad is not None else None)
    for mine, their in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, their.grad, atol=1e-5, rtol=1e-4)


def tuples(state):
    return state if isinstance(state, tuple) else (state,)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
@pytest.mark.parametrize("two_ways", [False, True])
@pytest.mark.parametrize("zeros", [False, True])
def test_equals_keras(kind, two_ways, zeros):
    keras = pytest.importorskip("keras")
    options = {"return_sequences": True, "zero_output_for_mask": zeros}
    theirs = getattr(keras.layers, kind)(5, **options)
    theirs = keras.layers.Bidirectional(theirs) if two_ways else theirs
    x = torch.randn(4, 6, 3)
    expected = keras.ops.convert_to_numpy(theirs(x.numpy(), mask=MASK.numpy()))
    layer = gw.convert.from_keras(theirs)
    packed = gw.nn.compacted(x, MASK, layer.batch_first)
    y, _ = layer(packed.input, lengths=packed.lengths)
    y = packed.restored(y, repeat=not (zeros or two_ways))
    np.testing.assert_allclose(y.detach().numpy(), expected, atol=1e-5)


def test_traced_values_come_to_their_steps():
    layer, x = gw.nn.LSTM(3, 5, batch_first=True), torch.randn(4, 6, 3)
    packed = gw.nn.compacted(x, MASK, batch_first=True)
    gate = packed.restored(layer.trace(packed.input, lengths=packed.lengths)["f"])
    alone = layer.trace(x[1, MASK[1]])["f"]
    torch.testing.assert_close(gate[1, MASK[1]], alone, atol=1e-6, rtol=1e-5)
    assert not gate[~MASK].any()


def test_many_steps_keep_their_order():
    x = torch.arange(500.0)[:, None]
    mask = torch.rand(500) < 0.5
    packed = gw.nn.compacted(x, mask)
    assert torch.equal(packed.input[: packed.lengths], x[mask])
    assert torch.equal(packed.restored(packed.input), x * mask[:, None])


def test_one_sequence_alone():
    layer, x = gw.nn.GRU(3, 5), torch.randn(6, 3)
    packed = gw.nn.compacted(x, MASK[1])
    y, h = layer(packed.input, lengths=packed.lengths)
    wanted, final = layer(x[MASK[1]])
    torch.testing.assert_close(packed.restored(y)[MASK[1]], wanted)
    torch.testing.assert_close(h, final)


@pytest.mark.parametrize(
    ("act", "error", "phrase"),
    [
        (lambda x: gw.nn.compacted(x, MASK.float()), TypeError, r"write mask\.bool\(\)"),
        (lambda x: gw.nn.compacted(x, MASK), ValueError, r"\[6, 4\] in the layout"),
        (lambda x: gw.nn.compacted(x.numpy(), MASK), TypeError, "got ndarray"),
        (lambda x: gw.nn.compacted(x, MASK.T).restored(x[:5]), ValueError, "is batch_first right"),
    ],
)
def test_errors_say_what_came_and_what_was_expected(act, error, phrase):
    with pytest.raises(error, match=phrase):
        act(torch.randn(6, 4, 3))
