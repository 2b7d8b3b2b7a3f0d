"""ONNX files: each cell, run by ONNX Runtime, equals the reference; some are ONNX's own nodes."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings

import gatework as gw
from axes_cells import random_axes_cells
from feeding import fed
from gatework.backends.reference import OPERATIONS
from gatework.errors import InputError
from gatework.export.graphs import checking, exporting
from gatework.export.graphs import native as natives
from gatework.export.graphs.functions import WRITERS
from gatework.export.graphs.graph import Graph
from gatework.export.graphs.native import NODES, native
from gatework.lang.functions import FUNCTIONS
from numerics import randomised
from parts_of_suite import mostly_slow
from plain_sizes import plain_sizes
from random_cells import random_cells

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

CATALOGUE = gw.cells.catalogue()
I, H = 8, 4
LENGTHS = (50, 7, 1)
NORMED = ("rwkv6", "rwkv7", "ttt_linear")  # over the values of a head, of which one is too few


def layer_of(cell, **options):
    heads = {"head": 1} if cell.name.startswith(NORMED) else {}
    sizes = {**plain_sizes(cell, H - 1), **heads}
    return randomised(gw.nn.Recurrent(cell, I, H, **sizes, **options)).eval()


class File:
    """An exported layer in ONNX Runtime."""

    def __init__(self, layer, folder, **options):
        self.path = folder / "layer.onnx"
        self.written = gw.export.onnx(layer, self.path, check=False, **options)
        self.model = onnx.load(self.path)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(self.path, settings)

    def __call__(self, **feed):
        given = {n: np.asarray(v) for n, v in feed.items()}
        return [torch.from_numpy(v) for v in self.session.run(None, given)]


def some_states(layer, batch):
    rows = layer.num_layers * layer.num_directions
    sizes = layer.sizes(0)
    return [0.5 * torch.randn(rows, batch, sizes[s.size]) for s in layer.cell.states]


def expected(layer, x, states, further, lengths):
    hx = tuple(states) if len(states) > 1 else states[0]
    with torch.no_grad(), gw.use_backend("reference"):
        y, final = layer(x, hx, lengths=lengths, **further)
    return [y, *((final,) if isinstance(final, torch.Tensor) else final)]


def assert_equal(found, wanted, tolerated=1e-5):
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape
        worst = float((a - b).abs().max()) / (1 + float(b.abs().max()))
        assert worst <= tolerated, f"differs by {worst:.2g} of the largest number"


def assert_runs_like_the_reference(layer, folder, lengths=LENGTHS):
    """Sequences of these lengths together, and each alone."""
    torch.manual_seed(0)
    file = File(layer, folder, lengths=True, states=True)
    x, states = torch.randn(max(lengths), 3, I), some_states(layer, 3)
    further = fed(layer.cell, layer.sizes(0), x, True)
    wanted = expected(layer, x, states, further, lengths)
    names = [f"initial_{s.name}" for s in layer.cell.states]
    assert_equal(
        file(input=x, lengths=lengths, **dict(zip(names, states, strict=True)), **further), wanted
    )
    roles = {s.name: s.role for s in layer.cell.further}
    for k, steps in enumerate(lengths):
        if not steps:
            continue
        one = slice(k, k + 1)
        found = file(
            input=x[:steps, one],
            lengths=[steps],
            **{n: s[:, one] for n, s in zip(names, states, strict=True)},
            **{n: v[:steps, one] if roles[n] == "sequence" else v[one] for n, v in further.items()},
        )
        y, *final = wanted
        assert_equal(found, [y[:steps, one], *(s[:, one] for s in final)])
    return file


@pytest.mark.parametrize("name", mostly_slow(CATALOGUE))
def test_every_cell_equals_the_reference(name, tmp_path):
    layer = layer_of(CATALOGUE[name], bidirectional=True)
    assert_runs_like_the_reference(layer, tmp_path)


NATIVE = {
    "rnn": "RNN", "rnn_relu": "RNN", "irnn": "RNN", "lstm": "LSTM", "peephole_lstm": "LSTM",
    "gru": "GRU", "gru_reset_before": "GRU",
}  # fmt: skip


@pytest.mark.parametrize("name", CATALOGUE)
def test_what_onnx_has_an_operator_for_becomes_it(name):
    found = native(CATALOGUE[name])
    assert (found.node.kind if found else None) == NATIVE.get(name)


# ---- random cells --------------------------------------------------------------------------------


@pytest.mark.slow
@given(random_cells(noise=True, further=True))
@settings(max_examples=50)
def test_random_cells_equal_the_reference(tmp_path_factory, cell):
    layer = layer_of(cell, bidirectional=True)
    assert_runs_like_the_reference(layer, tmp_path_factory.mktemp("random"), (9, 4, 1))


@pytest.mark.slow
@given(random_axes_cells())
@settings(max_examples=10)
def test_random_cells_with_axes_equal_the_reference(tmp_path_factory, cell):
    layer = layer_of(cell, bidirectional=True)
    assert_runs_like_the_reference(layer, tmp_path_factory.mktemp("axes"), (9, 4, 1))


# ---- what a layer may be -------------------------------------------------------------------------

LAYERS = {
    "lstm": lambda: gw.nn.LSTM(I, H, 3, dropout=0.3, bidirectional=True),
    "lstm, one bias": lambda: gw.nn.LSTM(I, H, single_bias=True),
    "gru, no bias": lambda: gw.nn.GRU(I, H, 2, bias=False),
    "gru, one bias": lambda: gw.nn.GRU(I, H, single_bias=True),
    "rnn": lambda: gw.nn.RNN(I, H, 2, nonlinearity="relu", bidirectional=True),
    "scan": lambda: gw.nn.Recurrent(gw.cells.mgu, I, H, 3, dropout=0.3, bidirectional=True),
    "projection": lambda: gw.nn.LSTM(I, H, 2, proj_size=3),
    "zoneout": lambda: gw.nn.LSTM(I, H, zoneout=0.1),
    "layer norm": lambda: gw.nn.GRU(I, H, layer_norm=True),
    "accelerated": lambda: gw.accelerate(torch.nn.LSTM(I, H, bidirectional=True)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_options_of_layers(kind, tmp_path):
    layer = randomised(LAYERS[kind]()).eval()
    file = assert_runs_like_the_reference(layer, tmp_path, (12, 5, 0))
    scans = kind in ("scan", "projection", "zoneout", "layer norm")
    assert set(file.written.loops) == {"Scan" if scans else layer.mode.partition("_")[0]}
    each = layer.num_directions if scans else 1
    assert len(file.written.loops) == layer.num_layers * each


@pytest.mark.parametrize("cell", [gw.cells.lstm, gw.cells.mgu], ids=["own node", "scan"])
@pytest.mark.parametrize("learned", [False, True])
def test_without_states_it_begins_where_the_layer_does(cell, learned, tmp_path):
    layer = randomised(gw.nn.Recurrent(cell, I, H, 2, bidirectional=True, learned_state=learned))
    x, lengths = torch.randn(6, 3, I), [6, 2, 0]
    file = File(layer.eval(), tmp_path, lengths=True)
    begin = layer.initial_state(3)
    states = begin if isinstance(begin, tuple) else (begin,)
    found = file(input=x, lengths=lengths)
    assert_equal(found, expected(layer, x, states, {}, lengths))


@pytest.mark.parametrize("name", ["lstm", "gru_d"])
def test_batch_first_is_kept(name, tmp_path):
    layer = layer_of(CATALOGUE[name], batch_first=True)
    x = torch.randn(3, 6, I)
    sizes = layer.sizes(0)
    further = {s.name: torch.rand(3, 6, sizes[s.size]) for s in layer.cell.further}
    file = File(layer, tmp_path, states=True)
    states = some_states(layer, 3)
    given = {f"initial_{s.name}": v for s, v in zip(layer.cell.states, states, strict=True)}
    found = file(input=x, **given, **further)
    assert_equal(found, expected(layer, x, states, further, None))


@pytest.mark.parametrize("cell", [gw.cells.gru, gw.cells.mgu], ids=["own node", "scan"])
def test_half_precision_is_outside_alone(cell, tmp_path):
    layer = randomised(gw.nn.Recurrent(cell, I, H, 2)).eval()
    file = File(layer, tmp_path, dtype=torch.float16, lengths=True, states=True)
    kinds = {one.data_type for one in file.model.graph.initializer if one.name.startswith("weight")}
    assert kinds <= {onnx.TensorProto.FLOAT16}
    x, (h,) = torch.randn(6, 3, I).half(), some_states(layer, 3)
    with torch.no_grad():
        y, final = layer.half()(x, h.half(), lengths=[6, 2, 0])
    found = file(input=x, lengths=[6, 2, 0], initial_h=h.half())
    assert {v.dtype for v in found} == {torch.float16}
    assert_equal([v.float() for v in found], [y.float(), final.float()], 2e-3)


def test_names_and_free_axes_are_in_the_file(tmp_path):
    layer = gw.nn.LSTM(I, H, 2, batch_first=True)
    file = File(layer, tmp_path, lengths=True, states=True, opset=21)
    graph = file.model.graph

    def dims(one):
        return [d.dim_param or d.dim_value for d in one.type.tensor_type.shape.dim]

    assert {one.name: dims(one) for one in (*graph.input, *graph.output)} == {
        "input": ["batch", "time", I],
        "lengths": ["batch"],
        "initial_h": [2, "batch", H],
        "initial_c": [2, "batch", H],
        "output": ["batch", "time", H],
        "final_h": [2, "batch", H],
        "final_c": [2, "batch", H],
    }
    assert [one.version for one in file.model.opset_import] == [21]
    assert file.written.inputs == ("input", "lengths", "initial_h", "initial_c")


def test_a_sequence_may_be_given_in_pieces(tmp_path):
    layer = layer_of(gw.cells.mgu)
    file = File(layer, tmp_path, states=True)
    x, h = torch.randn(9, 1, I), torch.zeros(1, 1, H)
    whole, end = file(input=x, initial_h=h)
    for k in range(0, 9, 3):
        y, h = file(input=x[k : k + 3], initial_h=h)
        assert_equal([y], [whole[k : k + 3]])
    assert_equal([h], [end])


def test_the_products_of_the_input_stand_before_the_loop(tmp_path):
    graph = File(layer_of(CATALOGUE["coupled_gate_lstm"]), tmp_path).model.graph
    kinds = [n.op_type for n in graph.node]
    (scan,) = (n for n in graph.node if n.op_type == "Scan")
    (body,) = (a.g for a in scan.attribute if a.name == "body")
    assert kinds.count("MatMul") == 1  # all gates at once
    assert kinds.index("MatMul") < kinds.index("Scan")
    assert [n.op_type for n in body.node].count("MatMul") == 1


# ---- functions -----------------------------------------------------------------------------------


def test_every_function_has_an_onnx_form():
    assert WRITERS.keys() == FUNCTIONS.keys()


@pytest.mark.parametrize("name", WRITERS)
def test_a_function_equals_torchs(name):
    function = FUNCTIONS[name]
    v = torch.cat([torch.linspace(-20, 20, 41), torch.tensor([1e-6, -1e-6, 0.3, -0.4, 1e-3])])
    v = v.abs() + 1e-6 if name in ("log", "sqrt", "log1p", "pow", "div") else v
    args = [v, v.flip(0), (v - 3).roll(2)][: function.arity]
    if name == "pow":
        args[1] = torch.tensor(1.5)
    graph = Graph()
    names = ["abc"[k] for k in range(function.arity)]
    result = WRITERS[name](graph, *names)
    result = graph.node("Identity", result)
    made = onnx.helper.make_graph(
        graph.nodes,
        name,
        [graph.described(n, a.shape) for n, a in zip(names, args, strict=True)],
        [graph.described(result, v.shape)],
        graph.constants,
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(made, opset_imports=opset, ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (found,) = session.run(None, {n: a.numpy() for n, a in zip(names, args, strict=True)})
    wanted = OPERATIONS[name](*args)
    torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=3e-6, atol=1e-7)


# ---- what goes wrong -----------------------------------------------------------------------------


@gw.cell
def named_output(x, output, /, h):
    """Its further input has the name of the file's output."""
    return gw.tanh(gw.linear("n", x, h, output))


REFUSED = {
    "float64": (lambda: gw.nn.LSTM(I, H).double(), {}, "float64"),
    "bfloat16": (lambda: gw.nn.LSTM(I, H), {"dtype": torch.bfloat16}, "bfloat16"),
    "torch's": (lambda: torch.nn.LSTM(I, H), {}, r"torch\.nn\.modules\.rnn\.LSTM"),
    "a step": (lambda: gw.nn.LSTMCell(I, H), {}, "LSTMCell"),
    "old opset": (lambda: gw.nn.LSTM(I, H), {"opset": 9}, "opset=9"),
    "new opset": (lambda: gw.nn.LSTM(I, H), {"opset": 999}, "opset=999"),
    "taken": (lambda: gw.nn.Recurrent(named_output, I, H), {}, "named 'output'"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_exported_is_named(kind, tmp_path):
    make, options, message = REFUSED[kind]
    with pytest.raises(InputError, match=message):
        gw.export.onnx(make(), tmp_path / "a.onnx", **options)
    assert not [*tmp_path.iterdir()]


def test_a_function_without_a_form_is_named(tmp_path, monkeypatch):
    monkeypatch.delitem(WRITERS, "erf")

    @gw.cell
    def bell(x, h):
        return gw.erf(gw.linear("n", x, h))

    with pytest.raises(InputError, match="'erf', which has no ONNX form"):
        gw.export.onnx(gw.nn.Recurrent(bell, I, H), tmp_path / "a.onnx")


def test_held_values_and_files_too_large_are_refused(tmp_path, monkeypatch):
    layer = gw.nn.GRU(I, H)
    with gw.lens.hold(layer, {"z": 0.5}), pytest.raises(InputError, match="held values"):
        gw.export.onnx(layer, tmp_path / "a.onnx")
    monkeypatch.setattr(exporting, "MOST", 100)
    with pytest.raises(InputError, match="which one ONNX file holds"):
        gw.export.onnx(layer, tmp_path / "a.onnx")


def test_a_folder_that_is_missing_is_told(tmp_path):
    with pytest.raises(InputError, match="make its folder first"):
        gw.export.onnx(gw.nn.GRU(I, H), tmp_path / "none" / "a.onnx")


@pytest.mark.parametrize("cell", [gw.cells.gru, gw.cells.mgu], ids=["own node", "scan"])
def test_a_file_that_differs_is_not_written(cell, tmp_path, monkeypatch):
    """The check can fail: the sigmoid of a loop is a tanh, or two gates have changed places."""
    monkeypatch.setitem(WRITERS, "sigmoid", WRITERS["tanh"])
    swapped = [replace(n, gates=n.gates[1:] + n.gates[:1]) for n in NODES]
    monkeypatch.setattr(natives, "NODES", swapped)
    with pytest.raises(InputError, match="differs from that of the layer by"):
        gw.export.onnx(randomised(gw.nn.Recurrent(cell, I, H)), tmp_path / "a.onnx")
    assert not [*tmp_path.iterdir()]


def test_the_check_leaves_the_layer_as_it_was(tmp_path):
    layer = gw.nn.LSTM(I, H, 2, dropout=0.5).train()
    written = gw.export.onnx(layer, tmp_path / "a.onnx", dtype=torch.float16)
    assert layer.training
    assert layer.weight_ih_l0.dtype == torch.float32
    assert written.difference < 1e-2
    assert "ONNX Runtime" in written.note


def test_missing_packages_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(checking, "find_spec", lambda name: None)
    written = gw.export.onnx(gw.nn.GRU(I, H), tmp_path / "a.onnx")
    assert written.difference is None
    assert written.note == "not checked: pip install onnxruntime, and it will be"
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match="pip install onnx"):
        gw.export.onnx(gw.nn.GRU(I, H), tmp_path / "b.onnx")
