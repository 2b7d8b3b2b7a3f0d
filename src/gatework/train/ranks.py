"""Processes that train one model together, as torchrun starts them.

Each learns from its own rows of every batch. Gradients are added up over all, so that each takes
the very step that one process would have taken on the whole batch.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from gatework.errors import InputError
from gatework.tasks.task import Part

__all__ = ["ALONE", "Ranks", "restarted", "started_by_torchrun"]


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: its number; the process with number 0 leads: it measures, writes and speaks.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that measures and writes."""
        return self.rank == 0

    @property
    def part(self) -> Part:
        """Which rows of each batch are its own."""
        return Part(self.rank, self.count)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their sums over all processes, in one message."""
        if self.count == 1:
            return
        whole = torch.cat([tensor.flatten() for tensor in tensors])
        if self.count == 2 and whole.device.type == "cpu":
            self._add_the_other(whole)
        else:
            dist.all_reduce(whole)
        parts = torch.split(whole, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def _add_the_other(self, whole: Tensor) -> None:
        """What `all_reduce` does, for two processes: gloo's takes some three times as long."""
        other, theirs = 1 - self.rank, torch.empty_like(whole)
        moves = [dist.P2POp(dist.isend, whole, other), dist.P2POp(dist.irecv, theirs, other)]
        for move in dist.batch_isend_irecv(moves):
            move.wait()
        whole += theirs

    def agree(self, *decisions: float) -> tuple[float, ...]:
        """Return what the leading process has decided."""
        if self.count == 1:
            return decisions
        told = torch.tensor(decisions, dtype=torch.float64)
        dist.broadcast(told, 0)
        return tuple(told.tolist())

    def gathered(self, mine: Any) -> list[Any]:
        """Return what each process has, in their order."""
        if self.count == 1:
            return [mine]
        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, mine)
        return found

    def wait(self) -> None:
        """Wait until all have come so far."""
        if self.count > 1:
            dist.barrier()


ALONE = Ranks()
"""A process that trains by itself."""


def restarted() -> bool:
    """Whether torchrun has started this process anew, since one of those before was killed."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def started_by_torchrun(device: str) -> Ranks:
    """Return this process's place among those that torchrun has started; alone where it has not.

    Args:
        device: where models are: "cpu", or cards, of which each process takes its own.

    Raises:
        InputError: processes were started by hand, and what torchrun tells them is missing.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return ALONE
    if not dist.is_initialized():
        try:
            # decisions are told on the processor, gradients added where the model is
            dist.init_process_group("gloo" if device == "cpu" else "cpu:gloo,cuda:nccl")
        except ValueError as error:
            raise InputError(
                f"{count} processes by WORLD_SIZE ({error})",
                "the environment that torchrun sets",
                "start it with torchrun, or unset WORLD_SIZE",
            ) from None
        # gloo's threads end the process with SIGABRT where they are left to its end
        atexit.register(dist.destroy_process_group)
    if device != "cpu":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return Ranks(dist.get_rank(), dist.get_world_size())
