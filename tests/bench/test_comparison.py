"""A comparison: who takes part, what it says, and that a wrong result is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from gatework import cells
from gatework.bench import (
    CONTESTANTS,
    OURS,
    QUICK,
    STREAMED,
    TABLE,
    Limits,
    Settings,
    Shape,
    as_data,
    compare,
    comparison,
    entries,
    parse_shapes,
)
from gatework.bench.checking import WrongResult, check
from gatework.bench.peers import Work, jax_scan
from gatework.bench.problem import KINDS, make_problem
from gatework.errors import InputError

pytestmark = pytest.mark.slow

CELLS = cells.catalogue()
BY_NAME = {c.name: c for c in CONTESTANTS}


@pytest.fixture(scope="module")
def limits() -> Limits:
    return Limits(1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "rnn_relu"])
def test_all_agree_at_torchs_cells(cell, kind, at_once, small, limits):
    settings = Settings((CELLS[cell],), (kind,), (small,), 1, at_once)
    (line,) = compare(settings, limits)
    assert line.error is None
    assert {OURS.name, "torch.nn", "Python loop"} <= set(line.samples)
    assert ("ONNX Runtime" in line.samples) == (
        kind != "training" and BY_NAME["ONNX Runtime"].absence() is None
    )
    assert line.ratio("nobody") is None
    assert line.ratio(OURS.name) == 1
    assert line.limit == "FMA peak"
    assert line.share > 0


@pytest.mark.parametrize(
    "cell",
    [
        "atr", "lightru", "ligru", "mgu", "mut1", "mut2", "original_lstm", "peephole_lstm", "sgrn",
        "star", "ugrnn",
    ],
)  # fmt: skip
def test_torchrecurrent_agrees(cell, at_once, small, limits):
    """Training has inference's output, and a gradient."""
    pytest.importorskip("torchrecurrent")
    (line,) = compare(Settings((CELLS[cell],), ("training",), (small,), 1, at_once), limits)
    assert line.error is None
    assert set(line.samples) == {OURS.name, "Python loop", "torchrecurrent"}


def test_torchrecurrent_takes_part_in_inference(at_once, small, limits):
    pytest.importorskip("torchrecurrent")
    (line,) = compare(Settings((cells.mgu,), ("inference",), (small,), 1, at_once), limits)
    assert line.error is None
    assert "torchrecurrent" in line.samples


@pytest.mark.parametrize("cell", ["projected_lstm", "sru", "tau_gru"])
def test_any_cell_is_beside_its_own_loop(cell, at_once, limits):
    settings = Settings(
        (CELLS[cell],), ("inference", "streaming"), (Shape(1, 4, 6, 6),), 1, at_once
    )
    for line in compare(settings, limits):
        assert line.error is None
        assert line.limit == "cache bandwidth"
        assert {OURS.name, "Python loop"} <= set(line.samples)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [OURS.name, "torch.nn"])
def test_a_wrong_result_is_refused(name, kind, at_once, small, limits, monkeypatch):
    contestant, timed = BY_NAME[name], []
    prepare = type(contestant).prepare

    def wrong(self, *arguments):
        work = prepare(self, *arguments)

        def spoiled():
            results = work.check()
            *_, last = results
            return {**results, last: results[last] + 1e-3}

        return Work(lambda: timed.append(name), spoiled)

    monkeypatch.setattr(type(contestant), "prepare", wrong)
    (line,) = compare(Settings((cells.gru,), (kind,), (small,), 1, at_once), limits)
    assert line.error.startswith(f"{name}: ")
    assert not line.samples
    assert not timed


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (torch.full((2,), torch.nan), "differs by nan"),
        (torch.zeros(3), r"has shape \[3\], expected \[2\]"),
        (torch.tensor([0.0, 1e-4]), "differs by 1.0e-04"),
    ],
)
def test_what_is_not_the_same_is_told(found, message):
    with pytest.raises(WrongResult, match=message):
        check("someone", {"output": found}, {"output": torch.zeros(2, dtype=torch.float64)})


def test_weights_and_input_are_the_same_each_time(small):
    first, second = (make_problem(cells.lstm, small, "training") for _ in range(2))
    assert torch.equal(first.x, second.x)
    for a, b in zip(first.layer.parameters(), second.layer.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_number_of_threads_is_put_back(at_once, small, limits):
    before = torch.get_num_threads()
    for _ in compare(Settings((cells.rnn,), ("inference",), (small,), 2, at_once), limits):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("cell", "kind", "flops"),
    [
        ("lstm", "inference", 8 * 7 * (5 + 7)),
        ("gru", "inference", 6 * 7 * (5 + 7)),
        ("rnn", "inference", 2 * 7 * (5 + 7)),
        ("lstm", "training", 3 * 8 * 7 * (5 + 7)),
        ("gru", "training", 3 * 6 * 7 * (5 + 7)),
    ],
)
def test_flops_are_those_of_the_products(cell, kind, flops, small):
    problem = make_problem(CELLS[cell], small, kind)
    assert comparison.cost_of(problem, kind).flops == small.batch * small.steps * flops


def test_the_loop_reads_the_recurrent_weights_at_each_step():
    cost = comparison.cost_of(make_problem(cells.gru, Shape(1, 10, 5, 7), "inference"), "inference")
    assert cost.bytes == 4 * (10 * 3 * 7 * 7 + 3 * 7 * 5)
    assert cost.buffer == 4 * 3 * 7 * 7


def test_everyone_who_is_compared_with_is_explained():
    page = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert [c.name for c in CONTESTANTS if f"\n| {c.name} | " not in page] == []


def test_entries_follow_the_settings():
    assert len(entries(Settings())) == 2 * 3 * len(QUICK)
    assert {e.shape for e in entries(Settings(kinds=("streaming",)))} == set(STREAMED)
    shapes = (Shape(1, 5, 4, 4), Shape(1, 9, 4, 4))
    assert len(entries(Settings((cells.gru,), ("streaming",), shapes))) == 1
    assert set(QUICK) < set(TABLE)


def test_figures_are_data(at_once, small, limits):
    settings = Settings((cells.gru,), KINDS, (small,), 1, at_once)
    lines = list(compare(settings, limits))
    data = json.loads(json.dumps(as_data(settings, limits, lines, (0.5, None)), allow_nan=False))
    assert data["format"] == 1
    assert (data["dtype"], data["threads"], data["load"]) == ("float32", 1, [0.5, None])
    assert {"processor", "cores", "vector_bits"} <= set(data["machine"])
    assert {"gatework", "torch.nn"} <= set(data["versions"])
    everyone = {c.name for c in CONTESTANTS}
    assert set(data["not_installed"]) == everyone - set(data["versions"])
    assert data["limits"]["fma_gflops"] > 0
    assert [line["kind"] for line in data["lines"]] == list(KINDS)
    for line in data["lines"]:
        assert line["shape"]["units"] == small.units
        for sample in line["times"].values():
            low, high = sample["quartiles_ms"]
            assert 0 < low <= sample["median_ms"] <= high
            assert len(sample["turn_medians_ms"]) == 1


def test_limits_are_measured():
    limits = Limits(1)
    assert limits.fma > 0
    assert limits.bandwidth(100_000) > 0
    assert limits.bandwidth(1) > 0
    assert set(limits.bandwidths) == {1, 100_000}


@pytest.mark.parametrize(
    "text",
    ["1,2,3", "1,2,3,4,5", "1,2,3,x", "1,,3,4", "0,1,1,1", "-1,1,1,1", "1.5,1,1,1", "²,1,1,1"],
)
def test_a_bad_shape_is_told(text):
    with pytest.raises(InputError, match="B,T,I,H"):
        parse_shapes([text])


@pytest.mark.parametrize("kind", ["inference", "training"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_jax_agrees(cell, kind, at_once, small, limits, monkeypatch):
    pytest.importorskip("jax")
    monkeypatch.setattr(jax_scan, "_cores", lambda: 1)
    (line,) = compare(Settings((CELLS[cell],), (kind,), (small,), 1, at_once), limits)
    assert line.error is None
    assert "JAX" in line.samples


def test_jax_stays_out_where_it_would_have_more_threads(at_once, small, monkeypatch):
    monkeypatch.setattr(jax_scan, "_cores", lambda: 2)
    assert (
        jax_scan.JaxScan().prepare(make_problem(cells.gru, small, "inference"), "inference", 1)
        is None
    )
