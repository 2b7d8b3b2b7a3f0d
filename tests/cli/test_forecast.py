"""`gatework forecast`: what it writes, what it says, what it refuses."""

from __future__ import annotations

import csv
import io
import shutil
import sys
from pathlib import Path

import pytest

import gatework as gw
from series import daily_wave, hours

pytest.importorskip("polars")

ROWS = 90


@pytest.fixture(scope="module")
def learned(tmp_path_factory) -> Path:
    """A run that knows a little, beside its table."""
    folder = tmp_path_factory.mktemp("forecast")
    lines = [f"{time},{y}" for time, y in zip(hours(ROWS), daily_wave(ROWS), strict=True)]
    (folder / "loads.csv").write_text("\n".join(["ds,y", *lines]) + "\n")
    sizes = {"hidden_size": 3, "horizon": 4, "context": 12, "steps": 2, "threads": 1}
    with pytest.MonkeyPatch.context() as here:
        here.chdir(folder)
        gw.train_cell(gw.cells.gru, "loads.csv", task="forecast", out="mine", **sizes)
    return folder


@pytest.fixture
def run(gatework, learned, tmp_path) -> str:
    """The run and its table, in the folder where the command is run."""
    shutil.copytree(learned, tmp_path, dirs_exist_ok=True)
    return "mine"


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_in_a_pipe_the_table_goes_to_standard_output(gatework, run):
    result = gatework("forecast", run)
    assert result.code == 0
    assert [row["ds"] for row in rows(result.out)] == [
        time.replace("T", " ") for time in hours(ROWS + 4)[-4:]
    ]


def test_table_and_drawing_are_written_where_they_are_wanted(gatework, run):
    result = gatework("forecast", run, "loads.csv", "--out", "all.csv", "--plot", "all.png")
    assert (result.code, result.out) == (0, "")
    assert "all.csv" in result.err
    assert len(rows(Path("all.csv").read_text())) == 4
    assert Path("all.png").read_bytes().startswith(b"\x89PNG")


def test_standard_input_is_read_as_a_table(gatework, run, monkeypatch):
    from_file = gatework("forecast", run, "loads.csv")
    content = io.TextIOWrapper(io.BytesIO(Path("loads.csv").read_bytes()))
    monkeypatch.setattr(sys, "stdin", content)
    piped = gatework("forecast", run, "-")
    assert (piped.code, piped.out) == (0, from_file.out)


def test_a_terminal_shows_a_drawing(gatework, run, monkeypatch):
    monkeypatch.setattr("gatework.cli.forecasting.is_terminal", lambda: True)
    shown = gatework("forecast", run).out
    assert "●" in shown
    assert "unique_id" not in shown


def test_the_report_of_the_run_shows_a_forecast(run):
    assert "What it forecasts" in Path(run, "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "all.txt"], "write --out all.csv"),
        (["--plot", "all.pdf"], "write --plot all.png"),
        (["--plot", "nowhere/all.png"], "a folder that exists"),
        (["missing.csv"], "no such file"),
        (["-", "-"], "name it once"),
    ],
)
def test_what_cannot_be_done_is_told(gatework, run, words, said):
    result = gatework("forecast", run, *words)
    assert result.code == 2
    assert said in result.err


@pytest.mark.slow
def test_a_run_of_another_task_is_told_with_its_command(gatework, run_folder):
    result = gatework("forecast", str(run_folder))
    assert result.code == 2
    assert f"gatework sample {run_folder}" in result.err
