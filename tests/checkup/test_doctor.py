"""The doctor: every mistake is found, and the right version of the same model is not accused."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.utils.data import DataLoader, TensorDataset

import gatework as gw

B, T, I, H, CLASSES = 5, 7, 4, 6, 3
MAKERS = {"torch": nn, "gatework": gw.nn}
either = pytest.mark.parametrize("make", MAKERS.values(), ids=list(MAKERS))


class Model(nn.Module):
    """A recurrent layer and a head on what `read(output, state)` gives."""

    def __init__(self, layer, read, features=H, prepare=lambda x: x):
        super().__init__()
        self.layer, self.read, self.prepare = layer, read, prepare
        self.head = nn.Linear(features, CLASSES)

    def forward(self, x, **options):
        output, state = self.layer(self.prepare(x), **options)
        return self.head(self.read(output, state))


def normal(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def kinds(report):
    return [f.kind for f in report.findings]


def found(model, batch, **options):
    """The kinds of findings; the model is left as it was."""
    before = {n: v.clone() for n, v in model.state_dict().items()}
    modes = [m.training for m in model.modules()]
    report = gw.doctor(model, batch, **options)
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())
    assert modes == [m.training for m in model.modules()]
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert report.ok == (not report.findings)
    return kinds(report)


def last(output, state):
    return output[:, -1]


# ---- right models ------------------------------------------------------------------------------

RIGHT = {
    "last step": ({"batch_first": True}, last, H),
    "last step, time first": ({}, lambda y, s: y[-1], H),
    "tagger": ({"batch_first": True}, lambda y, s: y, H),
    "tagger, time first": ({}, lambda y, s: y, H),
    "mean": ({"batch_first": True, "bidirectional": True}, lambda y, s: y.mean(1), 2 * H),
    "maximum": ({"batch_first": True, "bidirectional": True}, lambda y, s: y.amax(1), 2 * H),
    "final state": ({"batch_first": True}, lambda y, s: s[-1], H),
    "final states of both": (
        {"batch_first": True, "bidirectional": True, "num_layers": 2},
        lambda y, s: torch.cat([s[-2], s[-1]], -1),
        2 * H,
    ),
    "final states of all layers": (
        {"num_layers": 3}, lambda y, s: s.transpose(0, 1).reshape(B, -1), 3 * H
    ),
    "last forward, first backward": (
        {"batch_first": True, "bidirectional": True},
        lambda y, s: torch.cat([y[:, -1, :H], y[:, 0, H:]], -1),
        2 * H,
    ),
    "last step and final state": (
        {"batch_first": True, "bidirectional": True},
        lambda y, s: torch.cat([y[:, -1], s[-1]], -1),
        3 * H,
    ),
    "all steps in one row": (
        {}, lambda y, s: y.transpose(0, 1).reshape(B, -1), T * H
    ),
    "dropout between layers": ({"num_layers": 2, "dropout": 0.5, "batch_first": True}, last, H),
}  # fmt: skip


@either
@pytest.mark.parametrize("case", RIGHT.values(), ids=list(RIGHT))
def test_right_models_are_not_accused(make, case):
    options, read, features = case
    model = Model(make.GRU(I, H, **options), read, features)
    x = normal(B, T, I) if options.get("batch_first") else normal(T, B, I)
    assert found(model, x) == []
    assert found(model.eval(), x, batch_dim=0 if options.get("batch_first") else 1) == []


@either
@pytest.mark.parametrize("size", [1, T])
def test_one_sequence_or_as_many_as_steps_are_not_accused(make, size):
    assert found(Model(make.GRU(I, H), lambda y, s: y[-1]), normal(T, size, I)) == []
    assert found(Model(make.GRU(I, H), lambda y, s: y), normal(T, size, I)) == []


@either
def test_an_unbatched_tagger_is_not_accused(make):
    model = Model(make.LSTM(I, H), lambda y, s: y.view(T, -1), prepare=lambda x: x.view(T, 1, -1))
    assert found(model, normal(T, I)) == []


class Seq2seq(nn.Module):
    """An encoder, and a decoder that is called once for each step."""

    def __init__(self, make):
        super().__init__()
        self.encoder, self.decoder = make.GRU(I, H, batch_first=True), make.GRU(H, H)
        self.head = nn.Linear(H, CLASSES)

    def forward(self, x):
        _, state = self.encoder(x)
        token, rows = state[-1:], []
        for _ in range(3):
            token, state = self.decoder(token, state)
            rows.append(self.head(token[0]))
        return torch.stack(rows, 1)


class LearnedState(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.layer = make.GRU(I, H, batch_first=True)
        self.initial = nn.Parameter(torch.zeros(1, 1, H))

    def forward(self, x):
        return self.layer(x, self.initial.expand(-1, len(x), -1).contiguous())[0]


@either
@pytest.mark.parametrize("model", [Seq2seq, LearnedState])
def test_states_that_belong_to_the_call_are_not_accused(make, model):
    assert found(model(make), normal(B, T, I)) == []


# ---- 1: a state on the last graph --------------------------------------------------------------


class Carrying(nn.Module):
    def __init__(self, layer, cut):
        super().__init__()
        self.layer, self.cut, self.state = layer, cut, None

    def forward(self, x):
        y, state = self.layer(x, self.state)
        self.state = self.cut(state)
        return y


def detached(state):
    return state.detach() if isinstance(state, torch.Tensor) else tuple(s.detach() for s in state)


@either
@pytest.mark.parametrize("name", ["GRU", "LSTM"])
def test_a_state_on_the_last_graph(make, name):
    def model(cut):
        return Carrying(getattr(make, name)(I, H, batch_first=True), cut)

    assert found(model(lambda s: s), normal(B, T, I)) == ["state-on-graph"]
    right = model(detached)
    assert found(right, normal(B, T, I)) == []
    assert right.state is None


@either
@pytest.mark.parametrize("name", ["GRUCell", "LSTMCell"])
def test_a_state_on_the_last_graph_of_a_single_step(make, name):
    class Agent(nn.Module):
        def __init__(self, cut):
            super().__init__()
            self.step, self.cut, self.state = getattr(make, name)(I, H), cut, None

        def forward(self, x):
            rows = []
            for row in x:
                self.state = self.step(row, self.state)
                rows.append(self.state if name == "GRUCell" else self.state[0])
            self.state = self.cut(self.state)
            return torch.stack(rows)

    assert found(Agent(lambda s: s), normal(T, B, I)) == ["state-on-graph"]
    assert found(Agent(detached), normal(T, B, I)) == []
    (note,) = gw.doctor(Agent(detached), normal(T, B, I)).notes
    assert "carries its state" in note


@either
def test_a_state_on_the_last_graph_in_the_batch(make):
    layer, x = make.GRU(I, H), normal(T, B, I)
    _, state = layer(x)
    assert found(layer, (x, state)) == ["state-on-graph"]
    assert found(layer, (x, state.detach())) == []
    assert found(layer, {"input": x, "hx": state.detach()}) == []


def test_a_state_on_the_last_graph_of_frozen_weights():
    layer = nn.GRU(I, H, batch_first=True).requires_grad_(False)
    model = nn.Sequential(nn.Linear(I, I), Carrying(layer, lambda s: s))
    assert found(model, normal(B, T, I)) == ["state-on-graph"]


def test_a_learned_initial_state_is_not_accused():
    layer, x = gw.nn.LSTM(I, H, num_layers=2, learned_state=True), normal(T, B, I)
    assert found(layer, x) == []
    assert found(layer, (x, gw.nn.state.detach(layer(x)[1]))) == []
    assert found(layer, x, call=lambda m, b: m(b, m.initial_state(B))) == []


OPTIONS = {
    "layer_norm": True, "single_bias": True, "input_dropout": 0.3, "recurrent_dropout": 0.3,
    "weight_drop": 0.3, "zoneout": 0.1, "forget_bias": 1.0,
}  # fmt: skip


@pytest.mark.parametrize("option", OPTIONS)
def test_layers_with_options_are_not_accused(option):
    layer = gw.nn.LSTM(I, H, num_layers=2, batch_first=True, **{option: OPTIONS[option]})
    assert found(Model(layer, last), normal(B, T, I)) == []


# ---- 2, 8: dropout -----------------------------------------------------------------------------


@either
def test_dropout_with_one_layer(make):
    with pytest.warns(UserWarning, match="num_layers greater than 1"):
        layer = make.LSTM(I, H, dropout=0.5)
    assert found(layer, normal(T, B, I)) == ["dropout-one-layer"]


@either
def test_what_dropout_between_layers_is_not(make):
    report = gw.doctor(make.LSTM(I, H, num_layers=2, dropout=0.5), normal(T, B, I))
    assert report.ok
    assert "it is not recurrent dropout" in report.notes[0]


# ---- 3: the recurrence runs over the batch -----------------------------------------------------


@either
def test_batch_first_forgotten_is_seen_by_the_output(make):
    assert found(Model(make.GRU(I, H), last), normal(B, T, I)) == ["batch-as-time"]
    assert found(Model(make.GRU(I, H, batch_first=True), last), normal(B, T, I)) == []


@either
def test_batch_first_forgotten_is_seen_by_the_lengths(make):
    wrong, right = (Model(make.GRU(I, H, batch_first=f), lambda y, s: y) for f in (False, True))
    x = normal(B, T, I)
    lengths = [T] * B
    assert found(wrong, x) == []  # it may be time first
    assert found(wrong, x, lengths=lengths) == ["batch-as-time"]
    assert found(right, x, lengths=lengths) == []


@either
@pytest.mark.parametrize("steps", [T, B])
def test_batch_first_forgotten_is_seen_when_the_axis_is_given(make, steps):
    wrong, right = (Model(make.GRU(I, H, batch_first=f), lambda y, s: y) for f in (False, True))
    x = normal(B, steps, I)
    assert found(wrong, x, batch_dim=0) == ["batch-as-time"]
    assert found(right, x, batch_dim=0) == []
    assert found(right, x.transpose(0, 1), batch_dim=1) == ["batch-as-time"]


def test_the_axes_of_tokens_are_seen_behind_an_embedding():
    class Tokens(nn.Module):
        def __init__(self, batch_first):
            super().__init__()
            self.embedding = nn.Embedding(11, I)
            self.layer = nn.LSTM(I, H, batch_first=batch_first)

        def forward(self, tokens):
            return self.layer(self.embedding(tokens))[0][:, -1]

    tokens = torch.randint(11, (B, T), generator=torch.Generator().manual_seed(0))
    assert found(Tokens(False), tokens) == ["batch-as-time"]
    assert found(Tokens(True), tokens) == []


# ---- 4: view in place of transpose -------------------------------------------------------------


@either
def test_view_in_place_of_transpose_before_the_layer(make):
    wrong = Model(make.GRU(I, H), lambda y, s: y[-1], prepare=lambda x: x.view(T, B, I))
    right = Model(make.GRU(I, H), lambda y, s: y[-1], prepare=lambda x: x.transpose(0, 1))
    x = normal(B, T, I)
    assert found(wrong, x) == ["view-for-transpose"]
    assert found(right, x) == []
    first = Model(make.GRU(I, H, batch_first=True), last, prepare=lambda x: x.reshape(B, T, I))
    assert found(first, x.transpose(0, 1).contiguous()) == ["view-for-transpose"]


@either
def test_view_in_place_of_transpose_behind_the_layer(make):
    wrong = Model(make.GRU(I, H), lambda y, s: y.reshape(B, -1), T * H)
    assert found(wrong, normal(T, B, I)) == ["view-for-transpose"]


# ---- 5: the last output of a padded batch ------------------------------------------------------

LENGTHS = [T, 3, 5, 1, T]


def padded():
    x = normal(B, T, I)
    for b, length in enumerate(LENGTHS):
        x[b, length:] = 0
    return x


def last_real(output, state):
    return output[torch.arange(B), torch.tensor(LENGTHS) - 1]


def mean_of_real(output, state):
    real = (torch.arange(T) < torch.tensor(LENGTHS)[:, None])[..., None]
    return (output * real).sum(1) / real.sum(1)


PADDING = {
    "last step": (last, False, "out[:, -1], the last step, lies in the padding"),
    "final state": (lambda y, s: s[-1], False, "h_n is the state after the padding"),
    "mean of all": (lambda y, s: y.mean(1), False, "such as by a mean over all"),
    "mean of real steps, both": (mean_of_real, True, "the backward direction begins in the"),
    "tagger, both": (lambda y, s: y, True, "steps behind the end are read"),
}


@either
@pytest.mark.parametrize("case", PADDING.values(), ids=list(PADDING))
def test_padding_that_is_read(make, case):
    read, both, how = case
    layer = make.GRU(I, H, batch_first=True, bidirectional=both)
    model = Model(layer, read, H * (1 + both))
    for batch, options in ((padded(), {}), (normal(B, T, I), {"lengths": LENGTHS})):
        assert found(model, batch, **options) == ["padding-read"]
        (finding,) = gw.doctor(model, batch, **options).findings
        assert finding.severity == ("error" if options else "warning")
        assert how in finding.seen


UNREAD = {
    "last real step": (last_real, False),
    "mean of real steps": (mean_of_real, False),
    "tagger": (lambda y, s: y, False),
}


@either
@pytest.mark.parametrize("case", UNREAD.values(), ids=list(UNREAD))
def test_padding_that_is_not_read(make, case):
    read, both = case
    layer = make.GRU(I, H, batch_first=True, bidirectional=both)
    assert found(Model(layer, read, H * (1 + both)), padded(), lengths=LENGTHS) == []


@either
@pytest.mark.parametrize("first", [True, False])
def test_as_many_steps_as_sequences(make, first):
    """Which axis counts the steps is told by the layer alone."""
    lengths = [B, 1, 3, B, 2]
    model = Model(make.GRU(I, H, batch_first=first), lambda y, s: y)
    assert found(model, normal(B, B, I), lengths=lengths) == []
    both = Model(make.GRU(I, H, batch_first=first, bidirectional=True), lambda y, s: y, 2 * H)
    assert found(both, normal(B, B, I), lengths=lengths) == ["padding-read"]


@pytest.mark.parametrize("both", [False, True])
def test_lengths_and_packed_sequences_are_not_accused(both):
    def final(output, state):
        return torch.cat([*state], -1)

    ours = Model(gw.nn.GRU(I, H, batch_first=True, bidirectional=both), final, H * (1 + both))
    assert found(ours, (padded(),), call=lambda m, b: m(b[0], lengths=LENGTHS)) == []

    class Packing(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.LSTM(I, H, batch_first=True, bidirectional=both)

        def forward(self, x, lengths):
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            return pad_packed_sequence(self.layer(packed)[0], batch_first=True)[0].mean(1)

    assert found(Packing(), (padded(), torch.tensor(LENGTHS))) == []


def test_lengths_are_found_in_the_batch():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.GRU(I, H, batch_first=True)

        def forward(self, x, lengths):
            return self.layer(x)[0][:, -1]

    x, lengths = padded(), torch.tensor(LENGTHS)
    for batch in ((x, lengths), {"x": x, "lengths": lengths}):
        (finding,) = gw.doctor(Masked(), batch).findings
        assert (finding.kind, finding.severity) == ("padding-read", "error")
    labels = torch.tensor([2, 0, 1, 6, 4])
    assert found(Masked(), (normal(B, T, I), labels)) == []


def test_zeros_inside_sequences_are_no_padding():
    x = torch.relu(normal(B, T, 1) - 0.5)
    x[0, -2:] = 0
    assert found(Model(nn.GRU(1, H, batch_first=True), last), x) == []
    counts = torch.relu(normal(B, T, 2) - 0.5)
    counts[0, -1], counts[1, 2] = 0, 0
    assert found(Model(nn.GRU(2, H, batch_first=True), last), counts) == []


# ---- 6: the last output of a bidirectional layer -----------------------------------------------


@either
def test_the_last_output_of_a_bidirectional_layer(make):
    model = Model(make.LSTM(I, H, batch_first=True, bidirectional=True), last, 2 * H)
    assert found(model, normal(B, T, I)) == ["last-of-bidirectional"]


def test_the_last_real_output_of_a_bidirectional_layer_with_lengths():
    layer = gw.nn.GRU(I, H, batch_first=True, bidirectional=True)
    model = Model(layer, last_real, 2 * H)
    call = {"call": lambda m, b: m(b, lengths=LENGTHS)}
    assert found(model, padded(), **call) == ["last-of-bidirectional"]


@either
def test_the_final_state_of_one_direction(make):
    model = Model(make.GRU(I, H, batch_first=True, bidirectional=True), lambda y, s: s[-1])
    assert found(model, normal(B, T, I)) == ["one-direction"]


# ---- 7: h_n taken for batch-first --------------------------------------------------------------

BATCH_FIRST_STATES = {
    "reshaped": ({"num_layers": 2}, lambda y, s: s.reshape(B, -1), 2 * H),
    "both directions reshaped": ({"bidirectional": True}, lambda y, s: s.view(B, -1), 2 * H),
    "last of the batch": ({"num_layers": 2}, lambda y, s: s[:, -1], H),
    "LSTM": ({"num_layers": 3}, lambda y, s: s[0].reshape(B, -1), 3 * H),
}


@either
@pytest.mark.parametrize("case", BATCH_FIRST_STATES.items(), ids=list(BATCH_FIRST_STATES))
def test_a_state_taken_for_batch_first(make, case):
    name, (options, read, features) = case
    layer = (make.LSTM if name == "LSTM" else make.GRU)(I, H, batch_first=True, **options)
    assert found(Model(layer, read, features), normal(B, T, I)) == ["state-batch-first"]


@either
def test_the_state_of_the_first_layer(make):
    model = Model(make.GRU(I, H, num_layers=2), lambda y, s: s[0])
    assert found(model, normal(T, B, I)) == ["first-layer"]


# ---- 9: stateful training ----------------------------------------------------------------------


@either
def test_a_carried_state_and_shuffled_data(make):
    data = TensorDataset(normal(2 * B, T, I))
    model = Carrying(make.GRU(I, H, batch_first=True), detached)
    call = {"call": lambda m, b: m(b[0])}
    shuffled = DataLoader(data, batch_size=B, shuffle=True)
    assert found(model, shuffled, **call) == ["stateful-shuffled"]
    in_order = gw.doctor(model, DataLoader(data, batch_size=B), **call)
    assert in_order.ok
    assert "must be reset" in in_order.notes[0]
    fresh = Model(make.GRU(I, H, batch_first=True), last)
    assert found(fresh, shuffled, **call) == []


# ---- 10: ports, and weights that are not seen --------------------------------------------------


def reordered(layer, order, count):
    """The weights with their gates in another order, as a careless port leaves them."""
    weights = {}
    for name, value in layer.state_dict().items():
        blocks = value.chunk(count)
        weights[name] = torch.cat([blocks[k] for k in order])
    return weights


PORTS = {
    "gate order": ("LSTM", (0, 1, 3, 2), "gates in the order i, f, o, g"),
    "gate order of a GRU": ("GRU", (1, 0, 2), "gates in the order z, r, n"),
}


@either
@pytest.mark.parametrize("case", PORTS.values(), ids=list(PORTS))
def test_a_port_that_loses_the_gate_order(make, case):
    name, order, says = case
    torch.manual_seed(0)
    original = getattr(nn, name)(I, H, num_layers=2, bidirectional=True)
    ported = getattr(make, name)(I, H, num_layers=2, bidirectional=True)
    ported.load_state_dict(reordered(original, order, len(order)))
    x = normal(T, B, I)
    expected = original(x)[0].detach()
    assert found(ported, x, expected=expected) == ["port"]
    assert says in gw.doctor(ported, x, expected=expected.numpy()).findings[0].seen
    ported.load_state_dict(original.state_dict())
    assert found(ported, x, expected=expected) == []


@either
def test_a_port_that_loses_the_variant_of_the_gru(make):
    original = gw.nn.Recurrent(gw.cells.gru_reset_before, I, H)
    weights = original.state_dict()
    merged = {
        "weight_ih_l0": weights["weight_ih_l0"],
        "bias_ih_l0": weights["bias_ih_l0"],
        **{
            f"{k}_hh_l0": torch.cat([weights[f"{k}_hh_l0"], weights[f"{k}_rh_l0"]])
            for k in ("weight", "bias")
        },
    }
    ported = make.GRU(I, H)
    ported.load_state_dict(merged)
    x = normal(T, B, I)
    (finding,) = gw.doctor(ported, x, expected=original(x)[0].detach()).findings
    assert "the reset gate before the product" in finding.seen
    assert "gru_reset_before" in finding.mend


def test_a_port_whose_update_gate_weighs_the_new_value():
    """Chung et al. 2014: h' = (1 - z) h + z n."""

    @gw.cell
    def other_gru(x, h):
        r = gw.sigmoid(gw.linear("r", x, h))
        z = gw.sigmoid(gw.linear("z", x, h))
        n = gw.tanh(gw.linear("n", x) + r * gw.linear("n", h))
        return (1 - z) * h + z * n

    original, ported, x = gw.nn.Recurrent(other_gru, I, H), nn.GRU(I, H), normal(T, B, I)
    ported.load_state_dict(original.state_dict())
    (finding,) = gw.doctor(ported, x, expected=original(x)[0].detach()).findings
    assert "an update gate that weighs the new value" in finding.seen


def test_a_held_gate_needs_no_weights():
    pinned = {"call": lambda m, x: m(x, pin=dict.fromkeys(("i", "f", "g", "o"), 0.5))}
    assert found(gw.nn.LSTM(I, H), normal(T, B, I), **pinned) == []


@either
def test_a_port_that_counts_the_bias_twice(make):
    original = nn.LSTM(I, H)
    with torch.no_grad():
        original.bias_hh_l0.zero_()
    ported = make.LSTM(I, H)
    ported.load_state_dict({**original.state_dict(), "bias_hh_l0": original.bias_ih_l0})
    x = normal(T, B, I)
    (finding,) = gw.doctor(ported, x, expected=original(x)[0].detach()).findings
    assert "the bias counted once" in finding.seen


def test_a_port_that_loses_the_bias():
    original, ported = nn.GRU(I, H), gw.nn.GRU(I, H)
    ported.load_state_dict(original.state_dict())
    with torch.no_grad():
        ported.bias_ih_l0.zero_(), ported.bias_hh_l0.zero_()
    x = normal(T, B, I)
    (finding,) = gw.doctor(ported, x, expected=original(x)[0].detach()).findings
    assert "every bias is zero or missing" in finding.seen


def test_ports_of_other_cells_are_compared_and_not_explained():
    layer, x = gw.nn.LSTM(I, H, layer_norm=True), normal(T, B, I)
    assert found(layer, x, expected=layer(x)[0].detach()) == []
    (finding,) = gw.doctor(layer, x, expected=layer(x)[0].detach() + 1).findings
    assert "no order of gates" in finding.seen


def test_expected_outputs_have_the_shape_of_the_models():
    with pytest.raises(ValueError, match=r"expected= has the shape \[2\]"):
        gw.doctor(gw.nn.GRU(I, H), normal(T, B, I), expected=torch.zeros(2))


@either
def test_weights_that_the_layer_never_sees(make):
    layer = make.LSTM(I, H)
    layer.register_parameter("weight_hh_l0_raw", nn.Parameter(torch.zeros(4 * H, H)))
    (finding,) = gw.doctor(layer, normal(T, B, I)).findings
    assert finding.kind == "weight-unseen"
    assert finding.seen.startswith("weight_hh_l0_raw: no gradient")


def test_a_weight_that_torchs_own_list_has_not():
    layer = nn.LSTM(I, H)
    layer._flat_weights[1] = layer.weight_hh_l0.detach().clone()
    assert found(layer, normal(T, B, I)) == ["weight-unseen"]


@either
def test_an_optimizer_that_holds_the_weights_of_before(make):
    model = Model(make.LSTM(I, H, batch_first=True), last)
    x, before = normal(B, T, I), torch.optim.SGD(model.parameters(), 0.1)
    assert found(model, x, optimizer=before) == []
    model.layer.weight_hh_l0 = nn.Parameter(torch.zeros(4 * H, H))
    assert found(model, x, optimizer=before) == ["weight-untrained"]
    assert found(model, x, optimizer=torch.optim.SGD(model.parameters(), 0.1)) == []
    only_head = torch.optim.SGD(model.head.parameters(), 0.1)
    assert found(model, x, optimizer=only_head) == []


@pytest.mark.parametrize("touch", ["prune", "weight norm", "parametrized", "frozen"])
def test_weights_that_are_touched_and_seen(touch):
    layer = gw.nn.LSTM(I, H)
    if touch == "prune":
        prune.random_unstructured(layer, "weight_hh_l0", 0.5)
    elif touch == "weight norm":
        parametrizations.weight_norm(layer, "weight_hh_l0")
    elif touch == "parametrized":
        parametrizations.spectral_norm(layer, "weight_hh_l0")
    else:
        layer.weight_hh_l0.requires_grad_(False)
    hooks = len(layer._forward_pre_hooks)
    assert gw.doctor(layer, normal(T, B, I)).ok
    assert len(layer._forward_pre_hooks) == hooks


# ---- the report, and what it cannot look at ----------------------------------------------------


def test_a_report_is_readable():
    model = Model(nn.LSTM(I, H, batch_first=True, bidirectional=True), last, 2 * H)
    report = gw.doctor(model, normal(B, T, I))
    assert not report.ok
    shown = repr(report)
    assert shown.startswith(
        "looked at layer 'layer': 1 mistake found\nwarning in layer 'layer' (last-of-bidirectional)"
    )
    assert "  seen: " in shown
    assert "  mend: " in shown


def test_models_without_recurrent_layers_are_refused():
    with pytest.raises(ValueError, match="has no recurrent layer"):
        gw.doctor(nn.Linear(I, H), normal(B, I))


def test_a_model_that_calls_no_recurrent_layer_is_refused():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.GRU(I, H)

        def forward(self, x):
            return x

    with pytest.raises(ValueError, match="called none of its recurrent layers"):
        gw.doctor(Idle(), normal(B, T, I))


def test_a_batch_that_the_model_does_not_take_says_how_to_call_it():
    model = Model(nn.GRU(I, H, batch_first=True), last)
    loader = DataLoader(TensorDataset(normal(B, T, I), torch.arange(B)), batch_size=B)
    with pytest.raises(TypeError) as caught:
        gw.doctor(model, loader)
    assert "ran the model on 2 arguments" in caught.value.__notes__[0]
    assert gw.doctor(model, loader, call=lambda m, batch: m(batch[0])).ok


def test_a_batch_of_one_sequence():
    assert found(Model(gw.nn.GRU(I, H, batch_first=True), last), normal(1, T, I)) == []


def test_a_model_of_other_random_numbers_is_not_accused_of_reading_padding():
    def read(output, state):
        return output[:, -1] * random.random() * np.random.rand()

    model = Model(nn.GRU(I, H, batch_first=True), read)
    before = random.getstate(), np.random.get_state()[2]
    report = gw.doctor(model, padded(), lengths=LENGTHS)
    assert (random.getstate(), np.random.get_state()[2]) == before
    assert report.ok
    assert "differs from run to run" in report.notes[0]


WRONG_ARGUMENTS = {
    "batch_dim": ({"batch_dim": 2}, "batch_dim should be 0 or 1"),
    "fractions": ({"lengths": [1.5] * B}, "lengths should be whole numbers"),
    "one length": ({"lengths": 3}, "lengths should be whole numbers"),
    "a negative length": ({"lengths": [-1] * B}, "lengths should be whole numbers from 0"),
    "lengths of others": ({"lengths": [1, 2]}, "lengths has 2 numbers.*the batch has 5 or 7"),
    "too long": ({"lengths": [99] * B}, "lengths has 99; the batch has 7 steps at most"),
    "words as lengths": ({"lengths": "abc"}, "lengths should be one whole number for each"),
    "words as output": ({"expected": "abc"}, "expected should be what the output should be"),
    "nothing to equal": ({"expected": [float("nan")]}, "expected has values that are not finite"),
    "no optimizer": ({"optimizer": "adam"}, r"a torch\.optim\.Optimizer, got str"),
    "no call": ({"call": 3}, "call should be a function of the model and the batch, got int"),
}


@pytest.mark.parametrize("case", WRONG_ARGUMENTS.values(), ids=list(WRONG_ARGUMENTS))
def test_wrong_arguments_are_refused(case):
    options, says = case
    with pytest.raises((ValueError, TypeError), match=says):
        gw.doctor(gw.nn.GRU(I, H, batch_first=True), padded(), **options)


def test_what_is_no_module_is_refused():
    with pytest.raises(TypeError, match=r"torch\.nn\.Module, got str"):
        gw.doctor("lstm", padded())
    with pytest.raises(TypeError, match="got GRU; give an object of the class"):
        gw.doctor(nn.GRU, padded())


@either
@pytest.mark.parametrize("batch", ["abc", None, 3, ["a", "b"], normal(T, B, I).numpy()], ids=str)
def test_what_is_no_batch_is_refused(make, batch):
    with pytest.raises(TypeError, match=r"ran the model on .*, and it raised: .*with call="):
        gw.doctor(make.GRU(I, H), batch)


def test_an_error_of_the_model_stays_its_own():
    for batch in (normal(T, B, I).double(), normal(T, B, I).to("meta"), (normal(T, B, 9),)):
        with pytest.raises((ValueError, RuntimeError)) as caught:
            gw.doctor(gw.nn.GRU(I, H), batch)
        assert "gatework.doctor ran the model on" in caught.value.__notes__[0]
    with pytest.raises(ValueError, match="the DataLoader has no batch"):
        gw.doctor(gw.nn.GRU(I, H), DataLoader([]))


def test_accelerated_models_are_looked_at():
    model = gw.accelerate(Model(nn.LSTM(I, H, batch_first=True, bidirectional=True), last, 2 * H))
    assert kinds(gw.doctor(model, normal(B, T, I))) == ["last-of-bidirectional"]


@either
@pytest.mark.parametrize("shape", [(T, 0, I), (0, I)])
def test_batches_of_no_sequence_are_refused(make, shape):
    layer = make.GRU(I, H) if len(shape) == 3 else make.GRUCell(I, H)
    with pytest.raises(ValueError, match="the batch has no sequences, or no steps"):
        gw.doctor(layer, normal(*shape))


# ---- 11: no gradient ---------------------------------------------------------------------------


@gw.cell
def spiking(x, h):
    return gw.where(gw.linear("v", x, h) > 0, 1.0, 0.0)


@gw.cell
def integrating(x, s, v):
    """Leaky integrate and fire: a spike, and a membrane that has a slope."""
    v = 0.9 * v * (1 - s) + gw.linear("i", x, s)
    return gw.where(v > 1, 1.0, 0.0), v


@gw.cell
def signs(x, h):
    return gw.sign(gw.linear("v", x, h))


def layer_of(cell):
    return gw.nn.Recurrent(cell, I, H)


class HandingOn(Model):
    def forward(self, x):
        output, state = self.layer(x)
        return self.head(output), state


class Stepping(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.step, self.head = gw.nn.RecurrentCell(cell, I, H), nn.Linear(H, CLASSES)

    def forward(self, x):
        state, rows = None, []
        for row in x:
            state = self.step(row, state)
            rows.append(self.head(state if torch.is_tensor(state) else state[0]))
        return torch.stack(rows)


def all_steps(output, state):
    return output


BLOCKED = {
    "spikes": lambda: layer_of(spiking),
    "spikes and a head": lambda: Model(layer_of(spiking), all_steps),
    "signs": lambda: layer_of(signs),
    "a membrane": lambda: layer_of(integrating),
    "a membrane and a head": lambda: Model(layer_of(integrating), all_steps),
    "a membrane that is handed on": lambda: HandingOn(layer_of(integrating), all_steps),
    "single steps": lambda: Stepping(spiking),
    "single steps with a membrane": lambda: Stepping(integrating),
    "behind a layer": lambda: nn.Sequential(
        nn.Linear(I, I), layer_of(spiking).requires_grad_(False)
    ),
}


@pytest.mark.parametrize("make", BLOCKED.values(), ids=list(BLOCKED))
def test_a_layer_through_which_no_gradient_passes(make):
    assert found(make(), normal(T, B, I)) == ["no-gradient"]


def zeroed(model):
    nn.init.zeros_(model.head.weight)
    return model


PASSING = {
    "the membrane is read": lambda: Model(layer_of(integrating), lambda y, s: s[1][-1]),
    "nothing is read yet": lambda: zeroed(Model(layer_of(spiking), all_steps)),
    "nothing learns": lambda: layer_of(spiking).requires_grad_(False),
    "half of it": lambda: layer_of(gw.cell(lambda x, h: gw.relu(gw.linear("v", x, h)))),
}


@pytest.mark.parametrize("make", PASSING.values(), ids=list(PASSING))
def test_layers_that_are_not_accused_of_it(make):
    assert found(make(), normal(T, B, I)) == []


@either
def test_saturated_units_pass_no_gradient(make):
    model = Model(make.RNN(I, H), all_steps)
    with torch.no_grad():
        model.layer.weight_hh_l0.mul_(0)
    x = normal(T, B, I)
    assert found(model, 1e6 * x) == ["no-gradient"]
    assert found(model, x) == []
    assert found(model, 0 * x) == []
    pinned = {"call": lambda m, b: m(b, pin={"r": 0.5, "z": 1.0, "n": 0.0})}
    assert found(gw.nn.GRU(I, H), x, **pinned) == []


# ---- 12: not finite ----------------------------------------------------------------------------


def spoilt(model, name):
    with torch.no_grad():
        model.get_parameter(name).view(-1)[3] = torch.nan
    return model


def relu_model(make, factor=1.0):
    layer = make.RNN(I, H, nonlinearity="relu")
    with torch.no_grad():
        layer.weight_hh_l0.fill_(factor)
    return Model(layer, all_steps)


NAN = float("nan")
NOT_FINITE = {
    "batch": (lambda m: Model(m.GRU(I, H), all_steps), NAN, "its input is not, as the batch is"),
    "infinite": (lambda m: Model(m.GRU(I, H), all_steps), torch.inf, "its input is not"),
    "single step": (lambda m: m.GRUCell(I, H), NAN, "its input is not, as the batch is not"),
    "weight": (
        lambda m: spoilt(Model(m.LSTM(I, H), all_steps), "layer.weight_hh_l0"), 1.0,
        "weight_hh_l0 is not"),
    "before it": (
        lambda m: spoilt(nn.Sequential(nn.Linear(I, I), m.GRU(I, H)), "0.weight"), 1.0,
        "its input is not, the batch is"),
    "behind it": (
        lambda m: spoilt(Model(m.LSTM(I, H), all_steps), "head.weight"), 1.0,
        "output is NaN in places, behind its recurrent layers"),
    "overflow": (
        lambda m: relu_model(m, 1e30), 1.0, "they grow beyond what float32 holds"),
}  # fmt: skip


@either
@pytest.mark.parametrize("case", NOT_FINITE.values(), ids=list(NOT_FINITE))
def test_what_is_not_finite_is_said_to_be(make, case):
    model, factor, says = case
    torch.manual_seed(0)
    model, x = model(make), factor * normal(T, B, I)
    x = x[0] if isinstance(model, MAKERS["torch"].RNNCellBase | gw.nn.RecurrentCell) else x
    report = gw.doctor(model, x, expected=torch.zeros(1), lengths=None)
    (finding,) = report.findings
    assert (finding.kind, finding.severity) == ("not-finite", "error")
    assert says in finding.seen
    assert not report.ok


@either
def test_what_may_be_infinite_is_not_accused(make):
    class Masked(Model):
        def forward(self, x):
            mask = torch.tensor([0.0, 0.0, -torch.inf])
            return super().forward(x.nan_to_num()) + mask

    x = normal(T, B, I)
    x[0, 0, 0] = torch.nan
    assert found(Masked(make.GRU(I, H), all_steps), x) == []


def test_random_numbers_go_on_as_if_nothing_had_been():
    layer = gw.nn.LSTM(I, H, num_layers=2, dropout=0.5)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    gw.doctor(layer, normal(T, B, I))
    assert torch.equal(torch.rand(3), expected)
    data = DataLoader(TensorDataset(normal(T, B, I)), batch_size=T, shuffle=True)
    torch.manual_seed(5)
    gw.doctor(layer, data)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("nested", [False, True])
def test_sequences_one_by_one_are_told_the_way_out(nested):
    batch = [normal(4, I), normal(2, I)]
    if nested:
        batch = torch.nested.as_nested_tensor(batch, layout=torch.jagged)
    with pytest.raises(TypeError, match=r"was given (list|a nested tensor); .*lengths="):
        gw.doctor(Model(gw.nn.GRU(I, H), lambda y, h: h[-1]), (batch,))
