"""`gatework bench --device`: what it refuses without a card, and what it shows of figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from gatework.bench import Pace
from gatework.bench.gpu import measuring
from gatework.cli import gpu_benching


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--device cup", "cpu, cuda, or cuda:1"),
        ("--device mps", "cpu, cuda, or cuda:1"),
        ("--precision bf16", "add --device cuda"),
        ("--device cuda --threads 1", "--threads with --device cuda"),
        ("--device cuda --all", "--all with --device cuda"),
        ("--device cuda --stream", "--stream with --device cuda"),
        ("--device cuda --shapes 1,2,3", "B,T,I,H"),
    ],
)
def test_a_users_error_is_told(gatework, arguments, message):
    result = gatework("bench", *arguments.split())
    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_without_a_card(gatework):
    result = gatework("bench", "--device", "cuda")
    assert result.code == 2
    assert "a card with CUDA that torch can use" in result.err


def test_a_card_that_is_not_there(gatework, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    result = gatework("bench", "--device", "cuda:2")
    assert result.code == 2
    assert "there are 2 cards" in result.err


@pytest.fixture
def on_the_cpu(monkeypatch):
    """What a card would do, by the CPU, at once."""
    monkeypatch.setattr(gpu_benching, "card_typed", lambda text: torch.device("cpu"))
    pace = Pace(total=0, turn=0, rest=0, rounds=1, grain=0)
    monkeypatch.setattr(gpu_benching, "Pace", lambda **_: pace)


def test_tables_and_figures(gatework, on_the_cpu):
    arguments = "--device cuda --cell gru --precision fp32 --shapes 2,3,5,7 --json out.json"
    result = gatework("bench", *arguments.split())
    assert result.code == 0, result.err
    for said in ("1 of 2  gru 2,3,5,7 fp32 inference", "called from Python", "Python loop", "×"):
        assert said in result.out
    assert "CUDA graphs" not in result.out  # of which the CPU has none
    assert "| 2, 3, 7 |" in result.out
    kinds = [line["kind"] for line in json.loads(Path("out.json").read_text())["lines"]]
    assert kinds == ["inference", "training"]


def test_six_shapes_have_five_minutes(gatework, on_the_cpu, monkeypatch):
    monkeypatch.setattr(gpu_benching, "SECONDS", -1.0)
    result = gatework("bench", "--device", "cuda", "--cell", "gru")
    assert result.code == 0
    assert "no time for 48 lines" in result.out


def test_a_misspelt_precision(gatework, on_the_cpu):
    result = gatework("bench", "--device", "cuda", "--precision", "fp32,bf15")
    assert result.code == 2
    assert "did you mean 'bf16'" in result.err


def test_who_is_wrong_is_told(gatework, on_the_cpu, monkeypatch):
    monkeypatch.setattr(measuring, "worst_error", lambda found, expected: 1.0)
    arguments = "--device cuda --cell gru --precision fp32 --inference --shapes 2,3,5,7"
    result = gatework("bench", *arguments.split())
    assert result.code == 1
    assert "not timed: gru 2,3,5,7 fp32 inference: gatework: a relative error of" in result.out
