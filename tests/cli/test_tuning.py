"""`gatework train --lr find` and `--tensorboard`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from gatework.train import Run

pytestmark = pytest.mark.slow


def test_a_found_rate_is_a_number_of_the_run_which_it_repeats(gatework, text, small):
    found = gatework("train", text, *small, "--lr", "find", "--steps", "3", "--out", "found")
    assert found.code == 0
    rate = Run.open(Path("found")).config.learning_rate
    assert f"rate   {rate:g}, found by a step at each of" in found.out
    assert "▲" in found.out
    assert Path("found", "learning_rate.csv").read_text().startswith("rate,cost,smoothed\n1e-06,")
    options = ("--lr", str(rate), "--steps", "3", "--out", "typed")
    assert gatework("train", text, *small, *options).code == 0
    weights = [load_file(f"{name}/weights.safetensors") for name in ("found", "typed")]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[1])
    assert gatework("train", "--resume", "found", "--steps", "4").code == 0
    assert Run.open(Path("found")).config.learning_rate == rate


def test_a_folder_that_is_not_empty_is_told_before_the_search(gatework, text, small, run_folder):
    told = gatework("train", text, *small, "--lr", "find", "--out", "mine")
    assert told.code == 2
    assert "not empty" in told.err


def test_what_is_no_rate_is_told(gatework, text):
    told = gatework("train", text, "--lr", "fnid")
    assert told.code == 2
    assert "find" in told.err


def test_events_for_tensorboard_lie_in_the_run_folder_and_go_on(gatework, text, small):
    pytest.importorskip("tensorboard")
    told = gatework("train", text, *small, "--tensorboard", "--steps", "4", "--out", "mine")
    assert told.code == 0
    assert "tensorboard --logdir" in told.out
    assert gatework("train", "--resume", "mine", "--steps", "8").code == 0
    (events,) = Path("mine").glob("events.out.tfevents.*")
    assert events.stat().st_size > 500


def test_without_tensorboard_the_way_to_it_is_told(gatework, text, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    told = gatework("train", text, "--tensorboard", "--out", "mine")
    assert told.code == 2
    assert "pip install tensorboard" in told.err
    assert not Path("mine").exists()
