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
