"""What has to be seen on a card with CUDA, against float64 on the CPU; skipped where there is none.

    python -m pytest -m cuda -n 12 tests/backends/gpu/test_on_a_card.py

Without a card they run on tensors of the CPU, by the GPU backend on another machine, which
GATEWORK_TEST_CARD names: `emulated` runs the kernels' own text on the CPU, `interpreted` every loop
by the reference, which tries the tests themselves.

Legend: T steps, B sequences.
"""

import copy
import os
import pickle
import random
from contextlib import nullcontext

import pytest
import torch
from torch.func import functional_call, grad, vmap
from torch.nn.utils.rnn import pack_padded_sequence

import gatework as gw
from backends.gpu.emulator.emulated import Emulated
from card_calls import assert_agrees, error
from episodes import run_alone
from feeding import recurrent
from gatework.backends.gpu.backend import Gpu
from gatework.compiler.program import program
from interpreted_loops import Interpreted, interpreted
from numerics import flat, problem, randomised
from plain_sizes import plain_sizes
from running_on import running_on

pytestmark = pytest.mark.cuda

STANDS_IN = {
    "interpreted": lambda: Gpu(Interpreted(), (interpreted,)),
    "emulated": lambda: Gpu(Emulated(seed=0)),
}.get(os.environ.get("GATEWORK_TEST_CARD"))
if not STANDS_IN and not torch.cuda.is_available():
    pytest.skip("needs a card with CUDA", allow_module_level=True)
DEVICE = "cpu" if STANDS_IN else "cuda"
needs_card = pytest.mark.skipif(bool(STANDS_IN), reason="needs the card itself")

CELLS = gw.cells.catalogue()
SOME = (
    "rnn", "lstm", "gru", "gru_reset_before", "peephole_lstm", "projected_lstm", "layer_norm_lstm",
    "lru", "delta_net",
)  # fmt: skip
RUNS = {
    "whole": {},
    "one step": {"steps": 1},
    "one sequence": {"batch": 1},
    "no sequence": {"batch": 0},
    "lengths": {"lengths": (4, 0, 3)},
    "no steps at all": {"lengths": (0, 0, 0)},
    "odd sizes": {"hidden_size": 7, "input_size": 3, "batch": 10, "lengths": (4, 3, 2, 1, 0) * 2},
    "larger": {"hidden_size": 96, "input_size": 40, "steps": 20, "batch": 17, "scale": 0.15},
}
every_cell = pytest.mark.parametrize("name", CELLS)
some_cells = pytest.mark.parametrize("name", SOME)
both_ways = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
halves = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)


@pytest.fixture(autouse=True)
def _poisoned(monkeypatch):
    """Whatever memory is made holds NaN, in the place of what a kernel left there before."""
    for where, name in ((torch, "empty"), (torch, "empty_like"), (torch.Tensor, "new_empty")):
        made = getattr(where, name)

        def poisoned(*args, _made=made, **options):
            tensor = _made(*args, **options)
            return tensor.fill_(torch.nan) if tensor.is_floating_point() else tensor

        monkeypatch.setattr(where, name, poisoned)
    if not STANDS_IN:  # what torch makes itself comes out of memory that was used
        torch.full((2**25,), torch.nan, device=DEVICE)


@pytest.fixture(autouse=True, scope="module")
def _standing_in():
    with running_on(STANDS_IN()) if STANDS_IN else nullcontext():
        yield


# ---- every cell --------------------------------------------------------------------------------


@every_cell
@both_ways
@pytest.mark.parametrize("run", RUNS.values(), ids=list(RUNS))
def test_float32_is_float64s(name, reverse, run):
    assert_agrees(CELLS[name], DEVICE, torch.float32, reverse=reverse, **run)


@every_cell
@halves
@pytest.mark.parametrize("run", ["whole", "lengths", "larger"])
def test_sixteen_bits_are_float64s_as_far_as_they_go(name, dtype, run):
    assert_agrees(CELLS[name], DEVICE, dtype, **RUNS[run])


@every_cell
def test_traced_values_are_float64s(name):
    traced = tuple(n for n, v in CELLS[name].names.items() if v.args)
    assert_agrees(CELLS[name], DEVICE, torch.float32, traced=traced, lengths=(4, 1, 0))


@every_cell
def test_every_plan_has_a_kernel(name):
    """No call falls to the reference: `explain` says which form runs it, there and back."""
    layer = recurrent(CELLS[name], 8, 16, device=DEVICE, **plain_sizes(CELLS[name], 15))
    with gw.use_backend("gpu"):
        lines = gw.explain(layer).backend
    ours = [line for line in lines if line.startswith(("gpu: runs it, ", "training, "))]
    assert len(ours) == 3, lines


@some_cells
@both_ways
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("batch", "units", "steps"), [(1, 256, 64), (16, 512, 32), (64, 200, 16), (70, 1024, 8)]
)
def test_large_sizes(name, reverse, dtype, batch, units, steps):
    lengths = tuple((k * 7) % (steps + 1) for k in range(batch))
    run = {"batch": batch, "hidden_size": units, "input_size": units // 2, "steps": steps}
    scale = 0.7 / units**0.5
    if name == "delta_net":
        pytest.skip("its sizes are those of its axes")
    assert_agrees(CELLS[name], DEVICE, dtype, reverse=reverse, lengths=lengths, scale=scale, **run)


# ---- every power of a layer --------------------------------------------------------------------


def pair(name, **options):
    """A layer in float64 on the CPU, and the same in float32 on the card."""
    sizes = plain_sizes(CELLS[name], 9)
    exact = recurrent(CELLS[name], 6, 12, dtype=torch.float64, **sizes, **options)
    exact = randomised(exact).eval()
    return exact, copy.deepcopy(exact).float().to(DEVICE)


def normal(*shape):
    """Numbers that float32 has."""
    return torch.randn(shape).double()


def here(value):
    """The same on the card, in float32."""
    if isinstance(value, tuple):
        return tuple(here(v) for v in value)
    return value.float().to(DEVICE) if value.is_floating_point() else value.to(DEVICE)


def assert_close(found, expected, allowed=1e-4):
    found, expected = flat(found), flat(expected)
    assert list(found) == list(expected)
    for name, want in expected.items():
        assert error(found[name], want) < allowed, f"{name}: {error(found[name], want):.1e}"


def states(layer, batch):
    made = layer.initial_state(batch)
    like = made if isinstance(made, tuple) else (made,)
    random_ones = tuple(normal(*s.shape) for s in like)
    return random_ones if len(random_ones) > 1 else random_ones[0]


def gradients(layer, result):
    y = result[0] if isinstance(result, tuple) else result
    wanted = list(layer.parameters())
    found = torch.autograd.grad(y.square().sum(), wanted, allow_unused=True)
    return tuple(
        torch.zeros_like(w) if f is None else f for f, w in zip(found, wanted, strict=True)
    )


CALLS = {
    "plain": lambda layer, x: {},
    "lengths": lambda layer, x: {"lengths": [7, 0, 4, 1, 7]},
    "a state": lambda layer, x: {"hx": states(layer, 5)},
    "resets": lambda layer, x: {"resets": torch.arange(35).reshape(7, 5) % 4 == 0},
    "resets and lengths": lambda layer, x: {
        "resets": torch.arange(35).reshape(7, 5) % 3 == 0, "lengths": [7, 6, 0, 2, 5],
    },
}  # fmt: skip


@some_cells
@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
@pytest.mark.parametrize("learned_state", [False, True])
def test_calls_of_a_stack_in_both_directions(name, call, learned_state):
    exact, layer = pair(name, num_layers=2, bidirectional=True, learned_state=learned_state)
    x = normal(7, 5, 6)
    options = call(exact, x)
    moved = {n: here(v) if isinstance(v, torch.Tensor | tuple) else v for n, v in options.items()}
    expected, found = exact(x, **options), layer(here(x), **moved)
    assert_close(found, expected)
    assert_close(gradients(layer, found), gradients(exact, expected))


@some_cells
def test_pins_traces_and_batch_first(name):
    exact, layer = pair(name, batch_first=True)
    x = normal(5, 7, 6)
    gate = next(n for n, v in exact.cell.names.items() if v.args and v.size != "1")
    for pin in ({gate: 0.25}, {gate: {0: 0.5, 1: 0.75}}):
        assert_close(layer(here(x), pin=pin), exact(x, pin=pin))
    found, expected = layer.trace(here(x)), exact.trace(x)
    assert_close(tuple(found.values()), tuple(expected.values()))


@some_cells
def test_packed_sequences_and_lists(name):
    exact, layer = pair(name)
    x, lengths = normal(7, 3, 6), [3, 7, 1]
    packed = (pack_padded_sequence(v, lengths, enforce_sorted=False) for v in (here(x), x))
    found, expected = layer(next(packed)), exact(next(packed))
    assert_close((found[0].data, found[1]), (expected[0].data, expected[1]))
    listed = [x[:n, k] for k, n in enumerate(lengths)]
    assert_close(layer([here(v) for v in listed])[0], exact(listed)[0])


@some_cells
def test_episodes_are_run_alone(name):
    _, layer = pair(name, num_layers=2)
    x, resets = here(normal(6, 4, 6)), torch.arange(24).reshape(6, 4).to(DEVICE) % 5 == 2
    assert_close(layer(x, resets=resets), run_alone(layer, x, None, resets, None, None))


@some_cells
def test_streams_are_the_whole_sequence(name):
    exact, layer = pair(name, num_layers=2)
    x, stream = normal(9, 3, 6), layer.stream(3)
    expected = exact(x)
    found = torch.stack([stream.step(here(x_t)).clone() for x_t in x])
    assert_close((found, stream.state), expected)
    if not STANDS_IN:
        assert "as a graph of launches" in repr(stream)


@some_cells
def test_gradients_of_gradients(name):
    exact, layer = pair(name)
    x = normal(5, 3, 6)

    def second(layer, x):
        x = x.requires_grad_()
        sources = [x, *layer.parameters()]
        found = torch.autograd.grad(
            layer(x)[0].square().sum(), sources, create_graph=True, allow_unused=True
        )
        squares = sum(f.square().sum() for f in found if f is not None)
        return torch.autograd.grad(squares, x)[0]

    for backend in (None, "gpu"):  # without a choice, cuDNN's kernels run small LSTMs and the like
        with gw.use_backend(backend) if backend else torch.enable_grad():
            found = second(layer, here(x))
        assert_close(found, second(exact, x.clone()), 1e-3)


@some_cells
def test_gradients_of_each_sequence_under_vmap(name):
    exact, layer = pair(name)
    x = normal(5, 4, 6)

    def each(layer, x):
        def loss(parameters, x):
            return functional_call(layer, parameters, (x[:, None],))[0].square().mean()

        return vmap(grad(loss), (None, 1))(dict(layer.named_parameters()), x)

    found, expected = each(layer, here(x)), each(exact, x)
    assert_close(tuple(found.values()), tuple(expected.values()))


@some_cells
def test_a_compiled_layer_is_the_same_in_training(name):
    torch._dynamo.reset()
    _, layer = pair(name, num_layers=2)
    x = here(normal(7, 3, 6))
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    found, expected = compiled(x), layer(x)
    assert_close(found, expected, 1e-5)
    assert_close(gradients(layer, found), gradients(layer, expected), 1e-4)


@some_cells
@halves
def test_autocast_is_the_dtype_of_the_layer(name, dtype):
    exact, layer = pair(name, num_layers=2)
    x = normal(7, 3, 6)
    with torch.autocast(DEVICE, dtype=dtype):
        found = layer(here(x))
    low = copy.deepcopy(layer).to(dtype)
    for result in (found, low(here(x).to(dtype))):
        assert {t.dtype for t in flat(result).values()} == {dtype}
        assert error(result[0], exact(x)[0]) < (0.1 if dtype == torch.bfloat16 else 0.01)
    assert {g.dtype for g in gradients(layer, found)} == {torch.float32}


def test_training_with_every_kind_of_noise_is_seeded():
    options = {"zoneout": 0.1, "input_dropout": 0.2, "recurrent_dropout": 0.2, "weight_drop": 0.2}
    layer = gw.nn.LSTM(6, 12, num_layers=2, dropout=0.3, device=DEVICE, **options)
    x, runs = here(normal(7, 3, 6)), []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        y, _ = layer(x)
        runs.append((y, *gradients(layer, y)))
    for first, again in zip(runs[0], runs[1], strict=True):
        assert torch.equal(first, again)
    assert not torch.equal(runs[0][0], runs[2][0])


def test_accelerated_models_are_torchs():
    for theirs in (torch.nn.LSTM(6, 130, 2), torch.nn.GRU(6, 20), torch.nn.RNN(6, 130)):
        plain = theirs.to(DEVICE)
        ours, x = gw.accelerate(copy.deepcopy(plain)), here(normal(7, 3, 6))
        with torch.backends.cudnn.flags(allow_tf32=False):
            expected = plain(x)
        assert_close(ours(x), expected, 1e-4)
        assert_close(gradients(ours, ours(x)), gradients(plain, expected), 1e-3)


def test_copies_and_saved_weights_give_the_same_bits():
    _, layer = pair("gru", num_layers=2)
    x = here(normal(7, 3, 6))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x)[0], layer(x)[0])


# ---- the card itself ---------------------------------------------------------------------------


@needs_card
@some_cells
def test_a_training_step_is_captured_as_a_graph(name):
    _, layer = pair(name)
    x = here(normal(7, 3, 6))

    def step():
        y, _ = layer(x)
        return (y, *gradients(layer, y))

    expected = step()
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = step()
    for _ in range(3):
        x.copy_(here(normal(7, 3, 6)))
        graph.replay()
        assert_close(found, step(), 1e-6)
    assert len(expected) == len(found)


@needs_card
def test_several_streams_at_the_same_time():
    layers = [pair(name)[1] for name in ("gru", "peephole_lstm")] * 4
    xs = [here(normal(200, 3, 6)) for _ in layers]
    expected = [layer(x)[0] for layer, x in zip(layers, xs, strict=True)]
    torch.cuda.synchronize()
    found = []
    for layer, x in zip(layers, xs, strict=True):
        with torch.cuda.stream(torch.cuda.Stream()):
            found.append(layer(x)[0])
    torch.cuda.synchronize()
    for have, want in zip(found, expected, strict=True):
        assert torch.equal(have, want)


@needs_card
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two cards")
def test_several_cards():
    _, layer = pair("gru")
    x = here(normal(7, 3, 6))
    other = copy.deepcopy(layer).to("cuda:1")
    assert_close(other(x.to("cuda:1")), layer(x), 1e-6)


def test_float64_is_run_by_another_backend():
    layer = gw.nn.Recurrent(gw.cells.mgu, 6, 12, dtype=torch.float64, device=DEVICE)
    lines = gw.explain(layer).backend
    assert any(line.startswith("gpu: cannot, it knows float32") for line in lines)


# ---- ten thousand calls ------------------------------------------------------------------------

CALLED = ("lstm", "gru", "rnn", "gru_reset_before", "peephole_lstm", "layer_norm_lstm", "lru")


def random_call(seed):
    """A cell, a dtype, and the rest of a call."""
    r = random.Random(seed)
    steps, batch = r.choice((1, 2, 5, 33)), r.choice((1, 2, 3, 8, 17))
    run = {
        "steps": steps, "batch": batch, "hidden_size": r.choice((5, 16, 40, 128)), "input_size": 8,
        "reverse": r.random() < 0.5, "seed": seed, "scale": 0.2,
    }  # fmt: skip
    if r.random() < 0.5:
        run["lengths"] = [r.randint(0, steps) for _ in range(batch)]
    dtype = r.choice((torch.float32, torch.float32, torch.bfloat16, torch.float16))
    return CELLS[r.choice(CALLED)], dtype, run


@pytest.mark.slow
@pytest.mark.parametrize("part", range(20))
def test_ten_thousand_random_calls(part):
    """No call hangs or reads what another left: every one has the same bits when run again."""
    for seed in range(part * 500, part * 500 + (4 if STANDS_IN else 500)):
        cell, dtype, run = random_call(seed)
        if seed % 25 == 0:
            assert_agrees(cell, DEVICE, dtype, **run)
        given = problem(cell, **run)
        tensors = tuple(
            t.detach().to(DEVICE, dtype).requires_grad_(t.requires_grad) for t in given.tensors
        )
        lengths = None if given.lengths is None else given.lengths.to(DEVICE)
        runs = []
        with gw.use_backend("gpu"):
            for _ in range(2):
                results = gw.autograd.routes.run(given.job, tensors, lengths)
                y = results[0][0]
                wanted = [t for t in tensors if t.requires_grad]
                found = torch.autograd.grad(y.float().sum(), wanted, allow_unused=True)
                runs.append((y, *results[1], *(f for f in found if f is not None)))
        for first, again in zip(*runs, strict=True):
            assert first.isfinite().all(), (seed, cell.name, dtype, run)
            assert torch.equal(first, again), (seed, cell.name, dtype, run)
    assert program(cell).forward
