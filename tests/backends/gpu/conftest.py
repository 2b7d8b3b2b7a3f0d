"""What tests of the GPU backend share."""

import pytest
import torch

from gatework.backends.gpu import running


@pytest.fixture
def poisoned_memory(monkeypatch):
    """Memory that a call makes is full of NaN, so that what nobody writes shows."""
    empty_like = torch.empty_like

    class Poisoning:
        """Torch, but for memory that is not filled."""

        def __getattr__(self, name):
            return getattr(torch, name)

        def empty_like(self, like):
            made = empty_like(like)
            return made.fill_(torch.nan if made.is_floating_point() else 0xFF)

    monkeypatch.setattr(running, "torch", Poisoning())
