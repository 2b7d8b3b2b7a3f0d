"""A text with something to learn, and settings so small that a step takes milliseconds."""

from __future__ import annotations

import pytest

from gatework.data import Corpus
from gatework.train import Run, RunConfig, Runner
from language_models import trainer_on

TEXT = b"def f(x):\n    return [x, (x + 1)]\n\n" * 60


@pytest.fixture
def corpus() -> Corpus:
    return Corpus.of("a loop", TEXT, TEXT[:5])


@pytest.fixture
def tiny() -> RunConfig:
    return RunConfig.of(
        cell="lstm", hidden_size=12, embedding_size=6, batch_size=4, window=8, steps=12, seed=5
    )


@pytest.fixture
def make_runner(tmp_path, corpus):
    """Make a runner in a new folder."""

    def make(config: RunConfig, name: str = "run") -> Runner:
        trainer = trainer_on(corpus, config)
        return Runner(trainer, Run.create(trainer, tmp_path / name))

    return make
