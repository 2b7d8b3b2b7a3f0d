"""Keras' layers as ours and ours as theirs: the same outputs, computed by Keras itself."""

import warnings

import numpy as np
import pytest
import torch

with warnings.catch_warnings(action="ignore"):
    keras = pytest.importorskip("keras")

import gatework as gw
from gatework import cell, clamp, linear, tanh
from gatework.convert import from_arrays, from_keras, to_keras
from numerics import assert_same, randomised

pytestmark = pytest.mark.filterwarnings("ignore")  # keras' own
TOLERANCE = 1e-5

LAYERS = {
    "lstm": lambda **o: keras.layers.LSTM(5, **o),
    "gru": lambda **o: keras.layers.GRU(5, **o),
    "gru reset before": lambda **o: keras.layers.GRU(5, reset_after=False, **o),
    "rnn": lambda **o: keras.layers.SimpleRNN(5, **o),
    "relu": lambda **o: keras.layers.SimpleRNN(5, activation="relu", **o),
}
CELLS = ["lstm", "gru", "gru_reset_before", "rnn", "rnn_relu"]


def built(layer, features=3):
    """The layer with random weights: Keras' own biases are all alike."""
    layer.build((None, None, features))
    rng = np.random.default_rng(0)
    layer.set_weights([0.5 * rng.normal(size=w.shape) for w in layer.get_weights()])
    return layer


def inputs(features=3):
    return np.random.default_rng(1).normal(size=(4, 6, features)).astype(np.float32)


def theirs(layers, x):
    for layer in layers:
        x = layer(x)
    return keras.ops.convert_to_numpy(x)


def ours(layer, x):
    with torch.no_grad():
        return layer(torch.as_tensor(x))[0].numpy()


def agree(layer, layers, x):
    np.testing.assert_allclose(ours(layer, x), theirs(layers, x), atol=TOLERANCE)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_from_keras_and_back(make, both, bias):
    layer = make(return_sequences=True, use_bias=bias)
    layer = built(keras.layers.Bidirectional(layer) if both else layer)
    found = from_keras(layer)
    agree(found, [layer], inputs())
    [again] = to_keras(found)
    for a, b in zip(layer.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    agree(found, [again], inputs())


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_to_keras_and_back(name, both):
    layer = randomised(
        gw.convert.arrays.layer_of(
            getattr(gw.cells, name),
            input_size=3, hidden_size=5, num_layers=2, bidirectional=both, batch_first=True,
        )
    )  # fmt: skip
    layers = to_keras(layer)
    agree(layer, layers, inputs())
    agree(layer, [keras.Sequential(layers)], inputs())
    again = from_keras(layers)
    assert type(again) is type(layer)
    agree(again, layers, inputs())
    if name == "gru":  # two biases there too: bit for bit
        assert_same(dict(again.state_dict()), dict(layer.state_dict()), 0)


def test_the_arrays_of_keras_without_keras_objects():
    layer = built(keras.layers.GRU(5, return_sequences=True))
    x = inputs()
    found = from_arrays(
        gw.cells.gru, tuple(layer.get_weights()), order="zrh", gate_axis=1, batch_first=True,
        example=(x, theirs([layer], x)),
    )  # fmt: skip
    agree(found, [layer], x)


def test_float64_stays():
    layer = built(keras.layers.LSTM(5, dtype="float64"))
    found = from_keras(layer)
    assert found.weight_ih_l0.dtype == torch.float64
    assert to_keras(found)[0].get_weights()[0].dtype == np.float64


def test_a_cell_with_other_activations():
    @cell
    def hard_lstm(x, h, c):
        i = clamp(linear("i", x, h) / 6 + 0.5, 0, 1)
        f = clamp(linear("f", x, h) / 6 + 0.5, 0, 1)
        o = clamp(linear("o", x, h) / 6 + 0.5, 0, 1)
        c = f * c + i * tanh(linear("g", x, h))
        return o * tanh(c), c

    layer = built(keras.layers.LSTM(5, recurrent_activation="hard_sigmoid", return_sequences=True))
    with pytest.raises(ValueError, match=r"recurrent_activation='hard_sigmoid'.*'sigmoid' there"):
        from_keras(layer)
    agree(from_keras(layer, cell=hard_lstm), [layer], inputs())


def test_what_does_not_fit_says_so():
    with pytest.raises(ValueError, match="no weights yet"):
        from_keras(keras.layers.LSTM(5))
    with pytest.raises(TypeError, match="got Dense"):
        from_keras(keras.layers.Dense(5))
    with pytest.raises(TypeError, match="got Dense"):
        from_keras([keras.layers.Dense(5)])
    with pytest.raises(ValueError, match="go_backwards=True, so it reads its input from the end"):
        from_keras(built(keras.layers.GRU(5, go_backwards=True)))
    with pytest.raises(ValueError, match="activation='relu'"):
        from_keras(built(keras.layers.GRU(5, activation="relu")))
    summed = keras.layers.Bidirectional(keras.layers.GRU(5), merge_mode="sum")
    with pytest.raises(ValueError, match="merge_mode='sum', a layer of ours concatenates"):
        from_keras(built(summed))
    mixed = [built(keras.layers.LSTM(5)), built(keras.layers.GRU(5), 5)]
    with pytest.raises(ValueError, match="of one kind, got lstm, gru"):
        from_keras(mixed)
    both = keras.layers.Bidirectional(keras.layers.LSTM(5))
    with pytest.raises(ValueError, match="all with one direction or all Bidirectional"):
        from_keras([built(both), built(keras.layers.LSTM(5), 10)])
    with pytest.raises(ValueError, match=r"\[5, 3\] values for each gate, the layer expects"):
        from_keras([built(keras.layers.LSTM(5)), built(keras.layers.LSTM(5))])
    with pytest.raises(ValueError, match="Keras has no layer that computes what this 'mgu' does"):
        to_keras(gw.nn.Recurrent(gw.cells.mgu, 3, 5))
    with pytest.raises(ValueError, match="what this 'lstm' does in eval mode"):
        to_keras(gw.nn.LSTM(3, 5, zoneout=0.1))
    with pytest.raises(ValueError, match="learned initial state is no part"):
        to_keras(gw.nn.LSTM(3, 5, learned_state=True))


ALL_OPTIONS = {"recurrent_dropout": 0.2, "weight_drop": 0.3, "single_bias": True}


@pytest.mark.parametrize("layer", [gw.nn.LSTM, gw.nn.GRU, gw.nn.RNN])
@pytest.mark.parametrize(
    "option",
    [{"single_bias": True}, {"weight_drop": 0.5}, {"recurrent_dropout": 0.2}, ALL_OPTIONS],
    ids=str,
)
def test_layers_with_options_that_leave_eval_mode_alone(layer, option):
    layer = randomised(layer(3, 5, batch_first=True, **option)).eval()
    agree(layer, to_keras(layer), inputs())


def test_dropout_is_not_carried_over_and_said_so():
    with pytest.warns(UserWarning, match=r"recurrent_dropout=0\.3, which is not carried over"):
        from_keras(built(keras.layers.LSTM(5, recurrent_dropout=0.3)))
