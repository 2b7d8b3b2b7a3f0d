"""`gatework sample`."""

from __future__ import annotations

from pathlib import Path

import torch

from gatework.train import Run, generate
from gatework.train.sample import as_text

__all__ = ["sample"]


def sample(path: Path, prompt: str, temperature: float, length: int, seed: int) -> None:
    """Print the prompt and what the run's model writes after it."""
    torch.set_num_threads(1)  # one byte at a time is nothing to share
    model = Run.open(path).load_model()
    given = prompt.encode("utf-8", errors="surrogateescape")
    written = generate(model, given, length, temperature=temperature, seed=seed)
    print(as_text(given + written))
