"""What a definition gives: names of gates, parameters and their order, sizes, constants, pins."""

import copy
import pickle

import pytest

import gatework as gw
from gatework import cell, linear, observe, scalar, sigmoid, tanh, vector
from gatework.lang.definition import Cell, Parameter
from gatework.lang.expressions import Const, Symbol, const, postorder
from gatework.lang.printing import LaTeX, equations, text


def shapes(cell: Cell, **sizes: int) -> dict[str, tuple[int, ...]]:
    sizes = {"1": 1, "input": 3, "hidden": 4, **sizes}
    return {p.name: p.shape(sizes) for p in cell.parameters}


# ---- names -------------------------------------------------------------------------------------


def named(function) -> dict[str, str]:
    return {n: text(v) for n, v in cell(function).names.items()}


def test_a_gates_name_belongs_to_the_activation_on_its_map():
    names = named(lambda x, h: sigmoid(linear("f", x)) * h)
    assert names["f"] == "sigmoid(W_ih[f]·x + bias_ih.f)"
    assert names["f.pre"] == "W_ih[f]·x + bias_ih.f"
    assert names["h"] == "sigmoid(W_ih[f]·x + bias_ih.f) * h"


def test_what_is_added_to_a_map_is_part_of_the_gate():
    peephole = gw.cells.peephole_lstm
    assert set(peephole.observables()) == {"i", "f", "g", "o"}
    assert "peephole_i * c" in text(peephole.names["i.pre"])


def test_a_gate_is_named_once_by_its_first_activation():
    names = named(lambda x, h: tanh(sigmoid(linear("a", x, bias=False))) * h)
    assert names["a"] == "sigmoid(W_ih[a]·x)"


def test_a_map_without_activation_is_named_itself():
    names = named(lambda x, h: linear("a", x, bias=False) * h)
    assert names["a"] == "W_ih[a]·x"
    assert "a.pre" not in names


def test_an_activation_of_two_gates_names_neither():
    names = named(lambda x, h: tanh(linear("a", x, bias=False) * linear("b", h, bias=False)))
    assert names["a"] == "W_ih[a]·x"
    assert names["b"] == "W_hh[b]·h"


def test_observed_values_are_named_and_stop_the_search_for_gates():
    @cell
    def watched(x, h):
        drive = observe("drive", linear("a", x) + 0.1 * h)
        return tanh(drive)

    assert set(watched.names) == {"drive", "a", "h"}
    assert watched.names["drive"] is watched.next_states[0].args[0]
    assert set(watched.observables()) == {"drive", "a"}


def test_a_state_may_have_the_name_of_its_gate():
    assert gw.cells.rnn.names["h"] is gw.cells.rnn.next_states[0]
    assert not gw.cells.rnn.observables()


def test_arguments_may_have_any_name():
    @cell
    def renamed(signal, memory):
        return tanh(linear("gate", signal, memory))

    assert [p.name for p in renamed.parameters] == [p.name for p in gw.cells.rnn.parameters]
    assert gw.equivalent(renamed, gw.cells.rnn)


# ---- parameters --------------------------------------------------------------------------------

TORCH_ORDER = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
BLOCKS = {"rnn": ("h",), "lstm": ("i", "f", "g", "o"), "gru": ("r", "z", "n")}


@pytest.mark.parametrize(("name", "blocks"), BLOCKS.items())
def test_torchs_three_have_torchs_parameters_in_torchs_order(name, blocks):
    cell = gw.cells.catalogue()[name]
    assert [p.name for p in cell.parameters] == TORCH_ORDER
    assert {p.blocks for p in cell.parameters} == {blocks}
    rows = 4 * len(blocks)
    assert list(shapes(cell).values()) == [(rows, 3), (rows, 4), (rows,), (rows,)]


def test_gates_are_stacked_in_the_order_in_which_they_first_appear():
    @cell
    def late(x, h):
        b = sigmoid(linear("b", h))
        return b * tanh(linear("a", x) + linear("b2", x) + linear("a", h))

    stacks = {p.name: p.blocks for p in late.parameters}
    assert stacks["weight_ih"] == ("a", "b2")
    assert stacks["weight_hh"] == ("b", "a")


def test_other_values_have_groups_of_their_own():
    @cell
    def grouped(x, h, c):
        own = tanh(linear("a", x, h, c))
        product = linear("n", own * h) + linear("n2", own * h, group="nh")
        given = linear("m", own + c, bias=False, group="given")
        return tanh(product), given

    names = [p.name for p in grouped.parameters]
    assert names[:4] == TORCH_ORDER
    assert set(names[4:]) == {
        "weight_ch", "bias_ch", "weight_nh", "bias_nh", "weight_given"
    }  # fmt: skip
    assert {p.name: p.blocks for p in grouped.parameters}["weight_nh"] == ("n", "n2")


def test_vectors_and_scalars_follow_with_their_initial_values():
    @cell
    def learned(x, h):
        return vector("p") * tanh(linear("a", x)) + scalar("s", 2.0) + vector("q", 0.5)

    assert learned.parameters[-3:] == (
        Parameter("p", ("p",), ("hidden",)),
        Parameter("s", ("s",), ("1",), init=2.0),
        Parameter("q", ("q",), ("hidden",), init=0.5),
    )
    assert shapes(learned) == {
        "weight_ih": (4, 3),
        "bias_ih": (4,),
        "p": (4,),
        "s": (1,),
        "q": (4,),
    }


def test_spans_are_where_each_block_lies():
    weight = gw.cells.lstm.parameters[0]
    spans = weight.spans({"input": 3, "hidden": 4})
    assert list(spans.items())[1] == ("f", slice(4, 8))
    assert weight.only(["f", "o"]).blocks == ("f", "o")
    assert weight.only([]) is None


def test_blocks_may_have_sizes_of_their_own():
    @cell(sizes={"c": "memory"})
    def two(x, h, c):
        big = tanh(linear("big", x, c, size="memory"))
        return tanh(linear("small", x, big, h)), big

    assert two.size_names() == ("memory",)
    assert shapes(two, memory=7)["weight_ih"] == (11, 3)
    assert shapes(two, memory=7)["weight_ch"] == (7, 7)
    assert shapes(two, memory=7)["weight_smallh"] == (4, 7)
    layer = gw.nn.Recurrent(two, 3, 4, memory=7)
    import torch

    y, (h, c) = layer(torch.zeros(2, 5, 3))
    assert (y.shape[-1], h.shape[-1], c.shape[-1]) == (4, 4, 7)


def test_projection_names_its_size():
    assert gw.cells.projected_lstm.size_names() == ("proj_size",)
    assert shapes(gw.cells.projected_lstm, proj_size=2)["weight_hr"] == (2, 4)


# ---- constants ---------------------------------------------------------------------------------


@cell
def leaky(x, h, *, dt=0.1, gain=1):
    """A leaky integrator."""
    return (1 - dt) * h + dt * gain * tanh(linear("a", x, h))


def test_constants_are_set_by_calling_the_cell():
    assert dict(leaky.constants) == {"dt": 0.1, "gain": 1}
    faster = leaky(dt=0.5)
    assert dict(faster.constants) == {"dt": 0.5, "gain": 1}
    assert faster(gain=2).constants == {"dt": 0.5, "gain": 2}
    assert text(faster.next_states[0]).startswith("0.5 * h + 0.5 * tanh(")
    assert leaky.constants["dt"] == 0.1
    assert leaky(dt=0.1).next_states == leaky.next_states
    assert gw.equivalent(leaky(dt=1), gw.cells.rnn)


def test_an_unknown_constant_suggests_the_near_one():
    with pytest.raises(ValueError, match="no constant named 'gian'; did you mean 'gain'"):
        leaky(gian=1)


def test_a_cell_with_other_constants_says_so_in_its_name():
    assert gw.cells.cornn(dt=0.5).name == "cornn[dt=0.5]"
    assert gw.cells.cornn(dt=0.5)(gamma=2, dt=0.25).name == "cornn[gamma=2,dt=0.25]"
    assert gw.cells.cornn(dt=0.5).pin(h=1).name == "cornn[dt=0.5,h=1]"
    assert gw.cells.cornn().name == "cornn"


@pytest.mark.parametrize(
    "changed", [lambda c: c.pin(h=0.5), lambda c: pickle.loads(pickle.dumps(c))]
)
def test_constants_of_a_changed_cell_are_fixed(changed):
    with pytest.raises(TypeError, match="was pinned or unpickled, so its constants are fixed"):
        changed(leaky)(dt=0.5)


# ---- pinning -----------------------------------------------------------------------------------


def test_a_pinned_cell_has_no_parameters_of_what_is_held():
    pinned = gw.cells.gru.pin(r=1, z=0)
    assert shapes(pinned) == shapes(gw.cells.rnn)
    assert pinned.parameters[0].blocks == ("n",)
    assert pinned.name == "gru[r=1,z=0]"
    half = gw.cells.lstm.pin(f=1)
    assert {p.blocks for p in half.parameters} == {("i", "g", "o")}
    assert isinstance(half.names["f"], Const)


def test_what_goes_into_a_gate_is_pinned_by_its_dotted_name():
    pinned = gw.cells.lstm.pin({"f.pre": 0})
    assert pinned.names["f"].value == 0.5


def test_pinning_nothing_is_the_cell_and_pinning_can_go_on():
    assert gw.cells.gru.pin() is gw.cells.gru
    assert gw.equivalent(gw.cells.gru.pin(r=1).pin(z=0), gw.cells.rnn)


def test_a_value_can_be_pinned_to_another_value():
    coupled = gw.cells.lstm.pin(f=1 - gw.cells.lstm.names["i"])
    assert {p.blocks for p in coupled.parameters} == {("i", "g", "o")}
    assert gw.equivalent(coupled, gw.cells.coupled_gate_lstm)


def test_an_unknown_name_suggests_the_near_one():
    with pytest.raises(ValueError, match=r"cell 'gru' has no value named 'zz'; did you mean 'z'"):
        gw.cells.gru.pin(zz=1)
    with pytest.raises(ValueError, match=r"it has r, r\.pre, z"):
        gw.cells.gru.pin(update=1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", None, True])
def test_only_numbers_and_values_can_be_pinned(value):
    with pytest.raises((TypeError, ValueError)):
        gw.cells.gru.pin(z=value)


def test_without_bias_reads_none():
    bare = gw.cells.lstm.without_bias()
    assert [p.name for p in bare.parameters] == ["weight_ih", "weight_hh"]
    symbols = {n for n in postorder(bare.next_states) if isinstance(n, Symbol)}
    assert {s.name for s in symbols} == {"x", "h", "c"}


# ---- as an object ------------------------------------------------------------------------------


def test_a_cell_shows_its_arguments_and_is_never_changed():
    assert repr(gw.cells.lstm) == "<cell lstm(x, h, c)>"
    with pytest.raises(AttributeError):
        gw.cells.lstm.name = "other"


def test_copies_share_what_is_never_changed():
    assert copy.deepcopy(gw.cells.lstm) is gw.cells.lstm
    assert copy.deepcopy([gw.cells.lstm.next_states])[0][0] is gw.cells.lstm.next_states[0]
    assert copy.copy(gw.cells.lstm.next_states[0]) is gw.cells.lstm.next_states[0]


def test_names_and_documentation_come_from_the_function():
    assert (leaky.name, leaky.doc) == ("leaky", "A leaky integrator.")


# ---- printing ----------------------------------------------------------------------------------

TEXT = {
    "rnn": ["h' = tanh(W_ih[h]·x + bias_ih.h + W_hh[h]·h + bias_hh.h)"],
    "gru": [
        "r = sigmoid(W_ih[r]·x + bias_ih.r + W_hh[r]·h + bias_hh.r)",
        "z = sigmoid(W_ih[z]·x + bias_ih.z + W_hh[z]·h + bias_hh.z)",
        "n = tanh(W_ih[n]·x + bias_ih.n + r * (W_hh[n]·h + bias_hh.n))",
        "h' = (1 - z) * n + z * h",
    ],
    "lstm": [
        "i = sigmoid(W_ih[i]·x + bias_ih.i + W_hh[i]·h + bias_hh.i)",
        "f = sigmoid(W_ih[f]·x + bias_ih.f + W_hh[f]·h + bias_hh.f)",
        "g = tanh(W_ih[g]·x + bias_ih.g + W_hh[g]·h + bias_hh.g)",
        "o = sigmoid(W_ih[o]·x + bias_ih.o + W_hh[o]·h + bias_hh.o)",
        "c' = f * c + i * g",
        "h' = o * tanh(c')",
    ],
}
LATEX = {
    "rnn": [r"h_t = \tanh\left(W^{ih}_{h} x + b^{ih}_{h} + W^{hh}_{h} h + b^{hh}_{h}\right)"],
    "lstm": [
        r"c_t = f \odot c + i \odot g",
        r"h_t = o \odot \tanh\left(c_t\right)",
    ],
    "gru": [r"h_t = (1 - z) \odot n + z \odot h"],
}


@pytest.mark.parametrize("name", TEXT)
def test_equations_in_text(name):
    assert sorted(equations(gw.cells.catalogue()[name])) == sorted(TEXT[name])


@pytest.mark.parametrize("name", LATEX)
def test_equations_in_latex(name):
    lines = equations(gw.cells.catalogue()[name], as_latex=True)
    assert set(LATEX[name]) <= set(lines)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("h", "h"),
        ("h'", "h_t"),
        ("v12", "v_{12}"),
        ("mu", r"\mu"),
        ("mu_k", r"\mu_{k}"),
        ("k_re'", r"k_{\mathrm{re}, t}"),
        ("slow_gate", r"\mathrm{slow\_gate}"),
        ("bias_ih.r_low", r"b^{ih}_{\mathrm{r\_low}}"),
    ],
)
def test_names_in_latex(name, written):
    assert LaTeX().symbol(name) == written


def test_maps_and_powers_in_latex():
    @cell
    def squared(x, h):
        return linear("slow_gate", x, bias=False) ** 10 + h

    assert set(equations(squared, as_latex=True)) == {
        r"\mathrm{slow\_gate} = W^{ih}_{\mathrm{slow\_gate}} x",
        r"h_t = \mathrm{slow\_gate}^{10} + h",
    }


@pytest.mark.parametrize("name", gw.cells.catalogue())
def test_each_line_of_the_equations_uses_only_earlier_names(name):
    lines = equations(gw.cells.catalogue()[name])
    left = [line.split(" = ")[0] for line in lines]
    assert len(set(left)) == len(left)
    states = [f"{s.name}'" for s in gw.cells.catalogue()[name].states]
    assert set(states) <= set(left)
    for k, line in enumerate(lines):
        assert not [n for n in left[k:] if n.endswith("'") and n in line.split(" = ", 1)[1]]


a, b, c = (gw.lang.expressions.symbol(n, "state", "hidden") for n in "abc")
BRACKETS = {
    "a - (b - c)": a - (b - c),
    "a - b - c": a - b - c,
    "(a + b) * c": (a + b) * c,
    "a + b * c": a + b * c,
    "a / (b * c)": a / (b * c),
    "a / b / c": a / b / c,
    "-(a + b)": -(a + b),
    "(-a)^2": (-a) ** 2,
    "(a + b)^3": (a + b) ** 3,
    "a^-1": a**-1,
    "-2 * a": const(-2) * a,
    "a < b + c": a < b + c,
    "where(a < b, c, 0)": gw.where(a < b, c, 0),
    "sum(a * b)": gw.sum(a * b),
    "a / count(hidden)": a / gw.lang.expressions.count("hidden"),
}


@pytest.mark.parametrize("written", BRACKETS)
def test_brackets_stand_where_they_are_needed_and_nowhere_else(written):
    assert text(BRACKETS[written]) == written


# ---- a number of states ------------------------------------------------------------------------


def test_repeated_states_are_counted_by_a_constant():
    @cell(repeat="delay")
    def delayed(x, h, *past, delay=2):
        return (tanh(linear("a", x, past[-1])), h, *past[:-1])

    assert [s.name for s in delayed.states] == ["h", "past1", "past2"]
    assert [s.name for s in delayed(delay=1).states] == ["h", "past1"]
    assert delayed.next_states[1] is delayed.states[0]
    with pytest.raises(ValueError, match="an int of 1 or more"):
        delayed(delay=0)


def test_a_transposed_map_shares_the_square_weight():
    @cell
    def antisymmetric(x, h):
        return tanh(linear("a", h) - linear("a", h, bias=False, transposed=True) + linear("a", x))

    assert shapes(antisymmetric)["weight_hh"] == (4, 4)
    with pytest.raises(gw.DefinitionError, match="needs a square weight"):
        cell(lambda x, h: linear("a", x, transposed=True))


def test_further_values_can_be_named():
    cell = gw.cells.gru.observing({"closed": 1 - gw.cells.gru.names["z"]})
    assert "closed" in cell.observables()
    assert gw.equivalent(cell, gw.cells.gru)
    assert cell.pin(closed=1).next_states != cell.next_states  # it is a part of the equations
    with pytest.raises(ValueError, match="'gru' has a value named 'z'; rename"):
        gw.cells.gru.observing({"z": gw.cells.gru.names["r"]})


@cell
def observing(x, h):
    """Beside its state it shows a map that nothing else reads, and noise on it."""
    observe("seen", gw.dropout(tanh(linear("z", x)), 0.5))
    return gw.dropout(tanh(linear("n", x, h)), 0.1)


def test_what_is_observed_alone_keeps_its_weights_where_the_cell_is_changed():
    whole = observing.parameters
    assert observing.deterministic().parameters == whole
    assert observing.deterministic().noises == ()
    assert [n.probability for n in observing.pin(n=0.5).noises] == [0.5, 0.9]
    assert [p.blocks for p in observing.pin(n=0.5).parameters] == [("z",), ("z",)]
    assert [p.blocks for p in observing.pin(seen=1).parameters][:2] == [("z", "n"), ("n",)]
    assert "bias_ih" not in {p.name for p in observing.without_bias().parameters}


def test_a_gate_that_is_held_keeps_none_though_what_went_into_it_has_a_name():
    inner = gw.cells.gru_reset_before
    assert inner.pin(r=1, n=0).parameters == inner.pin(n=0, r=1).parameters
    assert {b for p in inner.pin(r=1, n=0).parameters for b in p.blocks} == {"z"}
