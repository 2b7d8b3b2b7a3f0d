"""Whole models as C objects: embeddings, torch's layers, models of runs, weights beside."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import gatework as gw
from c_objects import NATIVE, STEPS, Loaded, runs_here
from gatework.errors import InputError
from gatework.nn import Recurrent
from gatework.tasks.labelling.model import Labeller
from gatework.tasks.text.model import LanguageModel

pytestmark = runs_here


class Own(nn.Module):
    """A model with a forward pass of its own; `last` returns the last step alone."""

    def __init__(self, last=False, residual=False):
        super().__init__()
        self.rnn, self.head = nn.LSTM(3, 6, batch_first=True), nn.Linear(6, 3)
        self.last, self.residual = last, residual

    def forward(self, x):
        y = self.head(self.rnn(x)[0])
        y = y + x if self.residual else y
        return y[:, -1] if self.last else y


def run(model, x, tmp_path, **options):
    """What the object of a model gives for steps."""
    net = Loaded(gw.export.c(model, tmp_path / "net", NATIVE, **options)[:2])
    y = np.empty((len(x), net.number("Y")), "f4")
    net.call("sequence", net.state, x.numpy(), y, len(x))
    return torch.from_numpy(y)


def one_after_the_other(parts, x):
    for part in parts:
        x = part(x)
        x = x[0] if isinstance(x, tuple) else x
    return x


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU, nn.RNN, gw.nn.LSTM, gw.nn.GRU, gw.nn.RNN])
def test_layers_of_torch_and_functions(layer, tmp_path):
    torch.manual_seed(1)
    parts = [layer(3, 6, num_layers=2), nn.Tanh(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)]
    parts += [nn.Sigmoid(), nn.SiLU(), nn.Softsign()]
    x = torch.randn(STEPS, 3)
    with torch.no_grad():
        expected = one_after_the_other(parts, x)
    torch.testing.assert_close(run(nn.Sequential(*parts), x, tmp_path), expected)


def test_an_accelerated_model_is_exported_as_it_is(tmp_path):
    model, x = gw.accelerate(Own()).eval(), torch.randn(STEPS, 3)
    with torch.no_grad():
        torch.testing.assert_close(run(model, x, tmp_path), model(x[None])[0])
    assert gw.acceleration(model).changed


def test_a_symbol_that_is_none_is_the_nearest(tmp_path):
    parts = [nn.Embedding(11, 4), gw.nn.GRU(4, 5), nn.Linear(5, 11)]
    x = torch.tensor([0, 10, 3, 12, -7], dtype=torch.int32)
    with torch.no_grad():
        expected = one_after_the_other(parts, x.clamp(0, 10).long())
    torch.testing.assert_close(run(nn.Sequential(*parts), x, tmp_path), expected)


def test_the_last_step_of_a_forward_is_that_of_the_object(tmp_path):
    model, x = Own(last=True), torch.randn(STEPS, 3)
    with torch.no_grad():
        torch.testing.assert_close(run(model, x, tmp_path)[-1:], model(x[None]))


def test_a_language_model(tmp_path):
    layers = partial(Recurrent, gw.cells.lstm, hidden_size=7, num_layers=2)
    model, x = LanguageModel(None, 4, layers, 0.5).eval(), torch.randint(256, (STEPS, 1))
    with torch.no_grad():
        expected = model(x)[0][:, 0]
    torch.testing.assert_close(run(model, x[:, 0].int(), tmp_path), expected)


@pytest.mark.parametrize("pool", ["last", "mean", "max", None])
def test_a_model_of_labels_says_at_each_step_what_it_would_at_the_end(pool, tmp_path):
    layers = partial(Recurrent, gw.cells.gru, hidden_size=7)
    model, x = Labeller(3, 0, 4, pool, 0.1, layers, 0.5).eval(), torch.randn(STEPS, 3)
    with torch.no_grad():
        ends = [model(x[: t + 1, None])[0][-1:].reshape(1, 4) for t in range(STEPS)]
    torch.testing.assert_close(run(model, x, tmp_path), torch.cat(ends))


def test_what_holds_for_a_sequence_is_handed_in_beside_its_steps(tmp_path):
    layers = partial(Recurrent, gw.cells.gru, hidden_size=7)
    model, x = Labeller(3, 2, 4, "mean", 0.0, layers, 0.0).eval(), torch.randn(STEPS, 3)
    static = torch.randn(1, 2)
    with torch.no_grad():
        expected = model(x[:, None], static=static)[0][0]
    net = Loaded(gw.export.c(model, tmp_path / "net", NATIVE)[:2])
    assert "const float *static_" in net.header
    y = np.empty((STEPS, 4), "f4")
    net.call("sequence", net.state, x.numpy(), static.numpy(), y, STEPS)
    torch.testing.assert_close(torch.from_numpy(y[-1]), expected)


# ---- weights beside ----------------------------------------------------------------------------


def test_weights_beside_the_object_are_handed_in(tmp_path):
    model = nn.Sequential(gw.nn.LSTM(3, 6, learned_state=True), nn.Linear(6, 2))
    images = []
    for _ in range(2):
        for p in model.parameters():
            nn.init.normal_(p, std=0.5)
        files = gw.export.c(model, tmp_path / "net", NATIVE, weights="beside")
        images.append(files[0].read_bytes())
    assert images[0] == images[1]
    weights = np.fromfile(files[3], "<f4")
    net, x = Loaded(files, weights), torch.randn(STEPS, 3)
    assert net.number("WEIGHTS") == len(weights)
    y = np.empty((STEPS, 2), "f4")
    net.call("sequence", net.state, weights, x.numpy(), y, STEPS)
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(y), one_after_the_other(model, x))


# ---- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Own(residual=True), "its output is another one"),
        (
            nn.Sequential(gw.nn.LSTM(2, 3), nn.Linear(4, 1)),
            "reads 4 numbers behind one that gives 3",
        ),
        (nn.Sequential(gw.nn.LSTM(2, 3), nn.Embedding(4, 1)), "an embedding that other parts"),
        (nn.Sequential(nn.Embedding(4, 1)), "an embedding alone"),
        (nn.Sequential(nn.Tanh()), "functions alone"),
        (nn.LSTMCell(2, 3), "LSTMCell"),
    ],
)
def test_a_model_that_cannot_be_exported_is_named(model, said, tmp_path):
    with pytest.raises(InputError, match=said):
        gw.export.c(model, tmp_path / "net")


def test_places_that_cannot_be_written_to_are_named(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        gw.export.c(gw.nn.GRU(1, 2), tmp_path / "no" / "net")
    (tmp_path / "net.h").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        gw.export.c(gw.nn.GRU(1, 2), tmp_path / "net")
    with pytest.raises(InputError, match="'inside' or 'beside'"):
        gw.export.c(gw.nn.GRU(1, 2), tmp_path / "net", weights="outside")
