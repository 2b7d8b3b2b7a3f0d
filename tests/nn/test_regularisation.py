"""Regularised layers against loops written out with torch, and under torch's own tools."""

import copy
import inspect
from pathlib import Path
from typing import get_type_hints

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

import gatework as gw
from gatework.nn.options import LayerOptions, StepOptions
from numerics import assert_same, flat, gradients, randomised

T, B, I, H = 5, 3, 4, 6
backends = pytest.mark.parametrize("backend", ["cpu", "reference"])


def normal(*shape):
    return torch.randn(shape, dtype=torch.float64)


def layer(kind="LSTM", **options):
    return randomised(getattr(gw.nn, kind)(I, H, dtype=torch.float64, **options))


def draw(p, *shape):
    return torch.bernoulli(torch.full(shape, p, dtype=torch.float64))


@pytest.mark.parametrize(
    ("module", "options"), [(gw.nn.Recurrent, LayerOptions), (gw.nn.RecurrentCell, StepOptions)]
)
def test_every_option_is_an_argument_that_is_explained(module, options):
    names = set(get_type_hints(options))
    assert names - set(inspect.signature(module).parameters) == set()
    assert [n for n in sorted(names) if f"\n    {n}: " not in inspect.getdoc(module)] == []
    pages = (Path(__file__).parents[2] / "docs").glob("*.md")
    text = "".join(p.read_text(encoding="utf-8") for p in pages if p.name != "reference.md")
    assert [n for n in sorted(names) if f"`{n}=" not in text] == []


def test_a_regularised_lstm_is_the_loop_of_the_papers():
    """Weight drop, both dropouts and zoneout at once, with the masks that the layer drew."""
    ours = layer(
        input_dropout=0.2, recurrent_dropout=0.3, weight_drop=0.4, zoneout={"h": 0.1, "c": 0.5}
    )
    x, weights = normal(T, B, I).requires_grad_(), dict(ours.named_parameters())
    torch.manual_seed(3)
    y, (h_n, c_n) = ours(x)
    torch.manual_seed(3)
    u = nn.functional.dropout(weights["weight_hh_l0"], 0.4)
    mask_h = draw(0.7, B, H) / 0.7
    mask_x = draw(0.8, B, I) / 0.8
    keep_h, keep_c = draw(0.1, T, B, H), draw(0.5, T, B, H)
    h, c, rows = normal(B, H) * 0, normal(B, H) * 0, []
    for t in range(T):
        gates = (x[t] * mask_x) @ weights["weight_ih_l0"].T + weights["bias_ih_l0"]
        gates = gates + (h * mask_h) @ u.T + weights["bias_hh_l0"]
        i, f, g, o = gates.chunk(4, -1)
        new = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = keep_h[t] * h + (1 - keep_h[t]) * o.sigmoid() * new.tanh()
        c = keep_c[t] * c + (1 - keep_c[t]) * new
        rows.append(h)
    expected = {"y": torch.stack(rows), "h": h[None], "c": c[None]}
    found = {"y": y, "h": h_n, "c": c_n}
    sources = {"x": x, **weights}
    assert_same(found, expected, 1e-12)
    assert_same(gradients(found, sources), gradients(expected, sources), 1e-10)


def test_a_normalised_gru_is_the_loop_with_torchs_layer_norm():
    ours = layer("GRU", layer_norm=True)
    x, w = normal(T, B, I).requires_grad_(), {n[:-3]: p for n, p in ours.named_parameters()}

    def norm(v, name):
        return nn.functional.layer_norm(v, (H,), w[f"norm_{name}_weight"], w[f"norm_{name}_bias"])

    y, h_n = ours(x)
    h, rows = normal(B, H) * 0, []
    for t in range(T):
        from_x, from_h = (x[t] @ w["weight_ih"].T).chunk(3, -1), (h @ w["weight_hh"].T).chunk(3, -1)
        r = norm(from_x[0] + from_h[0], "r").sigmoid()
        z = norm(from_x[1] + from_h[1], "z").sigmoid()
        n = (norm(from_x[2], "nx") + r * norm(from_h[2], "nh")).tanh()
        h = (1 - z) * n + z * h
        rows.append(h)
    expected, found = {"y": torch.stack(rows), "h": h[None]}, {"y": y, "h": h_n}
    assert_same(found, expected, 1e-12)
    assert_same(gradients(found, {"x": x, **w}), gradients(expected, {"x": x, **w}), 1e-10)


@backends
@pytest.mark.parametrize("batch", [0, 1, 2, 9])
def test_input_dropout_is_a_mask_for_each_sequence(backend, batch):
    """The masked input's maps are hoisted out of the loop: with every batch size and backend."""
    ours = layer("RNN", input_dropout=0.5, bidirectional=True)
    plain = layer("RNN", bidirectional=True)
    plain.load_state_dict(ours.state_dict())
    x = normal(T, batch, I)
    with gw.use_backend(backend):
        torch.manual_seed(0)
        y, _ = ours(x)
        torch.manual_seed(0)
        masks = [draw(0.5, batch, I) / 0.5 for _ in range(2)]  # one for each direction
        both = [plain(x * mask)[0] for mask in masks]
    expected = torch.cat([both[0][..., :H], both[1][..., H:]], -1)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)


def test_the_mean_over_draws_of_a_linear_cell_is_its_value_in_eval_mode():
    @gw.cell
    def linear(x, h):
        return gw.linear("n", x, h)

    ours = randomised(
        gw.nn.Recurrent(linear, I, H, recurrent_dropout=0.3, input_dropout=0.2, zoneout=0.1)
    )
    x = torch.randn(2, 1, I).expand(2, 40_000, I)
    mean = ours(x)[0].mean(1)
    torch.testing.assert_close(mean, ours.eval()(x[:, :1])[0][:, 0], rtol=0.05, atol=0.05)


# ---- weight drop under torch's tools -----------------------------------------------------------


def test_weight_drop_is_off_in_eval_mode_and_leaves_the_parameters_whole():
    ours, x = layer(weight_drop=0.9), normal(T, B, I)
    before = copy.deepcopy(ours.state_dict())
    plain = layer()
    plain.load_state_dict(ours.state_dict())
    torch.manual_seed(0)
    dropped = ours(x)[0]
    assert not torch.allclose(dropped, plain(x)[0])
    assert_same(flat(ours.eval()(x)), flat(plain.eval()(x)), 1e-12)
    assert_same(ours.state_dict(), before, 0)
    assert set(dict(ours.named_parameters())) == set(dict(plain.named_parameters()))


def test_a_dropped_weight_has_no_gradient_and_the_optimiser_sees_the_others():
    ours, x = layer("RNN", weight_drop=0.5), normal(T, B, I)
    torch.manual_seed(0)
    ours(x)[0].sum().backward()
    torch.manual_seed(0)
    kept = nn.functional.dropout(torch.ones(H, H, dtype=torch.float64), 0.5) != 0
    assert torch.equal(ours.weight_hh_l0.grad != 0, kept)
    before = ours.weight_hh_l0.detach().clone()
    torch.optim.SGD(ours.parameters(), 0.1).step()
    assert torch.equal(ours.weight_hh_l0 != before, kept)


def test_weight_drop_acts_on_a_weight_norm_a_parametrization_and_a_pruned_weight():
    x = normal(T, B, I)
    for change in (
        lambda m: nn.utils.parametrizations.weight_norm(m, "weight_hh_l0"),
        lambda m: parametrize.register_parametrization(m, "weight_hh_l0", nn.Tanh()),
        lambda m: prune.random_unstructured(m, "weight_hh_l0", 0.5),
    ):
        ours = layer(weight_drop=0.5)
        change(ours)
        plain = layer()
        with torch.no_grad():
            effective = ours.weight_hh_l0.clone()
            plain.weight_ih_l0.copy_(ours.weight_ih_l0)
            plain.bias_ih_l0.copy_(ours.bias_ih_l0)
            plain.bias_hh_l0.copy_(ours.bias_hh_l0)
            torch.manual_seed(0)
            plain.weight_hh_l0.copy_(nn.functional.dropout(effective, 0.5))
        torch.manual_seed(0)
        y, _ = ours(x)
        torch.testing.assert_close(y, plain(x)[0], rtol=1e-12, atol=1e-12)
        y.sum().backward()
        learned = [n for n, _ in ours.named_parameters() if "weight_hh" in n]
        assert learned
        assert all(p.grad is not None and (p.grad != 0).any() for p in ours.parameters())


# ---- options of a layer ------------------------------------------------------------------------


def test_options_work_together_with_torchs():
    ours = gw.nn.LSTM(
        I, H, num_layers=2, dropout=0.1, bidirectional=True, batch_first=True, proj_size=3,
        layer_norm=True, zoneout=0.1, recurrent_dropout=0.1, input_dropout=0.1, weight_drop=0.1,
        learned_state=True,
    )  # fmt: skip
    x = torch.randn(B, T, I)
    y, (h, c) = ours(x, lengths=[5, 2, 0], resets=torch.rand(B, T) < 0.3)
    assert (y.shape, h.shape, c.shape) == ((B, T, 6), (4, B, 3), (4, B, H))
    y.sum().backward()
    assert all(p.grad.isfinite().all() for p in ours.parameters())


def test_a_compiled_layer_draws_noise_and_drops_weights():
    ours = gw.nn.LSTM(
        I,
        H,
        input_dropout=0.2,
        recurrent_dropout=0.2,
        weight_drop=0.2,
        zoneout=0.1,
        layer_norm=True,
    )
    compiled = torch.compile(ours, backend="aot_eager", fullgraph=True)
    x = torch.randn(T, B, I)
    y = compiled(x)[0]
    assert not torch.equal(y, compiled(x)[0])
    y.sum().backward()
    ours.eval()
    torch.testing.assert_close(compiled(x)[0], ours(x)[0])


def test_a_single_bias_is_the_sum_of_torchs_two():
    theirs, ours = nn.GRU(I, H), gw.nn.GRU(I, H, single_bias=True)
    weights = theirs.state_dict()
    r_z, n = weights["bias_hh_l0"].split([2 * H, H])
    weights["bias_ih_l0"] = weights["bias_ih_l0"] + torch.cat([r_z, torch.zeros(H)])
    weights["bias_hh_l0"] = n
    ours.load_state_dict(weights)
    x = torch.randn(T, B, I)
    torch.testing.assert_close(ours(x)[0], theirs(x)[0])


def test_single_steps_take_the_options_that_make_sense_in_them():
    steps = [gw.nn.LSTMCell, gw.nn.GRUCell, gw.nn.RNNCell]
    for step in (k(I, H, layer_norm=True, zoneout=0.5) for k in steps):
        state = step(torch.randn(B, I))
        assert "layer_norm=True, zoneout=0.5" in repr(step)
        state = state if isinstance(state, tuple) else (state,)
        assert (state[0] == 0).any()  # kept from the zeros before
        assert not (state[0] == 0).all()
    assert gw.nn.LSTMCell(I, H, single_bias=True).bias_hh is None
    with pytest.raises(TypeError, match="recurrent_dropout"):
        gw.nn.LSTMCell(I, H, recurrent_dropout=0.5)


@pytest.mark.parametrize(
    ("kind", "options"), [(gw.nn.Recurrent, LayerOptions), (gw.nn.RecurrentCell, StepOptions)]
)
def test_every_option_is_in_the_signature_and_explained(kind, options):
    arguments = inspect.signature(kind).parameters.values()
    named = [a.name for a in arguments if a.kind is a.KEYWORD_ONLY]
    assert set(named) == options.__optional_keys__
    assert all(f"    {name}: " in kind.__doc__ for name in named)


def test_misspelt_and_bad_options_say_what_to_write():
    for wrong in (
        {"layer_norn": True}, {"zone_out": 0.1}, {"inputdropout": 0.1}, {"weightdrop": 0.1},
    ):  # fmt: skip
        with pytest.raises(TypeError, match="did you mean"):
            gw.nn.LSTM(I, H, **wrong)
    with pytest.raises(TypeError, match="layer_norm should be of type bool, got: int"):
        gw.nn.LSTM(I, H, layer_norm=1)
    with pytest.raises(ValueError, match="input_dropout should be a probability p"):
        gw.nn.LSTM(I, H, input_dropout=1)
    with pytest.raises(ValueError, match="no state named 'c'"):
        gw.nn.GRU(I, H, zoneout={"c": 0.1})
    with pytest.raises(ValueError, match="'indrnn' reads a state, so it has no recurrent weights"):
        gw.nn.Recurrent(gw.cells.indrnn, I, H, weight_drop=0.1)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("options", [{}, {"zoneout": 0.1}, {"weight_drop": 0.1}])
def test_what_is_observed_alone_is_traced_in_both_modes(options, backend):
    """No state reads it, and no gradient but its own reaches its weights."""

    @gw.cell
    def observing(x, h):
        gw.observe("seen", gw.tanh(gw.linear("z", x)))
        return gw.dropout(gw.tanh(gw.linear("n", x, h)), 0.1)

    layer = gw.nn.Recurrent(observing, 3, 4, **options)
    x = torch.randn(5, 2, 3)
    seen = torch.tanh(x @ layer.weight_ih_l0[:4].T + layer.bias_ih_l0[:4])
    with gw.use_backend(backend):
        for mode in (layer.train(), layer.eval()):
            torch.testing.assert_close(mode.trace(x)["seen"], seen)
        layer(x)[0].sum().backward()
    assert not layer.weight_ih_l0.grad[:4].any()
    assert layer.weight_ih_l0.grad[4:].any()
