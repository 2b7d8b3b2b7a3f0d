"""`gatework compare`: equal sizes, equal data, one page."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gatework import cells
from gatework.cli import main
from gatework.errors import InputError
from gatework.reports import held_out
from gatework.reports.comparison import check_cells, matched_configs
from gatework.tasks import task_class
from gatework.train import Run, RunConfig
from gatework.train.models import parameter_count

SMALL = "--parameters 3500 --embedding-size 4 --batch-size 4 --window 8 --steps 3"
CELLS = ("rnn", "lstm", "gru")


TEXT = b"def f(x):\n    return [x, (x + 1)]\n\n" * 120


@pytest.fixture(scope="module")
def compared(tmp_path_factory) -> tuple[Path, str]:
    """The folder of a comparison, and what was said."""
    folder = tmp_path_factory.mktemp("comparison")
    (folder / "long.py").write_bytes(TEXT)
    arguments = ["compare", "long.py", *SMALL.split(), "--out", "side"]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
        patch.chdir(folder)
        patch.setattr(held_out, "ANCHORS", 8)
        with pytest.raises(SystemExit):
            main(arguments)
    return folder / "side", out.getvalue()


@pytest.mark.slow
def test_the_terminal_shows_figures_and_curves(compared):
    _, out = compared
    for said in (
        *CELLS,
        "bits per byte",
        "above 0.01 %",
        "left at 100",
        "█",
        "side/comparison.html",
    ):
        assert said in out


@pytest.mark.slow
def test_the_page_shows_curves_memory_and_gates(compared):
    page = (compared[0] / "comparison.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 2 + len(CELLS)
    for said in ("How far back", "forget", "reset", "def", "sha256"):
        assert said.lower() in page.lower()


@pytest.mark.slow
def test_the_measurements_are_data(compared):
    found = json.loads((compared[0] / "comparison.json").read_text())["cells"]
    assert tuple(found) == CELLS
    for measured in found.values():
        influence = np.array(measured["influence"])
        low, high = np.array(measured["influence_band"])
        assert influence[0] == 1
        assert (low <= influence).all()
        assert (influence <= high).all()


@pytest.mark.slow
def test_each_cell_has_a_run_of_its_own(gatework, compared):
    for cell in CELLS:
        run = Run.open(compared[0] / cell)
        assert run.config.cell == cell
        assert max(record.step for record in run.records()) == 3
    assert gatework("sample", str(compared[0] / "gru"), "--length", "5").code == 0


@pytest.mark.parametrize("parameters", [60_000, 150_000, 1_000_000])
def test_models_weigh_the_same(parameters):
    listed = [cells.rnn, cells.lstm, cells.gru, cells.projected_lstm]
    base = RunConfig.of()
    task = task_class("text")(base.task, {})
    for config in matched_configs(check_cells(listed, base), parameters, task):
        assert parameter_count(config, task) == pytest.approx(parameters, rel=0.01)


LONG_NAME = replace(cells.gru, name="g" * 101)


@pytest.mark.parametrize("chosen", [(), (cells.rnn, cells.rnn), (cells.rnn, LONG_NAME)])
def test_cells_that_cannot_be_compared_are_named(chosen):
    with pytest.raises(InputError):
        check_cells(chosen, RunConfig.of())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("compare LONG --cells rnn,lsmt", "did you mean 'lstm'"),
        ("compare LONG --cells rnn,rnn", "different cells"),
        ("compare LONG --cells ,", "cells separated by commas"),
        ("compare LONG --parameters 10", "parameters = 10"),
        ("compare LONG --parameters -5", "parameters = -5"),
        ("compare short", "held-out bytes"),
        ("compare nowhere", "no such file"),
        ("compare LONG --out LONG", "cannot make the run folder"),
    ],
)
def test_a_users_error_is_told(gatework, arguments, message):
    Path("long.py").write_bytes(TEXT)
    Path("short").write_bytes(b"x" * 600)
    result = gatework(*arguments.replace("LONG", "long.py").split())
    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err
