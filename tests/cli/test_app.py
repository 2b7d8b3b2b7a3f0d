"""The command itself: version, help, the catalogue."""

from __future__ import annotations

import json
import re
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


@pytest.mark.parametrize("width", ["40", "80", "120"])
def test_the_catalogue_can_be_read_at_any_width(gatework, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    out = gatework("cells", "GRU").out
    assert ("99,072" in out) == (width == "120")
    assert "peephole_lstm" not in out
    assert "…" not in out
    assert all(len(line.rstrip()) <= int(width) for line in unstyled(out).splitlines())


def unstyled(text):
    """The text without what makes a terminal write bold."""
    return re.sub(r"\x1b\[\d*m", "", text)


def test_in_a_pipe_every_cell_is_one_line(gatework):
    lines = gatework("cells").out.splitlines()
    assert sorted(line.split()[0] for line in lines) == sorted(catalogue())


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["layer_norm", "gru"], "layer_norm_gru"),
        (["xLSTM", "matrix"], "mlstm"),  # of the file's documentation, and the family's title
        (["state space", "2023"], "s6"),
        (["Koutnik"], "rhn"),  # Koutník
        (["waited"], "gru_d"),  # a state
        (["mask"], "gru_d"),  # an input
        (["beta"], "janet"),  # a constant
        (["li-gru"], "ligru"),
    ],
)
def test_cells_are_found_by_what_is_known_of_them(gatework, words, name):
    found = [line.split()[0] for line in gatework("cells", *words).out.splitlines()]
    assert name in found
    assert len(found) < 5


def test_one_family_is_shown_alone(gatework):
    found = [line.split()[0] for line in gatework("cells", "--family", "matrix").out.splitlines()]
    assert found == list(cells.families()["matrix"].names)
    wrong = gatework("cells", "--family", "scans")
    assert wrong.code == 2
    assert "did you mean 'scan'" in wrong.err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["gur"], "did you mean 'gru'"),
        (["lstm", "Hochreitr"], "did you mean 'hochreiter'"),
        (["gru", "hochreiter"], "no cell has 'gru' and 'hochreiter' together"),
        (["gru", "--family", "matrix"], "of the family 'matrix'"),
        (["qqqqq"], "see them all with: gatework cells"),
    ],
)
def test_words_that_find_nothing_are_answered_with_near_ones(gatework, words, hint):
    nothing = gatework("cells", *words)
    assert nothing.code == 2
    assert hint in nothing.err


def test_what_is_known_of_cells_can_be_written_as_json(gatework):
    gatework("cells", "Gers", "2000", "--family", "lstm", "--json", "cells.json")
    written = {cell["name"]: cell for cell in json.loads(Path("cells.json").read_text())}
    assert written["lstm"]["gates"] == ["i", "f", "o"]
    assert written["lstm"]["states"] == ["h", "c"]
    assert written["lstm"]["parameters"] == 132_096
    assert gatework("cells", "--json", "missing/cells.json").code == 2


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
