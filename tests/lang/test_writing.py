"""Every cell can be written as data and read back; what is no cell's data is refused.

The battery of cells does it with every cell of the catalogue.
"""

import json
from dataclasses import fields

import hypothesis.strategies as st
import pytest
from hypothesis import given

import gatework as gw
from as_written import as_written
from gatework.lang.writing import cell_as_data, cell_of_data
from random_cells import random_cells

CATALOGUE = gw.cells.catalogue()


def read_back(cell):
    return cell_of_data(json.loads(json.dumps(cell_as_data(cell))))


def assert_same(other, cell):
    kept = as_written(cell)
    for field in fields(cell):
        if field.name != "retrace":
            assert getattr(other, field.name) == getattr(kept, field.name), field.name


@given(cell=random_cells(noise=True))
def test_a_random_cell_is_read_back(cell):
    assert_same(read_back(cell), cell)


@given(name=st.sampled_from(sorted(CATALOGUE)), number=st.floats(-2, 2), data=st.data())
def test_a_pinned_cell_is_read_back(name, number, data):
    cell = CATALOGUE[name]
    pinned = cell.pin({data.draw(st.sampled_from(sorted(cell.names))): number})
    assert_same(read_back(pinned), pinned)


def test_what_is_made_of_a_cell_is_read_back():
    words = gw.rewriting
    noisy = words.zoneout(words.weight_drop(gw.cells.lstm, 0.3), {"c": 0.1})
    assert read_back(noisy).weight_drops
    assert read_back(noisy).noises

    @gw.cell(repeat="depth")
    def deep(x, h, *past, depth=3):
        """Looks back three steps, through one weight."""
        u = gw.weight("u")
        gate = gw.sigmoid(gw.linear("f", x) + gw.vector("p", 0.25) * u(past[-1]) + u(h))
        return gate * gw.stop(h) + gw.scalar("a", 2.0), h, *past[:-1]

    for cell in (noisy, deep, deep(depth=2)):
        assert_same(read_back(cell), cell)


def test_the_function_is_not_there_any_more():
    with pytest.raises(TypeError, match="its constants are fixed"):
        read_back(gw.cells.cornn)(dt=0.02)


def with_row(*row):
    """One more expression, which a name makes part of the cell."""

    def change(data):
        data["nodes"].append(list(row))
        data["names"]["more"] = len(data["nodes"]) - 1

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("nodes"),
        with_row("call", "os.system", []),
        with_row("apply", "system", [0]),
        with_row("apply", ["add"], [0, 0]),
        with_row("apply", "add", [0]),
        with_row("apply", "sigmoid", [0, 0]),
        with_row("apply", "pow", [0, 0]),
        with_row("apply", "add", [0, 10_000]),
        with_row("apply", "add", [0, -1]),
        with_row("apply", "add", [0, 1.0]),
        with_row("apply", "add", [0, 1]),  # of two sizes
        with_row("symbol", "y", "stranger", "hidden"),
        with_row("symbol", "y", "state", "hidden"),
        with_row("symbol", "y", "parameter", "hidden"),
        with_row("symbol", "bias_ih.r", "parameter", "input"),
        with_row("symbol", "y\x1b", "state", "hidden"),
        with_row("symbol", "bias_ih.", "parameter", "hidden"),
        with_row("const", float("nan"), "hidden"),
        with_row("const", 10**400, "hidden"),
        with_row("const", "1", "hidden"),
        with_row("const", True, "hidden"),
        with_row("count", "a size"),
        with_row("count", "input + input"),
        with_row("count", 3),
        with_row("reduce", "product", 0, "1"),
        with_row("reduce", "sum", 0, "hidden"),
        with_row("product", ["ih", "z", "hidden", "other"], 0, False),
        with_row("product", ["ih", "other", "hidden", "input"], 0, False),
        with_row("product", ["ih", "z", "hidden", "input"], 0, 2),
        with_row("product", ["ih", "z", "hidden"], 0, False),
        lambda d: d["nodes"].append("apply"),
        lambda d: d.update(input=len(d["nodes"]) - 1),
        lambda d: d.update(input=d["states"][0]),
        lambda d: d.update(states=[d["input"]]),
        lambda d: d.update(states=[], next=[]),
        lambda d: d.update(states=d["states"] * 2, next=d["next"] * 2),
        lambda d: d.update(next=[10_000]),
        lambda d: d.update(next=None),
        lambda d: d.update(next=[]),
        lambda d: d.update(next=[d["input"]]),
        lambda d: d.update(output=10_000),
        lambda d: d.update(name=3),
        lambda d: d.update(doc=None),
        lambda d: d["names"].update({"a b": 0}),
        lambda d: d.update(parameters=[["weight_ih"]]),
        lambda d: d.update(parameters=[]),
        lambda d: d.update(parameters=d["parameters"] * 2),
        lambda d: d["parameters"][0].__setitem__(0, "a.b"),
        lambda d: d["parameters"][0].__setitem__(1, ["r", "r", "n"]),
        lambda d: d["parameters"][0].__setitem__(2, ["hidden"]),
        lambda d: d["parameters"][0].__setitem__(4, float("inf")),
        lambda d: d.update(noises=[[0, "often"]]),
        lambda d: d.update(noises=[[0, 0.5]]),  # the input
        lambda d: d.update(weight_drops=[["weight_hh", ["r"], 1.5]]),
        lambda d: d.update(weight_drops=[["weight_hh", ["other"], 0.5]]),
        lambda d: d.update(constants={"dt": "often"}),
        lambda d: d.update(constants=[1]),
    ],
)
def test_other_data_are_refused(change):
    data = json.loads(json.dumps(cell_as_data(gw.cells.gru)))
    change(data)
    with pytest.raises(ValueError, match="these are not the equations of a cell"):
        cell_of_data(data)


def test_what_is_too_deep_is_refused():
    data = json.loads(json.dumps(cell_as_data(gw.cells.slstm)))
    nodes, row = data["nodes"], data["next"][0]
    nodes.append(["reduce", "sum", row, "1"])
    number = len(nodes) - 1
    for _ in range(5_000):
        nodes.append(["apply", "mul", [row, number]])
        row = len(nodes) - 1
    nodes.append(["reduce", "sum", row, "1"])
    with pytest.raises(ValueError, match="too deep"):
        cell_of_data(data)
