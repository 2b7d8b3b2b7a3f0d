"""The catalogue has every cell that is written."""

import pkgutil
from importlib import import_module

from gatework import cells
from gatework.lang import Cell
from gatework.lang.axes import slots
from gatework.lang.expressions import postorder


def test_every_cell_that_is_written_is_listed():
    modules = [m.name for m in pkgutil.iter_modules(cells.__path__, "gatework.cells.")]
    found = {n for m in modules for n, v in vars(import_module(m)).items() if isinstance(v, Cell)}
    assert found == set(cells.catalogue())


def test_every_cell_belongs_to_one_family():
    listed = [name for family in cells.families().values() for name in family.names]
    for name in cells.catalogue():
        assert listed.count(name) == 1, (
            f"the cell {name!r} stands in {listed.count(name)} families: write its name once, in "
            "the family of src/gatework/cells/family.py whose idea it shares"
        )
    unknown = set(listed) - set(cells.catalogue())
    assert not unknown, f"src/gatework/cells/family.py names cells that are not there: {unknown}"


def test_a_cell_that_is_linear_in_its_state_stands_among_the_scans():
    """By factors that read none. So are many matrix memories, where what they hold counts more."""
    families = cells.families()
    linear = {name for name, cell in cells.catalogue().items() if is_linear(cell)}
    assert linear <= {*families["scan"].names, *families["matrix"].names}


def test_matrix_memories_hold_keys_and_values_mostly_for_each_head():
    def holding(axes):
        return {
            name
            for name, cell in cells.catalogue().items()
            if any(len(slots(state.size)) - slots(state.size).count("1") >= axes
                   for state in cell.states)
        }  # fmt: skip

    assert holding(3) <= set(cells.families()["matrix"].names) <= holding(2)


def test_cells_of_irregular_steps_read_something_beside_their_input():
    further = {name for name, cell in cells.catalogue().items() if cell.further}
    assert set(cells.families()["time"].names) <= further


def is_linear(cell):
    """Whether every new state is linear in the old ones, by factors that read none.

    A state that only holds what the step before made of its input counts as input.
    """
    new = dict(zip(cell.states, cell.next_states, strict=True))
    carried = {state for state, value in new.items() if set(new) & set(postorder((value,)))}
    return all(degree(new[state], carried) == 1 for state in carried)


def degree(value, states):
    """0 for a value that reads no state, 1 for one that is linear in them, else 2."""
    if value in states:
        return 1
    degrees = [degree(part, states) for part in value.args]
    if not any(degrees):
        return 0
    match getattr(value, "function", "add"):
        case "mul":
            return sum(degrees)
        case "div":
            return degrees[0] + 2 * degrees[1]
        case "add" | "sub" | "neg" | "sum":
            return max(degrees)
    return 2
