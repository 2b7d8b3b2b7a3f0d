"""Weights from Keras in a torch model, without Keras: converted, checked, and on the way back.

For those who come from Keras, or were handed somebody's arrays. These are in the form in which
`get_weights()` gives those of `Sequential([LSTM(16, return_sequences=True), GRU(8), Dense(1)])`,
and random. What must come out is computed with numpy by Keras' equations. Where Keras is installed,
`gw.convert.from_keras(layer)` needs to be told nothing.

    $ python examples/port_from_keras.py
    Ported(
      (lstm): LSTM(4, 16, batch_first=True)
      (gru): GRU(16, 8, batch_first=True)
      (out): Linear(in_features=8, out_features=1, bias=True)
    )
    gives what Keras' equations give: True
    a wrong order is found out: with the order 'icfo' the example's outputs come out ...
    what goes back to Keras is what came: True
"""

import numpy as np
import torch
from torch import Tensor, nn

import gatework as gw

IN, H1, H2 = 4, 16, 8  # input size, units of the LSTM and of the GRU
SHAPES = [
    *((IN, 4 * H1), (H1, 4 * H1), (4 * H1,)),  # LSTM: kernel, recurrent kernel, bias; gates i f c o
    *((H1, 3 * H2), (H2, 3 * H2), (2, 3 * H2)),  # GRU: two biases, as reset_after=True; z r h
    *((H2, 1), (1,)),  # Dense
]


class Ported(nn.Module):
    """The model in torch, with weights from Keras."""

    def __init__(self, weights: list[np.ndarray]) -> None:
        super().__init__()
        like_keras = {"gate_axis": 1, "batch_first": True}
        self.lstm = gw.convert.from_arrays(gw.cells.lstm, weights[:3], order="ifco", **like_keras)
        self.gru = gw.convert.from_arrays(gw.cells.gru, weights[3:6], order="zrh", **like_keras)
        kernel, bias = map(torch.from_numpy, weights[6:])
        self.out = nn.Linear(*kernel.shape)
        self.out.load_state_dict({"weight": kernel.T, "bias": bias})

    def forward(self, x: Tensor) -> Tensor:
        """One number for each sequence of x [B, T, I]."""
        y, _ = self.lstm(x)
        _, h = self.gru(y)
        return self.out(h[-1])


def sigmoid(v: np.ndarray) -> np.ndarray:
    """Between 0 and 1."""
    return 1 / (1 + np.exp(-v))


def keras_lstm(x: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray):
    """Keras' LSTM at every step, from x [B, T, I] to [B, T, H]."""
    h, c, outputs = np.zeros(H1), np.zeros(H1), []
    for x_t in x.swapaxes(0, 1):
        i, f, g, o = np.split(x_t @ kernel + h @ recurrent + bias, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, 1)


def keras_gru(x: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray):
    """Keras' GRU after the last step, from x [B, T, I] to [B, H]."""
    h = np.zeros((len(x), H2))
    for x_t in x.swapaxes(0, 1):
        z, r, n = np.split(x_t @ kernel + bias[0], 3, axis=1)
        z_h, r_h, n_h = np.split(h @ recurrent + bias[1], 3, axis=1)
        z = sigmoid(z + z_h)
        h = z * h + (1 - z) * np.tanh(n + sigmoid(r + r_h) * n_h)
    return h


def main() -> None:
    """Convert, compare, try a wrong order, and go back."""
    random = np.random.default_rng(0)
    weights = [random.normal(0, 0.3, shape).astype(np.float32) for shape in SHAPES]
    x = random.normal(size=(5, 20, IN)).astype(np.float32)
    steps = keras_lstm(x, *weights[:3])
    expected = keras_gru(steps, *weights[3:6]) @ weights[6] + weights[7]

    model = Ported(weights)
    print(model)
    found = model(torch.from_numpy(x)).detach().numpy()
    print(f"gives what Keras' equations give: {np.allclose(found, expected, atol=1e-5)}")
    wrong = {"order": "icfo", "gate_axis": 1, "batch_first": True}
    try:
        gw.convert.from_arrays(gw.cells.lstm, weights[:3], **wrong, example=(x, steps))
    except ValueError as error:
        print(f"a wrong order is found out: {error}")
    [back] = gw.convert.to_arrays(model.gru, order="zrh", gate_axis=1)
    came = [*weights[3:5], *weights[5]]
    print(f"what goes back to Keras is what came: {all(map(np.array_equal, back, came))}")


if __name__ == "__main__":
    main()
