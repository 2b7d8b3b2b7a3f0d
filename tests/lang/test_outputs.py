"""An output that is no state: how it is written, what it is called, what rewriting leaves."""

import json
import pickle

import pytest

import gatework as gw
from gatework import DefinitionError, cell, linear, rewriting, tanh
from gatework.analysis.gates import named_gates
from gatework.lang.writing import cell_as_data, cell_of_data


@cell(output=True)
def elman(x, h):
    h = tanh(linear("h", x, h))
    return linear("y", h, size="words"), h


@cell(output=True)
def gated(x, h, c):
    o = gw.sigmoid(linear("o", x, h))
    c = 0.5 * c + tanh(linear("g", x))
    return o * tanh(c), (tanh(linear("h", x, h)), c)


def test_the_output_has_a_name_and_a_size_of_its_own():
    assert elman.output_name == "output"
    assert elman.output_value is elman.names["output"] is elman.names["y"]
    assert elman.output_value.size == "words"
    assert elman.results() == (*elman.next_states, elman.output)
    assert elman.result_names() == ("h", "output")
    assert list(elman.observables()) == ["y"]
    assert elman.size_names() == ("words",)


def test_without_one_the_first_new_state_is_the_output():
    lstm = gw.cells.lstm
    assert lstm.output is None
    assert (lstm.output_name, lstm.output_value) == ("h", lstm.next_states[0])
    assert lstm.results() == lstm.next_states


def test_a_gate_of_the_output_alone_is_a_gate():
    assert list(named_gates(gated)) == ["o"]


def test_no_state_has_the_special_place_of_the_output():
    @cell(output=True)
    def named_by_its_state(x, s):
        s = tanh(linear("s", x, s))
        return s, s

    assert [p.name for p in named_by_its_state.parameters] == [
        "weight_ih", "bias_ih", "weight_sh", "bias_sh",
    ]  # fmt: skip
    assert not gw.equivalent(named_by_its_state, gated)
    assert gw.equivalent(named_by_its_state, gw.cells.rnn)


def test_a_single_state_may_stand_in_a_tuple():
    @cell(output=True)
    def tupled(x, h):
        h = tanh(linear("h", x, h))
        return linear("y", h, size="words"), (h,)

    assert gw.equivalent(tupled, elman)


def test_cells_with_other_outputs_are_told_apart():
    assert not gw.equivalent(elman, elman.changing({"output": lambda y: 2 * y}))
    assert gw.equivalent(elman, elman.changing({"output": lambda y: 3 * y - y - y}))


def test_the_output_is_pinned_and_its_parameters_go():
    silent = elman.pin(output=0)
    assert silent.output.size == "words"
    assert [p.name for p in silent.parameters] == ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    assert silent.next_states == elman.next_states


def test_pickle_and_data_keep_it():
    for same in (
        pickle.loads(pickle.dumps(elman)),
        cell_of_data(json.loads(json.dumps(cell_as_data(elman, elman.names)))),
    ):
        assert same.output is elman.output
        assert same.names == elman.names


def test_data_of_a_time_before_outputs_is_read():
    data = cell_as_data(gw.cells.gru)
    del data["output"]
    assert gw.equivalent(cell_of_data(data), gw.cells.gru)


def test_a_cell_inside_gives_its_output_first():
    @cell(output=True)
    def outer(x, h, c):
        y, (h, c) = gated.equations(x, h, c, prefix="in")
        return 2 * y, (h, c)

    @cell(output=True)
    def of_one(x, h):
        y, h = elman.equations(x, h, prefix="in")
        return y, h

    assert "in_output" in outer.names
    assert gw.equivalent(outer, gated.changing({"output": lambda y: 2 * y}))
    assert gw.equivalent(of_one, elman)


def test_zoneout_mixes_states_and_leaves_the_output():
    zoned = rewriting.zoneout(gated, 0.3)
    assert zoned.output is gated.output
    assert zoned.next_states != gated.next_states
    with pytest.raises(ValueError, match="has no state named 'output'; it has h, c"):
        rewriting.zoneout(gated, {"output": 0.3})


def test_layer_norm_reaches_the_maps_of_the_output_and_every_memory_that_it_reads():
    names = {p.name for p in rewriting.layer_norm(elman).parameters}
    assert {"norm_h_weight", "norm_y_weight"} <= names
    assert "norm_c_weight" in {p.name for p in rewriting.layer_norm(gated).parameters}


def test_a_map_of_the_output_alone_is_not_recurrent():
    @cell(output=True)
    def leaky(x, h):
        h = 0.5 * h + linear("i", x)
        return linear("y", h), h

    with pytest.raises(ValueError, match="no matrix of cell 'leaky' reads a state"):
        rewriting.recurrent_dropout(leaky, 0.5)


def test_the_equations_show_it():
    assert [*gw.explain(gated).equations] == [
        "o = sigmoid(W_ih[o]·x + bias_ih.o + W_hh[o]·h + bias_hh.o)",
        "g = tanh(W_ih[g]·x + bias_ih.g)",
        "c' = 0.5 * c + g",
        "output = o * tanh(c')",
        "h' = tanh(W_ih[h]·x + bias_ih.h + W_hh[h]·h + bias_hh.h)",
    ]


# ---- errors ------------------------------------------------------------------------------------


def refused(function, **options):
    with pytest.raises(DefinitionError) as found:
        cell(**options)(function)
    return str(found.value)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x, h: h, "and then its new states, return y, h; this one returns one value"),
        (lambda x, h, c: (h, h, c), "return y, (h, c); this one returns 3 values"),
        (lambda x, h: (None, h), "the cell returns None as its output; return y, h"),
        (lambda x, h, c: (h, h), "the cell has 2 state(s) (h, c) but returns 1 value(s)"),
        (lambda x, h, c: (h, (h, (h, c))), "return one new value for each state, in their order"),
        (lambda x, output: (x, output), "'output' is what the output is called; rename the arg"),
        (
            lambda x, h: (2 * linear("output", x), h),
            "'output' is what the output is called, and names another value; rename that",
        ),
    ],
)
def test_what_is_no_output_and_states_is_refused(function, message):
    assert message in refused(function, output=True)


@pytest.mark.parametrize(
    "function", [lambda x, h: (linear("y", x), h), lambda x, h, c: (h, (h, c))]
)
def test_an_output_that_was_not_announced_is_explained(function):
    assert "an output that is no state stands apart, return y, states" in refused(function)


def test_output_is_a_flag():
    assert "it is True or False, got 'y'" in refused(lambda x, h: (h, h), output="y")
