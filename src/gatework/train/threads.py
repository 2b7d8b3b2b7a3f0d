"""Torch's threads, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["with_threads"]


@contextmanager
def with_threads(count: int) -> Iterator[None]:
    """Let torch share each operation among so many threads, afterwards among as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
