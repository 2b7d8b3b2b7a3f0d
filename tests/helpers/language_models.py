"""Small language models with random weights, and trainers on texts in memory."""

from typing import Any

from gatework.data import Corpus
from gatework.tasks import task_class
from gatework.tasks.text import LanguageModel
from gatework.train import RunConfig, Trainer
from gatework.train.models import make_model


def language_model(config: RunConfig | None = None, **settings: Any) -> LanguageModel:
    """A model of bytes with the settings of a run."""
    config = config or RunConfig.of(**settings)
    model = make_model(config, task_class("text")(config.task, {}))
    assert isinstance(model, LanguageModel)
    return model


def trainer_on(corpus: Corpus, config: RunConfig) -> Trainer:
    """A trainer on bytes."""
    return Trainer(config, task_class("text")(config.task, {}), corpus)
