"""Cells of one's own and cells with values held, in every command; what is typed wrong is told."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

import gatework as package
from gatework.cells import catalogue
from gatework.cli.typed_cells import cell_typed, cells_typed
from gatework.reports import held_out
from gatework.studio.models import open_models
from gatework.train import Run

pytestmark = pytest.mark.slow

FILE = '''
from gatework import cell, linear, sigmoid, tanh
from gatework.cells import gru


@cell
def latch(x, h, *, bias=0.0):
    """One gate says what is kept."""
    f = sigmoid(linear("f", x, h) + bias)
    return f * h + (1 - f) * tanh(linear("n", x))


def plain(x, h):
    return h


number = 3
'''
TEXT = b"def f(x):\n    return [x, (x + 1)]\n\n" * 120


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """An empty folder with a file of one's own in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_cells.py").write_text(FILE, encoding="utf-8")
    (tmp_path / "long.py").write_bytes(TEXT)
    return tmp_path


# ---- what is typed -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
def test_a_name_is_that_of_the_catalogue(name):
    assert cell_typed(name) is catalogue()[name]


@pytest.mark.parametrize("text", ["my_cells.py:latch", "my_cells.py", "./my_cells.py:latch"])
def test_a_file_gives_its_cell(text):
    cell = cell_typed(text)
    assert cell.name == "latch"
    assert cell.doc == "One gate says what is kept."


def test_a_file_in_another_folder_finds_what_lies_beside_it(folder):
    there = folder / "there"
    there.mkdir()
    (there / "parts_of_cells.py").write_text("from gatework import tanh as squash\n")
    (there / "own.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from gatework import cell, linear\n"
        "from parts_of_cells import squash\n"
        "@dataclass\n"
        "class Gate:\n"
        "    name: str\n"
        "own = cell(lambda x, h: squash(linear(Gate('n').name, x, h)))\n"
    )
    path, modules = list(sys.path), set(sys.modules)
    assert cell_typed(f"{there}/own.py:own").name == "own"
    assert sys.path == path
    assert set(sys.modules) - modules <= {"parts_of_cells"}
    sys.modules.pop("parts_of_cells")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("gru[r=1,z=0]", "gru[r=1,z=0]"),
        ("gru[ r = 1.5 , z=1e-3 ]", "gru[r=1.5,z=0.001]"),
        ("cornn[dt=0.5]", "cornn[dt=0.5]"),
        ("cornn[gamma=2,h=1]", "cornn[gamma=2,h=1]"),
        ("my_cells.py:latch[f=0.5]", "latch[f=0.5]"),
        ("my_cells.py[bias=1,f.pre=0]", "latch[bias=1,f.pre=0]"),
    ],
)
def test_constants_are_set_and_values_held(text, name):
    cell = cell_typed(text)
    assert cell.name == name
    base, held = re.fullmatch(r"([^\[]+)\[(.*)\]", text).groups()
    values = {n.strip(): float(v) for n, v in (one.split("=") for one in held.split(","))}
    plain = cell_typed(base)
    constants = {n: v for n, v in values.items() if n in plain.constants}
    pins = {n: v for n, v in values.items() if n not in constants}
    assert cell.next_states == plain(**constants).pin(pins).next_states


def test_several_are_typed_one_by_one_or_with_commas():
    names = [c.name for c in cells_typed(["lstm, gru[r=1,z=0]", "my_cells.py:latch", "rnn"])]
    assert names == ["lstm", "gru[r=1,z=0]", "latch", "rnn"]


def test_a_file_is_run_once_for_all_of_its_cells(capsys):
    Path("two.py").write_text(FILE + "print('ran')\nlatch2 = latch.pin(f=0.5)\n")
    assert [c.name for c in cells_typed(["two.py:latch,two.py:latch2"])] == ["latch", "latch2"]
    assert capsys.readouterr().out == "ran\n"


LATCH = FILE.split("def plain")[0]


@pytest.mark.parametrize(
    ("content", "text", "told"),
    [
        (None, "no.py:latch", "no such file: 'no.py'"),
        ("", "own.py:latch", "it has none"),
        ("", "own.py", "no cell in 'own.py'"),
        (LATCH, "own.py:lathc", "did you mean 'latch'"),
        (LATCH, "own.py:", "check the name"),
        (FILE, "own.py:plain", "put @cell above it"),
        (FILE, "own.py:number", "of the type int, not a cell"),
        (FILE, "own.py:number", "one of its cells: latch"),
        (None, "my_cel.py:latch", "did you mean 'my_cells.py'"),
        (None, "latch", "write my_cells.py:latch"),
        (None, "my_cells:latch", "write my_cells.py:latch"),
        (None, "my_cells.latch", "write my_cells.py:latch"),
        (LATCH + "other = latch.pin(f=1)\n", "own.py", "2 cells in 'own.py': latch, other"),
        (LATCH + "other = latch\n_inner = latch.pin(f=1)\n", "own.py[q=1]", "no 'q'"),
        ("x = 1\ny = (\n", "own.py", r"own.py:2: SyntaxError: '\(' was never closed"),
        ("x = 1\n\0", "own.py", "null bytes"),
        ("x = 1\ny = z\n", "own.py", "own.py:2: NameError: name 'z' is not defined"),
        ("def f():\n    1 / 0\n\nf()\n", "own.py", "own.py:2: ZeroDivisionError"),
        ("import no_such_module\n", "own.py", "own.py:1: ModuleNotFoundError"),
        ("raise SystemExit('enough')\n", "own.py", "own.py:1: SystemExit: enough"),
        ("raise NotImplementedError\n", "own.py", "own.py:1: NotImplementedError\n"),
        (LATCH.replace("tanh(", "tahn("), "own.py", "own.py:10: in cell 'latch': name 'tahn'"),
        ("from gatework import linear\nlinear('f', 1)\n", "own.py", "own.py:2: DefinitionError"),
        (None, "long.txt:latch", "'long.txt' is no Python file"),
        (None, "gru[r=1", "write it in one of these ways"),
        (None, "gru[r]", "'r' between the brackets"),
        (None, "gru[]", "between the brackets"),
        (None, "gru[r=much]", "'r=much' between the brackets"),
        (None, "gru[r=nan]", "'r=nan' between the brackets"),
        (None, "gru[q=1]", "one of its values: r, r.pre, z, z.pre, n, n.pre, h"),
        (None, "cornn[gama=1]", "did you mean 'gamma'"),
        (None, "cornn[q=1]", "or of its constants: dt, gamma, epsilon"),
        (None, "nas[c=1e999]", "'c=1e999' between the brackets"),
        (None, "gur", "did you mean 'gru'"),
        (None, "gur", "or one of a file: my_cells.py:latch"),
    ],
)
def test_what_is_typed_wrong_is_told(gatework, content, text, told):
    if content is not None:
        Path("own.py").write_text(content)
    result = gatework("explain", text)
    assert result.code == 2
    assert re.search(told, result.err)
    assert result.err.startswith("error: ")
    assert "Traceback" not in result.err


def test_what_is_no_file_is_told(gatework, folder):
    (folder / "own.py").mkdir()
    assert "it is a directory" in gatework("explain", "own.py:latch").err


@pytest.mark.parametrize(
    "command",
    ["train long.py --cell {}", "compare long.py --cell {}", "compare long.py --cell rnn,{}"],
)
@pytest.mark.parametrize("cell", ["gru[z=1]", "own.py:stopped"])
def test_what_cannot_be_trained_is_told_where_it_is_asked(gatework, command, cell):
    Path("own.py").write_text(
        LATCH + "from gatework import stop\nstopped = cell(lambda x, h: stop(linear('n', x, h)))\n"
    )
    result = gatework(*command.format(cell).split())
    assert result.code == 2
    assert "no gradient passes" in result.err
    assert not Path("runs").exists()


@pytest.mark.parametrize("command", ["compare long.py", "bench"])
def test_two_cells_of_one_name_are_told(gatework, command):
    Path("own.py").write_text("from gatework import cells\nlstm = cells.lstm.pin(f=1)\n")
    result = gatework(*command.split(), "--cell", "lstm", "--cell", "own.py:lstm")
    assert result.code == 2
    assert "two cells that are called 'lstm'" in result.err


# ---- in every command ----------------------------------------------------------------------------


def test_explain_shows_it(gatework):
    own = gatework("explain", "my_cells.py:latch", "--svg", "latch.svg")
    assert own.code == 0
    assert own.out.startswith("latch: One gate says what is kept.\n")
    assert "gatework explain my_cells.py:latch --all" in own.out
    assert "<svg" in Path("latch.svg").read_text(encoding="utf-8")
    held = gatework("explain", "gru[r=1,z=0]", "--all")
    assert "Backward equations" in held.out
    assert "r = 1\n" in held.out


@pytest.mark.parametrize("kind", ["--inference", "--train", "--stream"])
def test_bench_times_it(gatework, kind):
    Path("own.py").write_text(LATCH.replace("def latch", "def lstm"))
    options = ["--shapes", "2,3,5,7", "--threads", "1", "--seconds", "0.01", "--json", "out.json"]
    result = gatework("bench", "--cell", "own.py:lstm", "--cell", "gru[r=1,z=0]", kind, *options)
    assert result.code == 0, result.out
    lines = json.loads(Path("out.json").read_text())["lines"]
    assert [line["cell"] for line in lines] == ["lstm", "gru[r=1,z=0]"]
    assert {name for line in lines for name in line["times"]} == {"gatework", "Python loop"}


SMALL = [
    "--embedding-size",
    "4",
    "--batch-size",
    "4",
    "--window",
    "8",
    "--steps",
    "4",
    "--threads",
    "1",
]


def test_a_run_of_it_opens_without_the_file(gatework, folder):
    options = [*SMALL, "--hidden-size", "8", "--out", "mine"]
    trained = gatework("train", "long.py", "--cell", "my_cells.py:latch[bias=1]", *options)
    assert trained.code == 0, trained.err
    assert "1 × latch[bias=1], 8 units" in trained.out
    (folder / "my_cells.py").write_text("raise SystemExit('this file was run')\n")
    for command in (
        "sample mine --length 5",
        "train --resume mine --steps 6",
        "inspect mine",
    ):
        result = gatework(*command.split())
        assert result.code == 0, result.err
    assert "One gate says what is kept." in (folder / "mine/inspection.html").read_text()
    assert Run.open(Path("mine")).config.trained_cell.constants == {"bias": 1}
    (model,) = open_models(Path("mine"))
    described = model.describe()
    assert (described["cell"], described["doc"]) == ("latch[bias=1]", "One gate says what is kept.")
    assert model.picture({"f": 0.5})["svg"]
    assert "equations" not in (folder / "mine/report.html").read_text()


def test_a_run_keeps_its_cell_when_it_is_resumed(gatework):
    options = [*SMALL, "--hidden-size", "8", "--out", "mine"]
    assert gatework("train", "long.py", "--cell", "my_cells.py:latch", *options).code == 0
    Path("other.py").write_text("print('this file was run')\n")
    result = gatework("train", "--resume", "mine", "--steps", "6", "--cell", "other.py:latch")
    assert result.code == 2
    assert "--cell beside --resume" in result.err
    assert "this file was run" not in result.out


def test_a_run_of_before_names_its_cell_alone(gatework, folder):
    options = [*SMALL, "--hidden-size", "8", "--out", "mine"]
    assert gatework("train", "long.py", "--cell", "gru", *options).code == 0
    config = folder / "mine" / "config.yaml"
    before = config.read_text().replace("  equations: null\n", "")
    assert before != config.read_text()
    config.write_text(before)
    assert gatework("sample", "mine", "--length", "5").code == 0


@pytest.mark.slow
def test_it_is_compared_and_shown(gatework, folder, monkeypatch):
    monkeypatch.setattr(held_out, "ANCHORS", 8)
    options = [*SMALL, "--parameters", "3500", "--out", "side"]
    chosen = ["--cell", "my_cells.py:latch", "--cell", "lstm", "--cell", "gru[r=1,z=0]"]
    result = gatework("compare", "long.py", *chosen, *options)
    assert result.code == 0, result.err
    names = ["latch", "lstm", "gru[r=1,z=0]"]
    for name in names:
        assert f"\n{name} " in result.out
        assert (folder / "side" / name / "horizon.safetensors").exists()
    found = json.loads((folder / "side/comparison.json").read_text())["cells"]
    assert list(found) == names
    page = (folder / "side/comparison.html").read_text(encoding="utf-8")
    assert "latch, lstm and gru[r=1,z=0]" in page
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[\w.:-]+", one) for one in ids)
    (folder / "my_cells.py").unlink()
    assert gatework("inspect", "side").code == 0
    assert {model.cell.name for model in open_models(Path("side"))} == set(names)


# ---- what runs a file ----------------------------------------------------------------------------


def test_nothing_but_what_was_typed_runs_a_file():
    """Runs, settings and pages lie on lower storeys, which cannot ask the command for it."""
    source = Path(package.__file__).parent
    runs = re.compile(
        r"(?<![\w.])(?:exec|eval|compile)\(|runpy\.run|spec_from_file_location|pickle\.load"
    )
    found = [p for p in source.rglob("*.py") if runs.search(p.read_text(encoding="utf-8"))]
    assert [p.relative_to(source).as_posix() for p in found] == ["cli/python_files.py"]
