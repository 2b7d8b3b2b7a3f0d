"""ONNX files: each cell, run by ONNX Runtime, equals the reference; some are ONNX's own nodes."""

import numpy as np
import pytest
import torch

import gatework as gw
from feeding import fed
from gatework.export.graphs.native import native
from numerics import randomised
from parts_of_suite import mostly_slow
from plain_sizes import plain_sizes

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


def assert_runs_like_the_reference(layer, folder):
    """Sequences of 50, 7 and 1 steps together, and each alone."""
    torch.manual_seed(0)
    file = File(layer, folder, lengths=True, states=True)
    x, states = torch.randn(max(LENGTHS), 3, I), some_states(layer, 3)
    further = fed(layer.cell, layer.sizes(0), x, True)
    wanted = expected(layer, x, states, further, LENGTHS)
    names = [f"initial_{s.name}" for s in layer.cell.states]
    assert_equal(
        file(input=x, lengths=LENGTHS, **dict(zip(names, states, strict=True)), **further), wanted
    )
    roles = {s.name: s.role for s in layer.cell.further}
    for k, steps in enumerate(LENGTHS):
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
