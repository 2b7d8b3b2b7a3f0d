"""What parameters start from, and which are known: in the cell, in what is made of it, copied."""

import json
import pickle

import pytest

import gatework as gw
from gatework import DefinitionError, cell, linear, rewriting, tanh, vector, weight
from gatework.lang.definition import LOST, Start
from gatework.lang.writing import cell_as_data, cell_of_data


def rising(n):
    return [k + 1 for k in range(n)]


def ones(rows, columns):
    return [[1.0] * columns] * rows


@cell
def known(x, h):
    u = weight("u", init=ones, learned=False)
    return vector("a", rising) * tanh(linear("n", x) + u(h)) + vector("b", 0.5, learned=False) * h


def told(found):
    return {p.name: (p.init, p.learned) for p in found.parameters}


STARTS = {
    "weight_ih": (None, True),
    "bias_ih": (None, True),
    "weight_u": (Start(ones), False),
    "a": (Start(rising), True),
    "b": (0.5, False),
}


def test_the_cell_says_what_its_parameters_start_from():
    assert told(known) == STARTS


def test_pinning_and_a_cell_inside_keep_it():
    assert told(known.pin(n=0)) == {"b": STARTS["b"]}
    assert told(known.changing({"n": lambda n: 2 * n})) == STARTS

    @cell
    def outer(x, h):
        return known.equations(x, h, prefix="in")

    renamed = {"weight_in_ih", "bias_in_ih", "weight_in_u", "in_a", "in_b"}
    assert told(outer) == dict(zip(told(outer), STARTS.values(), strict=True))
    assert set(told(outer)) == renamed


def test_a_pickle_keeps_functions_that_have_a_name():
    assert told(pickle.loads(pickle.dumps(known))) == STARTS


def test_a_lambda_is_lost_in_a_pickle():
    @cell
    def unnamed(x, h):
        return vector("a", lambda n: rising(n)) * tanh(linear("n", x, h))

    assert told(pickle.loads(pickle.dumps(unnamed)))["a"] == (LOST, True)


def test_data_say_what_is_known_and_hold_no_function():
    data = json.loads(json.dumps(cell_as_data(known)))
    lost = {n: (LOST if isinstance(i, Start) else i, learned) for n, (i, learned) in STARTS.items()}
    assert told(cell_of_data(data)) == lost


def test_data_of_a_time_before_starts_are_read():
    data = cell_as_data(gw.cells.gru)
    data["parameters"] = [p[:4] for p in data["parameters"]]
    assert told(cell_of_data(data)) == told(gw.cells.gru)


def test_where_learned_parameters_start_is_no_part_of_the_equations():
    @cell
    def other(x, h):
        u = weight("w", init=ones, learned=False)
        b = vector("c", 0.5, learned=False)
        return vector("d", 3.0) * tanh(linear("m", x) + u(h)) + b * h

    @cell
    def other_numbers(x, h):
        u = weight("u", init=rising_matrix, learned=False)
        b = vector("b", 0.5, learned=False)
        return vector("a", rising) * tanh(linear("n", x) + u(h)) + b * h

    @cell
    def all_learned(x, h):
        u = weight("u")
        return vector("a") * tanh(linear("n", x) + u(h)) + vector("b") * h

    assert gw.equivalent(known, other)
    assert not gw.equivalent(known, other_numbers)
    assert not gw.equivalent(known, all_learned)


def rising_matrix(rows, columns):
    return [rising(columns)] * rows


def test_known_weights_are_not_dropped():
    @cell
    def two(x, h):
        return tanh(linear("n", x, h) + weight("u", learned=False)(h))

    assert [d.parameter for d in rewriting.weight_drop(two, 0.5).weight_drops] == ["weight_hh"]
    with pytest.raises(ValueError, match="no recurrent matrix of cell 'known' is learned"):
        rewriting.weight_drop(known, 0.5)


def test_what_is_known_is_told_apart_in_the_cost():
    cost = gw.explain(known, input_size=3, hidden_size=4).cost
    assert "parameters: 20 (80 bytes in float32)" in cost
    assert "known numbers: 20 (80 bytes in float32)" in cost
    assert not [line for line in gw.explain(gw.cells.gru).cost if line.startswith("known")]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x, h: vector("a", [1.0]) * h, "one for each, init=lambda n: …; got list"),
        (
            lambda x, h: weight("a", init=[[1.0]])(h),
            "one for each, init=lambda rows, columns: …; got list",
        ),
        (lambda x, h: vector("a", lambda: 1) * h, "calls its init with 1 int(s), init=lambda n: …"),
        (lambda x, h: weight("a", init=rising)(h), "with 2 int(s), init=lambda rows, columns: …"),
        (lambda x, h: gw.scalar("a", rising) * h, "one finite number, init=0.5; got function"),
        (lambda x, h: vector("a", learned=0) * h, "is learned or not, learned=False; got 0"),
        (lambda x, h: weight("a", learned="no")(h), "is learned or not, learned=False; got 'no'"),
        (lambda x, h: vector("a", float("nan")) * h, "one finite number, init=0.5"),
    ],
)
def test_what_is_no_start_is_refused(function, message):
    with pytest.raises(DefinitionError) as found:
        cell(function)
    assert message in str(found.value)


def test_a_function_without_a_signature_is_taken():
    @cell
    def odd(x, h):
        return vector("a", dict.fromkeys) * tanh(linear("n", x, h))

    assert told(odd)["a"] == (Start(dict.fromkeys), True)
