"""Every cell of torchrecurrent against ours: outputs, final states and every gradient.

Ours are run by the reference backend; the battery compares machine code with it for every cell.
The weights are random tensors of our layer, arranged as torchrecurrent has them by the table below;
torchrecurrent's result is differentiated with respect to ours, so both have the same gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest
import torch
import torchrecurrent as tr
from torch import Tensor
from torch.func import functional_call
from torchrecurrent.base import DecoupledDoubleStateCellBase, DecoupledSingleStateCellBase

import gatework as gw
from blocks import blocks_of
from numerics import assert_same, gradients, randomised

T, B, I, H = 7, 3, 5, 7

Rows = dict[str, Tensor]  # our states by name
Step = Callable[[Callable[..., object], Rows, Tensor, Rows], Rows]


@dataclass(frozen=True)
class Case:
    """How one cell of torchrecurrent corresponds to ours.

    `maps` says of which of our blocks a tensor of theirs is stacked: `"ih": "i f"` stands for
    weight_ih and bias_ih, whose rows are our gates i and f in the groups of the same name. A block
    of another group is written "rh.n", a learned vector by its name, zeros "0". A bias that ours
    has not is zero there.
    """

    ours: str
    theirs: str
    maps: Mapping[str, str]
    states: str = "h"  # which of our states make theirs
    constants: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)
    step: Step | None = None  # one step of theirs, where it is not a call of their cell
    departs: bool = False  # their step is not the paper's: `step` is
    seen: Callable[[Rows, Rows], Rows] | None = None  # our states from theirs and our blocks
    identity: str | None = None  # a block of ours that has no counterpart, set to the identity


# ---- steps that are not a call of their cell -----------------------------------------------------


def tau_gru(call, w, x, s):
    """Their layer, not their cell, keeps the delayed states."""
    return {"h": call(x, s["h"], s["past2"]), "past1": s["h"], "past2": s["past1"]}


def lem(call, w, x, s):
    """Rusch et al. 2022, eq. 3: the new h reads the new z; torchrecurrent's reads the old one."""
    x1, x2, x3, x4 = (w["weight_ih"] @ x.T + w["bias_ih"][:, None]).T.chunk(4, 1)
    h1, h2, h3 = (w["weight_hh"] @ s["h"].T + w["bias_hh"][:, None]).T.chunk(3, 1)
    step_h, step_z = 0.5 * torch.sigmoid(x1 + h1), 0.5 * torch.sigmoid(x2 + h2)
    z = s["z"] + step_z * (torch.tanh(x3 + h3) - s["z"])
    n = torch.tanh(x4 + z @ w["weight_ch"].T + w["bias_ch"])
    return {"h": s["h"] + step_h * (n - s["h"]), "z": z}


def nas(call, w, x, s):
    """The authors' cell multiplies the two maps of the fourth node; torchrecurrent adds them."""
    a = (x @ w["weight_ih"].T + w["bias_ih"]).chunk(8, 1)
    b = (s["h"] @ w["weight_hh"].T + w["bias_hh"]).chunk(8, 1)
    f = [torch.sigmoid, torch.relu, torch.sigmoid, torch.relu]
    f += [torch.tanh, torch.sigmoid, torch.tanh, torch.sigmoid]
    n = [f[k](a[k] * b[k] if k == 3 else a[k] + b[k]) for k in range(8)]
    c = torch.tanh(torch.tanh(n[0] * n[1]) + s["c"]) * torch.tanh(n[2] + n[3])
    last = torch.tanh(torch.tanh(n[4] * n[5]) + torch.sigmoid(n[6] + n[7]))
    return {"h": torch.tanh(c * last), "c": c}


def scrn(call, w, x, s):
    """Mikolov et al. 2015, eq. 3-5: the hidden units recur; in torchrecurrent the output does."""
    (bx, ax), (r, u), (p, v) = (w[f"weight_{k}"].chunk(2) for k in ("ih", "hh", "ch"))
    (_, b_a), (b_r, b_u), (b_p, b_v) = (w[f"bias_{k}"].chunk(2) for k in ("ih", "hh", "ch"))
    c = 0.25 * x @ bx.T + 0.75 * s["s"]
    h = torch.sigmoid(x @ ax.T + b_a + s["h"] @ r.T + b_r + c @ p.T + b_p)
    return {"output": h @ u.T + b_u + c @ v.T + b_v, "h": h, "s": c}


# ---- states that are not theirs ------------------------------------------------------------------


def typed(blocks, s):
    """They keep the previous input p, we keep what it says."""
    says = {f"v{g}": s["p"] @ blocks[f"weight_ih.v{g}"].T for g in "zfo"}
    return {**{n: v for n, v in s.items() if n != "p"}, **says}


# ---- the table -----------------------------------------------------------------------------------


def both(blocks: str) -> dict[str, str]:
    """The same gates in the maps of the input and of the state."""
    return {"ih": blocks, "hh": blocks}


class HardSigmoid(torch.nn.Module):
    """torch's own has a gradient of only seven digits, also in float64."""

    def forward(self, v: Tensor) -> Tensor:
        return (v / 6 + 0.5).clamp(0, 1)


EXACT = {"gate_nonlinearity": HardSigmoid()}
PEEPHOLES = {"weight_ph": "peephole_i peephole_f peephole_o"}

CASES = [
    Case(
        "antisymmetric_rnn", "AntisymmetricRNNCell", {"ih": "n", "hh": "n"},
        constants={"epsilon": 0.5, "gamma": 0.125}, options={"epsilon": 0.5, "gamma": 0.125},
    ),
    Case(
        "gated_antisymmetric_rnn", "GatedAntisymmetricRNNCell", {"ih": "z n", "hh": "n"},
        constants={"epsilon": 0.5, "gamma": 0.125}, options={"epsilon": 0.5, "gamma": 0.125},
    ),
    Case("atr", "ATRCell", {"ih": "p", "hh": "q"}),
    Case("brc", "BRCell", {"ih": "a c n", "weight_hh": "u_a u_c", "bias_hh": "0 0"}),
    Case("nbrc", "NBRCell", {"ih": "a c n", "hh": "a c"}),
    # No bias in the candidate: without input, zero is where every state goes.
    Case("cfn", "CFNCell", {"ih": "f i g", "hh": "f i"}),
    Case(
        "cornn", "coRNNCell", {**both("n"), "ch": "zh.n"}, states="h z",
        constants={"dt": 0.25, "gamma": 0.5, "epsilon": 1.5},
        options={"dt": 0.25, "gamma": 0.5, "epsilon": 1.5},
    ),
    Case("fastrnn", "FastRNNCell", {**both("n"), "alpha": "alpha", "beta": "beta"}),
    Case(  # the paper's gate is a sigmoid, torchrecurrent's default is tanh
        "fastgrnn", "FastGRNNCell",
        {"weight_ih": "n", "weight_hh": "n", "bias_ih": "b_z b_n", "bias_hh": "0 0",
         "zeta": "zeta", "nu": "nu"},
        options={"nonlinearity": "sigmoid"},
    ),
    Case(  # the paper's networks have ReLU, torchrecurrent's default is tanh
        "indrnn", "IndRNNCell", {"ih": "n", "vector_u": "u", "bias_hh": "0"},
        options={"nonlinearity": "relu"},
    ),
    Case(
        "intersection_rnn", "IntersectionRNNCell", both("n_y n_h g_y g_h"), identity="weight_ih.p"
    ),
    Case(  # h is c: one state, where torchrecurrent carries it twice
        "janet", "JANETCell", both("f g"), states="h h",
        constants={"beta": 0.5}, options={"beta": 0.5},
    ),
    Case(
        "lem", "LEMCell", {"ih": "dt_h dt_z n_z n_h", "hh": "dt_h dt_z n_z", "ch": "zh.n_h"},
        states="h z", constants={"dt": 0.5}, options={"dt": 0.5}, step=lem, departs=True,
    ),
    Case("ligru", "LiGRUCell", both("z n")),
    Case("lightru", "LightRUCell", {"ih": "n f", "hh": "f"}),
    Case(
        "memory_controller_lstm", "MCLSTMCell",
        {"ih": "f i o m g", "hh": "vh.f vh.i vh.o vh.m vh.g"}, states="v c",
    ),
    Case("mgu", "MGUCell", {"ih": "f n", "hh": "f fh.n"}),
    Case("minimal_rnn", "MinimalRNNCell", {"ih": "e", "hh": "u", "weight_mm": "eh.u"}),
    Case(
        "miru1", "MiRU1Cell", {"ih": "r n", "hh": "r rh.n"},
        constants={"update": 0.25}, options={"update_coefficient": 0.25},
    ),
    Case(
        "miru2", "MiRU2Cell", {"ih": "n", "hh": "rh.n"},
        constants={"update": 0.25, "reset": 0.75},
        options={"update_coefficient": 0.25, "reset_coefficient": 0.75},
    ),
    Case(
        "multiplicative_lstm", "MultiplicativeLSTMCell",
        {"ih": "m i f g o", "hh": "m", "mh": "i f g o"}, states="h c",
    ),
    Case("mut1", "MUT1Cell", {"ih": "z r e", "hh": "r rh.n"}),
    Case("mut2", "MUT2Cell", {"ih": "z r n", "hh": "z r rh.n"}),
    Case("mut3", "MUT3Cell", {"ih": "z r n", "hh": "th.z r rh.n"}),
    Case(
        "nas", "NASCell", both("n0 n1 n2 n3 n4 n5 n6 n7"), states="h c", step=nas, departs=True
    ),
    Case("original_lstm", "OriginalLSTMCell", both("i g o"), states="h c"),
    Case("peephole_lstm", "PeepholeLSTMCell", {**both("i f g o"), **PEEPHOLES}, states="h c"),
    Case(
        "ran", "RANCell",
        {"weight_ih": "g i f", "weight_hh": "i f", "bias_ih": "i f", "bias_hh": "i f"},
        states="h c",
    ),
    Case(
        "residual_lstm", "ResLSTMCell",
        {**both("i f g o"), **PEEPHOLES, "weight_proj": "mh.m", "weight_res": "ih.s"}, states="h c",
    ),
    Case(
        "scrn", "SCRNCell", {"ih": "b h", "hh": "h hy.y", "ch": "sh.h sh.y"}, states="h s",
        constants={"alpha": 0.75}, options={"alpha": 0.75}, step=scrn, departs=True,
    ),
    Case("sgrn", "SGRNCell", {"ih": "g", "hh": "f"}),
    Case("sgu", "SGUCell", {"ih": "m z", "hh": "mh.g z"}, options=EXACT),
    Case("dsgu", "DSGUCell", {"ih": "m z", "hh": "mh.g z", "weight_ho": "oh.o"}, options=EXACT),
    Case("star", "STARCell", {"ih": "n k", "hh": "k"}),
    Case(
        "tau_gru", "tauGRUCell", {"ih": "u z g a", "hh": "u dh.z g a"},
        constants={"delay": 2}, step=tau_gru,
    ),
    # z = W x has no bias in the paper.
    Case("t_rnn", "TRNNCell", {"ih": "z f"}),
    Case(
        "t_gru", "TGRUCell", {"ih": "z f o", "hh": "ih.vz ih.vf ih.vo"}, states="h p", seen=typed
    ),
    Case(
        "t_lstm", "TLSTMCell", {"ih": "z f o", "hh": "ih.vz ih.vf ih.vo"}, states="c p", seen=typed
    ),
    Case("ugrnn", "UGRNNCell", both("n g")),
    Case(
        "unicornn", "UnICORNNCell", {"ih": "n", "weight_hh": "w", "weight_ch": "c"}, states="h z",
        constants={"dt": 0.25, "alpha": 0.5}, options={"dt": 0.25, "alpha": 0.5},
    ),
    # No bias inside the squashed connection.
    Case(
        "working_memory_lstm", "WMCLSTMCell", {**both("i f g o"), "mh": "ch.m_i ch.m_f oh.m_o"},
        states="h c",
    ),
]  # fmt: skip


# ---- their tensors from ours ---------------------------------------------------------------------


def layer_of(case: Case) -> gw.nn.Recurrent:
    """Our layer with random weights."""
    cell = gw.cells.catalogue()[case.ours](**case.constants)
    features = H if case.identity else I
    layer = randomised(gw.nn.Recurrent(cell, features, H, dtype=torch.float64))
    if case.identity:
        with torch.no_grad():
            blocks_of(layer)[case.identity].copy_(torch.eye(H))
    return layer


def arranged(case: Case, module: torch.nn.Module, blocks: Rows) -> Rows:
    """Their tensors, each stacked from blocks of ours."""
    found = {}
    for name, tensor in module.named_parameters():
        kind, _, group = name.partition("_")
        tokens = case.maps.get(name, case.maps.get(group) if kind in ("weight", "bias") else None)
        if tokens is None:
            assert name in case.options, f"{name} of {case.theirs} is not in the table"
            continue
        none = tensor.new_zeros(len(tensor) // len(tokens.split()))
        found[name] = torch.cat([part(t, kind, group, blocks, none) for t in tokens.split()])
        assert found[name].shape == tensor.shape
    return found


def part(token: str, kind: str, group: str, blocks: Rows, none: Tensor) -> Tensor:
    """One block of ours by its token; `none` for a bias that ours has not."""
    if token in blocks:
        return blocks[token]
    name = f"{kind}_{token}" if "." in token else f"{kind}_{group}.{token}"
    return blocks[name] if kind == "weight" else blocks.get(name, none)


def their_step(case: Case, module: torch.nn.Module, w: Rows, x: Tensor, s: Rows) -> Rows:
    """One step of their cell, in terms of our states."""
    names = case.states.split()
    state = tuple(s[n] for n in names)
    result = functional_call(module, w, (x, state if len(state) > 1 else state[0]))
    separate = isinstance(module, DecoupledSingleStateCellBase | DecoupledDoubleStateCellBase)
    new = result[1] if separate else result
    rows = dict(zip(names, new if isinstance(new, tuple) else (new,), strict=True))
    output = output_of(case)
    return {output: result[0], **rows} if separate or output not in rows else rows


def output_of(case: Case) -> str:
    """What our output is called: as a state, or apart from them."""
    return gw.cells.catalogue()[case.ours].output_name


def theirs(case: Case, layer: gw.nn.Recurrent, x: Tensor, states: Rows, own: bool = False) -> Rows:
    """Their result: the output and the final states. `own`: by their step, though it departs."""
    module = getattr(tr, case.theirs)(layer.input_size, layer.hidden_size, **case.options).double()
    w = arranged(case, module, blocks_of(layer))
    s, outputs = dict(states), []
    for row in x:
        if case.step is None or own:
            s = {**s, **their_step(case, module, w, row, s)}
        else:
            s = case.step(lambda *a: functional_call(module, w, a), w, row, s)
        outputs.append(s[output_of(case)])
    final = {n: s[n] for n in states}
    return {"output": torch.stack(outputs), **ours_of(case, layer, final)}


def ours_of(case: Case, layer: gw.nn.Recurrent, states: Rows) -> Rows:
    """Our states from theirs."""
    return case.seen(blocks_of(layer), states) if case.seen else states


def problem(case: Case) -> tuple[gw.nn.Recurrent, Tensor, Rows]:
    """Our layer with random weights, an input and their initial states."""
    layer = layer_of(case)
    g = torch.Generator().manual_seed(2)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, dtype=torch.float64).requires_grad_()

    names = [s.name for s in layer.cell.states]
    if case.seen:
        names = [n for n in names if not n.startswith("v")] + ["p"]
    states = {n: random(B, layer.input_size if n == "p" else H) for n in names}
    return layer, random(T, B, layer.input_size), states


# ---- the tests -----------------------------------------------------------------------------------


def ours(case: Case, layer: gw.nn.Recurrent, x: Tensor, states: Rows) -> Rows:
    """Our result: the output and the final states."""
    given = ours_of(case, layer, states)
    rows = tuple(s[None] for s in given.values())
    output, final = layer(x, rows if len(rows) > 1 else rows[0])
    final = final if isinstance(final, tuple) else (final,)
    return {"output": output, **{n: f[0] for n, f in zip(given, final, strict=True)}}


def compared(case: Case, layer: gw.nn.Recurrent, found: Rows) -> Rows:
    """The gradients without that of a block which has no counterpart."""
    if case.identity:
        values = {f"{p.name}_l0": found[f"gradient of {p.name}_l0"] for p in layer.cell.parameters}
        blocks_of(layer, values)[case.identity].zero_()
    return found


@pytest.fixture(autouse=True)
def _reference():
    with gw.use_backend("reference"):
        yield


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.ours)
def test_cell_is_torchrecurrents(case):
    layer, x, states = problem(case)
    sources = {"x": x, **states, **dict(layer.named_parameters())}
    found, expected = (f(case, layer, x, states) for f in (ours, theirs))
    assert_same(found, expected, 1e-9)
    assert_same(*(compared(case, layer, gradients(r, sources)) for r in (found, expected)), 1e-9)


@pytest.mark.parametrize("case", [c for c in CASES if c.departs], ids=lambda c: c.ours)
def test_torchrecurrent_departs_from_the_paper(case):
    layer, x, states = problem(case)
    own, paper = (theirs(case, layer, x, states, own=own)["output"] for own in (True, False))
    assert (own - paper).abs().max() > 1e-3


def test_table_has_every_cell_of_torchrecurrent():
    assert sorted(c.theirs for c in CASES) == sorted(n for n in tr.__all__ if n.endswith("Cell"))
