"""Which backend runs, and what the reference writes."""

import pytest
import torch

import gatework as gw
from gatework import backends, rewriting
from gatework.autograd.job import run_keeping
from gatework.backends import preference
from gatework.backends.reference import Reference
from numerics import problem
from standing_in import StandIn, standing_in


@pytest.fixture
def cudnn(monkeypatch):
    """Torch's kernels are taken for cuDNN's on every device."""
    monkeypatch.setattr(preference, "DEVICES", {"cpu", "meta"})


def test_an_unknown_backend_is_refused_with_the_known_ones():
    suggestion = "no backend named 'referense'; did you mean 'reference'"
    with pytest.raises(ValueError, match=suggestion), gw.use_backend("referense"):
        pass


def test_a_chosen_backend_runs(monkeypatch):
    ran = []
    run = Reference.run
    monkeypatch.setattr(Reference, "run", lambda self, *a: ran.append(1) or run(self, *a))
    with gw.use_backend("reference"):
        y, _ = gw.nn.GRU(2, 3)(torch.zeros(2, 1, 2))
    assert y.shape == (2, 1, 3)
    assert ran, "the chosen backend did not run"


def test_the_choice_ends_with_an_error():
    with pytest.raises(KeyError), gw.use_backend("reference"):
        raise KeyError
    assert backends._chosen.get() is None


def test_outputs_that_nobody_wants_are_skipped():
    made = problem(gw.cells.lstm)
    program = made.job.program
    results, kept = run_keeping(made.job, made.job.call(made.tensors, None), Reference())
    ones = [torch.ones_like(r) for r in results]
    every, some = (
        [n not in left_out for n in made.job.gradient_names]
        for left_out in ((), ("d_x", "weight_ih"))
    )
    whole, part = (
        Reference().run(
            program.backward,
            made.job.backward_call(made.tensors, None, kept, ones, wanted),
        )
        for wanted in (every, some)
    )
    assert None not in [*whole.outputs, *whole.gradients]
    names = program.backward.recurrence.outputs
    left_out = [n for n, o in zip(names, part.outputs, strict=True) if o is None]
    assert left_out == ["d_x"]
    (weight_ih, *others), (_, *expected) = part.gradients, whole.gradients
    assert weight_ih is None
    for found, want in zip(others, expected, strict=True):
        torch.testing.assert_close(found, want, rtol=0, atol=0)


def test_explain_says_which_backend_runs_a_layer_and_why():
    assert gw.explain(gw.nn.GRU(3, 4)).backend == ("cpu: runs it",)
    assert gw.explain(gw.nn.GRU(3, 4, dtype=torch.bfloat16)).backend == ("cpu: runs it",)
    *refused, taken = gw.explain(gw.nn.GRU(3, 4, device="meta")).backend
    assert "a tensor is on meta" in refused[0]
    assert taken == "torch: runs it"
    *refused, taken = gw.explain(gw.nn.Recurrent(gw.cells.mgu, 3, 4, device="meta")).backend
    assert "torch has kernels for the equations of its RNN, LSTM and GRU" in refused[2]
    assert taken == "reference: runs it"
    with gw.use_backend("reference"):
        chosen = gw.explain(gw.nn.LSTM(3, 4, num_layers=2, bidirectional=True)).backend
    assert chosen == (
        "cpu: not used, reference is chosen by hand",
        "gpu: not used, reference is chosen by hand",
        "torch: not used, reference is chosen by hand",
        "reference: runs it",
    )
    assert "Backend\n    cpu: runs it" in str(gw.explain(gw.nn.GRU(3, 4)))
    assert "Backend" not in str(gw.explain(gw.cells.gru))


def test_explain_says_how_a_layer_is_run_and_trained(monkeypatch):
    how = "as a stand-in for 100 steps of 16 sequences"
    cell = rewriting.zoneout(gw.cells.gru_d, 0.1)  # noise, and several inputs
    with standing_in():
        assert gw.explain(gw.nn.Recurrent(cell, 3, 4)).backend == (
            f"gpu: runs it, {how}",
            f"training, forward: gpu, {how}",
            f"training, backward: gpu, {how}",
        )
        layer = gw.nn.Recurrent(gw.cells.mgu, 3, 4, dtype=torch.bfloat16)
        called = gw.explain(layer, steps=7, batch_size=2).backend
        assert called[0] == "gpu: runs it, as a stand-in for 7 steps of 2 sequences"
        monkeypatch.setattr(StandIn, "refusal", lambda s, p, c: f"it got {c.like.dtype}")
        refused = gw.explain(layer).backend
    assert refused == ("gpu: cannot, it got torch.bfloat16", *refused[1:])
    with gw.use_backend("gpu"):
        assert gw.explain(gw.nn.GRU(3, 4)).backend[-2:] == (
            "torch: not used, gpu is chosen by hand",
            "reference: not used, gpu is chosen by hand",
        )
    with pytest.raises(ValueError, match="steps must be greater than zero"):
        gw.explain(layer, steps=0)


@pytest.mark.parametrize(
    ("name", "units", "ours"),
    [
        ("lstm", 64, False),
        ("lstm", 65, True),
        ("gru", 128, False),
        ("gru", 129, True),
        ("rnn", 128, False),
        ("rnn_relu", 128, False),
        ("rnn", 129, True),
        ("projected_lstm", 16, True),
        ("mgu", 16, True),
    ],
)
def test_cudnn_runs_what_it_is_measured_to_be_faster_at(name, units, ours, cudnn):
    size = {"proj_size": 8} if name == "projected_lstm" else {}
    layer = gw.nn.Recurrent(gw.cells.catalogue()[name], 4, units, device="meta", **size)
    with standing_in():
        first, *others = gw.explain(layer).backend
        with gw.use_backend("gpu"):
            assert gw.explain(layer).backend[0].startswith("gpu: runs it")
    if ours:
        assert first.startswith("gpu: runs it")
    else:
        reason = f"its float32 kernel of {64 if name == 'lstm' else 128} units or fewer"
        assert first == f"gpu: could, but cuDNN is faster here: {reason}"
        assert others[-1] == "torch: runs it"


def test_cudnn_is_faster_at_float32_in_several_steps_without_lengths(monkeypatch, cudnn):
    layer, x = gw.nn.GRU(3, 4), torch.randn(5, 2, 3)
    monkeypatch.setattr(backends, "_BACKENDS", {"torch": backends._BACKENDS["torch"]})
    with standing_in() as backend:
        layer(x)
        layer(x, lengths=[5, 5])
        layer(x[:1])
        layer.trace(x)
        layer.bfloat16()(x.bfloat16())
        layer.double()(x.double())
        assert [*map(set.pop, backend.seen)] == [
            torch.float32, torch.float32, torch.float32, torch.bfloat16, torch.float64,
        ]  # fmt: skip
        with torch.backends.cudnn.flags(enabled=False):
            layer.float()(x)
        assert len(backend.seen) == 6
