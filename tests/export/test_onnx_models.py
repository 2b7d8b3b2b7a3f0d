"""Whole models as ONNX files: torch's exporter for what is torch's, our nodes for our layers."""

import numpy as np
import pytest
import torch
from torch import nn

import gatework as gw
from gatework.errors import InputError
from gatework.export.graphs import models

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow  # torch takes seconds to record a model


class Tagger(nn.Module):
    """Embedding, layers, linear: the usual model."""

    def __init__(self, layer, directions=1):
        super().__init__()
        self.embedding = nn.Embedding(20, 6)
        self.layer = layer
        self.linear = nn.Linear(layer.hidden_size * directions, 3)

    def forward(self, words, lengths=None):
        options = {} if lengths is None else {"lengths": lengths}
        outputs, state = self.layer(self.embedding(words), **options)
        return self.linear(outputs), state


WORDS = torch.arange(21).reshape(3, 7) % 20
LENGTHS = torch.tensor([7, 3, 0])
MODELS = {
    "lstm": (lambda: Tagger(gw.nn.LSTM(6, 8, batch_first=True)), (WORDS,), ("LSTM",)),
    "a cell, both directions": (
        lambda: Tagger(gw.nn.Recurrent(gw.cells.mgu, 6, 8, num_layers=2, bidirectional=True), 2),
        (WORDS,),
        ("Scan",) * 4,
    ),
    "lengths": (
        lambda: Tagger(gw.nn.GRU(6, 8, batch_first=True, bidirectional=True), 2),
        (WORDS, LENGTHS),
        ("GRU",) * 2,
    ),
    "accelerated": (lambda: gw.accelerate(Tagger(nn.GRU(6, 8))), (WORDS,), ("GRU",)),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_gives_the_same_at_any_size(kind, tmp_path):
    make, example, loops = MODELS[kind]
    model, path = make(), tmp_path / "model.onnx"
    written = gw.export.onnx(model, path, example, input_names=["words", "lengths"][: len(example)])
    assert written.loops == loops
    assert written.difference < 1e-5
    assert written.inputs == ("words", "lengths")[: len(example)]
    assert model.training
    assert "3 sizes" in written.note
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for shape in ((1, 1), (2, 20)):
        words = torch.randint(20, shape)
        feed = {"words": words.numpy()}
        if len(example) > 1:
            feed["lengths"] = np.array([1, 0][: shape[0]])
        found = session.run(None, feed)
        with torch.no_grad():
            output, state = model.eval()(*map(torch.from_numpy, feed.values()))
        states = state if isinstance(state, tuple) else (state,)
        for one, other in zip(found, (output, *states), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_half_precision_and_computed_weights(tmp_path):
    path = tmp_path / "model.onnx"
    half = Tagger(gw.nn.Recurrent(gw.cells.mgu, 6, 8)).half()
    assert gw.export.onnx(half, path, WORDS).difference < 1e-2
    model = onnx.load(path)
    assert model.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    normed = Tagger(gw.nn.LSTM(6, 8))
    nn.utils.parametrizations.weight_norm(normed.layer, "weight_hh_l0")
    assert gw.export.onnx(normed, path, WORDS).loops == ("LSTM",)


def test_a_file_says_nothing_of_the_machine_and_keeps_no_weight_twice(tmp_path):
    path = tmp_path / "model.onnx"
    model = nn.Sequential(nn.Linear(3, 4), gw.nn.GRU(4, 32))
    gw.export.onnx(model, path, torch.randn(5, 2, 3))
    content = path.read_bytes()
    assert b"stack_trace" not in content
    assert b".py" not in content
    weights = sum(
        p.numel() * 4 for p in (*nn.Linear(3, 4).parameters(), *gw.nn.GRU(4, 32).parameters())
    )
    assert len(content) < weights + 4_000
    assert {o.domain for o in onnx.load(path).opset_import} == {""}


def refused(tmp_path, model, example, **options):
    path = tmp_path / "model.onnx"
    with pytest.raises(InputError) as found:
        gw.export.onnx(model, path, example, **options)
    assert not path.exists()
    return str(found.value)


class Resets(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = gw.nn.GRU(3, 4)

    def forward(self, x, resets):
        return self.layer(x, resets=resets)[0]


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_what_cannot_be_written_is_told(tmp_path):
    x = torch.randn(5, 2, 3)
    resets = torch.zeros(5, 2, dtype=torch.bool)
    assert "called with resets=" in refused(tmp_path, Resets(), (x, resets))
    assert "model.float()" in refused(tmp_path, gw.nn.GRU(3, 4).double(), x.double())
    assert "recorded by torch.export" in refused(tmp_path, Branching(), x)
    assert "lengths= for a model" in refused(tmp_path, gw.nn.GRU(3, 4), x, lengths=True)
    assert "example_inputs" in refused(tmp_path, nn.Linear(3, 4), None)


def test_a_file_that_differs_is_not_written(tmp_path, monkeypatch):
    right = models._learned
    monkeypatch.setattr(models, "_learned", lambda *of: right(*of) * 1.1)
    assert "differs" in refused(tmp_path, gw.nn.GRU(3, 4), torch.randn(5, 2, 3))
