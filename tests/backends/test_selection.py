"""Which backend runs, and what the reference writes."""

import pytest
import torch

import gatework as gw
from gatework import backends
from gatework.autograd.job import run_keeping
from gatework.backends.reference import Reference
from numerics import problem


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
    assert "torch has kernels for the equations of its RNN, LSTM and GRU" in refused[1]
    assert taken == "reference: runs it"
    with gw.use_backend("reference"):
        chosen = gw.explain(gw.nn.LSTM(3, 4, num_layers=2, bidirectional=True)).backend
    assert chosen == (
        "cpu: not used, reference is chosen by hand",
        "torch: not used, reference is chosen by hand",
        "reference: runs it",
    )
    assert "Backend\n    cpu: runs it" in str(gw.explain(gw.nn.GRU(3, 4)))
    assert "Backend" not in str(gw.explain(gw.cells.gru))
