"""Cells rewritten by dropout, zoneout, layer norm and a single bias."""

import pickle

import pytest

import gatework as gw
from gatework import cells, rewriting
from gatework.lang.definition import WeightDrop
from gatework.lang.expressions import Symbol, const, postorder
from gatework.lang.printing import equations

NOISY = {
    "input_dropout": lambda c: rewriting.input_dropout(c, 0.05),
    "recurrent_dropout": lambda c: rewriting.recurrent_dropout(c, 0.3),
    "weight_drop": lambda c: rewriting.weight_drop(c, 0.5),
    "zoneout": lambda c: rewriting.zoneout(c, 0.1),
}


def without_recurrent_weights(cell):
    try:
        rewriting.recurrent_maps(cell)
    except ValueError:
        return True
    return False


# ---- layer norm --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_layer_norm_makes_the_catalogues_cells(name):
    found, expected = (
        rewriting.layer_norm(getattr(cells, name)),
        getattr(cells, f"layer_norm_{name}"),
    )
    assert gw.equivalent(found, expected)
    assert found.parameters == expected.parameters


def test_layer_norm_normalises_each_sum_of_maps():
    found = rewriting.layer_norm(cells.mgu)
    assert [p.name for p in found.parameters if p.name.startswith(("bias", "norm"))] == [
        "norm_f_weight", "norm_f_bias", "norm_n_weight", "norm_n_bias",
    ]  # fmt: skip

    @gw.cell
    def by_hand(x, h):
        f = gw.sigmoid(gw.layer_norm(gw.linear("f", x, h, bias=False), "norm_f"))
        n = gw.linear("n", x, bias=False) + gw.linear("n", f * h, group="fh", bias=False)
        n = gw.tanh(gw.layer_norm(n, "norm_n"))
        return (1 - f) * h + f * n

    assert gw.equivalent(found, by_hand)


def test_what_is_added_to_a_map_is_not_normalised():
    found = equations(rewriting.layer_norm(cells.peephole_lstm))
    assert any("peephole_i * c" in line and "norm_i_weight" in line for line in found)


def test_a_sum_inside_a_larger_one_is_normalised_with_that():
    @gw.cell
    def shared(x, h):
        a = gw.linear("a", h)
        n = gw.tanh(gw.linear("n", x) + a)
        return n * gw.sigmoid(a)

    found = rewriting.layer_norm(shared)
    names = [p.name for p in found.parameters if p.name.endswith("_bias")]
    assert sorted(names) == ["norm_a_bias", "norm_n_a_bias"]
    assert not [p for p in found.parameters if p.name.startswith("bias")]


@pytest.mark.parametrize("name", [n for n in cells.catalogue() if not n.startswith("layer_norm_")])
def test_every_norm_has_a_gain_and_a_bias_of_its_own(name):
    found = rewriting.layer_norm(getattr(cells, name))
    names = [p.name for p in found.parameters]
    assert len(set(names)) == len(names)
    assert {n.name for n in postorder(found.results()) if isinstance(n, Symbol)} >= {
        n for n in names if n.startswith("norm_")
    }
    biases = [p for p in found.parameters if p.name.startswith("bias_")]
    assert {row for p in biases for row in p.rows} <= {"1"}  # a single number has no norm


def test_sums_are_named_after_the_gates_that_they_go_into():
    names = [p.name for p in rewriting.layer_norm(cells.atr).parameters]
    assert {"norm_p_weight", "norm_i_weight", "norm_f_weight"} < set(names)


def test_a_normalised_cell_is_refused():
    with pytest.raises(ValueError, match="'layer_norm_lstm' is normalised already: it has 'norm_i"):
        rewriting.layer_norm(cells.layer_norm_lstm)


# ---- noise -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", cells.catalogue())
@pytest.mark.parametrize("rewrite", NOISY.values(), ids=list(NOISY))
def test_in_eval_mode_noise_leaves_the_equations_or_mixes_the_states(name, rewrite):
    cell = getattr(cells, name)
    of_weights = rewrite in (NOISY["recurrent_dropout"], NOISY["weight_drop"])
    if of_weights and without_recurrent_weights(cell):
        with pytest.raises(ValueError, match=f"no matrix of cell '{name}' reads a state"):
            rewrite(cell)
        return
    if rewrite is NOISY["weight_drop"] and name == "urnn":  # its matrices are made of vectors
        with pytest.raises(ValueError, match="no recurrent matrix of cell 'urnn' is learned"):
            rewrite(cell)
        return
    quiet = rewrite(cell).deterministic()
    assert not quiet.noises
    assert not quiet.weight_drops
    if rewrite is NOISY["zoneout"]:
        expected = tuple(
            const(0.1, s.size) * s + const(0.9, s.size) * n
            for s, n in zip(cell.states, cell.next_states, strict=True)
        )
        assert quiet.next_states == expected
    else:
        assert quiet.next_states == cell.next_states


@pytest.mark.parametrize("p", [0.0, 0])
def test_no_noise_is_the_cell_itself(p):
    for rewrite in (rewriting.input_dropout, rewriting.recurrent_dropout, rewriting.weight_drop):
        assert rewrite(cells.lstm, p) is cells.lstm
    assert rewriting.zoneout(cells.lstm, p).next_states == cells.lstm.next_states
    assert rewriting.zoneout(cells.lstm, {}).next_states == cells.lstm.next_states


@pytest.mark.parametrize("p", [-0.1, 1, 1.5, "0.5", True, float("nan"), None])
def test_probabilities_are_checked(p):
    for rewrite in (rewriting.input_dropout, rewriting.recurrent_dropout, rewriting.weight_drop):
        with pytest.raises(ValueError, match=f"{rewrite.__name__} should be a probability p"):
            rewrite(cells.lstm, p)
    with pytest.raises(ValueError, match="zoneout should be a probability"):
        rewriting.zoneout(cells.lstm, p)
    with pytest.raises(ValueError, match=r"zoneout\['c'\] should be a probability"):
        rewriting.zoneout(cells.lstm, {"c": p})
    with pytest.raises(ValueError, match="no state named 'cc'; did you mean 'c'"):
        rewriting.zoneout(cells.lstm, {"cc": 0.1})


def test_recurrent_dropout_has_a_mask_for_each_row_that_is_mapped():
    once = rewriting.recurrent_dropout(cells.lstm, 0.5)
    assert [n.symbol.role for n in once.noises] == ["constant"]
    before = rewriting.recurrent_dropout(cells.gru_reset_before, 0.5)
    assert len(before.noises) == 2  # h, and r * h
    assert "z * h" in equations(before)[-1]  # what is kept unit by unit is whole
    assert [p.name for p in before.parameters] == [
        p.name for p in cells.gru_reset_before.parameters
    ]


def test_the_map_of_an_output_is_not_recurrent():
    maps = {m.matrix.group for m in rewriting.recurrent_maps(cells.projected_lstm)}
    assert maps == {"hh"}


def test_zoneout_reads_new_states_before_it():
    """Krueger et al. 2017: h' is made from f * c + i * g, whatever zoneout does to c."""
    found = rewriting.zoneout(cells.lstm, {"c": 0.5})
    assert found.next_states[0] is cells.lstm.next_states[0]
    assert found.names["c"] is found.next_states[1]
    assert [(n.symbol.role, n.probability) for n in found.noises] == [("sequence", 0.5)]


def test_noises_add_up_under_names_of_their_own():
    found = rewriting.zoneout(rewriting.recurrent_dropout(cells.lstm, 0.2), {"h": 0.1, "c": 0.2})
    found = rewriting.input_dropout(found, 0.3)
    assert [n.symbol.name for n in found.noises] == ["noise0", "noise1", "noise2", "noise3"]
    assert gw.equivalent(pickle.loads(pickle.dumps(found)), found)


def test_weight_drop_names_the_recurrent_blocks():
    assert rewriting.weight_drop(cells.lstm, 0.5).weight_drops == (
        WeightDrop("weight_hh", ("i", "f", "g", "o"), 0.5),
    )
    (drop, other) = rewriting.weight_drop(cells.gru_reset_before, 0.5).weight_drops
    assert {drop.parameter, other.parameter} == {"weight_hh", "weight_rh"}


def test_what_is_drawn_is_explained_and_makes_another_cell():
    for rewrite in NOISY.values():
        assert not gw.equivalent(rewrite(cells.gru), cells.gru)
        assert gw.equivalent(rewrite(cells.gru), rewrite(cells.gru))
    noisy = rewriting.weight_drop(rewriting.zoneout(cells.gru, 0.1), 0.5)
    assert gw.explain(noisy).plan[:3] == (
        "drawn in training mode",
        "  noise0: 1 with probability 0.1, else 0, for each unit of each step and sequence",
        "  weight_hh of r, z, n: elements dropped with probability 0.5, for each call",
    )
    assert "for each unit of each sequence" in gw.explain(NOISY["input_dropout"](cells.gru)).plan[1]


def test_a_rewritten_cell_can_be_pinned():
    noisy = rewriting.zoneout(rewriting.recurrent_dropout(cells.gru, 0.5), 0.1)
    plain = rewriting.zoneout(cells.rnn, 0.1)
    assert gw.equivalent(noisy.pin(r=1, z=0).deterministic(), plain.deterministic())


# ---- a single bias -----------------------------------------------------------------------------


def test_a_single_bias_is_left_where_two_are_added():
    biases = {
        name: [(p.name, p.blocks) for p in rewriting.single_bias(cells.catalogue()[name]).parameters
               if p.name.startswith("bias")]
        for name in ("rnn", "lstm", "gru", "layer_norm_lstm")
    }  # fmt: skip
    assert biases == {
        "rnn": [("bias_ih", ("h",))],
        "lstm": [("bias_ih", ("i", "f", "g", "o"))],
        "gru": [("bias_ih", ("r", "z", "n")), ("bias_hh", ("n",))],
        "layer_norm_lstm": [],
    }


def test_a_bias_that_stands_in_two_sums_stays():
    @gw.cell
    def shared(x, h):
        a = gw.linear("a", h)
        return gw.tanh(gw.linear("n", x) + a) * gw.sigmoid(gw.linear("m", x) + a)

    assert rewriting.single_bias(shared).parameters == shared.parameters
