"""The command itself: version, help, the catalogue."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from gatework import cells, explain
from gatework.cells import catalogue


def test_the_version_is_the_packages(gatework):
    assert gatework("--version").out == f"gatework {version('gatework')}\n"


@pytest.mark.parametrize("command", ["train", "sample", "compare", "explain", "bench"])
def test_help_shows_an_example(gatework, command):
    result = gatework(command, "--help")
    assert result.code == 0
    assert f"gatework {command}" in result.out.split("Example")[1]


def test_without_arguments_there_is_help(gatework):
    result = gatework()
    assert "train" in result.out + result.err


def test_the_catalogue_is_listed(gatework):
    result = gatework("cells")
    assert result.code == 0
    for name in catalogue():
        assert name in result.out


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_a_cell_is_explained(gatework, name):
    result = gatework("explain", name)
    assert result.code == 0
    assert "tanh(" in result.out


def test_an_unknown_cell_is_not_explained(gatework):
    result = gatework("explain", "gur")
    assert result.code == 2
    assert "did you mean 'gru'" in result.err


def test_help_does_not_wait_for_what_training_needs():
    program = (
        "import sys\n"
        "from gatework.cli import main\n"
        "try: main(['--help'])\n"
        "finally: print('gatework.train' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.strip() == "False"


def test_explain_draws_the_cell(gatework):
    result = gatework("explain", "lstm", "--svg", "lstm.svg")
    assert result.code == 0
    assert "lstm.svg" in result.out
    assert Path("lstm.svg").read_text(encoding="utf-8") == explain(cells.lstm).svg
    assert gatework("explain", "lstm", "--svg", "missing/lstm.svg").code == 2


def test_explain_is_short_unless_all_is_wanted(gatework):
    short, everything = gatework("explain", "lstm").out, gatework("explain", "lstm", "--all").out
    assert len(short.splitlines()) < 15
    assert "Backward equations" not in short
    assert "gatework explain lstm --all" in short
    assert everything == f"{explain(cells.lstm)}\n"


@pytest.mark.parametrize("width", ["40", "100"])
def test_the_catalogue_can_be_searched_and_read_at_any_width(gatework, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    out = gatework("cells", "GRU").out
    assert "gru (h), 99,072" in out if width == "40" else "99,072" in out
    assert "peephole_lstm" not in out
    assert "…" not in out
    assert all(len(line) <= int(width) for line in out.splitlines())
    both = gatework("cells", "norm", "gru").out
    assert "layer_norm_gru" in both
    assert "layer_norm_lstm" not in both
    nothing = gatework("cells", "gur")
    assert nothing.code == 2
    assert "did you mean 'gru'" in nothing.err


def test_it_is_a_module_too():
    done = subprocess.run(
        [sys.executable, "-m", "gatework", "--version"], capture_output=True, text=True
    )
    assert done.stdout == f"gatework {version('gatework')}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "nowhere.txt"],
        ["train", "--hidden-size", "0"],
        ["train", "--cell", "gur"],
        ["train", "--resume", "nowhere"],
        ["sample", "nowhere"],
        ["inspect", "nowhere"],
        ["studio", "nowhere"],
        ["compare", "--cells", "gur"],
        ["bench", "--cells", "gur"],
        ["bench", "--shapes", "1,2"],
        ["explain", "gur"],
        ["cells", "gru"],
    ],
)
def test_what_is_wrong_is_told_before_torch_is_loaded(tmp_path, arguments):
    program = (
        "import sys\n"
        "from gatework.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == (0 if arguments[0] == "cells" else 2)
    assert done.stderr.splitlines()[-1] == "False"
