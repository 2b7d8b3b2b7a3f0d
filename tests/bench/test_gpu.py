"""What is measured on a card, tried on the CPU: all but the graphs, and what is made of figures."""

import json

import pytest
import torch

from gatework.backends.gpu.matmul import is_exact
from gatework.bench import OURS, Shape
from gatework.bench.checking import WrongResult
from gatework.bench.gpu import (
    PRECISIONS,
    Entry,
    Line,
    Settings,
    as_data,
    calls,
    compare,
    entries,
    measuring,
    ratios_table,
)
from gatework.bench.gpu.precision import worst_error
from gatework.bench.peers import Work
from gatework.bench.timing import Pace, Sample
from gatework.cells import gru, lstm, mgu, peephole_lstm

CPU = torch.device("cpu")


@pytest.fixture
def settings(at_once, small):
    def of(cell, precision="fp32", kind="inference", **others):
        chosen = {"ways": ("eager",), "shapes": (small,), "pace": at_once} | others
        return Settings(CPU, (cell,), (kind,), (PRECISIONS[precision],), **chosen)

    return of


@pytest.mark.parametrize("kind", ["inference", "training"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("cell", [gru, mgu], ids=lambda c: c.name)
def test_everyone_is_right_in_its_numbers(cell, precision, kind, settings):
    (line,) = compare(settings(cell, precision, kind))
    assert not line.wrong
    assert set(line.samples["eager"]) >= {OURS.name, "Python loop"}
    assert ("torch.nn" in line.samples["eager"]) == (cell is gru)
    assert 0 < line.errors[OURS.name] <= PRECISIONS[precision].tolerance
    assert line.ratio("eager", OURS.name) == 1
    assert line.ratio("eager", "Python loop") > 0
    assert line.first > 0


def test_there_are_no_graphs_without_a_card(settings):
    (line,) = compare(settings(gru, ways=("graph", "eager")))
    assert line.samples["graph"] == {}
    assert line.microseconds("graph", OURS.name) is None
    assert line.ratio("graph", "torch.nn") is None


@pytest.mark.parametrize("name", [OURS.name, "torch.nn"])
def test_who_is_wrong_is_not_timed(name, settings, monkeypatch):
    contestant = next(c for c in measuring.CONTESTANTS if c.name == name)
    prepare = type(contestant).prepare

    def wrong(self, *arguments):
        work = prepare(self, *arguments)
        return Work(work.call, lambda: {n: 1.01 * v for n, v in work.check().items()})

    monkeypatch.setattr(type(contestant), "prepare", wrong)
    (line,) = compare(settings(gru))
    assert "allowed is 5e-05" in line.wrong[name]
    assert name not in line.samples.get("eager", {})
    assert bool(line.samples) == (name != OURS.name)  # without ours there is nothing to compare


def test_errors_are_relative():
    truth = {"output": torch.tensor([3.0, 4.0], dtype=torch.float64)}
    assert worst_error({"output": torch.tensor([3.0, 4.5])}, truth) == pytest.approx(0.1)
    assert worst_error({"output": torch.tensor([0.5])}, {"output": torch.zeros(1)}) == 0.5
    with pytest.raises(WrongResult, match="shape"):
        worst_error({"output": torch.zeros(3)}, truth)


def test_the_switches_are_put_back():
    matmul, rnn = torch.backends.cuda.matmul, torch.backends.cudnn.rnn
    before = matmul.fp32_precision, rnn.fp32_precision
    for name, precision in PRECISIONS.items():
        with precision.allowed():
            wanted = "tf32" if name == "tf32" else "ieee"
            assert matmul.fp32_precision == rnn.fp32_precision == wanted
            assert is_exact() == (name != "tf32")
    assert (matmul.fp32_precision, rnn.fp32_precision) == before


def test_no_line_is_begun_when_the_time_is_over(settings):
    assert len(entries(settings(gru))) == 1
    assert list(compare(settings(gru, seconds=-1))) == []


def test_short_calls_are_made_several_at_once(monkeypatch):
    """On a clock that goes on by 0.1 ms a call; waiting takes 1 ms."""
    now, made = [0.0], []

    def call():
        made.append("call")
        now[0] += 1e-4

    def synchronise():
        made.append("wait")
        now[0] += 1e-3 if len(made) > 3 else 0

    monkeypatch.setattr(calls.time, "perf_counter", lambda: now[0])
    pace = Pace(total=0, turn=0, rest=0, rounds=1, grain=0)
    sample = calls.timed({"one": call}, pace, synchronise)["one"]
    assert made[3:] == (["call"] * 20 + ["wait"]) * (len(made[3:]) // 21)
    assert sample.median == pytest.approx((20 * 0.1 + 1) / 20)
    assert sample.calls == 20


# ---- tables and data -----------------------------------------------------------------------------


def line(cell, precision, kind, **milliseconds):
    samples = {n.replace("_", "."): Sample(t, t, t, 1, (t,)) for n, t in milliseconds.items()}
    entry = Entry(cell, Shape(16, 1000, 8, 8), PRECISIONS[precision], kind)
    return Line(entry, {"graph": samples}, {OURS.name: 1e-6}, {}, 0.5)


LINES = [
    line(lstm, "bf16", "inference", gatework=2.0, torch_nn=8.0),
    line(lstm, "bf16", "training", gatework=4.0, torch_nn=10.0),
    line(peephole_lstm, "bf16", "inference", gatework=4.0),
    line(gru, "fp32", "training", gatework=1.0, torch_nn=12.34),
]


def test_the_table_of_the_readme():
    assert ratios_table(LINES, "graph").splitlines() == [
        "| B, T, H | lstm bf16 | gru fp32 | peephole_lstm bf16 (torch.nn: lstm) |",
        "| --- | --- | --- | --- |",
        "| 16, 1000, 8 | 4.0 / 2.5 | – / 12 | 2.0 / – |",
    ]


def test_microseconds_of_a_step():
    assert LINES[0].microseconds("graph", OURS.name) == 2.0
    assert LINES[0].ratio("graph", "torch.nn") == 4.0
    assert LINES[2].ratio("graph", "torch.nn") is None


def test_figures_are_data(settings):
    chosen = settings(gru)
    data = json.loads(json.dumps(as_data(chosen, [*compare(chosen), LINES[1]])))
    assert data["card"]["name"]
    first, second = data["lines"]
    assert (first["cell"], first["precision"], first["kind"]) == ("gru", "fp32", "inference")
    assert first["times"]["eager"]["torch.nn"]["median_ms"] > 0
    assert second["ratios"]["graph"] == {"gatework": 1, "torch.nn": 2.5}
    assert second["first_call_seconds"] == 0.5
