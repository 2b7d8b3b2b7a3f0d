"""Nodes of ONNX files as layers: what ONNX Runtime computes, or a refusal by name."""

import numpy as np
import pytest
import torch

import gatework as gw
from gatework.errors import InputError

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
PATHS = ["W", "R", "B", "lengths", "initial_h", "initial_c", "P"]
I, H, T, B = 3, 4, 5, 2


def node_file(
    path,
    kind,
    *,
    dtype=np.float32,
    peepholes=False,
    bias=True,
    lengths=False,
    computed=False,
    **attributes,
):
    """Write a model of one node with random weights; returns what ONNX Runtime makes of it."""
    generator = np.random.default_rng(0)
    directions = 1 + (attributes.get("direction") == "bidirectional")
    rows = GATES[kind] * H

    def drawn(*shape):
        return generator.normal(size=shape).astype(dtype)

    arrays = {"W": drawn(directions, rows, I), "R": drawn(directions, rows, H)}
    if bias:
        arrays["B"] = drawn(directions, 2 * rows)
    if peepholes:
        arrays["P"] = drawn(directions, 3 * H)
    layout = attributes.get("layout", 0)
    x = drawn(*((B, T, I) if layout else (T, B, I)))
    given = {"X": x}
    if lengths:
        given["lengths"] = np.array([T, 2], np.int32)
    names = ["W", "R", "B", "lengths", "initial_h", "initial_c", "P"]
    reads = ["X", *(n if n in {*arrays, *given} else "" for n in names)]
    while not reads[-1]:
        reads.pop()
    states = ["Y_h", "Y_c"] if kind == "LSTM" else ["Y_h"]
    helper = onnx.helper
    nodes = [
        helper.make_node(kind, reads, ["Y", *states], name="layer", hidden_size=H, **attributes)
    ]
    if computed:  # as torch's exporter writes them
        arrays["flat"] = arrays.pop("W")[0]
        arrays["axes"] = np.array([0])
        nodes.insert(0, helper.make_node("Unsqueeze", ["flat", "axes"], ["W"]))
    kinds = {name: helper.np_dtype_to_tensor_dtype(v.dtype) for name, v in given.items()}
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info(n, kinds[n], v.shape) for n, v in given.items()],
        [helper.make_tensor_value_info(n, kinds["X"], None) for n in ("Y", *states)],
        [onnx.numpy_helper.from_array(a, n) for n, a in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)])
    model.ir_version = 8
    onnx.save(model, path)
    return given


def expected(path, given):
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, given)


CASES = {
    "lstm": ("LSTM", {}),
    "gru": ("GRU", {"linear_before_reset": 1}),
    "gru, reset before": ("GRU", {}),
    "rnn": ("RNN", {"direction": "bidirectional"}),
    "relu": ("RNN", {"activations": ["Relu"]}),
    "both directions": ("LSTM", {"direction": "bidirectional"}),
    "no bias": ("GRU", {"bias": False, "direction": "bidirectional"}),
    "peepholes": ("LSTM", {"peepholes": True, "direction": "bidirectional"}),
    "coupled": ("LSTM", {"input_forget": 1}),
    "coupled, peepholes": ("LSTM", {"input_forget": 1, "peepholes": True}),
    "clipped": ("LSTM", {"clip": 0.5}),
    "clipped gru": ("GRU", {"clip": 0.3, "linear_before_reset": 1}),
    "clipped rnn": ("RNN", {"clip": 0.3}),
    "lengths": ("LSTM", {"lengths": True, "direction": "bidirectional"}),
    "weights computed": ("GRU", {"computed": True, "linear_before_reset": 1}),
    "hard": (
        "LSTM",
        {
            "activations": ["HardSigmoid", "Softsign", "Elu"],
            "activation_alpha": [0.3, 0.7],
            "activation_beta": [0.4],
        },
    ),
    "soft": ("GRU", {"activations": ["Sigmoid", "Softplus"], "linear_before_reset": 1}),
    "leaky": ("RNN", {"activations": ["LeakyRelu"], "activation_alpha": [0.2]}),
    "scaled": (
        "RNN",
        {"activations": ["ScaledTanh"], "activation_alpha": [1.5], "activation_beta": [0.5]},
    ),
    "affine": (
        "RNN",
        {"activations": ["Affine"], "activation_alpha": [0.3], "activation_beta": [0.1]},
    ),
    "thresholded": ("RNN", {"activations": ["ThresholdedRelu"], "activation_alpha": [0.4]}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_node_becomes_a_layer_that_gives_the_same(case, tmp_path):
    kind, options = CASES[case]
    path = tmp_path / "node.onnx"
    given = node_file(path, kind, **options)
    wanted, *states = expected(path, given)
    found = gw.convert.onnx(path)
    assert [*found] == ["layer"]
    layer = found["layer"]
    lengths = torch.tensor(given["lengths"]).long() if "lengths" in given else None
    with torch.no_grad():
        y, state = layer(torch.tensor(given["X"]), lengths=lengths)
    np.testing.assert_allclose(y, wanted.transpose(0, 2, 1, 3).reshape(T, B, -1), atol=1e-5)
    for own, other in zip(state if isinstance(state, tuple) else (state,), states, strict=True):
        np.testing.assert_allclose(own, other, atol=1e-5)


def test_double_numbers_and_batch_first(tmp_path):
    path = tmp_path / "node.onnx"
    node_file(path, "LSTM", dtype=np.float64, layout=1)
    layer = gw.convert.onnx(path)["layer"]
    assert layer.batch_first
    assert layer.weight_ih_l0.dtype == torch.float64


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_what_torch_exports_comes_back(tmp_path):
    path = tmp_path / "torch.onnx"
    theirs = torch.nn.LSTM(I, H, num_layers=2, bidirectional=True).eval()
    x = torch.randn(T, B, I)
    torch.onnx.export(theirs, (x,), path, dynamo=True, verbose=False)
    first, second = gw.convert.onnx(path).values()
    torch.testing.assert_close(second(first(x)[0])[0], theirs(x)[0], atol=1e-5, rtol=1e-5)


def written(tmp_path, kind="LSTM", **options):
    path = tmp_path / "node.onnx"
    node_file(path, kind, **options)
    return path


def changed(tmp_path, change):
    path = written(tmp_path)
    model = onnx.load(path)
    change(model.graph)
    onnx.save(model, path)
    return path


def without_weights(graph):
    del graph.initializer[0]
    graph.input.append(onnx.helper.make_tensor_value_info("W", 1, None))


def with_state(graph):
    graph.initializer.append(onnx.numpy_helper.from_array(np.ones((1, B, H), "f4"), "h"))
    graph.node[0].input.extend(["", "h"])


def with_shorter_bias(graph):
    array = onnx.numpy_helper.from_array(np.ones((1, 3), "f4"), "B")
    graph.initializer[2].CopyFrom(array)


REFUSED = {
    "reverse": (lambda p: written(p, direction="reverse"), "direction 'reverse'"),
    "unlike": (
        lambda p: written(
            p,
            direction="bidirectional",
            activations=["Sigmoid", "Tanh", "Tanh", "Sigmoid", "Tanh", "Relu"],
        ),
        "other functions in each direction",
    ),
    "no function": (lambda p: written(p, "RNN", activations=["Gelu"]), "'Gelu'"),
    "no numbers": (lambda p: written(p, "RNN", activations=["Affine"]), "'Affine' without"),
    "too few": (lambda p: written(p, activations=["Sigmoid"]), "1 functions"),
    "foreign": (lambda p: written(p, output_sequence=1), "attribute 'output_sequence'"),
    "weights given": (lambda p: changed(p, without_weights), "computed from the input 'W'"),
    "a state": (lambda p: changed(p, with_state), "constant initial state 'h'"),
    "a bias": (lambda p: changed(p, with_shorter_bias), "biases of the shape"),
    "a size": (
        lambda p: changed(
            p,
            lambda g: (
                g.node[0].attribute.remove(g.node[0].attribute[0])
                or g.node[0].attribute.append(onnx.helper.make_attribute("hidden_size", 7))
            ),
        ),
        "hidden_size = 7",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_layer_does_is_refused_by_name(case, tmp_path):
    make, words = REFUSED[case]
    with pytest.raises(InputError, match="node 'layer' with") as refused:
        gw.convert.onnx(make(tmp_path))
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "no such file"), (b"", "is empty"), (b"\x08\x07not onnx", "cannot be read as ONNX")],
)
def test_files_that_are_no_models(content, words, tmp_path):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        gw.convert.onnx(path)


def test_a_model_without_such_nodes_and_nodes_without_names(tmp_path):
    path = changed(tmp_path, lambda graph: setattr(graph.node[0], "name", ""))
    assert [*gw.convert.onnx(path)] == ["Y"]
    path = changed(tmp_path, lambda graph: setattr(graph.node[0], "op_type", "Loop"))
    with pytest.raises(InputError, match="no LSTM, GRU or RNN node"):
        gw.convert.onnx(path)
