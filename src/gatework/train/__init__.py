"""Training language models over bytes, and the folders that runs leave behind."""

from gatework.train.config import Manifest, RunConfig
from gatework.train.evaluate import bits_per_byte
from gatework.train.fit import Runner, fit
from gatework.train.model import LanguageModel
from gatework.train.run import Record, Run
from gatework.train.sample import generate
from gatework.train.trainer import Trainer

__all__ = [
    "LanguageModel",
    "Manifest",
    "Record",
    "Run",
    "RunConfig",
    "Runner",
    "Trainer",
    "bits_per_byte",
    "fit",
    "generate",
]
