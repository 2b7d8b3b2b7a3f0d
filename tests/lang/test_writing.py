"""What is no cell's data is refused; every cell's own is tested by the battery of cells."""

import copy

import pytest

import gatework as gw
from gatework.lang.writing import cell_as_data, cell_of_data


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("nodes"),
        lambda d: d["nodes"].append(["call", "os.system", []]),
        lambda d: d["nodes"].append(["apply", "system", [0]]),
        lambda d: d["nodes"].append(["symbol", "y", "stranger", "hidden"]),
        lambda d: d["nodes"].append(["reduce", "product", 0]),
        lambda d: d["nodes"].append(["apply", "add", [0, 10_000]]),
        lambda d: d["nodes"].append(["apply", "add", [0, 1]]),  # of two sizes
        lambda d: d["nodes"].append(["product", ["ih", "z", "hidden", "other"], 0, False]),
        lambda d: d["nodes"].append("apply"),
        lambda d: d.update(input=len(d["nodes"]) - 1),
        lambda d: d.update(next=[10_000]),
        lambda d: d.update(next=None),
        lambda d: d.update(parameters=[["weight_ih"]]),
        lambda d: d.update(noises=[[0, "often"]]),
    ],
)
def test_other_data_are_refused(change):
    data = copy.deepcopy(cell_as_data(gw.cells.gru))
    change(data)
    with pytest.raises(ValueError, match="these are not the equations of a cell"):
        cell_of_data(data)
