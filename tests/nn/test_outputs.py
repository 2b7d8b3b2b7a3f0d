"""Layers of cells whose output is no state: stacks, both directions, streams, single steps, pins.

Legend: T steps, B sequences, I features, H hidden units, W units of the output.
"""

import pytest
import torch

import gatework as gw
from gatework import cell, linear, tanh
from numerics import assert_same, flat, randomised

T, B, I, H, W = 6, 3, 5, 4, 7


@cell(output=True)
def elman(x, h):
    h = tanh(linear("h", x, h))
    return tanh(linear("y", h, size="words")), h


@cell(output=True)
def of_the_input(x, h):
    """No step has to wait for this output: it reads no state."""
    return linear("y", x, size="words"), tanh(linear("h", x, h))


@cell(output=True)
def previous(x, h):
    """The output is what the state was."""
    return h, tanh(linear("h", x, h))


@cell(output=True)
def passing_on(x, h):
    """The output has the input's size: the next layer of both directions reads twice as much."""
    h = tanh(linear("h", x, h))
    return x + linear("y", h, size="input"), h


CELLS = [elman, of_the_input, previous, passing_on]


def layer_of(cell, **options):
    sizes = dict.fromkeys(cell.size_names(), W)
    return randomised(gw.nn.Recurrent(cell, I, H, dtype=torch.float64, **sizes, **options)).eval()


def normal(*shape):
    return torch.randn(shape, dtype=torch.float64)


def elman_again(layer, x, k, suffix=""):
    """One layer in one direction, written out."""
    w = {n.removesuffix(f"_l{k}{suffix}"): v for n, v in layer.named_parameters()}
    h, outputs = x.new_zeros(B, H), []
    for row in x:
        h = torch.tanh(row @ w["weight_ih"].T + w["bias_ih"] + h @ w["weight_hh"].T + w["bias_hh"])
        outputs.append(torch.tanh(h @ w["weight_yh"].T + w["bias_yh"]))
    return torch.stack(outputs), h


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_each_layer_reads_the_outputs_of_the_one_below(backend):
    layer = layer_of(elman, num_layers=2, bidirectional=True)
    x = normal(T, B, I)
    rows, finals = x, []
    for k in range(2):
        y, h = elman_again(layer, rows, k)
        turned, last = elman_again(layer, rows.flip(0), k, "_reverse")
        rows, finals = torch.cat([y, turned.flip(0)], -1), [*finals, h, last]
    with gw.use_backend(backend):
        found = layer(x)
    assert found[0].shape == (T, B, 2 * W)
    assert layer.output_size == W
    assert_same(flat(found), flat((rows, torch.stack(finals))), 1e-12)


def test_an_output_of_the_inputs_size_grows_with_both_directions():
    layer = layer_of(passing_on, num_layers=3, bidirectional=True)
    assert [layer.sizes(k)["input"] for k in range(3)] == [I, 2 * I, 4 * I]
    assert layer.output_size == 4 * I
    assert layer(normal(T, B, I))[0].shape == (T, B, 8 * I)


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: c.name)
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_a_stream_and_single_steps_are_the_layer(cell, backend):
    layer = layer_of(cell)
    x = normal(T, B, I)
    expected, final = layer(x)
    step = gw.nn.RecurrentCell(cell, I, H, dtype=torch.float64, **layer.extra_sizes)
    step.load_state_dict({n.removesuffix("_l0"): v for n, v in layer.state_dict().items()})
    with gw.use_backend(backend):
        stream, state = layer.stream(B), None
        for row, y in zip(x, expected, strict=True):
            torch.testing.assert_close(stream.step(row), y)
            found, state = step(row, state)
            torch.testing.assert_close(found, y)
    torch.testing.assert_close(state, final[0])
    torch.testing.assert_close(stream.state, final)


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: c.name)
def test_one_sequence_alone_and_a_single_step_of_one(cell):
    layer = layer_of(cell)
    x = normal(T, I)
    y, h = layer(x)
    assert (y.shape, h.shape) == ((T, layer.output_size), (1, H))
    step = gw.nn.RecurrentCell(cell, I, H, **layer.extra_sizes).double()
    found, state = step(x[0])
    assert (found.shape, state.shape) == ((layer.output_size,), (H,))


def test_half_precision_rounds_output_and_state_of_a_step():
    step = gw.nn.RecurrentCell(elman, I, H, words=W).bfloat16()
    y, h = step(torch.randn(B, I).bfloat16())
    assert (y.dtype, h.dtype) == (torch.bfloat16, torch.bfloat16)


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: c.name)
def test_a_trace_shows_it(cell):
    layer = layer_of(cell, num_layers=2)
    trace = layer.trace(normal(T, B, I))
    assert torch.equal(trace["output"], trace.output)
    assert trace.sizes["output"] == cell.output.size


def test_a_pin_holds_it_and_what_the_layers_above_read():
    layer = layer_of(elman, num_layers=2)
    x = normal(T, B, I)
    y, _ = layer(x, pin={"output": 0.25})
    assert (y == 0.25).all()
    y, _ = layer(x, pin={"output": {2: 0.5}})
    assert (y[..., 2] == 0.5).all()
    assert y[..., 3].unique().numel() == T * B


def test_a_reset_leaves_the_output_of_the_step_before():
    layer = layer_of(elman)
    x, resets = normal(T, B, I), torch.zeros(T, B, dtype=torch.bool)
    resets[3] = True
    y, _ = layer(x, resets=resets)
    torch.testing.assert_close(y[:3], layer(x[:3])[0])
    torch.testing.assert_close(y[3:], layer(x[3:])[0])


def test_with_cell_asks_for_an_output_of_the_same_size():
    layer = layer_of(elman, num_layers=2)
    louder = layer.with_cell(layer.cell.changing({"output": lambda y: 2 * y}))
    assert louder(normal(T, B, I))[0].shape == (T, B, W)

    @cell(output=True)
    def bare(x, h):
        h = tanh(linear("h", x, h))
        return h, h

    with pytest.raises(ValueError, match="'bare' has an output of 4 units, the layer one of 7"):
        layer.with_cell(bare)


def test_silenced_units_are_those_of_the_output():
    layer = layer_of(elman)
    assert gw.lens.silenced_units(layer, [6]) == {"l0[6]": {"l0.output": {6: 0.0}}}
    layer = layer_of(gw.cells.sru)
    assert gw.lens.silenced_units(layer, [1]) == {
        "l0[1]": {"l0.output": {1: 0.0}, "l0.c": {1: 0.0}}
    }


def test_the_doctor_examines_layers_and_steps():
    for model, x in (
        (layer_of(elman).float(), torch.randn(T, B, I)),
        (gw.nn.RecurrentCell(elman, I, H, words=W), torch.randn(B, I)),
    ):
        assert gw.doctor(model, x)
