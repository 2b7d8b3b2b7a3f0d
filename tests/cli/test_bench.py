"""`gatework bench`: what it shows, writes and refuses."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from gatework.bench import OURS, Pace
from gatework.bench.peers import Work
from gatework.cli import benching

pytestmark = pytest.mark.slow

SMALL = ["--shapes", "2,3,5,7", "--threads", "1"]


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Measure one turn of one call."""
    pace = Pace(total=0, turn=0, rest=0, rounds=1, grain=0)
    monkeypatch.setattr(benching, "Pace", lambda total: pace)


def test_a_table_and_figures(gatework):
    result = gatework("bench", "--cells", "gru,mgu", *SMALL, "1,4,3,3", "--json", "out.json")
    assert result.code == 0, result.err
    for said in ("float32, 1 thread;", "torch.nn", "Python loop", "gru", "mgu", "2,3,5,7", "share"):
        assert said in result.out
    assert "…" not in result.out
    data = json.loads(Path("out.json").read_text())
    assert [(line["cell"], line["kind"]) for line in data["lines"]] == [
        (cell, kind) for kind in ("inference", "training") for cell in ("gru", "mgu") * 2
    ]
    for name in data["not_installed"]:
        assert f"not installed: {name}" in result.out


@pytest.mark.parametrize(
    ("flags", "kinds"),
    [
        ("--stream", {"streaming"}),
        ("--inference", {"inference"}),
        ("--train --stream", {"training", "streaming"}),
    ],
)
def test_kinds_are_chosen(gatework, flags, kinds):
    result = gatework("bench", "--cells", "rnn", *flags.split(), *SMALL)
    assert result.code == 0, result.err
    for kind in ("inference", "training", "streaming"):
        assert (f" {kind}" in result.out) == (kind in kinds)


def test_who_computes_something_else_is_not_timed(gatework, monkeypatch):
    prepare = type(OURS).prepare

    def wrong(self, problem, kind, threads):
        work = prepare(self, problem, kind, threads)
        if problem.cell.name == "rnn":
            return Work(work.call, lambda: {n: 1.1 * v for n, v in work.check().items()})
        return work

    monkeypatch.setattr(type(OURS), "prepare", wrong)
    result = gatework("bench", "--cells", "rnn,gru", "--inference", *SMALL)
    assert result.code == 1
    assert "not timed: rnn 2,3,5,7 inference: gatework: output differs by" in result.out
    assert result.out.count("wrong result") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--cells gur", "did you mean 'gru'"),
        ("--cells ,", "cells separated by commas"),
        ("--shapes 1,2,3", "B,T,I,H"),
        ("--shapes 1,2,3,4 5,6", "B,T,I,H"),
        ("--all --shapes 1,2,3,4", "leave one out"),
        ("--threads 0", "--threads 0"),
        ("--threads 100000", "cores of this machine"),
        ("--seconds 0", "above 0"),
        ("--seconds nan", "above 0"),
        ("--json nowhere/out.json", "a file in a folder that exists"),
        ("--json .", "a file in a folder that exists"),
    ],
)
def test_a_users_error_is_told(gatework, arguments, message):
    result = gatework("bench", *arguments.split())
    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err


def test_ctrl_c_keeps_what_was_measured(gatework, monkeypatch):
    prepare = type(OURS).prepare

    def interrupted(self, problem, *arguments):
        if problem.cell.name == "rnn":
            os.kill(os.getpid(), signal.SIGINT)
        return prepare(self, problem, *arguments)

    monkeypatch.setattr(type(OURS), "prepare", interrupted)
    result = gatework("bench", "--cells", "gru,rnn", "--inference", *SMALL, "--json", "out.json")
    assert result.code == 130
    assert [line["cell"] for line in json.loads(Path("out.json").read_text())["lines"]] == ["gru"]
    assert "gru" in result.out.split("share")[1]
