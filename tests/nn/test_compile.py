"""torch.compile and torch.export see one operator for each layer and direction."""

import copy
import pickle
import subprocess
import sys

import pytest
import torch
from torch._dynamo.testing import CompileCounter

import gatework as gw
from gatework.autograd import operator
from numerics import assert_same, flat

pytestmark = pytest.mark.slow

CELLS = ["gru", "layer_norm_lstm"]  # of one state and of two: a graph sees no equations


@pytest.fixture(autouse=True)
def _forget_what_was_compiled():
    torch._dynamo.reset()


def results(call, x, parameters):
    """The output, the final states, and every gradient of a weighted sum of them."""
    y, state = call(x)
    states = state if isinstance(state, tuple) else (state,)
    loss = sum((t * torch.linspace(-1, 1, t.numel()).view_as(t)).sum() for t in (y, *states))
    return [y, *states, *torch.autograd.grad(loss, [x, *parameters])]


def operators(graph):
    return [n for n in graph.graph.nodes if str(n.target).startswith("gatework")]


@pytest.mark.slow
@pytest.mark.parametrize("name", CELLS)
def test_a_compiled_layer_gives_the_same_numbers_and_gradients(name):
    layer = gw.nn.Recurrent(gw.cells.catalogue()[name], 3, 5, num_layers=2, bidirectional=True)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for steps in (1, 4, 9):
        x = torch.randn(steps, 2, 3, requires_grad=True)
        pairs = zip(
            results(compiled, x, layer.parameters()),
            results(layer, x, layer.parameters()),
            strict=True,
        )
        assert all(torch.equal(a, b) for a, b in pairs)
        with torch.no_grad():
            assert torch.equal(compiled(x)[0], layer(x)[0])


def test_a_compiled_layer_computes_the_wanted_gradients_alone(monkeypatch):
    layer, x = gw.nn.GRU(3, 5), torch.randn(4, 2, 3)
    layer.weight_hh_l0.requires_grad_(False)
    seen, real = [], operator.run_backward
    monkeypatch.setattr(operator, "run_backward", lambda *a: seen.append([*a[5]]) or real(*a))
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    learned = [p for p in layer.parameters() if p.requires_grad]
    found = torch.autograd.grad(compiled(x)[0].square().sum(), learned)
    assert seen == [[False, False, True, False, True, True]]  # x, h, the weights, the biases
    for f, e in zip(found, torch.autograd.grad(layer(x)[0].square().sum(), learned), strict=True):
        assert torch.equal(f, e)


def test_the_graph_holds_one_operator_however_long_the_sequence():
    graphs = []

    def keep(graph, inputs):
        graphs.append(graph)
        return graph

    layer = gw.nn.GRU(3, 5, num_layers=2, bidirectional=True)
    for steps in (2, 200):
        torch._dynamo.reset()
        torch.compile(layer, fullgraph=True, backend=keep)(torch.randn(steps, 2, 3))
    assert [len(operators(g)) for g in graphs] == [4, 4]
    assert len(graphs[0].graph.nodes) == len(graphs[1].graph.nodes)


def test_an_exported_layer_is_free_in_batch_and_time():
    layer = gw.nn.LSTM(3, 5, num_layers=2).eval()
    free = ({0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC},)
    exported = torch.export.export(layer, (torch.randn(4, 2, 3),), dynamic_shapes=free)
    assert len(operators(exported.graph_module)) == 2
    x = torch.randn(7, 5, 3)
    assert torch.equal(exported.module()(x)[0], layer(x)[0])


def test_the_operators_pass_torchs_own_checks():
    layer = gw.nn.GRU(3, 5)
    tensors = [torch.randn(4, 2, 3), torch.randn(2, 5), *layer.parameters()]
    tensors = [t.detach().requires_grad_() for t in tensors]
    key = layer._keys[0, 0, True]
    torch.library.opcheck(
        torch.ops.gatework.forward.default,
        (key, tensors, None, True),
        test_utils=("test_schema", "test_faketensor", "test_autograd_registration"),
    )


@pytest.fixture
def call():
    """A layer with lengths, resets, a state and a pinned gate; and what it is called with."""
    layer = gw.nn.LSTM(3, 5, num_layers=2, bidirectional=True)

    def run(x, state, lengths, resets, held, gate):
        y, (h, c) = layer(x, state, lengths=lengths, resets=resets, pin={"f": held, "i": gate})
        return y, h, c

    return run


def arguments(steps, batch, held=0.5):
    lengths = torch.randint(0, steps + 1, (batch,))
    state = tuple(torch.randn(2, 4, batch, 5))
    resets = torch.rand(steps, batch) < 0.3
    return torch.randn(steps, batch, 3), state, lengths, resets, held, torch.rand(5)


def test_everything_that_a_call_takes_is_one_graph_for_all_shapes(call):
    counter = CompileCounter()
    compiled = torch.compile(call, fullgraph=True, backend=counter, dynamic=True)
    for steps, batch in ((8, 7), (9, 2), (30, 3)):  # the first of sizes that nothing else has
        given = arguments(steps, batch)
        assert_same(flat(compiled(*given)), flat(call(*given)), 1e-5)
    assert counter.frame_count == 1


def test_a_pinned_number_is_free_after_its_first_change(call):
    counter = CompileCounter()
    compiled = torch.compile(call, fullgraph=True, backend=counter)
    for held in (0.5, 0.25, 1.5, 0.75):
        given = arguments(4, 3, held)
        assert_same(flat(compiled(*given)), flat(call(*given)), 1e-5)
    assert counter.frame_count == 2


def test_a_changed_shape_is_compiled_once_more_and_then_free(call):
    counter = CompileCounter()
    compiled = torch.compile(call, fullgraph=True, backend=counter)
    for steps, batch in ((8, 7), (9, 2), (30, 3), (5, 4)):
        compiled(*arguments(steps, batch))
    assert counter.frame_count == 2


def test_the_graph_of_a_call_with_everything_does_not_grow_with_time(call):
    graphs = []

    def keep(graph, inputs):
        graphs.append(graph)
        return graph

    for steps in (3, 300):
        torch._dynamo.reset()
        torch.compile(call, fullgraph=True, backend=keep)(*arguments(steps, 2))
    assert [len(operators(g)) for g in graphs] == [4, 4]
    assert len(graphs[0].graph.nodes) == len(graphs[1].graph.nodes)


@pytest.mark.slow
def test_traces_in_a_graph_and_their_gradients():
    layer = gw.nn.GRU(3, 5, num_layers=2)

    def value(x, gate):
        trace = layer.trace(x, pin={"z": gate})
        return trace["r"].sum() + trace.layer(0)["n.pre"].square().sum() + trace.output.sum()

    sources = torch.randn(4, 2, 3, requires_grad=True), torch.rand(5, requires_grad=True)
    wanted = [*sources, *layer.parameters()]
    compiled = torch.compile(value, fullgraph=True, backend="aot_eager")
    pairs = [torch.autograd.grad(f(*sources), wanted) for f in (compiled, value)]
    assert_same(flat(pairs[0]), flat(pairs[1]), 1e-6)


def test_lengths_that_do_not_fit_are_refused_by_the_operator():
    layer = gw.nn.GRU(3, 5)
    compiled = torch.compile(
        lambda x, n: layer(x, lengths=n)[0], fullgraph=True, backend="aot_eager"
    )
    with pytest.raises(ValueError, match="lengths should be between 0 and the 4 steps"):
        compiled(torch.randn(4, 2, 3), torch.tensor([4, 5]))


def test_half_precision_and_autocast_in_a_graph():
    layer, x = gw.nn.GRU(3, 5), torch.randn(4, 2, 3)

    def under_autocast(x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return layer(x)

    for function, given in ((under_autocast, x), (copy.deepcopy(layer).bfloat16(), x.bfloat16())):
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
        assert_same(flat(compiled(given)), flat(function(given)), 0)


def test_torchs_compiler_is_not_loaded_before_it_is_wanted():
    code = "import sys, gatework.nn; sys.exit('torch._dynamo' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grad", "vmap", "jvp"])
def test_a_transform_breaks_the_graph_and_stays_right(name):
    layer, x = gw.nn.GRU(3, 5), torch.randn(4, 2, 3)

    def transformed(x):
        if name == "grad":
            return torch.func.grad(lambda x: layer(x)[0].sum())(x)
        if name == "vmap":
            return torch.func.vmap(lambda x: layer(x)[0], 1)(x)
        return torch.func.jvp(lambda x: layer(x)[0], (x,), (x,))[1]

    expected = transformed(x)
    assert torch.equal(torch.compile(transformed, backend="aot_eager")(x), expected)
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported, match="inside a transform"):
        torch.compile(transformed, backend="aot_eager", fullgraph=True)(x)


class Summary(torch.nn.Module):
    """The last state of an LSTM over sequences of unequal lengths, its forget gate held."""

    def __init__(self):
        super().__init__()
        self.lstm = gw.nn.LSTM(3, 5, num_layers=2, bidirectional=True).eval()

    def forward(self, x, lengths):
        return self.lstm(x, lengths=lengths, pin={"f": 0.5})[1][0]


RUN_EXPORTED = """
import sys, torch, gatework.nn
program, given, result = sys.argv[1:]
torch.save(torch.export.load(program).module()(*torch.load(given)), result)
"""


@pytest.mark.slow
def test_an_exported_program_runs_in_another_process(tmp_path):
    model, free = Summary(), torch.export.Dim.DYNAMIC
    exported = torch.export.export(
        model,
        (torch.randn(4, 2, 3), torch.tensor([4, 1])),
        dynamic_shapes=({0: free, 1: free}, {0: free}),
    )
    program, given, result = (str(tmp_path / n) for n in ("model.pt2", "given.pt", "result.pt"))
    torch.export.save(exported, program)
    arguments = torch.randn(7, 3, 3), torch.tensor([7, 0, 2])
    torch.save(arguments, given)
    subprocess.run([sys.executable, "-c", RUN_EXPORTED, program, given, result], check=True)
    torch.testing.assert_close(torch.load(result), model(*arguments))


def test_a_key_follows_from_the_equations_alone():
    layer = gw.nn.GRU(3, 5)
    assert copy.deepcopy(layer)._keys == layer._keys == gw.nn.GRU(3, 5)._keys
    assert pickle.loads(pickle.dumps(layer))._keys == layer._keys
    others = [gw.nn.GRU(3, 6), gw.nn.LSTM(3, 5), gw.nn.GRU(3, 5, bias=False)]
    assert all(set(o._keys.values()).isdisjoint(layer._keys.values()) for o in others)
