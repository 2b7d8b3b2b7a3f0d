"""Initialisation, found from the equations: what it sets, for which cells, and what it refuses."""

import math

import pytest
import torch
from torch import nn

import gatework as gw
from gatework.analysis.gates import keepers, writers
from plain_sizes import divisible, plain_sizes

I, H = 3, 5
init = gw.nn.init


def layer_of(name, **options):
    cell = gw.cells.catalogue()[name]
    sizes = plain_sizes(cell, H - 1)
    input_size, hidden_size = divisible(cell, "input", I), divisible(cell, "hidden", H)
    return gw.nn.Recurrent(cell, input_size, hidden_size, **sizes, **options)


def blocks(layer, name, suffix="_l0"):
    """The rows of a stacked parameter by gate."""
    p = next(p for p in layer.cell.parameters if p.name == name)
    values = getattr(layer, name + suffix).detach()
    return {b: values[rows] for b, rows in p.spans(layer.cell_parameters()[0][1]).items()}


def total_bias(layer, gate, suffix="_l0"):
    """The sum of the biases of a gate that are named after it."""
    names = [p.name for p in layer.cell.parameters if p.name.startswith("bias_")]
    found = [blocks(layer, n, suffix).get(gate, torch.zeros(())) for n in names]
    return sum(found, torch.zeros(()))


def test_the_default_is_torchs():
    torch.manual_seed(0)
    theirs = nn.GRU(I, H, num_layers=2, bidirectional=True)
    torch.manual_seed(0)
    ours = gw.nn.GRU(I, H, num_layers=2, bidirectional=True)
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value)


# ---- orthogonal and identity -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "gru_reset_before", "mgu", "rhn"])
def test_each_gates_recurrent_weight_is_orthogonal(name):
    layer = layer_of(name, num_layers=2, bidirectional=True)
    before = {n: p.detach().clone() for n, p in layer.named_parameters()}
    init.orthogonal_(layer, gain=2.0)
    for suffix in ("_l0", "_l0_reverse", "_l1", "_l1_reverse"):
        for p in layer.cell.parameters:
            if not p.name.startswith("weight_") or p.name == "weight_ih":
                assert torch.equal(getattr(layer, p.name + suffix), before[p.name + suffix])
                continue
            for weight in blocks(layer, p.name, suffix).values():
                if p.name != "weight_h1" or weight.shape[1] == H:
                    torch.testing.assert_close(weight @ weight.T, 4 * torch.eye(H))


def test_a_recurrent_weight_that_is_no_square_has_orthonormal_rows_or_columns():
    layer = gw.nn.LSTM(I, H, proj_size=2)
    init.orthogonal_(layer)
    for weight in blocks(layer, "weight_hh").values():
        assert weight.shape == (H, 2)
        torch.testing.assert_close(weight.T @ weight, torch.eye(2))


def test_an_identity_rnn_keeps_its_state_while_nothing_enters():
    layer = gw.nn.RNN(I, H, nonlinearity="relu", num_layers=2)
    init.identity_(layer)
    h = torch.rand(2, 1, H)
    h[1] = 0
    with torch.no_grad():
        layer.weight_ih_l1.zero_()
    _, final = layer(torch.zeros(50, 1, I), h)
    torch.testing.assert_close(final, h)
    init.identity_(layer, gain=0.01)
    assert torch.equal(layer.weight_hh_l1, 0.01 * torch.eye(H))


def test_identity_is_refused_where_it_means_nothing():
    with pytest.raises(ValueError, match=r"'lstm' has not one square recurrent matrix but f, g, i"):
        init.identity_(gw.nn.LSTM(I, H))
    with pytest.raises(ValueError, match="'indrnn' reads a state, so it has no recurrent weights"):
        init.orthogonal_(layer_of("indrnn"))


# ---- forget bias -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "gate", "sign"),
    [
        ("lstm", "f", 1), ("peephole_lstm", "f", 1), ("coupled_gate_lstm", "i", -1),
        ("gru", "z", 1), ("mgu", "f", -1), ("janet", "f", 1), ("min_gru", "z", -1),
        ("star", "k", -1), ("cfn", "f", 1), ("rhn", "t2", -1), ("lem", "dt_z", -1),
        ("projected_lstm", "f", 1),
    ],
)  # fmt: skip
def test_the_gate_that_keeps_gets_the_bias_and_no_other(name, gate, sign):
    layer = layer_of(name, num_layers=2, bidirectional=True)
    before = {n: p.detach().clone() for n, p in layer.named_parameters()}
    init.forget_bias_(layer, 1.5)
    for suffix in ("_l0", "_l1_reverse"):
        assert (total_bias(layer, gate, suffix) == sign * 1.5).all()
    kept = {k.name for found in keepers(layer.cell).values() for k in found}
    for p in layer.cell.parameters:
        for block, values in blocks(layer, p.name).items():
            if block not in kept or not p.name.startswith("bias_"):
                rows = p.spans(layer.cell_parameters()[0][1])[block]
                assert torch.equal(values, before[f"{p.name}_l0"][rows]), (p.name, block)


def test_a_layer_starts_with_its_forget_bias_and_does_so_again_when_it_is_reset():
    layer = gw.nn.LSTM(I, H, forget_bias=1.0)
    assert "forget_bias=1.0" in repr(layer)
    with torch.no_grad():
        layer.bias_ih_l0.zero_()
    layer.reset_parameters()
    assert (total_bias(layer, "f") == 1).all()
    step = gw.nn.GRUCell(I, H, forget_bias=2.0)
    assert (step.bias_ih + step.bias_hh)[H : 2 * H].eq(2).all()


def test_a_normalised_layers_gain_has_a_bias_that_is_set():
    layer = gw.nn.LSTM(I, H, layer_norm=True, forget_bias=1.0)
    assert (layer.norm_f_bias_l0 == 1).all()
    assert (layer.norm_i_bias_l0 == 0).all()


def test_a_forget_bias_is_refused_where_nothing_could_be_set():
    with pytest.raises(ValueError, match="no gate of cell 'rnn' keeps a state"):
        gw.nn.RNN(I, H, forget_bias=1.0)
    with pytest.raises(ValueError, match=r"'f' of cell 'lstm' has no bias of its own; .* no gate"):
        gw.nn.LSTM(I, H, bias=False, forget_bias=1.0)
    with pytest.raises(ValueError, match=r"'f' of cell 'slstm' has no bias .* one of log_f, z, o"):
        init.forget_bias_(layer_of("slstm"))
    for wrong in ("1", True, math.inf, math.nan):
        with pytest.raises(ValueError, match=r"forget_bias .* finite"):
            gw.nn.LSTM(I, H, forget_bias=wrong)
    layer = gw.nn.LSTM(I, H)
    nn.utils.parametrizations.weight_norm(layer, "bias_ih_l0")
    with pytest.raises(ValueError, match="bias_ih is computed from other parameters"):
        init.forget_bias_(layer)


def test_a_gates_bias_is_set_by_its_name():
    layer = layer_of("slstm")
    init.gate_bias_(layer, "log_f", torch.linspace(3, 6, H))
    torch.testing.assert_close(total_bias(layer, "log_f"), torch.linspace(3, 6, H))
    init.gate_bias_(layer, "log_f", -1)
    assert (total_bias(layer, "log_f") == -1).all()
    with pytest.raises(ValueError, match="no gate named 'forget'"):
        init.gate_bias_(layer, "forget", 1.0)
    with pytest.raises(ValueError, match=r"has the shape \[5\], got values of the shape \[4\]"):
        init.gate_bias_(layer, "log_f", torch.ones(4))


# ---- chrono ------------------------------------------------------------------------------------


def test_chrono_spreads_the_memories_over_the_units():
    layer = gw.nn.LSTM(I, 2_000)
    init.chrono_(layer, 200)
    i, f, _, _ = (layer.bias_ih_l0 + layer.bias_hh_l0).detach().chunk(4)
    assert torch.equal(i, -f)
    steps = f.exp()  # 1 / (1 - σ(b)) = 1 + e^b
    assert steps.min() >= 1
    assert steps.max() <= 199
    assert 95 < steps.mean() < 105
    other = gw.nn.LSTM(I, 2_000)
    init.chrono_(other, 200)
    assert not torch.equal(other.bias_ih_l0, layer.bias_ih_l0)


WITHOUT_BIAS = {
    "gla", "gru_d", "kda", "mamba2", "mlstm", "nas", "ntm", "rg_lru", "rwkv4", "rwkv6", "rwkv7",
    "s6", "slstm", "slstm_heads",
}  # fmt: skip


@pytest.mark.parametrize("name", gw.cells.catalogue())
def test_chrono_for_every_cell_with_gates_that_keep(name):
    layer = layer_of(name)
    found = keepers(layer.cell)
    if not any(found.values()):
        with pytest.raises(ValueError, match=f"no gate of cell '{name}' keeps a state"):
            init.chrono_(layer, 20)
        return
    # their gates are no sigmoids of a map
    if name in WITHOUT_BIAS:
        with pytest.raises(ValueError, match="has no bias of its own"):
            init.chrono_(layer, 20)
        return
    init.chrono_(layer, 20)
    for k in (k for gates in found.values() for k in gates if k.name in layer.cell.observables()):
        level = total_bias(layer, k.name)
        if level.dim():
            level = level if k.keeps else -level
            assert (level >= 0).all()
            assert (level <= math.log(19)).all()
    for gate in (g for gates in writers(layer.cell).values() for g in gates):
        assert gate not in {k.value for gates in found.values() for k in gates}


def test_chrono_checks_the_longest_dependence():
    for wrong in (2, 0, -5, 10.0, True, None):
        with pytest.raises(ValueError, match="longest should be a number of steps, 3 or more"):
            init.chrono_(gw.nn.LSTM(I, H), wrong)


def test_initialisation_draws_by_the_seed_and_needs_no_gradient():
    results = []
    for _ in range(2):
        torch.manual_seed(5)
        layer = gw.nn.LSTM(I, H, num_layers=2)
        init.orthogonal_(layer)
        init.chrono_(layer, 30)
        results.append(layer.state_dict())
        assert all(p.requires_grad and p.grad_fn is None for p in layer.parameters())
    for name in results[0]:
        assert torch.equal(results[0][name], results[1][name])
