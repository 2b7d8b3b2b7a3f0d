"""Which cell a run trains: what is kept of it, what is read back, what is refused."""

from __future__ import annotations

import json
import random

import pytest
import torch
from hypothesis import given, reject
from hypothesis import strategies as st

import gatework as gw
from gatework.cells import catalogue
from gatework.errors import InputError
from gatework.lang.writing import cell_as_data
from gatework.train import RunConfig, cell_settings
from gatework.train.cells import MOST_CHARACTERS, check_cell, check_unlike, kept_cell
from gatework.train.config import GATED_RATE, UNGATED_RATE
from language_models import language_model
from random_cells import random_cells


@gw.cell
def latch(x, h):
    """One gate."""
    f = gw.sigmoid(gw.linear("f", x, h))
    return f * h + (1 - f) * gw.tanh(gw.linear("n", x))


SMALL = {"hidden_size": 6, "embedding_size": 4}
EQUATIONS = cell_settings(latch)["equations"]


def test_every_cell_of_the_catalogue_is_kept_by_its_name():
    for name, cell in catalogue().items():
        assert check_cell(name) == name
        if cell.further:
            with pytest.raises(InputError, match="beside its input"):
                RunConfig.of(cell=name)
            continue
        assert cell_settings(cell) == {"cell": name, "equations": None}
        assert RunConfig.of(cell=name).trained_cell is cell


@pytest.mark.parametrize(
    "cell",
    [
        latch,
        gw.cells.gru.pin(r=1, z=0),
        gw.cells.cornn(dt=0.5),
        gw.rewriting.zoneout(gw.cells.lstm, 0.1),
    ],
    ids=lambda cell: cell.name,
)
def test_any_other_cell_is_kept_by_its_equations(cell):
    config = RunConfig.of(**cell_settings(cell), **SMALL)
    assert (config.cell, config.trained_cell.name) == (cell.name, cell.name)
    assert config.trained_cell.next_states == cell.next_states
    assert config.trained_cell.doc == cell.doc
    assert language_model(config).layer.cell.parameters == cell.parameters
    again = RunConfig.of(**config.model_dump(mode="json"))
    assert again == config
    assert again.trained_cell is config.trained_cell
    assert "equations" not in config.shown()


@given(cell=random_cells(noise=True))
def test_a_random_cell_is_kept(cell):
    try:
        settings = cell_settings(cell)
    except InputError:  # such as one that does not learn from its input
        reject()
    assert kept_cell(*settings.values()).named_values() == cell.named_values()


def test_a_cell_of_ones_own_may_have_the_name_of_one_of_the_catalogue():
    @gw.cell
    def lstm(x, h):
        return gw.tanh(gw.linear("n", x, h))

    config = RunConfig.of(**cell_settings(lstm))
    assert config.cell == "lstm"
    assert config.trained_cell.next_states == lstm.next_states
    assert config.peak_rate == UNGATED_RATE
    assert RunConfig.of(cell="lstm").peak_rate == GATED_RATE


def test_equations_alone_are_no_program():
    with pytest.raises(InputError, match="unknown cell"):
        RunConfig.of(cell="my_cells.py:latch")


def test_two_cells_of_a_name_are_told():
    with pytest.raises(InputError, match="two cells that are called 'gru'"):
        check_unlike([gw.cells.gru, gw.cells.lstm, gw.cells.gru])


# ---- what cannot be trained ----------------------------------------------------------------------


def repeated(times, change):
    @gw.cell
    def cell(x, h):
        new = gw.tanh(gw.linear("n", x, h))
        for _ in range(times):
            new = change(new)
        return new

    return cell


stopped = repeated(1, gw.stop)


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        (gw.cells.gru.pin(z=1), "no gradient"),
        (gw.cells.lstm.pin(o=0), "no gradient"),
        (stopped, "no gradient"),
        (repeated(1, lambda v: gw.where(v > 0, 1, 0)), "no gradient"),
        (gw.cell(lambda x, h: gw.tanh(gw.linear("n", x, h))), "'<lambda>'"),
        (gw.cells.lstm.pin(f=1 - gw.cells.lstm.names["i"]), "a name that a folder can have"),
        (repeated(400, gw.tanh), "405 deep"),
    ],
)
def test_what_cannot_be_trained_is_told_before(cell, told):
    with pytest.raises(InputError, match=told):
        cell_settings(cell)


def test_what_reaches_the_output_in_a_later_step_can_be_trained():
    @gw.cell
    def behind(x, h, c):
        return c, gw.tanh(gw.linear("n", x, h))

    assert cell_settings(behind)["cell"] == "behind"


def test_an_output_that_is_no_state_is_what_must_be_learned_from():
    @gw.cell(output=True)
    def read(x, h):
        h = gw.tanh(gw.linear("n", x, h))
        return gw.linear("y", h), h

    @gw.cell(output=True)
    def blind(x, h):
        h = gw.tanh(gw.linear("n", x, h))
        return gw.linear("y", gw.stop(h)), h

    model = language_model(RunConfig.of(**cell_settings(read), **SMALL))
    assert model.layer.cell.output is read.output
    with pytest.raises(InputError, match="no gradient"):
        cell_settings(blind)


def test_a_cell_with_axes_is_kept_with_them():
    pinned = gw.cells.mlstm.pin(o=1)
    model = language_model(RunConfig.of(**cell_settings(pinned), hidden_size=8, embedding_size=4))
    assert model.layer.sizes(0)["head,key,value"] == 4 * 16 * 2
    assert model.layer.cell.results() == pinned.results()


@pytest.mark.parametrize(
    ("size", "told"),
    [
        ("999999*hidden", "units, at most"),
        ("hidden-9", "at least 1"),
        ("hidden/4", "a whole number"),
    ],
)
def test_a_size_out_of_all_bounds_is_told(size, told):
    @gw.cell
    def wide(x, h):
        seen = gw.observe("seen", gw.vector("p", size="memory"))
        return gw.tanh(gw.linear("n", x, h) + gw.mean(seen))

    equations = cell_settings(wide)["equations"].replace("memory", size)
    with pytest.raises(InputError, match=told):
        language_model(RunConfig.of(cell="wide", equations=equations, **SMALL))


def test_sizes_that_no_layer_can_have_are_told():
    @gw.cell(sizes={"x": "hidden"})
    def narrow(x, h):
        return gw.tanh(x + gw.linear("n", h))

    @gw.cell(sizes={"h": "dropout"})
    def clash(x, h):
        return gw.tanh(gw.linear("n", x, h, size="dropout"))

    with pytest.raises(InputError, match="map the input first"):
        language_model(RunConfig.of(**cell_settings(narrow), hidden_size=6, embedding_size=4))
    with pytest.raises(InputError, match="its size 'dropout' has the name of a setting"):
        language_model(RunConfig.of(**cell_settings(clash)))


# ---- equations from a stranger -------------------------------------------------------------------


def learning(*parameter):
    """The equations with one parameter more."""
    return changed(lambda d: d["parameters"].append(list(parameter)))


def changed(change):
    data = cell_as_data(latch)
    change(data)
    return json.dumps(data)


@pytest.mark.parametrize(
    ("equations", "told"),
    [
        ("", "cannot be used"),
        ("[" * 9_000, "cannot be used"),
        ("[]", "no equations"),
        ("{}", "no equations"),
        ('{"nodes": 3}', "no equations"),
        ('{"nodes": [' + "[]," * 5_000 + "[]]}", "5,001 rows"),
        ("9" * 5_000, "cannot be used"),
        ("x" * (MOST_CHARACTERS + 1), "at most"),
        (changed(lambda d: d.update(name="other")), "called 'other'"),
        (changed(lambda d: d["names"].pop("h")), "'h' is not what a step computes"),
        (changed(lambda d: d["names"].update(h=0)), "'h' is not what a step computes"),
        (
            learning("p", ["p"], ["s"], None, None, True),
            "a size",
        ),
        (
            changed(
                lambda d: d["parameters"].append(["pin_f", ["p"], ["hidden"], "input", 1, True])
            ),
            "own",
        ),
        (
            learning("p", ["p"], ["1"], None, 1e39, True),
            "too large",
        ),
        (changed(lambda d: d["names"].update({f"v{k}": 0 for k in range(5_000)})), "very many"),
        (changed(lambda d: d["nodes"].append(["call", "os.system", []])), "no kind"),
        (changed(lambda d: d.update(next=d["states"], names={"h": d["states"][0]})), "no gradient"),
        (changed(lambda d: d.update(doc="\x1b]0;x\x07", nodes=["\x1b[31m"])), "cannot be used"),
    ],
)
def test_what_are_no_equations_is_refused(equations, told):
    with pytest.raises(InputError) as caught:
        RunConfig.of(cell="latch", equations=equations)
    assert told in str(caught.value)
    assert len(str(caught.value)) < 2_000


@pytest.mark.parametrize(
    "name",
    ["../up", "a/b", "", ".", "a b", "a\x1b[31m", "a[/]", "a[f=1][g=2]", "a[f=1", "a\u202eb"],
)
def test_a_name_that_no_folder_should_have_is_refused(name):
    with pytest.raises(InputError):
        RunConfig.of(cell=name, equations=changed(lambda d: d.update(name=name)))


VALUES = [
    None, True, False, 0, 1, 2, 5, -1, 10**30, 0.5, float("nan"), float("inf"), 1e300, "", "h", "x",
    "hidden", "input", "1", "other", "add", "state", "parameter", "bias_ih.f", "a.b", [], [0], {},
    "hidden/2", "hidden-5", "99999999*hidden", "head,key,1", "key",
]  # fmt: skip


def places(data, above=()):
    """Every place in nested lists and mappings."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from places(value, (*above, key))


@given(
    name=st.sampled_from(["latch", "lstm", "slstm", "projected_lstm", "layer_norm_gru", "mlstm"]),
    times=st.integers(1, 3),
    seed=st.integers(0, 2**32),
)
def test_damaged_equations_are_refused_or_are_those_of_some_cell(name, times, seed):
    rng = random.Random(seed)
    cell = latch if name == "latch" else catalogue()[name]
    data = json.loads(json.dumps(cell_as_data(cell)))
    for _ in range(times):
        *way, last = rng.choice(list(places(data)))
        inner = data
        for key in way:
            inner = inner[key]
        inner[last] = rng.choice(
            [*VALUES, inner[last], rng.randrange(len(data.get("nodes") or "x"))]
        )
        if not isinstance(data.get("nodes"), list):
            break
    try:
        model = language_model(RunConfig.of(cell=name, equations=json.dumps(data), **SMALL))
    except InputError:
        return
    with gw.use_backend("reference"):
        scores, _ = model(torch.tensor([[1, 2], [3, 4], [5, 6]]))
    assert scores.shape == (3, 2, 256)
    assert str(gw.explain(model.layer.cell))
