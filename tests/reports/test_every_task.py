"""Runs of every task, inspected and compared: what is read is drawn, and costs are the task's."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import gatework as gw
from gatework.lens import Measurement
from gatework.reports import held_out
from gatework.reports.inspection import Inspection, inspect_run
from gatework.reports.inspection_page import inspection_page
from gatework.reports.sections import shown_measurements
from gatework.train import Run

pytestmark = pytest.mark.slow

HOURS = np.arange(24 * 14)
LAYERS = {"hidden_size": 6, "steps": 6, "threads": 1, "batch_size": 4}
RUNS = {
    "forecast": {"horizon": 6, "context": 24, "held_out_steps": 72},
    "classify": {"static": ("age",), "held_out_share": 0.4, "layers": 2},
    "tag": {"held_out_share": 0.4, "bidirectional": True, "id": "id", "time": "t", "gaps": True},
}


def table_of(kind, path):
    """A table for a kind of task."""
    random = np.random.default_rng(0)
    if kind == "forecast":
        rows = ["unique_id,ds,y,wind"]
        for name in ("north", "south"):
            for hour in HOURS:
                wind = "" if hour % 50 == 7 else f"{random.normal():.3f}"
                ds = np.datetime64("2026-01-01T00:00") + np.timedelta64(int(hour), "h")
                rows.append(f"{name},{ds},{np.sin(hour / 4):.4f},{wind}")
    elif kind == "classify":
        rows = ["unique_id,x,age,y"]
        for k in range(40):
            x = np.sin((1 + k % 2) * np.arange(random.integers(5, 14)))
            rows += [f"walk {k},{value:.3f},{k},{'<up>' if k % 2 else 'down'}" for value in x]
    else:
        rows = ["id,t,x,y"]
        for k in range(50):
            x = random.normal(size=random.integers(1, 9))
            rows += [f"{k},{t * t},{v:.3f},{'high' if v > 0 else 'low'}" for t, v in enumerate(x)]
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module", params=RUNS)
def found(request, tmp_path_factory) -> Inspection:
    folder = tmp_path_factory.mktemp(request.param)
    settings = {**LAYERS, **RUNS[request.param], "task": request.param}
    cell = gw.cells.time_aware_lstm if request.param == "tag" else gw.cells.gru
    table, out = table_of(request.param, folder / "table.csv"), folder / request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(held_out, "ANCHORS", 12)
        return inspect_run(gw.train_cell(cell, table, out=out, **settings))


@pytest.fixture(scope="module")
def html(found):
    return inspection_page([found])


def test_costs_and_figures_are_those_of_the_task(found, html):
    run = found.subject
    assert found.cost == pytest.approx(run.task.evaluate(run.model, run.data).cost)
    assert found.ablation.baseline == pytest.approx(found.cost, rel=1e-6)
    assert np.isfinite(found.ablation.metric).all()
    for name, value in found.evaluation.figures.items():
        assert name in html
        assert f"{value:.4g}" in html


def test_what_is_read_is_drawn_over_the_gates(found, html):
    track = found.passage.track
    assert found.passage.forward.steps == len(next(iter(track.curves.values())))
    for column in track.curves:
        assert f">{column}</text>" in html
    assert "byte" not in html
    assert "stand curves of what it reads" in html


def test_all_that_can_be_measured_is_shown(found, html, tmp_path):
    for name, measurement in shown_measurements(found).items():
        assert isinstance(measurement, Measurement)
        measurement.save(tmp_path / f"{name}.safetensors")
    assert html.count("<h2>") == 8
    assert "<up>" not in html
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_units_are_shown_where_they_are_most_active(found):
    assert found.peaks is not None
    for unit in range(len(found.tracking)):
        place, track = found.peak_place(unit, 0), found.peak_track(unit, 0)
        around = found.peaks.around[unit, 0]
        assert place.last - place.first == np.count_nonzero(~np.isnan(around))
        assert all(len(c) == place.last - place.first for c in track.curves.values())


def test_layers_that_read_backward_are_shown_too(found, html):
    assert (found.passage.backward is not None) == ("tag" in found.subject.told)
    if found.passage.backward:
        assert re.search(r"<td>l0_reverse.c</td><td>[\d.]+</td><td>–</td>", html)
        assert "forward direction whose output is looked back from" in html


def test_how_far_back_was_looked_is_said(found, html):
    lag = int(np.median(found.subject.held_out.lengths)) // 2
    assert found.horizon.lags[-1] == lag
    assert f"is looked back in over {lag} steps" in html
    assert f"back over {max(1, lag)} steps" in html


def test_cells_are_compared_on_any_task(tmp_path, monkeypatch):
    monkeypatch.setattr(held_out, "ANCHORS", 12)
    compared = gw.compare(
        [gw.cells.rnn, gw.cells.gru],
        table_of("forecast", tmp_path / "table.csv"),
        parameters=1500,
        out=tmp_path / "side",
        **{"steps": 4, "threads": 1, "batch_size": 4, "task": "forecast", **RUNS["forecast"]},
    )
    header = list(compared.table()[0])
    assert header[3:5] == ["scaled quantile loss", "MAE"]
    assert header[-1] == "left at 48"
    page = compared.page.read_text()
    for said in (
        "without a model",
        "sMAPE",
        "north",
        ">wind</text>",
        "of 4 sequences side by side,",
    ):
        assert said in page
    assert "byte" not in page
    cells = json.loads((tmp_path / "side/comparison.json").read_text())["cells"]
    assert set(cells["gru"]["naive"]) == {"MAE", "MASE", "sMAPE"}
    assert Run.open(tmp_path / "side/gru").load_model()
