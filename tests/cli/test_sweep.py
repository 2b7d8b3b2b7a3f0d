"""`gatework sweep`."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("optuna")
pytestmark = pytest.mark.slow

OPTIONS = ("--steps", "2", "--study", "mine", "--search", "lr=1e-3..1e-1:log")


def test_a_sweep_tells_its_best_and_how_to_repeat_it(gatework, text, small):
    first = gatework("sweep", text, *small, *OPTIONS, "--trials", "2")
    assert first.code == 0, first.err
    assert "2 finished" in first.out
    again = gatework("sweep", text, *small, *OPTIONS, "--trials", "3")
    assert "going on after 2" in again.out
    command = again.out.partition("again  gatework ")[2].split()
    assert gatework(*command).code == 0


@pytest.mark.parametrize(
    ("search", "words"),
    [("lr", "a setting and its values"), ("hiden=3..4", "did you mean"), ("lr=b..a", "a range")],
)
def test_what_is_typed_wrong_is_told(gatework, text, small, search, words):
    told = gatework("sweep", text, *small, "--search", search)
    assert told.code == 2
    assert words in told.err


def test_without_optuna_the_way_to_it_is_told(gatework, text, small, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    told = gatework("sweep", text, *small, *OPTIONS)
    assert told.code == 2
    assert "pip install optuna" in told.err
    assert not Path("runs").exists()
