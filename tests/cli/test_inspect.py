"""`gatework inspect`: the page, the figures, and what it refuses."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gatework.data import load_corpus
from gatework.lens import Retention, load
from gatework.reports.inspection import inspect_run
from gatework.reports.inspection_page import inspection_page
from gatework.train import Run, RunConfig, Runner, Trainer, fit

pytestmark = pytest.mark.slow


@pytest.fixture
def run(gatework, tmp_path, small):
    (tmp_path / "long.py").write_bytes(b"def f(x):\n    return [x, (x + 1)]\n\n" * 400)
    assert gatework("train", "long.py", *small, "--steps", "4", "--out", "mine").code == 0
    return tmp_path / "mine"


@pytest.mark.slow
def test_it_writes_a_page_and_figures(gatework, run, tmp_path):
    result = gatework("inspect", "mine", "--figures")
    assert result.code == 0, result.err
    assert "mine/inspection.html" in result.out
    assert re.search("stays above 1 % for (more than )?[0-9]+ bytes", result.out)
    assert "In short" in (run / "inspection.html").read_text(encoding="utf-8")
    folder = run / "inspection" / "mine"
    assert isinstance(load(folder / "retention.safetensors"), Retention)
    assert {p.name for p in folder.glob("*.png")} == {
        f"{n}.png" for n in ("horizon", "flow", "retention", "saturation")
    }
    assert gatework("inspect", "mine", "--out", "page.html").code == 0
    assert (tmp_path / "page.html").exists()


def test_on_a_short_text_it_looks_back_less_far(gatework, run_folder):
    result = gatework("inspect", str(run_folder))
    assert result.code == 0, result.err
    page = (run_folder / "inspection.html").read_text(encoding="utf-8")
    assert "Influence of the step k steps back" in page


@pytest.fixture(scope="module")
def inspected(tmp_path_factory):
    """A run that was measured; each name that it is given afterwards is read from its folder."""
    found = inspect_run(make_run(tmp_path_factory.mktemp("inspected"), 64))
    assert found.name == "run"
    return found


WORST = 'a"><b>x\x1b[31m\u202e'
MORE_NAMES = [r"$\frac$ \1 \g<0>", "_x", "a b", "<script>"]


@pytest.mark.parametrize(
    "name", [WORST, *(pytest.param(n, marks=pytest.mark.slow) for n in MORE_NAMES)]
)
def test_whatever_a_run_is_called_its_page_is_whole(inspected, tmp_path, name):
    shown = inspection_page([replace(inspected, name=name)])
    assert all(c.isprintable() or c in "\n\t" for c in shown)
    assert "<b>" not in shown
    assert "<script>" not in shown
    ids = re.findall(r'\bid="([^"]+)"', shown)
    assert all(re.fullmatch(r"[\w.-]+", i) for i in ids)
    assert len(set(ids)) == len(ids)


HELD_OUT = [64, 302]  # the least, and one with a rest in what it is divided into
MORE_HELD_OUT = [65, 96, 99, 101, 150, 300, 301, 511]


@pytest.mark.parametrize(
    "held_out", [*HELD_OUT, *(pytest.param(n, marks=pytest.mark.slow) for n in MORE_HELD_OUT)]
)
def test_every_text_that_training_recommends_it_for_will_do(tmp_path, held_out):
    found = inspect_run(make_run(tmp_path, held_out))
    assert np.isfinite(found.horizon.mean()).all()
    assert inspection_page([found])


def make_run(folder: Path, held_out: int) -> Run:
    """A run, hardly trained, on a text of which so many bytes are held out."""
    file = folder / "text.py"
    file.write_bytes((b"def f(x):\n    return [x, (x + 1)]\n\n" * 200)[: 10 * held_out])
    config = RunConfig.of(
        cell="gru", hidden_size=6, embedding_size=4, batch_size=2, window=8, steps=2,
        files=(file,),
    )  # fmt: skip
    corpus = load_corpus(config.files)
    assert len(corpus.valid) == held_out
    trainer = Trainer.of(config)
    runner = Runner(trainer, Run.create(trainer, folder / "run"))
    fit([runner], lambda *_: None)
    return runner.run


def test_what_it_cannot_do_is_told_before_anything_is_measured(gatework, run_folder, small):
    assert gatework("train", "text.py", *small, "--steps", "1", "--out", "several/a").code == 0
    Path("short").write_bytes(b"x" * 600)
    trained = gatework("train", "short", *small, "--steps", "1", "--out", "several/b")
    assert "gatework inspect" not in trained.out
    for arguments, told in [
        (["nowhere"], "no run in 'nowhere'"),
        ([str(run_folder), "--out", "missing/page.html"], "--out missing/page.html"),
        (["several"], "60 held-out bytes in the run 'several/b'"),
    ]:
        result = gatework("inspect", *arguments)
        assert result.code == 2
        assert told in result.err
        assert "horizon" not in result.out


@pytest.mark.parametrize(
    ("arguments", "mend"),
    [
        (("inspect", "mine"), "name another page with --out FILE"),
        (("train", "--resume", "mine", "--steps", "8"), "copy the run to a folder of yours"),
    ],
)
def test_a_folder_that_cannot_be_written_to_is_told_first(
    gatework, run_folder, arguments, mend, monkeypatch
):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    before = {p.name: p.read_bytes() for p in run_folder.iterdir()}
    monkeypatch.setattr("gatework.train.run.TemporaryFile", refuse)
    result = gatework(*arguments)
    assert result.code == 2
    assert "cannot write to 'mine' (Permission denied)" in result.err
    assert mend in result.err
    assert result.out == ""
    assert {p.name: p.read_bytes() for p in run_folder.iterdir()} == before
