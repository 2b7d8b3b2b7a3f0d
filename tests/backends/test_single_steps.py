"""Steps one by one over memory that stays, and what records them: on CUDA a graph of launches."""

import copy

import pytest
import torch

import gatework as gw
from gatework.backends import single_steps
from gatework.backends.reference import Reference
from numerics import assert_same, flat, randomised


class Recorder:
    """Stands in for a CUDA graph: what is recorded is not run, and is run by each replay."""

    def __init__(self):
        self.recorded, self.replays = 0, 0

    def __call__(self, work, device):
        assert not torch.is_grad_enabled()
        work()
        self.recorded += 1

        def replay():
            self.replays += 1
            work()

        return replay


@pytest.fixture
def recorder(monkeypatch):
    made = Recorder()
    monkeypatch.setattr(single_steps, "RECORDERS", {"cpu": made})
    return made


def made(cell=gw.cells.peephole_lstm, **options):
    return randomised(gw.nn.Recurrent(cell, 3, 5, num_layers=2, **options)).eval()


def stepped(stream, x):
    return torch.stack([stream.step(x_t).clone() for x_t in x]), stream.state


@pytest.mark.parametrize("cell", [gw.cells.peephole_lstm, gw.cells.gru, gw.cells.qrnn])
def test_recorded_steps_are_the_whole_sequence(recorder, cell):
    layer, x = made(cell), torch.randn(6, 2, 3)
    expected = flat(layer(x))
    with gw.use_backend("reference"):
        stream = layer.stream(2)
    assert (recorder.recorded, recorder.replays) == (2, 0)
    assert_same(flat(stepped(stream, x)), expected, 1e-5)
    assert (recorder.recorded, recorder.replays) == (2, 12)
    assert repr(stream).endswith("input 3, as a graph of launches>")


def test_a_state_given_reset_and_copied_is_that_of_the_recorded_steps(recorder):
    layer, x = made(learned_state=True), torch.randn(4, 2, 3)
    with gw.use_backend("reference"):
        stream = layer.stream(2)
        start = tuple(torch.randn(2, 2, 2, 5))
        stream.state = start
        other = copy.deepcopy(stream)
        assert_same(flat(stepped(stream, x)), flat(layer(x, start)), 1e-5)
        kept = stream.state
        stream.reset()
        assert_same(flat(stepped(stream, x)), flat(layer(x)), 1e-5)
        assert_same(flat(stepped(other, x)), flat((layer(x, start)[0], kept)), 1e-5)


def test_what_is_read_from_outside_is_read_at_each_step(recorder):
    @gw.cell(given={"speaker": "1"})
    def informed(x, gap, speaker, /, h):
        return gw.tanh(gw.linear("h", x, h, gap) + speaker)

    layer, x = made(informed), torch.randn(5, 2, 3)
    gap, speaker = torch.rand(5, 2), torch.rand(2)
    with gw.use_backend("reference"):
        stream = layer.stream(2, speaker=speaker)
        y = torch.stack([stream.step(x[t], gap=gap[t]).clone() for t in range(5)])
    torch.testing.assert_close(y, layer(x, gap=gap, speaker=speaker)[0])


def test_changed_weights_are_recorded_anew_and_the_state_stays(recorder):
    layer, x = made(), torch.randn(2, 3)
    with gw.use_backend("reference"):
        stream = layer.stream(2)
        stream.step(x)
        before = stream.state
        randomised(layer, 1)
        y = stream.step(x).clone()
    assert recorder.recorded == 4
    torch.testing.assert_close(y, layer(x[None], before)[0][0])


def test_what_cannot_be_recorded_is_launched_step_by_step_and_says_why(monkeypatch):
    def refuses(work, device):
        raise RuntimeError("operation not permitted when stream is capturing\nand a long tail")

    monkeypatch.setattr(single_steps, "RECORDERS", {"cpu": refuses})
    layer, x = made(), torch.randn(5, 2, 3)
    with gw.use_backend("reference"):
        stream = layer.stream(2)
    assert_same(flat(stepped(stream, x)), flat(layer(x)), 1e-5)
    words = "no graph can be made: operation not permitted when stream is capturing"
    assert repr(stream).endswith(f"launch by launch, since {words}>")


def test_torchs_cells_are_stepped_by_the_reference(recorder, monkeypatch):
    ran, run = [], Reference.run
    monkeypatch.setattr(Reference, "run", lambda self, *a: ran.append(1) or run(self, *a))
    with gw.use_backend("torch"):
        stream = randomised(gw.nn.LSTM(3, 5)).eval().stream()
    stream.step(torch.ones(3))
    assert (len(ran), recorder.replays) == (2, 1)
