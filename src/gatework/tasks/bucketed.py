"""Batches of whole sequences of unequal lengths, those of like length side by side."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gatework.errors import InputError
from gatework.tasks.task import Batch, Part

__all__ = ["Bucketed"]

POOLED = 50
"""Batches whose sequences are put in the order of their lengths together: enough that little is
padding, few enough that batches differ from one time through the data to the next."""


class Bucketed:
    """Every sequence once, in another order each time through; what comes is decided by position.

    Args:
        lengths: int64 [N], steps of each sequence.
        batch_size: B.
        seed: of the order.
        part: which sequences of each batch are returned.
        gather: makes a batch of the sequences with these numbers.

    Raises:
        InputError: there is no sequence.

    Example:
        >>> batches = Bucketed(np.array([3, 1, 2]), 2, 0, Part(), lambda numbers: numbers)
        >>> sorted(int(n) for _ in range(2) for n in batches.next()), batches.seen
        ([0, 1, 2], 3)
    """

    def __init__(
        self,
        lengths: NDArray[np.int64],
        batch_size: int,
        seed: int,
        part: Part,
        gather: Callable[[NDArray[np.int64]], Batch],
    ) -> None:
        if not len(lengths):
            raise InputError("no sequence to learn from", "some", "hold out fewer, or give more")
        self.position = 0
        """Batches returned so far; set it to go on from a saved place."""
        self._lengths, self._batch_size, self._seed = lengths, batch_size, seed
        self._part, self._gather = part, gather
        self._each = -(-len(lengths) // batch_size)
        self._order = lru_cache(2)(self._shuffled)

    @property
    def seen(self) -> int:
        """Sequences learned from so far, by all parts."""
        times, some = divmod(self.position, self._each)
        begun = sum(len(batch) for batch in self._order(times)[:some]) if some else 0
        return times * len(self._lengths) + begun

    def next(self) -> Batch:
        """Return this part of the next batch, and move on."""
        times, place = divmod(self.position, self._each)
        self.position += 1
        batch = self._order(times)[place]
        return self._gather(batch[self._part.slice(len(batch))])

    def _shuffled(self, times: int) -> list[NDArray[np.int64]]:
        """The batches of one time through the data, in a random order."""
        generator = np.random.default_rng([self._seed, times])
        order = generator.permutation(len(self._lengths))
        whole, step = [], POOLED * self._batch_size
        for begin in range(0, len(order), step):
            some = order[begin : begin + step]
            some = some[np.argsort(self._lengths[some], kind="stable")]
            whole += [some[k : k + self._batch_size] for k in range(0, len(some), self._batch_size)]
        return [whole[k] for k in generator.permutation(len(whole))]
