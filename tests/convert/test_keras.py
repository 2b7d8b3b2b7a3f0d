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


# ---- what is not carried over ------------------------------------------------------------------

LOST = {
    "dropout": ({"recurrent_dropout": 0.3}, r"recurrent_dropout=0\.3, which is not carried over"),
    "regularizer": ({"kernel_regularizer": "l2"}, "kernel_regularizer, which is not carried over"),
    "constraint": ({"bias_constraint": "non_neg"}, "bias_constraint, which is not carried over"),
    "activity": ({"activity_regularizer": "l2"}, "activity_regularizer, which is not carried"),
    "float16": ({"dtype": "mixed_float16"}, "computes in float16 with weights of float32"),
}


@pytest.mark.parametrize("option", LOST)
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("name", ["LSTM", "GRU", "SimpleRNN"])
def test_what_is_not_carried_over_is_said(name, both, option):
    options, says = LOST[option]
    if (name, option) == ("SimpleRNN", "activity"):
        return  # which Keras itself forgets
    layer = getattr(keras.layers, name)(5, return_sequences=True, **options)
    layer = built(keras.layers.Bidirectional(layer) if both else layer)
    with pytest.warns(UserWarning, match=says) as caught:
        found = from_keras(layer)
    assert {w.filename for w in caught if "gatework" in str(w.message)} <= {__file__}
    error = np.abs(ours(found, inputs()) - theirs([layer], inputs())).max()
    assert error < (0.02 if option == "float16" else TOLERANCE)


def test_a_stateful_layer_says_how_its_state_goes_on():
    layer = keras.layers.GRU(5, stateful=True, return_sequences=True)
    layer(np.zeros((4, 6, 3), "float32"))
    layer = built(layer)
    layer.reset_state()
    with pytest.warns(UserWarning, match="is stateful: it begins where the call before ended"):
        found = from_keras(layer)
    state = None
    for _ in range(2):
        y, state = found(torch.as_tensor(inputs()), state)
        np.testing.assert_allclose(y.detach(), theirs([layer], inputs()), atol=TOLERANCE)


INDIFFERENT = {
    "unroll": {"unroll": True},
    "one implementation": {"implementation": 1},
    "seed": {"seed": 7},
    "return_state": {"return_state": True},
    "zero_output_for_mask": {"zero_output_for_mask": True},
    "initializers": {"kernel_initializer": "zeros", "bias_initializer": "ones"},
    "the functions themselves": {"activation": keras.ops.tanh},
    "no cuDNN": {"use_cudnn": False},
}


@pytest.mark.parametrize("option", INDIFFERENT)
@pytest.mark.parametrize("name", ["LSTM", "GRU", "SimpleRNN"])
def test_what_makes_no_difference(name, option):
    options = dict(INDIFFERENT[option])
    if name == "SimpleRNN":
        for other in ("implementation", "use_cudnn"):
            options.pop(other, None)
    layer = built(getattr(keras.layers, name)(5, return_sequences=True, **options))
    result = layer(inputs())
    result = result[0] if isinstance(result, list | tuple) else result
    expected = keras.ops.convert_to_numpy(result)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # Keras' own are others
        found = from_keras(layer)
    np.testing.assert_allclose(ours(found, inputs()), expected, atol=TOLERANCE)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_the_precision_stays(dtype):
    layer = built(keras.layers.GRU(5, dtype=dtype, recurrent_initializer="zeros"))
    found = from_keras(layer)
    assert {p.dtype for p in found.parameters()} == {getattr(torch, dtype)}
    [kernel, *_] = layer.get_weights()
    np.testing.assert_array_equal(
        found.weight_ih_l0.detach().float()[:5].T, np.asarray(kernel, np.float32)[:, 5:10]
    )  # fmt: skip


# ---- trainable ---------------------------------------------------------------------------------


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_what_is_not_trainable_needs_no_gradient(make, both):
    layer = make(return_sequences=True)
    layer = built(keras.layers.Bidirectional(layer) if both else layer)
    layer.trainable = False
    found = from_keras(layer)
    assert not any(p.requires_grad for p in found.parameters())
    [again] = to_keras(found)
    assert not again.trainable_variables
    agree(found, [again], inputs())


def test_single_weights_and_single_layers_that_are_not_trainable():
    layers = [built(keras.layers.GRU(5, reset_after=False, return_sequences=True)),
              built(keras.layers.GRU(5, reset_after=False), 5)]  # fmt: skip
    layers[0].cell.recurrent_kernel.trainable = False
    layers[1].trainable = False
    found = from_keras(layers)
    trained = {n for n, p in found.named_parameters() if p.requires_grad}
    assert trained == {"weight_ih_l0", "bias_ih_l0", "bias_hh_l0", "bias_rh_l0"}
    one, other = to_keras(found)
    assert [v.trainable for v in one.weights] == [True, False, True]
    assert other.trainable is False
    both = built(keras.layers.Bidirectional(keras.layers.LSTM(5)))
    both.backward_layer.trainable = False
    found = from_keras(both)
    assert {n for n, p in found.named_parameters() if not p.requires_grad} == {
        n for n, _ in found.named_parameters() if n.endswith("_reverse")
    }
    [again] = to_keras(found)
    assert again.forward_layer.trainable_variables
    assert not again.backward_layer.trainable_variables


# ---- classes of the user's own -----------------------------------------------------------------


class Reversed(keras.layers.LSTM):
    def call(self, sequences, initial_state=None, mask=None, training=False):
        flipped = keras.ops.flip(sequences, 1)
        return super().call(flipped, initial_state=initial_state, mask=mask, training=training)


class OtherLoop(keras.layers.GRU):
    def inner_loop(self, sequences, initial_state, mask, training=False):
        return super().inner_loop(2 * sequences, initial_state, mask, training)


class OtherStart(keras.layers.SimpleRNN):
    def get_initial_state(self, batch_size):
        return [keras.ops.ones((batch_size, self.cell.units))]


class Doubled:
    def call(self, sequences, **options):
        return 2 * super().call(sequences, **options)


class Mixed(Doubled, keras.layers.LSTM):
    pass


class Called(keras.layers.LSTM):
    def __call__(self, *args, **options):
        return 2 * super().__call__(*args, **options)


class OtherCell(keras.layers.LSTMCell):
    def call(self, inputs, states, training=False):
        return super().call(-inputs, states, training)


class LSTMCell(keras.layers.LSTMCell):  # the name says nothing
    def call(self, inputs, states, training=False):
        return super().call(-inputs, states, training)


class OtherBoth(keras.layers.Bidirectional):
    def call(self, *args, **options):
        return 2 * super().call(*args, **options)


def replaced(name, part=lambda layer: layer):
    def make():
        layer = built(keras.layers.GRU(5))
        setattr(part(layer), name, lambda *args, **options: None)
        return layer

    return make


def hooked():
    layer = built(keras.layers.LSTM(5))
    layer.register_forward_hook(lambda module, args, y: 2 * y)
    return layer


def named(name):
    def function(x):
        return keras.ops.tanh(2 * x)

    function.__name__ = function.__qualname__ = name
    return function


OWN = {
    "call": (lambda: built(Reversed(5)), "its class Reversed has a call of its own"),
    "inner loop": (lambda: built(OtherLoop(5)), "OtherLoop has a inner_loop of its own"),
    "initial state": (lambda: built(OtherStart(5)), "a get_initial_state of its own"),
    "mixin": (lambda: built(Mixed(5)), "its class Mixed has a call of its own"),
    "__call__": (lambda: built(Called(5)), "its class Called has a __call__ of its own"),
    "cell": (lambda: built(keras.layers.RNN(OtherCell(5))), "OtherCell has a call of its own"),
    "cell by name": (lambda: built(keras.layers.RNN(LSTMCell(5))), "LSTMCell has a call of its"),
    "both": (
        lambda: built(OtherBoth(keras.layers.LSTM(5))), "its class OtherBoth has a call of its"),
    "one of both": (
        lambda: built(keras.layers.Bidirectional(
            keras.layers.LSTM(5), backward_layer=Reversed(5, go_backwards=True))),
        "its class Reversed has a call"),
    "replaced call": (replaced("call"), "its call has been replaced"),
    "replaced cell call": (replaced("call", lambda x: x.cell), "its call has been replaced"),
    "hook": (hooked, "it has hooks"),
}  # fmt: skip


@pytest.mark.parametrize("case", OWN.values(), ids=OWN)
def test_a_class_that_computes_something_else_is_refused(case):
    make, says = case
    with pytest.raises(TypeError, match=says):
        from_keras(make())
    with pytest.raises(TypeError, match=says):
        from_keras([make()], cell=gw.cells.lstm)


class Renamed(keras.layers.LSTM):
    """Nothing that computes is changed."""

    def __init__(self, size):
        super().__init__(size, return_sequences=True)
        self.note = "mine"

    def get_config(self):
        return {"size": self.cell.units}

    def helper(self):
        return 1


class RenamedCell(keras.layers.GRUCell):
    pass


class RenamedBoth(keras.layers.Bidirectional):
    pass


SAME = {
    "renamed": lambda: Renamed(5),
    "renamed cell": lambda: keras.layers.RNN(RenamedCell(5), return_sequences=True),
    "renamed both": lambda: RenamedBoth(keras.layers.LSTM(5, return_sequences=True)),
    "a cell in a loop": lambda: keras.layers.RNN(keras.layers.LSTMCell(5), return_sequences=True),
}


@pytest.mark.parametrize("make", SAME.values(), ids=SAME)
def test_a_class_that_computes_the_same_is_taken(make):
    layer = built(make())
    agree(from_keras(layer), [layer], inputs())


@pytest.mark.parametrize("name", ["tanh", "relu", "sigmoid"])
def test_a_function_is_not_known_by_its_name(name):
    layer = built(keras.layers.SimpleRNN(5, activation=named(name)))
    with pytest.raises(ValueError, match=rf"has activation='.*test_keras\.{name}', the cells of"):
        from_keras(layer)


def test_cells_that_are_none_of_keras():
    class LSTMCell(keras.layers.Layer):  # by its name alone
        def __init__(self, units):
            super().__init__()
            self.units = self.state_size = units

        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], self.units))

        def call(self, inputs, states):
            return (inputs @ self.kernel,) * 2

    for cells in (LSTMCell(5), [keras.layers.LSTMCell(5), keras.layers.LSTMCell(5)]):
        layer = keras.layers.RNN(cells)
        layer.build((None, None, 3))
        with pytest.raises(TypeError, match="from_keras takes LSTM, GRU, SimpleRNN"):
            from_keras(layer)


class OwnForward(gw.nn.LSTM):
    def forward(self, x, hx=None):
        return super().forward(-x, hx)


class OwnName(gw.nn.LSTM):
    def extra_repr(self):
        return "mine"


def test_to_keras_refuses_what_computes_something_else():
    with pytest.raises(TypeError, match=r"OwnForward computes: its class .* a forward of its own"):
        to_keras(OwnForward(3, 5))
    layer = gw.nn.GRU(3, 5)
    layer.forward = lambda *args: None
    with pytest.raises(TypeError, match="its forward has been replaced"):
        to_keras(layer)
    hooked = gw.nn.GRU(3, 5)
    hooked.register_forward_hook(lambda module, args, result: None)
    with pytest.raises(TypeError, match="it has hooks"):
        to_keras(hooked)
    for layer in (OwnName(3, 5, batch_first=True),
                  gw.accelerate(torch.nn.LSTM(3, 5, batch_first=True))):  # fmt: skip
        agree(layer, to_keras(layer), inputs())
