"""Ctrl-C and SIGTERM end every command, with the code of the signal and what is kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from gatework.cli.interrupt import Interrupt, Signalled, heard, kept
from gatework.reports import inspection, side_by_side
from gatework.tasks.text.model import LanguageModel

BOTH = pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])


def signalling(number: int, function, after: int = 1):
    """The function, which is sent a signal when it is called for the n-th time."""
    calls = []

    def call(*arguments, **options):
        calls.append(1)
        if len(calls) == after:
            os.kill(os.getpid(), number)
        return function(*arguments, **options)

    return call


@BOTH
def test_inspect_hears_it_and_writes_nothing(gatework, run_folder, monkeypatch, number, code):
    monkeypatch.setattr(inspection, "measure", signalling(number, inspection.measure))
    result = gatework("inspect", str(run_folder))
    assert result.code == code
    assert "interrupted; nothing was written" in result.err
    assert not (run_folder / "inspection.html").exists()


@BOTH
def test_sample_shows_what_it_has_written(gatework, run_folder, monkeypatch, number, code):
    monkeypatch.setattr(LanguageModel, "forward", signalling(number, LanguageModel.forward, 5))
    result = gatework("sample", str(run_folder), "--prompt", "abc", "--length", "100000")
    assert result.code == code
    assert result.out.startswith("abc")
    assert len(result.out.encode()) < 40


@pytest.mark.parametrize("stage", ["training", "measuring"])
def test_compare_keeps_its_runs(gatework, tmp_path, monkeypatch, stage):
    (tmp_path / "long.py").write_bytes(b"def f(x):\n    return [x, (x + 1)]\n\n" * 120)
    where = LanguageModel if stage == "training" else side_by_side
    name = "forward" if stage == "training" else "measure"
    monkeypatch.setattr(where, name, signalling(signal.SIGINT, getattr(where, name)))
    options = "--cells rnn,gru --parameters 3500 --embedding-size 4 --batch-size 4 --window 8"
    result = gatework("compare", "long.py", *options.split(), "--steps", "3", "--out", "side")
    assert result.code == 130
    assert "measure them with: gatework inspect side" in result.out + result.err
    assert gatework("sample", "side/gru", "--length", "3").code == 0


def test_a_second_signal_is_the_systems():
    program = (
        "import os, signal\n"
        "from gatework.cli.interrupt import *\n"
        "with heard(), Interrupt() as asked:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print(asked(), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('still here')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "True\n"
    assert done.returncode == -signal.SIGINT


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Signalled) as ended, heard(), kept(lambda: "all"):  # noqa: PT012
        with Interrupt():
            pass
        os.kill(os.getpid(), signal.SIGINT)
    assert ended.value.__notes__ == ["all"]
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_another_thread_has_no_signals():
    heard_ = []

    def work():
        with heard(), Interrupt() as asked:
            heard_.append(asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert heard_ == [False]
