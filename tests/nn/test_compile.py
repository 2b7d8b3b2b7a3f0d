"""torch.compile and torch.export see one operator for each layer and direction."""

import copy
import pickle

import pytest
import torch

import gatework as gw

CELLS = ["lstm", "gru", "gru_reset_before", "layer_norm_lstm"]


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


def test_a_key_follows_from_the_equations_alone():
    layer = gw.nn.GRU(3, 5)
    assert copy.deepcopy(layer)._keys == layer._keys == gw.nn.GRU(3, 5)._keys
    assert pickle.loads(pickle.dumps(layer))._keys == layer._keys
    others = [gw.nn.GRU(3, 6), gw.nn.LSTM(3, 5), gw.nn.GRU(3, 5, bias=False)]
    assert all(set(o._keys.values()).isdisjoint(layer._keys.values()) for o in others)
