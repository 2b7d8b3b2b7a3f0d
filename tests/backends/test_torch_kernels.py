"""torch's own kernels as a backend, forced on the CPU: on CUDA they are chosen by themselves."""

import weakref
from dataclasses import replace

import pytest
import torch

import gatework as gw
from gatework.autograd.job import Job
from gatework.backends import select, torch_kernels
from numerics import assert_same, flat, gradients, problem, randomised, state_sizes

LAYERS = {
    "rnn": lambda **a: gw.nn.RNN(3, 4, **a),
    "rnn_relu": lambda **a: gw.nn.RNN(3, 4, nonlinearity="relu", **a),
    "lstm": lambda **a: gw.nn.LSTM(3, 4, **a),
    "projected_lstm": lambda **a: gw.nn.LSTM(3, 4, proj_size=2, **a),
    "gru": lambda **a: gw.nn.GRU(3, 4, **a),
}
RUNS = [None, (5, 2, 1), (0, 5, 0), (0, 0, 0)]


def results(layer, x, state, lengths):
    outputs = flat(layer(x, state, lengths=lengths))
    sources = {"x": x, **flat(state, "state"), **dict(layer.named_parameters())}
    return {**outputs, **gradients(outputs, sources)}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lengths", RUNS)
def test_results_and_gradients_are_the_references(name, bias, lengths):
    made = {"num_layers": 2, "bidirectional": True, "bias": bias, "dtype": torch.float64}
    layer = randomised(LAYERS[name](**made)).eval()
    x = torch.randn(5, 3, 3, dtype=torch.float64)
    if lengths:
        for b, length in enumerate(lengths):
            x[length:, b] = torch.nan
    x.requires_grad_()
    states = tuple(
        torch.randn(4, 3, n, dtype=torch.float64, requires_grad=True) for n in state_sizes(layer)
    )
    state = states if len(states) > 1 else states[0]
    with gw.use_backend("reference"):
        expected = results(layer, x, state, lengths)
    with gw.use_backend("torch"):
        assert_same(results(layer, x, state, lengths), expected, 1e-9)


class DerivedOnce(torch.autograd.Function):
    """Gives on what it is given, and as cuDNN has no gradient of its gradient."""

    @staticmethod
    def forward(ctx, *tensors):
        return tuple(t.view_as(t) for t in tensors)

    @staticmethod
    def backward(ctx, *gradients):
        if torch.is_grad_enabled():
            raise NotImplementedError("derivative for _cudnn_rnn_backward is not implemented")
        return gradients


@pytest.fixture
def like_cudnn(monkeypatch):
    """Torch's kernels on the CPU with what cuDNN's lack; what they gave, weakly."""
    given, known = [], torch_kernels.kernel_of

    def of_plan(plan):
        def run(*arguments):
            results = DerivedOnce.apply(*known(plan)(*arguments))
            given.extend(map(weakref.ref, results))
            return results

        return known(plan) and run

    monkeypatch.setattr(torch_kernels, "kernel_of", of_plan)
    return given


def second_gradients(layer, x, state, lengths):
    """Gradients of the squares of the gradients of everything."""
    sources = {"x": x, **flat(state, "state"), **dict(layer.named_parameters())}
    first = gradients(flat(layer(x, state, lengths=lengths)), sources, create_graph=True)
    return gradients(first, sources)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("lengths", RUNS)
def test_gradients_of_gradients_are_the_references(like_cudnn, name, lengths):
    layer = randomised(LAYERS[name](bidirectional=True, dtype=torch.float64))
    x = torch.randn(5, 3, 3, dtype=torch.float64, requires_grad=True)
    states = tuple(
        torch.randn(2, 3, n, dtype=torch.float64, requires_grad=True) for n in state_sizes(layer)
    )
    state = states if len(states) > 1 else states[0]
    with gw.use_backend("reference"):
        expected = second_gradients(layer, x, state, lengths)
    with gw.use_backend("torch"):
        found = second_gradients(layer, x, state, lengths)
    assert like_cudnn
    assert_same(found, expected, 1e-9)


def test_what_a_run_recorded_goes_with_its_backward_pass(like_cudnn):
    layer, x = gw.nn.LSTM(3, 4), torch.randn(5, 2, 3)
    with gw.use_backend("torch"):
        y, _ = layer(x)
    loss = y.sum()
    loss.backward(retain_graph=True)
    assert like_cudnn[0]() is not None
    once = layer.weight_hh_l0.grad.clone()
    loss.backward()
    torch.testing.assert_close(layer.weight_hh_l0.grad, 2 * once)
    assert [r() for r in like_cudnn] == [None] * 3  # while y is still there
    with pytest.raises(RuntimeError, match="a second time"):
        loss.backward()


@pytest.mark.parametrize("lengths", [None, (5, 2)])
def test_results_may_be_changed_in_place_before_the_backward_pass(like_cudnn, lengths):
    layer, x = gw.nn.LSTM(3, 4), torch.randn(5, 2, 3)

    def gradient(change):
        y, (h, c) = layer(x, lengths=lengths)
        total = sum(change(r).square().sum() for r in (y, h, c))
        return torch.autograd.grad(total, layer.weight_hh_l0)[0]

    with gw.use_backend("torch"):
        found, expected = gradient(lambda r: r.mul_(3)), gradient(lambda r: r * 3)
    torch.testing.assert_close(found, expected)


def test_only_what_needs_a_gradient_gets_one(like_cudnn):
    layer, x = gw.nn.GRU(3, 4), torch.randn(5, 2, 3, requires_grad=True)
    layer.requires_grad_(False)
    layer.weight_hh_l0.requires_grad_()
    with gw.use_backend("torch"):
        layer(x, lengths=[5, 0])[0].sum().backward()
        assert not layer.requires_grad_(False)(x.detach())[0].requires_grad
    assert layer.weight_ih_l0.grad is None
    assert layer.weight_hh_l0.grad.abs().sum() > 0
    assert (x.grad[:, 1] == 0).all()


def test_a_cell_of_ones_own_with_the_same_equations_is_known():
    @gw.cell
    def mine(x, h):
        return gw.tanh(gw.linear("h", x, h))

    layer, x = gw.nn.Recurrent(mine, 3, 4), torch.randn(5, 2, 3)
    with gw.use_backend("torch"):
        found = layer(x)
    assert_same(flat(found), flat(layer(x)), 1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_a_cell_of_torchs_name_with_other_equations_is_refused(name):
    cell = gw.cells.catalogue()[name]
    value = next(n for n, v in cell.names.items() if v.args and not n.endswith(".pre"))
    changed = replace(cell.changing({value: lambda v: v * 0.999}), name=cell.name)
    layer = gw.nn.Recurrent(changed, 3, 4, **({"proj_size": 2} if "projected" in name else {}))
    x = torch.randn(5, 2, 3)
    with gw.use_backend("torch"), pytest.raises(RuntimeError, match="its RNN, LSTM and GRU only"):
        layer(x)
    assert layer.explain().backend[-1] == "cpu: runs it"


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda x: gw.nn.Recurrent(gw.cells.mgu, 3, 4)(x), "its RNN, LSTM and GRU only"),
        (lambda x: gw.nn.GRU(3, 4).trace(x), "no gates"),
        (lambda x: gw.nn.GRU(3, 4)(x, pin={"z": 0.5}), "its RNN, LSTM and GRU only"),
        (lambda x: gw.nn.GRU(3, 4)(x[:, :0]), "at least one sequence"),
        (lambda x: gw.nn.GRU(3, 4)(x, resets=torch.ones(5, 2).bool()), "its RNN, LSTM"),
        (lambda x: torch.vmap(gw.nn.GRU(3, 4))(x), "no gates"),
    ],
)
def test_what_it_cannot_run_is_said(call, reason):
    with gw.use_backend("torch"), pytest.raises(RuntimeError, match=reason):
        call(torch.randn(5, 2, 3))


def test_off_the_cpu_the_known_cells_are_torchs_and_the_others_the_references():
    for name, cell in gw.cells.catalogue().items():
        random = problem(cell)
        job: Job = random.job
        tensors = [t.detach().to("meta") for t in random.tensors]  # as good as CUDA's, to choose
        chosen = select(job.program.forward, job.call(tensors, None)).name
        assert chosen == ("torch" if name in LAYERS or name == "irnn" else "reference"), name


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "peephole_lstm"])
@pytest.mark.parametrize("lengths", RUNS)
def test_results_and_gradients_on_a_gpu(name, lengths):
    layer = randomised(gw.nn.Recurrent(gw.cells.catalogue()[name], 3, 4, bidirectional=True))
    x, wanted = torch.randn(5, 3, 3), list(layer.parameters())
    y, _ = layer(x, lengths=lengths)
    expected = torch.autograd.grad(y.square().sum(), wanted)
    on_gpu, _ = layer.cuda()(x.cuda(), lengths=lengths)
    torch.testing.assert_close(on_gpu.cpu(), y, rtol=1e-3, atol=1e-4)
    found = torch.autograd.grad(on_gpu.square().sum(), list(layer.parameters()))
    for f, e in zip(found, expected, strict=True):
        torch.testing.assert_close(f.cpu(), e, rtol=1e-2, atol=1e-3)


def test_a_cell_that_also_has_an_input_it_does_not_read_is_refused():
    @gw.cell
    def gru_and_more(x, gap, /, h):
        r, z = (gw.sigmoid(gw.linear(k, x, h)) for k in "rz")
        n = gw.tanh(gw.linear("n", x) + r * gw.linear("n", h))
        return (1 - z) * n + z * h

    layer, x = gw.nn.Recurrent(gru_and_more, 3, 4), torch.randn(5, 2, 3)
    with (
        gw.use_backend("torch"),
        pytest.raises(RuntimeError, match="torch's kernels read one input"),
    ):
        layer(x, gap=1.0)
