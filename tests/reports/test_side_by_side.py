"""`gatework.train_cell` and `gatework.compare`: what the commands do, from Python."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import gatework as gw
from gatework.errors import InputError
from gatework.reports import held_out
from gatework.train import Run

pytestmark = pytest.mark.slow

TEXT = b"def f(x):\n    return [x, (x + 1)]\n\n" * 120
SMALL = {"embedding_size": 4, "batch_size": 4, "window": 8, "steps": 4, "threads": 1}


@gw.cell
def latch(x, h):
    """One gate says what is kept."""
    f = gw.sigmoid(gw.linear("f", x, h))
    return f * h + (1 - f) * gw.tanh(gw.linear("n", x))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(held_out, "ANCHORS", 8)
    (tmp_path / "long.py").write_bytes(TEXT)
    return tmp_path


@pytest.mark.parametrize("text", ["long.py", Path("long.py"), ["long.py"]])
def test_a_cell_is_trained_on_a_file(folder, text):
    threads, before = torch.get_num_threads(), torch.get_rng_state()
    run = gw.train_cell(latch, text, hidden_size=8, out="mine", **SMALL)
    assert (torch.get_num_threads(), run.path) == (threads, Path("mine"))
    assert torch.get_rng_state().equal(before)
    assert run.load_model().layer.cell.next_states == latch.next_states
    assert max(record.step for record in run.records()) == 4
    assert Run.open(folder / "mine").config == run.config
    assert "<svg" in (folder / "mine/report.html").read_text(encoding="utf-8")


def test_it_is_the_run_of_the_command(folder):
    from gatework.cli import main

    ours = gw.train_cell(gw.cells.gru, "long.py", hidden_size=8, out="ours", **SMALL)
    options = "--cell gru --hidden-size 8 --embedding-size 4 --batch-size 4 --window 8 --steps 4"
    with pytest.raises(SystemExit):
        main(["train", "long.py", *options.split(), "--threads", "1", "--out", "theirs"])
    theirs = Run.open(Path("theirs"))
    assert theirs.config == ours.config
    for a, b in zip(ours.load_model().parameters(), theirs.load_model().parameters(), strict=True):
        assert a.equal(b)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((gw.cells.gru, "no.txt"), "no such file"),
        ((gw.cells.gru, "one line\nand another\n"), "write the text into a file first"),
        ((gw.cells.gru, b"bytes"), "the name of a file"),
        ((gw.cells.gru.pin(z=1), "long.py"), "no gradient"),
        ((len, "long.py"), "a cell"),
        (("gru", "long.py"), "a cell"),
    ],
)
def test_what_cannot_be_trained_is_told(arguments, told):
    with pytest.raises(InputError, match=told):
        gw.train_cell(*arguments, **SMALL)
    with pytest.raises(InputError, match=told):
        gw.compare([arguments[0], gw.cells.lstm], arguments[1], **SMALL)


def test_an_unknown_setting_is_told():
    with pytest.raises(InputError, match="hidden_siez"):
        gw.train_cell(latch, "long.py", hidden_siez=3)


@pytest.mark.parametrize("cells", [[], latch, [latch, latch]])
def test_what_cannot_be_compared_is_told(cells):
    with pytest.raises(InputError, match="cell"):
        gw.compare(cells, "long.py", **SMALL)


def test_cells_are_compared(folder):
    found = gw.compare(
        [latch, gw.cells.gru.pin(r=1, z=0)], "long.py", parameters=3_500, out="side", **SMALL
    )
    assert found.page == Path("side/comparison.html")
    assert "<svg" in found.page.read_text(encoding="utf-8")
    table = found.table()
    assert [row["cell"] for row in table] == ["latch", "gru[r=1,z=0]"]
    assert float(table[0]["bits per byte"]) == pytest.approx(found.contenders[0].cost, abs=1e-3)
    header, *rows, page = str(found).splitlines()
    assert header.split()[:2] == ["cell", "units"]
    assert [row.split()[0] for row in rows] == ["latch", "gru[r=1,z=0]"]
    assert page == f"page: {Path('side/comparison.html')}"
    assert "<table" in found._repr_html_()
    assert found.contenders[0].horizon.mean()[0] == 1
    assert Run.open(Path("side/latch")).load_model()


def test_cells_whose_size_does_not_grow_cannot_be_made_equal():
    @gw.cell(sizes={"h": "input"})
    def narrow(x, h):
        return gw.tanh(gw.linear("n", x, h, size="input"))

    with pytest.raises(InputError, match="as many parameters for each hidden size"):
        gw.compare([narrow], "long.py", **SMALL)
    assert gw.train_cell(narrow, "long.py", out="mine", **SMALL).load_model()
