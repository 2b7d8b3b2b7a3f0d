"""Weights from plain arrays in any gate order, and back; ONNX Runtime's and Keras' order."""

import numpy as np
import pytest
import torch

import gatework as gw
from gatework import cell, linear, sigmoid, tanh
from gatework.convert import Weights, from_arrays, to_arrays
from numerics import assert_same, flat, randomised
from plain_sizes import divisible, plain_sizes

CELLS = ["lstm", "gru", "gru_reset_before", "rnn", "rnn_relu", "mgu", "coupled_gate_lstm", "janet"]


def made(name, **arguments):
    layer = gw.convert.arrays.layer_of(getattr(gw.cells, name), **arguments)
    return randomised(layer.double())


@pytest.mark.parametrize("gate_axis", [0, 1])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", CELLS)
def test_a_round_trip_in_any_order(name, bias, gate_axis):
    layer = made(name, input_size=3, hidden_size=5, num_layers=2, bias=bias, bidirectional=True)
    gates = gw.convert.arrays.gates_of(layer.cell)
    order = gates[1:] + gates[:1]
    arrays = to_arrays(layer, order=order, gate_axis=gate_axis)
    assert len(arrays) == 4
    assert arrays[0].input.shape[gate_axis] == 5 * len(gates)
    twin = from_arrays(
        getattr(gw.cells, name), arrays, order=order, gate_axis=gate_axis, bidirectional=True
    )
    assert type(twin) is type(layer)
    assert_same(dict(twin.state_dict()), dict(layer.state_dict()), 0)
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    assert_same(flat(twin(x)), flat(layer(x)), 0)


@pytest.mark.parametrize("name", sorted(gw.cells.catalogue()))
def test_every_cell_makes_the_round_trip_or_says_what_is_lost(name):
    cell = getattr(gw.cells, name)
    sizes = plain_sizes(cell, 2)
    input_size, hidden_size = divisible(cell, "input", 5), divisible(cell, "hidden", 5)
    layer = randomised(gw.nn.Recurrent(cell, input_size, hidden_size, **sizes))
    try:
        gates = gw.convert.arrays.gates_of(cell)
    except ValueError:
        with pytest.raises(ValueError, match=r"more than one map .* by name, with load_state_dict"):
            to_arrays(layer, order="a", gate_axis=0)
        return
    arrays = to_arrays(layer, order=gates[::-1], gate_axis=1)
    twin = from_arrays(cell, arrays, order=gates[::-1], gate_axis=1)
    assert_same(dict(twin.state_dict()), dict(layer.state_dict()), 0)


@pytest.mark.parametrize("name", ["lstm", "rnn", "gru_reset_before", "mgu", "janet"])
def test_biases_that_add_up_can_be_one(name):
    layer = made(name, input_size=3, hidden_size=5)
    order = gw.convert.arrays.gates_of(layer.cell)
    [weights] = to_arrays(layer, order=order, gate_axis=0, biases=1)
    assert weights.recurrent_bias is None
    twin = from_arrays(layer.cell, [weights], order=order, gate_axis=0)
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    assert_same(flat(twin(x)), flat(layer(x)), 1e-12)


def test_biases_that_do_not_add_up_stay_two():
    with pytest.raises(ValueError, match="'gru' do not simply add up; use biases=2"):
        to_arrays(gw.nn.GRU(3, 5), order="rzn", gate_axis=0, biases=1)


def test_the_order_is_that_of_the_blocks():
    layer = made("lstm", input_size=2, hidden_size=1)
    [w] = to_arrays(layer, order="ofci", gate_axis=1)
    i, f, g, o = layer.weight_ih_l0.detach().numpy()
    assert np.array_equal(w.input.T, [o, f, g, i])


def test_torchs_own_arrays():
    theirs = randomised(torch.nn.LSTM(3, 5, num_layers=2, dtype=torch.float64))
    ours = from_arrays(gw.cells.lstm, theirs.all_weights, order="ifgo", gate_axis=0)
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    assert_same(flat(ours(x)), flat(theirs(x)), 1e-12)


def test_a_cell_of_ones_own():
    @cell
    def doubled(x, h):
        a = sigmoid(linear("a", x, h))
        return a * h + 2 * tanh(linear("b", x, h))

    rng = np.random.default_rng(0)
    kernel, recurrent, bias = (rng.normal(size=s) for s in ((3, 10), (5, 10), (10,)))
    layer = from_arrays(doubled, (kernel, recurrent, bias), order="ba", gate_axis=1)
    x, h = rng.normal(size=(1, 2, 3)), rng.normal(size=(1, 2, 5))
    pre = x[0] @ kernel + h[0] @ recurrent + bias
    expected = h[0] / (1 + np.exp(-pre[:, 5:])) + 2 * np.tanh(pre[:, :5])
    found = layer(torch.tensor(x), torch.tensor(h))[0][0].detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12)


# ---- what does not fit -------------------------------------------------------------------------


def arrays(gates=4, hidden=5, features=3, dtype=np.float64):
    rng = np.random.default_rng(0)
    shapes = (features, gates * hidden), (hidden, gates * hidden), (gates * hidden,)
    return tuple(rng.normal(size=s).astype(dtype) for s in shapes)


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        (arrays(), {"order": "ifg"}, "name each gate of cell 'lstm' once: i, f, g, o; got 'ifg'"),
        (arrays(), {"order": "iffo"}, "name each gate"),
        (arrays(), {"order": "ifgx"}, "name each gate"),
        (arrays(), {"gate_axis": 2}, "gate_axis should be 0"),
        (arrays(), {"gate_axis": 0}, "they fit with gate_axis=1"),
        (arrays(3), {}, "20 were expected there"),
        (arrays(dtype=np.int64), {}, "array of floats"),
        (arrays()[:1] + arrays()[:1] + arrays()[2:], {}, "12 were expected there"),
        ([arrays(), arrays()], {}, r"at place 1 have \[5, 3\] values .* expects \[5, 5\]"),
        ([arrays()], {"bidirectional": True}, "arrays of two directions for each layer, got 1"),
        ([], {}, "got 0"),
        ((*arrays()[:2], np.zeros((3, 20))), {}, "two rows"),
    ],
)
def test_what_does_not_fit_says_so(weights, options, message):
    options = {"order": "ifco", "gate_axis": 1, **options}
    with pytest.raises(ValueError, match=message):
        from_arrays(gw.cells.lstm, weights, **options)


def backwards(array):
    """The same numbers, seen from the end of memory."""
    return np.ascontiguousarray(array[..., ::-1])[..., ::-1]


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def negated(array):
    return torch.complex(torch.zeros(array.shape, dtype=torch.float64),
                         -torch.from_numpy(array)).conj().imag  # fmt: skip


FORMS = {
    "lists": lambda a: a.tolist(),
    "tuples": lambda a: tuple(map(tuple, a)) if a.ndim == 2 else tuple(a),
    "big-endian": lambda a: a.astype(">f8"),
    "little-endian": lambda a: a.astype("<f8"),
    "negative strides": backwards,
    "column by column": np.asfortranarray,
    "every second": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "read only": read_only,
    "float32": lambda a: a.astype(np.float32),
    "float16": lambda a: a.astype(np.float16),
    "big-endian float32": lambda a: a.astype(">f4"),
    "tensors": torch.from_numpy,
    "tensors with a gradient": lambda a: torch.tensor(a, requires_grad=True),
    "transposed tensors": lambda a: torch.from_numpy(a.T.copy()).permute(*range(a.ndim)[::-1]),
    "bfloat16": lambda a: torch.from_numpy(a).bfloat16(),
    "negated tensors": negated,
    "sparse tensors": lambda a: torch.from_numpy(a).to_sparse(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("pack", [lambda w: w, lambda w: [w], lambda w: Weights(*w), list])
def test_arrays_of_every_form(form, pack):
    given = tuple(np.round(64 * a) / 64 for a in arrays())  # exact in every precision but bfloat16
    expected = from_arrays(gw.cells.lstm, given, order="ifco", gate_axis=1)
    formed = tuple(form(a) for a in given)
    found = from_arrays(gw.cells.lstm, pack(formed), order="ifco", gate_axis=1)
    rough = found.weight_ih_l0.dtype == torch.bfloat16
    for name, value in expected.state_dict().items():
        error = (found.state_dict()[name].double() - value).abs().max()
        assert error <= (0.02 if rough else 0)


NO_ARRAYS = {
    "six": (arrays() * 2, ValueError, "2 to 4 arrays, input, recurrent, bias, .*; got 6"),
    "one": (arrays()[:1], ValueError, "at place 0 should be 2 to 4 arrays.*got 1"),
    "six in a row": ([arrays() * 2], ValueError, "got 6"),
    "a layer of one": ([arrays(), arrays()[:1]], ValueError, "at place 1 should be 2 to 4"),
    "objects": (tuple(a.astype(object) for a in arrays()), ValueError, "floats: an array of obj"),
    "texts": (tuple(a.astype(str) for a in arrays()), ValueError, "floats: an array of <U"),
    "complex": (tuple(a + 0j for a in arrays()), ValueError, "floats: an array of complex128"),
    "longdouble": (tuple(a.astype(np.longdouble) for a in arrays()), ValueError, "an array of f"),
    "ragged": (([[1.0], [1.0, 2.0]], *arrays()[1:]), ValueError, "the input weights should be an"),
    "nan": ((arrays()[0], arrays()[1] * np.nan), ValueError, "100 of the 100 values of the recur"),
    "infinity": ((*arrays()[:2], np.full(20, np.inf)), ValueError, "20 .* bias weights are not fi"),
    "numbers": ((1.0, 2.0, 3.0), ValueError, "an array of floats with 2 dimension"),
    "one array": (arrays()[0], TypeError, "a tuple of arrays, or a list of such; got ndarray"),
    "a dict": (dict(enumerate(arrays())), TypeError, "got dict"),
    "nothing": (None, TypeError, "got NoneType"),
}


@pytest.mark.parametrize("case", NO_ARRAYS.values(), ids=NO_ARRAYS)
def test_what_is_no_set_of_arrays_says_so(case):
    weights, error, says = case
    with pytest.raises(error, match=says):
        from_arrays(gw.cells.lstm, weights, order="ifco", gate_axis=1)


@pytest.mark.parametrize("example", [(1, 2, 3), 3])
def test_an_example_is_a_pair(example):
    with pytest.raises(TypeError, match="example should be a pair"):
        from_arrays(gw.cells.lstm, arrays(), order="ifco", gate_axis=1, example=example)


def test_cells_with_more_parameters_are_refused():
    with pytest.raises(ValueError, match=r"'peephole_lstm' is more than .* it has peephole_i"):
        from_arrays(gw.cells.peephole_lstm, arrays(), order="ifgo", gate_axis=1)
    with pytest.raises(ValueError, match="it has weight_hr"):
        to_arrays(gw.nn.LSTM(3, 5, proj_size=2), order="ifgo", gate_axis=1)


def test_what_is_no_layer_and_no_cell_says_so():
    with pytest.raises(TypeError, match=r"a layer of gatework\.nn, got LSTM; gatework\.accelerate"):
        to_arrays(torch.nn.LSTM(3, 5), order="ifgo", gate_axis=0)
    with pytest.raises(TypeError, match=r"such as gatework\.cells\.lstm; got str"):
        from_arrays("lstm", arrays(), order="ifgo", gate_axis=1)
    with pytest.raises(TypeError, match="a string such as 'ifgo', got NoneType"):
        from_arrays(gw.cells.lstm, arrays(), order=None, gate_axis=1)
    with pytest.raises(ValueError, match="input and state, got only input"):
        from_arrays(gw.cells.lstm, (arrays()[0], None), order="ifgo", gate_axis=1)
    [weights] = to_arrays(gw.accelerate(torch.nn.LSTM(3, 5)), order="ifgo", gate_axis=0)
    assert weights.input.shape == (20, 3)


# ---- an example --------------------------------------------------------------------------------


def example(name):
    layer = made(name, input_size=3, hidden_size=4)
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    return layer, (x.numpy(), layer(x)[0].detach().numpy())


def test_an_example_that_comes_out_is_accepted():
    layer, pair = example("lstm")
    weights = to_arrays(layer, order="iofg", gate_axis=1)
    from_arrays(gw.cells.lstm, weights, order="iofc", gate_axis=1, example=pair)


def test_an_example_tells_the_order():
    layer, pair = example("lstm")
    weights = to_arrays(layer, order="iofg", gate_axis=1)
    with pytest.raises(ValueError, match=r"cell 'lstm' with the order 'iofg' gives them"):
        from_arrays(gw.cells.lstm, weights, order="ifgo", gate_axis=1, example=pair)


def test_an_example_tells_the_variant_of_the_gru():
    layer, pair = example("gru_reset_before")
    weights = to_arrays(layer, order="zrn", gate_axis=1, biases=1)
    with pytest.raises(ValueError, match=r"'gru_reset_before' with the order 'zrn' gives them"):
        from_arrays(gw.cells.gru, weights, order="zrh", gate_axis=1, example=pair)


def test_an_example_that_nothing_gives():
    layer, (x, y) = example("lstm")
    weights = to_arrays(layer, order="ifgo", gate_axis=1)
    with pytest.raises(ValueError, match="no other order of the gates gives them"):
        from_arrays(gw.cells.lstm, weights, order="ifgo", gate_axis=1, example=(x, 2 * y))
    with pytest.raises(ValueError, match=r"should have the shape \[6, 2, 4\]"):
        from_arrays(gw.cells.lstm, weights, order="ifgo", gate_axis=1, example=(x, y[-1]))


def test_onnx_runtimes_layout():
    onnxruntime = pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    w, r, b = arrays(dtype=np.float32)
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    constants = {"W": w.T[None], "R": r.T[None], "B": np.concatenate([b, 0.5 * b])[None]}
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["X", "W", "R", "B"], ["Y"], hidden_size=5)],
        "lstm",
        [helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, [6, 2, 3])],
        [helper.make_tensor_value_info("Y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    x = np.random.default_rng(1).normal(size=(6, 2, 3)).astype(np.float32)
    [y] = session.run(None, {"X": x})
    weights = Weights(w.T, r.T, b, 0.5 * b)
    layer = from_arrays(gw.cells.lstm, weights, order="iofc", gate_axis=0, example=(x, y[:, 0]))
    assert layer.hidden_size == 5
