"""Further inputs with axes of their own, such as the notes that an attention decoder reads."""

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

import gatework as gw
from attending_cells import decoder, each_step
from gatework import cell, linear, tanh

POSITION, WIDTH = 5, 7


def decoded(layer, x, notes):
    """The decoder as a loop."""
    spans = next(p for p in decoder.parameters if p.name == "weight_hh").spans(layer.sizes(0))
    h, rows = x.new_zeros(x.shape[1], layer.hidden_size), []
    for row in x:
        back = torch.nn.functional.linear(h, layer.weight_hh_l0, layer.bias_hh_l0)
        q, n = back[:, spans["q"]], back[:, spans["n"]]
        w = (torch.einsum("bpw,bw->bp", notes, q) / WIDTH**0.5).softmax(-1)
        read = torch.einsum("bp,bpw->bw", w, notes)
        n = n + torch.nn.functional.linear(row, layer.weight_ih_l0, layer.bias_ih_l0)
        h = (n + torch.nn.functional.linear(read, layer.weight_read_l0, layer.bias_read_l0)).tanh()
        rows.append(h)
    return torch.stack(rows)


def made(of=decoder, **options):
    return gw.nn.Recurrent(of, 3, 4, position=POSITION, width=WIDTH, dtype=torch.float64, **options)


def given(steps=6, batch=2):
    x = torch.randn(steps, batch, 3, dtype=torch.float64)
    return x, torch.randn(batch, POSITION, WIDTH, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_a_decoder_is_a_loop_of_torchs(backend):
    layer, (x, notes) = made(), given()
    sources = [notes, *layer.parameters()]
    with gw.use_backend(backend):
        y, _ = layer(x, notes=notes)
        found = torch.autograd.grad(y.sin().sum(), sources)
    expected = decoded(layer, x, notes)
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-10)
    wanted = torch.autograd.grad(expected.sin().sum(), sources)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_its_shape_is_natural_or_flat():
    layer, (x, notes) = made(), given()
    y, _ = layer(x, notes=notes)
    assert torch.equal(layer(x, notes=notes.flatten(1))[0], y)
    alone, _ = layer(x[:, 1], notes=notes[1])
    torch.testing.assert_close(alone, y[:, 1])
    first = made(batch_first=True)
    first.load_state_dict(layer.state_dict())
    torch.testing.assert_close(first(x.transpose(0, 1), notes=notes)[0], y.transpose(0, 1))
    packed, _ = layer(pack_padded_sequence(x, [3, 6], enforce_sorted=False), notes=notes)
    torch.testing.assert_close(packed.data[0], y[0, 1])
    stream = layer.stream(2, notes=notes)
    torch.testing.assert_close(torch.stack([stream.step(v).clone() for v in x]), y)
    stream.reset([True, False], notes=notes.detach().flip(0))
    torch.testing.assert_close(stream.step(x[0])[0], layer(x[:1, :1], notes=notes[1:])[0][0, 0])


def test_what_is_read_at_each_step_may_have_axes():
    layer, (x, _) = made(each_step), given()
    notes = torch.randn(6, 2, POSITION, WIDTH, dtype=torch.float64)
    mask, key = torch.rand(6, 2, POSITION).double(), torch.randn(2, WIDTH).double()
    y, _ = layer(x, notes=notes, mask=mask, key=key)
    assert torch.equal(layer(x, notes=notes.flatten(2), mask=mask, key=key)[0], y)
    sequences = [notes[:, k] for k in range(2)]
    again, _ = layer(
        pack_sequence([x[:, k] for k in range(2)]),
        notes=pack_sequence(sequences),
        mask=mask,
        key=key,
    )
    torch.testing.assert_close(again.data.unflatten(0, (6, 2)), y)
    stream = layer.stream(2, key=key)
    rows = zip(x, notes, mask, strict=True)
    stepped = torch.stack([stream.step(v, notes=n, mask=m).clone() for v, n, m in rows])
    torch.testing.assert_close(stepped, y)


def test_a_wrong_shape_is_told_in_both_forms():
    layer, (x, notes) = made(), given()
    with pytest.raises(ValueError, match=r"shape \[2, 5, 7\] or \[2, 35\], got \[2, 4, 7\]"):
        layer(x, notes=notes[:, :4])
    with pytest.raises(TypeError, match="needs the size"):
        gw.nn.Recurrent(decoder, 3, 4, position=5)


@pytest.mark.parametrize(
    ("options", "phrase"),
    [
        ({"given": {"notes": ()}}, "or its axes"),
        ({"given": {"notes": ("a", "a")}}, "different names"),
        ({"given": {"notes": 3}}, "or its axes"),
        ({"given": {"notes": ("a", "b")}, "axes": {"notes": ("a", "b")}}, "leave it out of"),
        ({"given": {"notes": ("b", "a")}, "axes": {"h": ("a", "b")}}, "in two orders"),
    ],
)
def test_axes_that_an_input_cannot_have(options, phrase):
    with pytest.raises(gw.DefinitionError, match=phrase):
        cell(**options)(lambda x, notes, /, h: tanh(linear("n", x, h)) + gw.sum(notes))
