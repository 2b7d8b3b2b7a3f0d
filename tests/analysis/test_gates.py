"""What a cell keeps of its states, against Jacobians by autograd and against the papers."""

import pytest
import torch

import gatework as gw
from feeding import recurrent, recurrent_cell
from gatework.analysis.gates import keepers, named_gates
from gatework.analysis.memory import retention
from gatework.lang.axes import has_axes
from gatework.lang.expressions import Arrange, Reduce, postorder
from gatework.lens.axes import spread
from numerics import randomised, state_sizes
from parts_of_suite import mostly_slow
from plain_sizes import plain_sizes

CATALOGUE = gw.cells.catalogue()
KEEPERS = {  # gate of the state: whether 1 keeps
    "lstm": {"c": {"f": True}},
    "peephole_lstm": {"c": {"f": True}},  # its ways through the peepholes are no memory
    "layer_norm_lstm": {"c": {"f": True}},
    "coupled_gate_lstm": {"c": {"i": False}},
    "gru": {"h": {"z": True}},
    "gru_reset_before": {"h": {"z": True}},
    "dreamer_gru": {"h": {"z": False}},
    "mgu": {"h": {"f": False}},
    "janet": {"h": {"f": True}},
    "cfn": {"h": {"f": True}},  # h' = f * tanh(h) + …
    "star": {"h": {"k": False}},  # all of h goes through a tanh
    "brc": {"h": {"c": True}},
    "min_gru": {"h": {"z": False}},
    "min_lstm": {"h": {"f": True, "i": False}},  # f / (f + i)
    "rhn": {"h": {"t1": False, "t2": False, "t3": False}},
    "lem": {"h": {"dt_h": False}, "z": {"dt_z": False}},
    "slstm": {"c": {"f": True}, "n": {"f": True}},  # f is an exponential
    "rg_lru": {"h": {None: True}},  # and so is this one, without a name
    "fastrnn": {"h": {None: True}},
    "rnn": {},
    "irnn": {},
    "leaky_rnn": {},
    "indrnn": {},  # a learned factor is no gate
    "original_lstm": {},
}


@pytest.mark.parametrize("name", KEEPERS)
def test_the_gates_that_keep_a_state_are_those_of_the_paper(name):
    found = {s: {k.name: k.keeps for k in gates} for s, gates in keepers(CATALOGUE[name]).items()}
    assert {s: gates for s, gates in found.items() if gates} == KEEPERS[name]


def test_noise_hides_no_gate():
    @gw.cell
    def noisy(x, h):
        z = gw.sigmoid(gw.linear("z", x, gw.dropout(h, 0.2, per="sequence")))
        return gw.zoneout((1 - z) * gw.tanh(gw.linear("n", x, h)) + z * h, h, 0.1)

    assert [(k.name, k.keeps) for k in keepers(noisy)["h"]] == [("z", True)]


def test_a_hard_sigmoid_is_a_gate():
    @gw.cell
    def hard(x, h):
        z = gw.hardsigmoid(gw.linear("z", x, h))
        return z * gw.tanh(gw.linear("n", x, h)) + (1 - z) * h

    assert [(k.name, k.keeps) for k in keepers(hard)["h"]] == [("z", False)]


@pytest.mark.parametrize(
    ("share", "keeps"),
    [
        (lambda f: (1 - f) ** 2, False),
        (lambda f: f**3, True),
        (lambda f: gw.sqrt(1 - f * f), False),
        (lambda f: 1 - (1 - f) ** 0.5, True),
    ],
)
def test_a_power_of_a_gate_leads_back_to_it(share, keeps):
    @gw.cell
    def powered(x, h, c):
        f, i = (gw.sigmoid(gw.linear(g, x, h)) for g in "fi")
        c = share(f) * c + i * gw.tanh(gw.linear("n", x, h))
        return gw.tanh(c), c

    assert [(k.name, k.keeps) for k in keepers(powered)["c"]] == [("f", keeps)]
    assert list(named_gates(powered)) == ["f", "i"]
    layer = gw.nn.Recurrent(powered, 3, 4)
    gw.nn.init.forget_bias_(layer, 2.0)
    assert layer.bias_ih_l0[:4].eq(2.0 if keeps else -2.0).all()


@pytest.mark.parametrize("name", mostly_slow(CATALOGUE))
def test_retention_is_the_jacobian_of_a_step_whose_matrices_do_not_mix(name):
    """With every weight but the input's at zero, the Jacobian of a step is diagonal."""
    cell = CATALOGUE[name]
    sizes = plain_sizes(cell, 4)
    kept = retention(cell)
    watched = cell.observing({f"kept_{s}": v for s, v in kept.items()})
    step = randomised(recurrent_cell(watched, 4, 4, dtype=torch.float64, **sizes))
    layer = randomised(recurrent(watched, 4, 4, dtype=torch.float64, **sizes))
    weights = step.state_dict(keep_vars=True)
    for p, q in zip(weights.values(), layer.state_dict(keep_vars=True).values(), strict=True):
        q.data = p.data
    for n, p in weights.items():
        if n.startswith("weight_") and n != "weight_ih":
            p.data.zero_()
    x = torch.randn(2, 4, dtype=torch.float64)
    states = tuple(torch.randn(2, n, dtype=torch.float64) for n in state_sizes(layer))

    def new(*states):
        found = step(x, states if len(states) > 1 else states[0])
        found = found if cell.output is None else found[1]
        return found if isinstance(found, tuple) else (found,)

    with gw.use_backend("reference"):
        jacobians = torch.autograd.functional.jacobian(new, states)
        jacobians = jacobians if len(states) > 1 else ((jacobians[0][0],),)
        state = tuple(s[None] for s in states)
        trace = layer.trace(x[None], state if len(state) > 1 else state[0])
    for k, s in enumerate(cell.states):
        if any(isinstance(n, Reduce | Arrange) for n in postorder([cell.next_states[k]])):
            continue  # a sum over the units mixes them too, and rows in other places may
        found = trace[f"kept_{s.name}"][0] if kept[s.name].args else kept[s.name]
        expected = torch.stack([jacobians[k][k][b, :, b].diagonal() for b in range(2)])
        found = found if isinstance(found, torch.Tensor) else torch.full_like(expected, found.value)
        if has_axes(kept[s.name].size):
            found = spread(found, kept[s.name].size, s.size, layer.sizes(0))
        torch.testing.assert_close(found.expand_as(expected), expected, rtol=1e-9, atol=1e-12)
