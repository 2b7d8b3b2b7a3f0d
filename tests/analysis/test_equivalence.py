"""`equivalent`: true for what algebra shows to be equal, false for everything else."""

import pytest

import gatework as gw
from gatework import cell, linear, sigmoid, tanh, vector


def test_the_statement_of_the_project():
    """With r = 1 and z = 0 the GRU is the vanilla RNN, and with no other z."""
    gru, rnn = gw.cells.gru, gw.cells.rnn
    assert gw.equivalent(gru.pin(r=1, z=0), rnn)
    assert gw.equivalent(rnn, gru.pin(r=1, z=0))
    for pins in ({"r": 1, "z": 0.5}, {"r": 1, "z": 1}, {"r": 0, "z": 0}, {"r": 1}, {"z": 0}):
        assert not gw.equivalent(gru.pin(pins), rnn), pins
    assert not gw.equivalent(gru, rnn)
    assert gw.equivalent(gw.cells.gru_reset_before.pin(r=1, z=0), rnn)


def lstm_like(step):
    """A cell with the LSTM's gates and another last step."""

    def function(x, h, c):
        gates = [act(linear(n, x, h)) for n, act in
                 (("i", sigmoid), ("f", sigmoid), ("g", tanh), ("o", sigmoid))]  # fmt: skip
        return step(*gates, c)

    return cell(function)


SAME_AS_LSTM = {
    "the same": lambda i, f, g, o, c: (o * tanh(f * c + i * g), f * c + i * g),
    "reordered": lambda i, f, g, o, c: (tanh(g * i + c * f) * o, i * g + c * f),
    "expanded": lambda i, f, g, o, c: (o * tanh(2 * f * c - f * c + i * g), (f * c + i * g) * 1),
    "gates swapped in name only": lambda i, f, g, o, c: (f * tanh(o * c + i * g), o * c + i * g),
    "minus minus": lambda i, f, g, o, c: (o * tanh(f * c - -i * g), f * c - i * -g),
}
OTHER_THAN_LSTM = {
    "swapped gate": lambda i, f, g, o, c: (o * tanh(f * c + i * g), i * c + f * g),
    "no tanh": lambda i, f, g, o, c: (o * (f * c + i * g), f * c + i * g),
    "other sign": lambda i, f, g, o, c: (o * tanh(f * c - i * g), f * c - i * g),
    "candidate for gate": lambda i, f, g, o, c: (g * tanh(f * c + i * o), f * c + i * o),
    "coupled": lambda i, f, g, o, c: (o * tanh(f * c + (1 - f) * g), f * c + i * g),
    "factor": lambda i, f, g, o, c: (o * tanh(f * c + i * g), f * c + 1.0000001 * i * g),
    "states exchanged": lambda i, f, g, o, c: (f * c + i * g, o * tanh(f * c + i * g)),
}


@pytest.mark.parametrize("step", SAME_AS_LSTM.values(), ids=list(SAME_AS_LSTM))
def test_rewritten_forms_are_equivalent(step):
    assert gw.equivalent(lstm_like(step), gw.cells.lstm)
    assert gw.equivalent(gw.cells.lstm, lstm_like(step))


@pytest.mark.parametrize("step", OTHER_THAN_LSTM.values(), ids=list(OTHER_THAN_LSTM))
def test_other_cells_are_told_apart(step):
    other = lstm_like(step)
    assert not gw.equivalent(other, gw.cells.lstm)
    assert not gw.equivalent(gw.cells.lstm, other)


def define(function, **options):
    return cell(**options)(function) if options else cell(function)


EQUAL = {
    "distributed": (
        lambda x, h: tanh(linear("a", x)) * (1 - h),
        lambda x, h: tanh(linear("b", x)) - h * tanh(linear("b", x)),
    ),
    "square": (
        lambda x, h: (tanh(linear("a", x)) + h) ** 2,
        lambda x, h: tanh(linear("a", x)) * (tanh(linear("a", x)) + 2 * h) + h * h,
    ),
    "names of arguments": (
        lambda x, h: tanh(linear("a", x, h)),
        lambda inp, state: tanh(linear("a", state, inp)),
    ),
    "order of vectors": (
        lambda x, h: vector("p") * tanh(linear("a", x)) + vector("q") * h,
        lambda x, h: vector("p") * h + vector("q") * tanh(linear("a", x)),
    ),
    "minimum": (
        lambda x, h: gw.minimum(tanh(linear("a", x)), h),
        lambda x, h: gw.minimum(h, tanh(linear("a", x))),
    ),
    "names of dropout": (
        lambda x, h: gw.dropout(h, 0.5) + gw.dropout(tanh(linear("a", x)), 0.3),
        lambda x, h: gw.dropout(tanh(linear("a", x)), 0.3) + gw.dropout(h, 0.5),
    ),
}
DIFFERENT = {
    "shared weight": (
        lambda x, h: sigmoid(linear("a", x)) * tanh(linear("b", x)),
        lambda x, h: sigmoid(linear("a", x)) * tanh(linear("a", x)),
    ),
    "shared vector": (
        lambda x, h: vector("p") * tanh(linear("a", x)) + vector("p2") * h,
        lambda x, h: (p := vector("p")) * tanh(linear("a", x)) + p * h,
    ),
    "what a map reads": (
        lambda x, h: tanh(linear("a", x) + linear("b", h)),
        lambda x, h: tanh(linear("a", x) + linear("b", x)),
    ),
    "transposed": (
        lambda x, h: tanh(linear("a", x, h)),
        lambda x, h: tanh(linear("a", x) + linear("a", h, transposed=True)),
    ),
    "bias": (
        lambda x, h: tanh(linear("a", x, h)),
        lambda x, h: tanh(linear("a", x, h, bias=False)),
    ),
    "vector for scalar": (
        lambda x, h: vector("p") * tanh(linear("a", x)),
        lambda x, h: gw.scalar("p") * tanh(linear("a", x)),
    ),
    "order of division": (
        lambda x, h: tanh(linear("a", x)) / (1 + h * h),
        lambda x, h: (1 + h * h) / tanh(linear("a", x)),
    ),
    "order of where": (
        lambda x, h: gw.where(h > 0, h, tanh(linear("a", x))),
        lambda x, h: gw.where(h > 0, tanh(linear("a", x)), h),
    ),
    "strictness": (
        lambda x, h: gw.where(h > 0, h, tanh(linear("a", x))),
        lambda x, h: gw.where(h >= 0, h, tanh(linear("a", x))),
    ),
    "probability": (
        lambda x, h: gw.dropout(tanh(linear("a", x)), 0.5),
        lambda x, h: gw.dropout(tanh(linear("a", x)), 0.4),
    ),
    "noise per step": (
        lambda x, h: gw.dropout(tanh(linear("a", x)), 0.5),
        lambda x, h: gw.dropout(tanh(linear("a", x)), 0.5, per="sequence"),
    ),
    "mean for sum": (
        lambda x, h: tanh(linear("a", x)) * gw.mean(h),
        lambda x, h: tanh(linear("a", x)) * gw.sum(h),
    ),
    "more states": (
        lambda x, h: tanh(linear("a", x, h)),
        lambda x, h, c: (tanh(linear("a", x, h)), c),
    ),
}


@pytest.mark.parametrize(("one", "other"), EQUAL.values(), ids=list(EQUAL))
def test_equal_cells_are_equivalent_both_ways(one, other):
    one, other = cell(one), cell(other)
    assert gw.equivalent(one, other)
    assert gw.equivalent(other, one)


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=list(DIFFERENT))
def test_different_cells_are_told_apart_both_ways(one, other):
    one, other = cell(one), cell(other)
    assert not gw.equivalent(one, other)
    assert not gw.equivalent(other, one)


def test_a_state_of_another_size_is_another_cell():
    assert not gw.equivalent(gw.cells.projected_lstm, gw.cells.lstm)


def test_limits_of_gates_give_simpler_cells():
    cells = gw.cells.catalogue()
    without_peepholes = cells["peephole_lstm"].pin(
        dict.fromkeys(("i", "f", "o"), 0.5)
    )  # the peepholes vanish with the gates that see them
    assert gw.equivalent(without_peepholes, cells["lstm"].pin(i=0.5, f=0.5, o=0.5))
    assert gw.equivalent(cells["lstm"].pin(f=1), cells["original_lstm"])


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "gru_reset_before", "peephole_lstm"])
def test_each_gate_of_a_cell_pinned_is_another_cell(name):
    whole = gw.cells.catalogue()[name]
    for gate in whole.observables():
        assert not gw.equivalent(whole.pin({gate: 0.5}), whole), gate


def test_a_weight_and_its_transpose_do_not_cancel():
    both = cell(lambda x, h: tanh(linear("a", x, h) - linear("a", h, transposed=True)))
    neither = cell(lambda x, h: tanh(linear("a", x)))
    assert not gw.equivalent(both, neither)
