"""Every test of this folder sees fresh memory full of NaN, and any number of threads."""

import pytest
import torch

from gatework.backends.cpu import preparation, schedule


@pytest.fixture(autouse=True)
def _poisoned_memory(monkeypatch):
    """torch.empty gives NaN, so that whatever was not written shows."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    workspace = preparation.workspace

    def poisoned(elements, dtype):
        memory = workspace(elements, dtype)
        memory[: memory.numel() // 8 * 8].view(torch.float64).fill_(torch.nan)
        return memory

    monkeypatch.setattr(preparation, "workspace", poisoned)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def _any_work_is_shared(monkeypatch):
    """The tests' layers are small; with two threads both shall work."""
    monkeypatch.setattr(schedule, "WORTH_SHARING", 0)


@pytest.fixture(params=[1, 2])
def threads(request):
    """The number of threads that torch may use."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)
