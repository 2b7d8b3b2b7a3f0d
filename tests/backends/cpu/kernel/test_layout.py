"""Where everything lies that a kernel reads and writes: states, sequences, packed matrices."""

import pytest

from gatework import cells
from gatework.backends.cpu.kernel.layout import lay_out
from gatework.backends.cpu.kernel.setting import ROW_BLOCK, Setting
from gatework.backends.cpu.vector.target import Target
from gatework.compiler.plan import plan
from gatework.compiler.program import program
from gatework.compiler.recurrence import Recurrence
from gatework.lang.expressions import Matrix, apply, expand, product, reduce, symbol

TARGET = Target("any", "any", "", vector_bytes=32, registers=16)  # 8 floats, 2 vectors a tile
SIZES = {"1": 1, "input": 3, "hidden": 21}


def laid_out(made, ragged=False, merged=False, weights="packed", skip=()):
    setting = Setting(TARGET, "float", SIZES, 2, ragged, merged, weights)
    return lay_out(made, setting, frozenset(skip))


# ---- states and the sequences that are a part of them ------------------------------------------


def memory_of(layout):
    """How each state is kept, and which sequences are its rows, in lines."""
    lines = [f"{name}: {storage}" for name, storage in layout.states.items()]
    aliases = layout.aliases.items()
    lines += [f"{n} = {'new' if new else 'old'} rows of {state}" for n, (state, new) in aliases]
    return "\n".join(lines)


DOUBLE = "h: double"
TRAJECTORY = "h: trajectory\nprevious_h = old rows of h"
LSTM = "h: double\nc: single"
LSTM_TRAJECTORIES = """\
h: trajectory
c: trajectory
previous_h = old rows of h
previous_c = old rows of c
c = new rows of c"""

MEMORY = {  # cell, plan -> in calls of equal lengths, of unequal lengths
    # every unit reads the whole row h of the step before, so that the new one lies elsewhere
    ("rnn", "forward"): (DOUBLE, DOUBLE),
    ("gru", "forward"): (DOUBLE, DOUBLE),
    # a unit of c reads that unit alone
    ("lstm", "forward"): (LSTM, LSTM),
    # here h' is stored a stage after the last product has read h
    ("gru_reset_before", "forward"): ("h: single", "h: single"),
    # the output h is handed out, so the RNN's kept_h is a second sequence of the same rows
    ("rnn", "keeping"): (f"{TRAJECTORY}\nkept_h = new rows of h", DOUBLE),
    ("gru", "keeping"): (TRAJECTORY, DOUBLE),
    ("lstm", "keeping"): (LSTM_TRAJECTORIES, LSTM),
    ("rnn", "backward"): ("d_h: single", "d_h: single"),
    ("gru", "backward"): ("d_h: single", "d_h: single"),
    ("lstm", "backward"): ("d_h: single\nd_c: single", "d_h: single\nd_c: single"),
}


@pytest.mark.parametrize(("cell", "direction"), MEMORY)
def test_how_states_are_kept(cell, direction):
    made = getattr(program(getattr(cells, cell)), direction)
    found = tuple(memory_of(laid_out(made, ragged=ragged)) for ragged in (False, True))
    assert found == MEMORY[cell, direction]


def test_states_that_nothing_changes_stay_where_they_are():
    layout = laid_out(program(cells.lstm, resets="state").forward)
    assert memory_of(layout) == "h: double\nc: single\ninitial h: single\ninitial c: single"
    stored = {p.argument for s in layout.passes.stages() for w in s.works for p in w.places()}
    assert {a for a in stored if a.startswith("state ")} == {"state h", "state c"}


def test_where_an_episode_ends_the_new_value_is_not_what_is_carried():
    layout = laid_out(program(cells.lstm, resets="zero").keeping)
    assert set(layout.aliases) == {"previous_h", "previous_c"}


def test_a_sequence_that_is_a_part_of_a_state_is_the_same_memory():
    layout = laid_out(program(cells.lstm).keeping)
    asked = ("sequence previous_c", "sequence c", "sequence h", "state c", "parameter bias_ih")
    assert [layout.memory(a) for a in asked] == ["state c", "state c", *asked[2:]]


S, X = symbol("s", "state", "hidden"), symbol("x", "sequence", "hidden")
NUMBER = symbol("n", "state", "1")
U = Matrix("hh", "s", "hidden", "hidden")
KEPT_AS = {  # of a state with this new value
    "the unit alone": (S, apply("tanh", S + X), "single"),
    "a product of it": (S, product(U, S), "double"),
    "its sum": (S, S - reduce("sum", S), "double"),
    "nothing of it": (S, apply("tanh", X), "single"),
    "itself": (S, S, "single"),
    "a number, which every thread computes": (NUMBER, apply("tanh", NUMBER), "double"),
}


@pytest.mark.parametrize("case", KEPT_AS)
def test_a_state_is_kept_in_place_where_nobody_needs_the_old_value(case):
    state, new, expected = KEPT_AS[case]
    recurrence = Recurrence((X,), (), (state,), (new,), {"y": expand(X, "hidden")}, ())
    assert laid_out(plan(recurrence)).states == {state.name: expected}


def test_a_state_that_a_later_stage_reads_is_not_overwritten():
    """s' is ready in the first stage, and the second still reads s beside the whole row s'."""
    new = apply("tanh", S + X)
    output = product(U, new) * S
    recurrence = Recurrence((X,), (), (S,), (new,), {"y": output}, ())
    assert laid_out(plan(recurrence)).states == {"s": "double"}


# ---- matrices ----------------------------------------------------------------------------------

PANELS = {  # cell, plan, merged -> the packed matrices in the order in which they are read
    ("rnn", "forward", False): "ih.h hh.h",
    ("rnn", "backward", False): "hh.hᵀ ih.hᵀ",
    ("gru", "forward", False): "ih.z ih.n ih.r hh.z hh.r hh.n",
    ("gru", "forward", True): "ih.z hh.z ih.n ih.r hh.r hh.n",
    ("gru", "keeping", False): "ih.z ih.n ih.r hh.z hh.r hh.n",
    ("gru", "backward", False): "hh.nᵀ hh.rᵀ hh.zᵀ ih.rᵀ ih.nᵀ ih.zᵀ",
    ("gru", "backward_of_one", False): "ih.rᵀ ih.nᵀ ih.zᵀ",
    ("lstm", "forward", False): "ih.o ih.f ih.i ih.g hh.o hh.f hh.i hh.g",
    ("lstm", "backward", True): "hh.gᵀ hh.iᵀ hh.fᵀ hh.oᵀ ih.gᵀ ih.iᵀ ih.fᵀ ih.oᵀ",
}


def panels_of(layout):
    names = (p.name.removeprefix("panel ") for p in layout.panels())
    return " ".join(n.replace(" transposed", "ᵀ") for n in names)


@pytest.mark.parametrize(("cell", "direction", "merged"), PANELS)
def test_which_matrices_are_packed(cell, direction, merged):
    made = getattr(program(getattr(cells, cell)), direction)
    assert panels_of(laid_out(made, merged=merged)) == PANELS[cell, direction, merged]


@pytest.mark.parametrize("weights", ["block", "direct"])
def test_no_matrix_is_packed_at_the_beginning_where_each_is_read_once(weights):
    assert not laid_out(program(cells.gru).forward, weights=weights).panels()


def test_a_transposed_panel_is_summed_over_the_rows_of_the_matrix():
    shapes = {p.name: (p.inner, p.outer) for p in laid_out(program(cells.rnn).forward).panels()}
    assert shapes == {"panel ih.h": ("input", "hidden"), "panel hh.h": ("hidden", "hidden")}
    shapes = {p.name: (p.inner, p.outer) for p in laid_out(program(cells.rnn).backward).panels()}
    assert shapes["panel ih.h transposed"] == ("hidden", "input")


def test_the_gradient_of_an_input_that_is_not_wanted_needs_no_matrix():
    assert panels_of(laid_out(program(cells.rnn).backward, skip=("d_x",))) == "hh.hᵀ"


def test_blocks_of_a_parameter_lie_one_after_the_other():
    offsets = laid_out(program(cells.lstm).forward).offsets
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        assert [offsets[name, gate] for gate in "ifgo"] == [0, 21, 42, 63]


# ---- rows that only the kernel sees, and scratch memory ----------------------------------------


def test_rows_that_only_the_kernel_sees():
    hoisted = [(f"sequence hoisted{k}", "hidden", True) for k in range(3)]
    assert list(laid_out(program(cells.gru).forward).temporaries()) == hoisted
    assert not laid_out(program(cells.gru).forward, merged=True).temporaries()
    assert laid_out(program(cells.gru).backward).temporaries() == (("step 0", "hidden", False),)


def test_a_hoisted_reduction_is_never_merged_into_the_loop():
    """A sum of products is: a step can do it as well. `x - sum(x)` is no sum of products."""
    new = apply("tanh", product(U, X - reduce("sum", X)) + S)
    made = plan(Recurrence((X,), (), (S,), (new,), {"y": new}, ()))
    assert list(laid_out(made, merged=True).private) == list(made.hoisted) == ["hoisted0"]


def test_scratch_memory_holds_the_sums_of_a_block_of_rows():
    """One for each gate; with the input's products n has two, of which r multiplies one."""
    forward = program(cells.gru).forward  # whose blocks are 2 · 8 units wide
    assert laid_out(forward).sums() == 3 * ROW_BLOCK * 16
    assert laid_out(forward, merged=True).sums() == 4 * ROW_BLOCK * 16


def test_scratch_memory_holds_a_block_that_is_packed_as_it_is_read():
    forward = program(cells.gru).forward
    assert laid_out(forward).passing_panel() == 0
    assert laid_out(forward, weights="block").passing_panel() == 21 * 16
