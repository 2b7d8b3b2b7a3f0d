"""The page of a run says how it went, and where its model was best."""

from __future__ import annotations

import pytest

from gatework.data import Corpus
from gatework.reports.run_page import run_page
from gatework.tasks import Shown
from gatework.train import Record, Run, RunConfig
from gatework.train.checkpoint import Place
from language_models import language_model, trainer_on

COSTS = {"train": (5.0, 2.0, 0.5), "valid": (4.25, 2.75, 3.125)}


@pytest.fixture
def run(tmp_path):
    """A run whose cost on held-out text fell and rose again."""
    config = RunConfig.of(hidden_size=4, embedding_size=3, steps=30, batch_size=2, window=8)
    corpus = Corpus.of("letters", b"abc" * 99, b"cab")
    run = Run.create(trainer_on(corpus, config), tmp_path / "run")
    for step in (1, 2, 3):
        for split, costs in COSTS.items():
            run.log(Record(split, step * 10, step * 1000, 1.0, step / 3, costs[step - 1]))
    run.save_best(language_model(config), Place(step=20, progress=2 / 3, cost=2.75))
    return run


def test_it_shows_both_curves_and_the_best(run):
    page = run_page(run, Shown("What it writes", "", "a sample"))
    for said in ("training ends at 0.500", "held out ends at 3.125", "2.750 at 67%", "by heart"):
        assert said in page
    assert page.count("<svg") == 1


def test_it_shows_the_sample_where_there_was_time_for_one(run):
    assert "a &lt;sample&gt;" in run_page(run, Shown("What it writes", "", "a <sample>"))
    assert "What it writes" not in run_page(run, None)


def test_it_says_which_settings_were_used(run):
    page = run_page(run, None)
    for name, value in (("hidden size", "4"), ("learning rate", "0.01"), ("cell", "lstm")):
        assert f"<td>{name}</td><td>{value}</td>" in page
