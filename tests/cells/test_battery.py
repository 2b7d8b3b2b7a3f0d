"""What every cell of the catalogue must do. A new cell is tested by being listed in it."""

import contextlib
import copy
import itertools
import json
import pickle
from dataclasses import fields, replace

import pytest
import torch
from torch.func import functional_call, grad, jacfwd, jacrev, jvp, vjp, vmap

import gatework as gw
from as_written import as_written
from blocks import blocks_of
from episodes import gradients_of, run_alone
from feeding import recurrent, recurrent_cell
from forms import one_of_each_form
from gatework import rewriting
from gatework.compiler.program import program
from gatework.lang.definition import Cell
from gatework.lang.expressions import Apply
from gatework.lang.printing import equations
from gatework.lang.writing import cell_as_data, cell_of_data
from gatework.nn.options import rewritten
from numerics import assert_same, flat, gradients, problem, randomised, worst_difference
from parts_of_suite import FEW
from plain_sizes import plain_sizes

TORCHS = ("rnn", "rnn_relu", "lstm", "gru", "projected_lstm")


@gw.cell
def noisy_lstm(x, h, c):
    """Not in the catalogue: every kind of noise."""
    dropped = gw.dropout(h, 0.3, per="sequence")
    i = gw.sigmoid(gw.linear("i", x) + gw.linear("i", dropped, group="dh"))
    f = gw.sigmoid(gw.linear("f", x, h))
    g = gw.dropout(gw.tanh(gw.linear("g", x, h)), 0.4)
    new = gw.zoneout(f * c + i * g, c, 0.2)
    return gw.zoneout(gw.tanh(new), h, 0.1, per="sequence"), new


@gw.cell(output=True)
def read_lstm(x, h, c):
    """Not in the catalogue: an output that is no state, of a size of its own."""
    h, c = gw.cells.lstm.equations(x, h, c, prefix="inner")
    return gw.tanh(gw.linear("y", h, size="out")) + gw.linear("z", c, size="out"), (h, c)


@gw.cell
def rearranged(x, h, c):
    """Not in the catalogue: every way to arrange rows, of any number of units."""
    i, f, g = gw.chunk(gw.linear("gates", x, h, size="3*hidden"), 3)
    f = gw.cumax(f)
    both = gw.flip(gw.roll(gw.cat([c, gw.tanh(g)]), 1))
    kept, new = gw.split(both, ["hidden", "hidden"])
    c = f * gw.shift(kept, -1) + gw.sigmoid(i) * new + 0.1 * gw.cumsum(new)
    return gw.tanh(c + gw.sum(gw.take(c, [0, 0]) * gw.take(h, [0, 0])) + h[-1]), c


@gw.cell(sizes={"mask": "input"}, given={"speaker": "context", "loudness": "1"})
def informed_gru(x, mask, gap, speaker, loudness, /, h):
    """Not in the catalogue: further inputs of every kind, read in every way, and noise."""
    heard = gw.linear("heard", gw.dropout(speaker, 0.2, per="sequence"), size="input")
    x = mask * x + (1 - mask) * gw.tanh(heard)
    shown = gw.linear("v", speaker, mask) * gw.sum(speaker)
    z = gw.sigmoid(gw.linear("z", x, group="xh") + gw.linear("z", h) + shown)
    n = gw.tanh(gw.linear("n", x, group="xh") + gw.linear("n", h, gap, loudness))
    return (1 - z) * h / (1 + gap * gap) + z * gw.dropout(n, 0.1) * loudness


@gw.cell(given={"speaker": "hidden"})
def steered_rnn(x, speaker, /, h, c):
    """Not in the catalogue: one further input, as wide as the state and never mapped."""
    c = 0.5 * c + gw.relu(speaker) * gw.tanh(gw.linear("g", x))
    return gw.tanh(gw.linear("n", h) + c), c


FURTHER = {"informed_gru": informed_gru, "steered_rnn": steered_rnn}
CELLS = {
    **gw.cells.catalogue(), "noisy_lstm": noisy_lstm, "read_lstm": read_lstm,
    "rearranged": rearranged, **FURTHER,
}  # fmt: skip
CORE = {
    "rnn", "rnn_relu", "lstm", "gru", "gru_reset_before", "peephole_lstm", "projected_lstm",
    "layer_norm_lstm", "multiplicative_lstm", "noisy_lstm", "read_lstm", "rearranged",
    *FURTHER, "gru_d",
}  # fmt: skip
NORMED = ("rwkv6", "rwkv7", "ttt_linear")  # over the values of a head, of which one is too few
every_cell = pytest.mark.parametrize(
    "cell",
    [
        pytest.param(cell, id=name, marks=[] if name in CORE else [pytest.mark.slow])
        for name, cell in CELLS.items()
    ],
)
# An input as wide as the outputs of both directions: every layer of a stack has the same kernels.
I, H = 8, 4
both_ways = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])

RUNS = {
    "whole": {},
    "one step": {"steps": 1},
    "one sequence": {"batch": 1},
    "no sequence": {"batch": 0},
    "seven sequences": {"batch": 7, "steps": 2},
    "lengths": {"lengths": (4, 2, 1)},
    "lengths of zero": {"lengths": (0, 4, 0)},
    "no steps at all": {"lengths": (0, 0, 0)},
    "one unit": {"hidden_size": 1, "input_size": 1},
    "odd sizes": {"hidden_size": 7, "input_size": 2},
}


def own_sizes(cell: Cell) -> dict[str, int]:
    heads = {"head": 1} if cell.name.startswith(NORMED) else {}
    return {**plain_sizes(cell, H - 1), **heads}


def layer_of(cell: Cell, **arguments) -> gw.nn.Recurrent:
    layer = recurrent(cell, I, H, dtype=torch.float64, **own_sizes(cell), **arguments)
    return randomised(layer)


def states_of(result) -> tuple[torch.Tensor, ...]:
    return (result,) if isinstance(result, torch.Tensor) else result


def random_state(layer: gw.nn.Recurrent, batch: int):
    rows = layer.num_layers * layer.num_directions
    sizes = layer.sizes(0)
    states = tuple(
        torch.randn(rows, batch, sizes[s.size], dtype=torch.float64) for s in layer.cell.states
    )
    return states if len(states) > 1 else states[0]


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64)


# ---- gradients ---------------------------------------------------------------------------------


@every_cell
@both_ways
@pytest.mark.parametrize("run", RUNS.values(), ids=list(RUNS))
def test_derived_gradients_are_autograds(cell, reverse, run):
    random = problem(cell, reverse=reverse, **run)
    assert_same(random.derived(), random.by_autograd(), 1e-9)


@every_cell
@both_ways
def test_gradients_through_traced_values_are_autograds(cell, reverse):
    traced = tuple(n for n, v in cell.names.items() if v.args)
    random = problem(cell, reverse=reverse, traced=traced, lengths=(4, 1, 0))
    assert_same(random.derived(), random.by_autograd(), 1e-9)


def as_function(random):
    """A problem as a function of the tensors that require a gradient, for torch's checkers."""

    def results(*tensors):
        noises = random.tensors[len(tensors) :]
        found = replace(random, tensors=(*tensors, *noises)).run()
        return tuple(found.values())

    return results, tuple(random.differentiable().values())


OWN = {"noisy_lstm", "read_lstm", "rearranged", *FURTHER}
SURROGATE = {"lif"}  # its derivative is another function's: tests/cells/test_from_papers.py


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted((FEW | OWN) - SURROGATE))
def test_first_and_second_derivatives_are_those_of_finite_differences(name):
    """In random directions, as torch's fast mode has it: one by one they are very many.

    Of cells of each kind: all are compared with torch's autograd above and below.
    """
    cell = CELLS[name]
    random = problem(cell, lengths=(4, 2, 1))
    function, tensors = as_function(random)
    assert torch.autograd.gradcheck(function, tensors, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, tensors, fast_mode=True)


@every_cell
@both_ways
def test_second_derivatives_are_autograds(cell, reverse):
    random = problem(cell, reverse=reverse, lengths=(4, 2, 0))
    assert_same(random.second_derived(), random.second_by_autograd(), 1e-9)


# ---- what a result may depend on ---------------------------------------------------------------


@every_cell
@both_ways
def test_results_do_not_depend_on_padding(cell, reverse):
    lengths = (4, 2, 0)
    clean = problem(cell, reverse=reverse, lengths=lengths)
    assert_same(clean.with_dirty_padding().derived(), clean.derived(), 0)


@every_cell
@pytest.mark.parametrize("bidirectional", [False, True])
def test_outputs_past_an_end_are_zero_and_states_are_those_of_the_last_step(cell, bidirectional):
    layer = layer_of(cell, bidirectional=bidirectional).eval()
    x, lengths = normal(5, 3, I), [5, 2, 0]
    state = random_state(layer, 3)
    y, final = layer(x, state, lengths=lengths)
    for b, length in enumerate(lengths):
        assert (y[length:, b] == 0).all()
        for s, f in zip(states_of(state), states_of(final), strict=True):
            if length == 0:
                assert torch.equal(f[:, b], s[:, b])
        if length:
            alone = tuple(s[:, b : b + 1] for s in states_of(state))
            alone = alone if len(alone) > 1 else alone[0]
            expected = layer(x[:length, b : b + 1], alone)
            found = (y[:length, b : b + 1], tuple(f[:, b : b + 1] for f in states_of(final)))
            expected = (expected[0], states_of(expected[1]))
            assert_same(flat(found), flat(expected), 1e-12)


@every_cell
def test_a_sequence_does_not_depend_on_its_neighbours(cell):
    layer = layer_of(cell).eval()
    x = normal(4, 3, I)
    other = x.clone()
    other[:, 1:] = 100 * normal(4, 2, I)
    y, state = layer(x)
    y_other, state_other = layer(other)
    assert torch.equal(y[:, 0], y_other[:, 0])
    for s, o in zip(states_of(state), states_of(state_other), strict=True):
        assert torch.equal(s[:, 0], o[:, 0])


@every_cell
def test_two_halves_with_carried_state_are_one_run(cell):
    layer = layer_of(cell).eval()
    x, state = normal(6, 2, I), random_state(layer, 2)
    whole, final = layer(x, state)
    first, carried = layer(x[:2], state)
    second, last = layer(x[2:], carried)
    assert_same(flat((torch.cat([first, second]), last)), flat((whole, final)), 1e-12)


@every_cell
@pytest.mark.parametrize("steps", [1, 3])
def test_no_state_is_a_state_of_zeros_whether_or_not_its_gradient_is_wanted(cell, steps):
    """In one step the backward pass is another where nobody wants that gradient."""
    layer, x = layer_of(cell, num_layers=2, bidirectional=True), normal(steps, 3, I)
    wanted = {"x": x.requires_grad_(), **dict(layer.named_parameters())}
    zeros = [torch.zeros_like(s).requires_grad_() for s in states_of(random_state(layer, 3))]

    def results(state):
        torch.manual_seed(0)
        named = flat(layer(x, state))
        return {**named, **gradients(named, wanted)}

    expected = results(tuple(zeros) if zeros[1:] else zeros[0])
    assert_same(results(None), expected, 1e-12)
    given = tuple(z.detach() for z in zeros)
    assert_same(results(given if zeros[1:] else given[0]), expected, 1e-12)


@every_cell
def test_the_reverse_direction_is_the_forward_one_on_the_flipped_sequence(cell):
    both = layer_of(cell, bidirectional=True).eval()
    one = layer_of(cell).eval()
    names = list(one.state_dict())
    one.load_state_dict({n: both.state_dict()[f"{n}_reverse"] for n in names})
    x = normal(5, 2, I)
    state = random_state(both, 2)
    y, final = both(x, state)
    picked = tuple(s[1:] for s in states_of(state))
    y_one, final_one = one(x.flip(0), picked if len(picked) > 1 else picked[0])
    found = (y[..., y.shape[-1] // 2 :].flip(0), tuple(s[1:] for s in states_of(final)))
    assert_same(flat(found), flat((y_one, states_of(final_one))), 1e-12)


# ---- resets ------------------------------------------------------------------------------------

BEGINS = [[1, 0, 0], [0, 0, 1], [1, 0, 0], [1, 1, 0], [0, 0, 1]]  # [T, B]


@pytest.mark.slow
@every_cell
@pytest.mark.parametrize(
    ("begin", "lengths"),
    [("zero", (5, 0, 4)), ("learned", None), ("carried", (3, 5, 0)), ("given", None)],
)
def test_with_resets_every_episode_is_run_alone(cell, begin, lengths):
    layer = layer_of(cell, num_layers=2, bidirectional=True, learned_state=begin == "learned")
    layer.eval()
    x, resets = normal(5, 3, I).requires_grad_(), torch.tensor(BEGINS).bool()
    hx = random_state(layer, 3) if begin in ("given", "carried") else None
    sources = {"input": x, **dict(layer.named_parameters())}
    if hx is not None:
        sources |= {f"hx{n}": s.requires_grad_() for n, s in flat(hx).items()}
    reset_to = hx if begin == "given" else None
    found = layer(x, hx, lengths=lengths, resets=resets, reset_to=reset_to)
    expected = run_alone(layer, x, hx, resets, lengths, reset_to)
    assert_same(flat(found), flat(expected), 1e-11)
    assert_same(gradients_of(found, sources), gradients_of(expected, sources), 1e-9)


@every_cell
def test_a_stream_with_resets_is_the_whole_sequence(cell):
    layer = layer_of(cell, learned_state=True).eval()
    x, resets = normal(5, 3, I), torch.tensor(BEGINS).bool()
    expected, stream, rows = layer(x, resets=resets), layer.stream(3), []
    for x_t, begins in zip(x, resets, strict=True):
        stream.reset(begins)
        rows.append(stream.step(x_t).clone())
    assert_same(flat((torch.stack(rows), stream.state)), flat(expected), 1e-11)


# ---- looking inside ----------------------------------------------------------------------------


@every_cell
@pytest.mark.parametrize(("num_layers", "bidirectional"), [(1, False), (2, True)])
def test_the_trace_has_every_named_value_and_its_output_is_the_layers(
    cell, num_layers, bidirectional
):
    layer = layer_of(cell, num_layers=num_layers, bidirectional=bidirectional).eval()
    x = normal(4, 3, I)
    trace = layer.trace(x, lengths=[4, 3, 0])
    y, state = layer(x, lengths=[4, 3, 0])
    assert_same(flat((trace.output, trace.state)), flat((y, state)), 1e-12)
    results = {*cell.result_names()}  # even one that is another's old value
    assert set(trace) == results | {n for n, v in cell.names.items() if v.args}
    output = cell.output_name
    last = trace.layer(num_layers - 1)
    parts = [last[output], last.reverse[output]] if bidirectional else [last[output]]
    assert torch.equal(torch.cat(parts, -1), y)


@every_cell
def test_a_trace_becomes_tables(cell):
    trace = layer_of(cell, num_layers=2, bidirectional=True).trace(
        normal(4, 3, I), lengths=[4, 3, 0]
    )
    arrays, data, table = trace.to_numpy(), trace.to_xarray(), trace.to_pandas()
    assert list(arrays) == list(data.data_vars) == list(table.columns) == list(trace)
    for name, values in arrays.items():
        for k, d in itertools.product(range(2), range(2)):
            want = (trace.layer(k), trace.layer(k).reverse)[d][name]
            assert (values[k, d, ..., : want.shape[-1]] == want.detach().numpy()).all()
            one = data[name].isel(layer=k, direction=d).values.reshape(4, 3, -1)  # its axes in one
            one = one[..., : want.shape[-1]]
            assert (one[:3, :2] == want[:3, :2].detach().numpy()).all()
            assert table[name].loc[k, ("forward", "reverse")[d], 3, 0].iloc[0] == want[3, 0, 0]


@every_cell
def test_traced_values_satisfy_the_equations(cell):
    """Each named value is computed from the cell's equations at the traced states before it."""
    layer = layer_of(cell).eval()
    x, state = normal(4, 2, I), random_state(layer_of(cell), 2)
    trace = layer.trace(x, state)
    step = recurrent_cell(cell, I, H, dtype=torch.float64, **own_sizes(cell)).eval()
    step.load_state_dict({n.removesuffix("_l0"): v for n, v in layer.state_dict().items()})
    before = tuple(s[0] for s in states_of(state))
    for t in range(4):
        after = step(x[t], before if len(before) > 1 else before[0])
        if cell.output is not None:
            y, after = after
            torch.testing.assert_close(trace["output"][t], y, rtol=1e-12, atol=1e-12)
        before = states_of(after)
        for s, value in zip(cell.states, before, strict=True):
            torch.testing.assert_close(trace[s.name][t], value, rtol=1e-12, atol=1e-12)
    for name, value in cell.names.items():
        if (
            isinstance(value, Apply)
            and value.function in ("sigmoid", "tanh")
            and name in cell.observables()
        ):
            activated = getattr(torch, value.function)(trace[f"{name}.pre"])
            torch.testing.assert_close(trace[name], activated, rtol=1e-12, atol=1e-12)


@every_cell
def test_a_pinned_value_is_held_and_the_rest_follows_from_it(cell):
    """What is held changes the equations alone, so the reference shows it for every value.

    The CPU backend gets other equations with each, and so a kernel to compile: one is enough to
    see that a number reaches it.
    """
    layer, x = layer_of(cell).eval(), normal(4, 2, I)
    names = [n for n, v in cell.names.items() if v.args and v.size != "1"]
    with gw.use_backend("reference"):
        expected = [pinned_results(layer, x, name) for name in names]
    assert_same(pinned_results(layer, x, names[0]), expected[0], 1e-12)


def pinned_results(layer, x, name):
    """Output and state with a value held at a number, which a trace and a tensor give, too."""
    trace = layer.trace(x, pin={name: 0.25})
    held = trace[name]
    assert (held == 0.25).all(), name
    found = flat(layer(x, pin={name: 0.25}))
    assert_same(flat((trace.output, trace.state)), found, 1e-12)
    constant = torch.full((held.shape[-1],), 0.25, dtype=torch.float64)
    assert_same(flat(layer(x, pin={name: constant})), found, 1e-12)
    return found


@every_cell
def test_a_pinned_layer_is_a_layer_of_the_pinned_cell(cell):
    """As above: the reference for every value, the CPU backend for one."""
    layer = layer_of(cell).eval()
    with gw.use_backend("reference"):
        for name in cell.observables():
            assert_pinned_cell_is_pinned_layer(layer, name)
    for name in [*cell.observables()][:1]:
        assert_pinned_cell_is_pinned_layer(layer, name)


def assert_pinned_cell_is_pinned_layer(layer, name):
    """Its derived gradients are right, and with the layer's weights it is the pinned layer."""
    pinned = layer.cell.pin({name: 0.5})
    random = problem(pinned, steps=2)
    assert_same(random.derived(), random.by_autograd(), 1e-9)
    alone = recurrent(pinned, I, H, dtype=torch.float64, **own_sizes(pinned)).eval()
    blocks = blocks_of(layer)
    with torch.no_grad():
        for p in alone.cell.parameters:
            names = [p.name if b == p.name else f"{p.name}.{b}" for b in p.blocks]
            getattr(alone, f"{p.name}_l0").copy_(torch.cat([blocks[n] for n in names]))
    x = normal(4, 2, I)
    assert_same(flat(alone(x)), flat(layer(x, pin={name: 0.5})), 1e-12)


# ---- modules -----------------------------------------------------------------------------------


@every_cell
def test_copies_and_saved_weights_give_the_same_layer(cell):
    layer = layer_of(cell, num_layers=2, bidirectional=True).eval()
    fresh = recurrent(
        cell, I, H, num_layers=2, bidirectional=True, dtype=torch.float64, **own_sizes(cell)
    )
    assert str(fresh.load_state_dict(layer.state_dict())) == "<All keys matched successfully>"
    x = normal(3, 2, I)
    expected = flat(layer(x))
    copies = [fresh.eval(), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    for other in copies:
        assert_same(flat(other(x)), expected, 0)
        assert list(other.state_dict()) == list(layer.state_dict())
        pairs = zip(other.parameters(), layer.parameters(), strict=True)
        assert all(a is not b for a, b in pairs)


@every_cell
def test_the_repr_names_the_cell_and_its_sizes(cell):
    bias = cell.without_bias() is cell
    layer = layer_of(cell, num_layers=2, bidirectional=True, bias=bias)
    lengths = {**own_sizes(cell), **cell.axis_lengths(H, own_sizes(cell))}
    sizes = "".join(f", {n}={v}" for n, v in lengths.items())
    assert layer.extra_repr().startswith(f"{cell.name}, {I}, {H}{sizes}, num_layers=2")


@every_cell
def test_a_cell_pickles_to_an_equal_cell(cell):
    other = pickle.loads(pickle.dumps(cell))
    assert other.results() == cell.results()
    assert equations(other) == equations(cell)
    assert other.parameters == cell.parameters
    assert gw.equivalent(other, cell)


@every_cell
def test_a_cell_written_as_data_is_the_same_cell(cell):
    other = cell_of_data(json.loads(json.dumps(cell_as_data(cell))))
    kept = as_written(cell)
    for field in fields(cell):
        if field.name != "retrace":
            assert getattr(other, field.name) == getattr(kept, field.name)


@every_cell
def test_float32_runs_and_agrees_with_float64(cell):
    layer = layer_of(cell, num_layers=2, bidirectional=True).eval()
    x = normal(4, 3, I)
    y, _ = layer(x)
    y32, state32 = layer.float()(x.float())
    assert {t.dtype for t in flat((y32, state32)).values()} == {torch.float32}
    assert worst_difference(y32.double(), y) < 2e-5


@every_cell
def test_half_precision_computes_in_float32_and_rounds_once(cell):
    layer = layer_of(cell, num_layers=2, bidirectional=True).bfloat16().eval()
    exact = copy.deepcopy(layer).float()
    x = normal(6, 3, I).bfloat16()
    found, expected = flat(layer(x)), flat(exact(x.float()))
    assert_same(found, {n: v.bfloat16() for n, v in expected.items()}, 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_same(flat(exact(x.float())), found, 0)


@every_cell
def test_shapes_are_known_without_a_run(cell):
    layer = layer_of(cell, num_layers=2, bidirectional=True)
    x = normal(4, 3, I)
    expected = flat(layer(x))
    y = layer.to("meta")(x.to("meta"))
    found = {n: (v.shape, v.dtype, v.device.type) for n, v in flat(y).items()}
    assert found == {n: (v.shape, v.dtype, "meta") for n, v in expected.items()}


# ---- torch.func --------------------------------------------------------------------------------


def loss_of(layer, parameters, x, lengths=None):
    """The mean square of the output, and a sum over every final state."""
    y, state = functional_call(layer, parameters, (x,), {"lengths": lengths})
    return y.square().mean() + sum(s.sin().sum() for s in states_of(state))


@every_cell
def test_gradients_of_each_sequence_alone(cell):
    layer = layer_of(cell, bidirectional=True).eval()
    x, parameters = normal(4, 3, I), dict(layer.named_parameters())

    def loss(parameters, x, length):
        return loss_of(layer, parameters, x[:, None], length[None])

    lengths = torch.tensor([4, 2, 1])
    found = vmap(grad(loss), (None, 1, 0))(parameters, x, lengths)
    for b, length in enumerate(lengths):
        value = loss_of(layer, parameters, x[:, b : b + 1], length[None])
        alone = torch.autograd.grad(value, list(parameters.values()))
        expected = dict(zip(parameters, alone, strict=True))
        assert_same({n: g[b] for n, g in found.items()}, expected, 1e-9)


@every_cell
def test_forward_mode_is_reverse_modes(cell):
    layer = layer_of(cell).eval()
    x, v, w = normal(4, 2, I), normal(4, 2, I), normal(4, 2, layer.output_size)
    y, tangent = jvp(lambda x: layer(x)[0], (x,), (v,))
    pulled = vjp(lambda x: layer(x)[0], x)[1](w)[0]
    torch.testing.assert_close((tangent * w).sum(), (pulled * v).sum())
    torch.testing.assert_close(y, layer(x)[0])


@every_cell
def test_an_ensemble_gives_what_its_members_give(cell):
    layers = [randomised(layer_of(cell, bidirectional=True).eval(), seed) for seed in range(3)]
    parameters = {
        n: torch.stack([dict(layer.named_parameters())[n].detach() for layer in layers])
        for n, _ in layers[0].named_parameters()
    }
    x, w = normal(4, 2, I), normal(3, 4, 2, 2 * layers[0].output_size)

    def weighted(parameters, w):
        return (functional_call(layers[0], parameters, (x,))[0] * w).sum()

    found = vmap(grad(weighted))(parameters, w)
    for k, layer in enumerate(layers):
        alone = torch.autograd.grad((layer(x)[0] * w[k]).sum(), list(layer.parameters()))
        expected = dict(zip(found, alone, strict=True))
        assert_same({n: g[k] for n, g in found.items()}, expected, 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("cell", [CELLS[name] for name in sorted(FEW)], ids=sorted(FEW))
def test_hessians_agree_in_every_order(cell):
    layer = layer_of(cell).eval()
    x = normal(2, 1, I)

    def value(x):
        return layer(x)[0].square().sum()

    found = [outer(inner(value))(x) for outer in (jacrev, jacfwd) for inner in (jacrev, jacfwd)]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", one_of_each_form(CELLS))
def test_a_compiled_layer_is_one_graph_and_gives_the_same(name):
    """A graph holds an operator and sees no equations."""
    torch._dynamo.reset()
    cell = CELLS[name]
    layer = layer_of(cell).eval()
    gate = next(n for n, v in cell.names.items() if v.args and v.size != "1")

    def everything(x, lengths, resets, number):
        y, state = layer(x, lengths=lengths, resets=resets)
        return y, state, layer.trace(x, pin={gate: number}).output

    compiled = torch.compile(everything, fullgraph=True, backend="aot_eager")
    arguments = normal(4, 3, I), torch.tensor([4, 2, 0]), torch.rand(4, 3) < 0.3, 0.25
    assert_same(flat(compiled(*arguments)), flat(everything(*arguments)), 1e-12)


# ---- what a layer has --------------------------------------------------------------------------


@every_cell
def test_a_layer_without_bias_has_none_and_equals_zero_biases(cell):
    bare = layer_of(cell, bias=False).eval()
    assert not [n for n in bare.state_dict() if n.startswith("bias_")]
    full = layer_of(cell).eval()
    with torch.no_grad():
        for name, p in full.named_parameters():
            p.copy_(bare.state_dict()[name] if name in bare.state_dict() else torch.zeros_like(p))
    x = normal(3, 2, I)
    assert_same(flat(bare(x)), flat(full(x)), 1e-12)


@every_cell
def test_a_layer_of_every_cell_trains(cell):
    layer = layer_of(cell, num_layers=2, bidirectional=True, dropout=0.2)
    y, state = layer(normal(9, 2, I))  # a unit of the clockwork RNN waits for eight steps
    (y.sum() + sum(s.sum() for s in states_of(state))).backward()
    for name, p in layer.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name
        assert (p.grad != 0).any(), name


# ---- noise -------------------------------------------------------------------------------------


def test_noise_is_drawn_in_training_and_is_its_expected_value_in_eval_mode():
    layer = layer_of(noisy_lstm)
    x = normal(5, 2, I)
    torch.manual_seed(1)
    first = flat(layer(x))
    second = flat(layer(x))
    assert not torch.equal(first["[0]"], second["[0]"])
    torch.manual_seed(1)
    assert_same(flat(layer(x)), first, 0)
    layer.eval()
    assert_same(flat(layer(x)), flat(layer(x)), 0)
    expected = layer_of(noisy_lstm.deterministic()).eval()
    assert_same(flat(layer(x)), flat(expected(x)), 1e-12)
    assert not noisy_lstm.deterministic().noises


def test_noise_per_sequence_is_the_same_at_every_step():
    @gw.cell
    def dropped(x, h):
        return gw.dropout(gw.tanh(gw.linear("a", x)), 0.5, per="sequence")

    @gw.cell
    def dropped_each_step(x, h):
        return gw.dropout(gw.tanh(gw.linear("a", x)), 0.5)

    x = normal(6, 8, I)
    zeros = [layer_of(c)(x)[0] == 0 for c in (dropped, dropped_each_step)]
    assert (zeros[0] == zeros[0][:1]).all()
    assert 0.2 < zeros[0][0].double().mean() < 0.8
    assert not (zeros[1] == zeros[1][:1]).all()


def test_zoneout_keeps_old_units_or_takes_new_ones():
    @gw.cell
    def zoned(x, h):
        return gw.zoneout(gw.observe("new", gw.tanh(gw.linear("a", x))), h, 0.5)

    layer = layer_of(zoned)
    trace = layer.trace(normal(6, 8, I))
    h, new = trace["h"], trace["new"]
    old = torch.cat([torch.zeros_like(h[:1]), h[:-1]])
    assert ((h == new) | (h == old)).all()
    assert (h == new).any()
    assert (h[1:] == old[1:]).any()
    mixed = layer.eval().trace(normal(6, 8, I))
    old = torch.cat([torch.zeros_like(mixed["h"][:1]), mixed["h"][:-1]])
    torch.testing.assert_close(mixed["h"], 0.5 * old + 0.5 * mixed["new"])


# ---- regularisation ----------------------------------------------------------------------------


def regularisation(cell: Cell) -> dict[str, object]:
    """Every option of a layer that rewrites the cell, where it applies."""
    options = {"input_dropout": 0.3, "zoneout": 0.2, "single_bias": True}
    with contextlib.suppress(ValueError):
        rewriting.recurrent_maps(cell)
        options["recurrent_dropout"] = 0.4
    with contextlib.suppress(ValueError):
        rewriting.weight_drop(cell, 0.3)
        options["weight_drop"] = 0.3
    with contextlib.suppress(ValueError):
        rewriting.layer_norm(cell)
        options["layer_norm"] = True
    return options


@every_cell
@pytest.mark.parametrize(
    ("backend", "run"),
    [("reference", {"batch": 9}), ("cpu", {"lengths": (4, 1, 0), "reverse": True})],
    ids=["whole", "lengths"],
)
def test_gradients_of_a_rewritten_cell_are_autograds(cell, backend, run):
    random = problem(rewritten(cell, True, regularisation(cell)), **run)
    with gw.use_backend(backend):
        assert_same(random.derived(), random.by_autograd(), 1e-9)


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(CELLS[name], id=name, marks=[] if name in CORE else [pytest.mark.slow])
        for name in sorted(FEW | CORE)
    ],
)
def test_a_regularised_layer_draws_by_the_seed_and_not_in_eval_mode(cell):
    options = regularisation(cell)
    layer = layer_of(cell, num_layers=2, bidirectional=True, **options)
    x, lengths = normal(5, 3, I), [5, 3, 0]
    torch.manual_seed(1)
    first, second = (flat(layer(x, lengths=lengths)) for _ in range(2))
    assert not torch.equal(first["[0]"], second["[0]"])
    torch.manual_seed(1)
    assert_same(flat(layer(x, lengths=lengths)), first, 0)
    names = [f"{n}={v}" for n, v in options.items()]
    assert all(n in layer.extra_repr() for n in names)
    state = torch.get_rng_state()
    found = flat(layer.eval()(x, lengths=lengths))
    assert torch.equal(torch.get_rng_state(), state)
    quiet = layer_of(layer.cell.deterministic(), num_layers=2, bidirectional=True).eval()
    quiet.load_state_dict(layer.state_dict())
    assert_same(flat(quiet(x, lengths=lengths)), found, 1e-12)


@every_cell
def test_a_regularised_layer_of_every_cell_trains(cell):
    layer = layer_of(cell, num_layers=2, bidirectional=True, **regularisation(cell))
    y, state = layer(normal(9, 3, I), lengths=[9, 3, 0])
    (y.square().sum() + sum(s.sum() for s in states_of(state))).backward()
    for name, p in layer.named_parameters():
        assert p.grad is not None, name
        assert p.grad.isfinite().all(), name


# ---- the catalogue -----------------------------------------------------------------------------


def test_the_catalogue_has_the_promised_cells_under_their_names():
    promised = {
        "rnn", "rnn_relu", "lstm", "gru", "gru_reset_before", "peephole_lstm",
        "projected_lstm", "layer_norm_lstm", "multiplicative_lstm",
    }  # fmt: skip
    assert promised <= set(gw.cells.catalogue())
    for name, cell in gw.cells.catalogue().items():
        assert isinstance(cell, Cell)
        assert cell.name == name
        assert cell.doc, f"{name} has no docstring"
        assert getattr(gw.cells, name) is cell


def test_a_cell_is_equivalent_to_itself_and_to_no_other():
    cells = gw.cells.catalogue()
    pairs = itertools.product(cells, repeat=2)
    equal = {(a, b) for a, b in pairs if gw.equivalent(cells[a], cells[b])}
    same = {("irnn", "rnn_relu"), ("rnn_relu", "irnn")}  # they differ in how they are initialised
    assert equal == {(a, a) for a in cells} | same


@every_cell
def test_the_program_of_a_cell_is_made_once(cell):
    assert program(cell) is program(cell)
