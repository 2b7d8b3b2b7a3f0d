"""Blocks that share the products of a sequence, each with its own rows or columns of every matrix.

All blocks of a team compute the same step, but each only some units of every sum of products, which
it stores in all of them. So a block reads a part of the matrices alone, and may hold them.

A sum lies in two slots in turn. Who writes into a slot has met all others since the step before,
and so they have read what it had two steps before.
"""

from __future__ import annotations

from collections.abc import Iterator

from gatework.backends.gpu.block.layout import Layout
from gatework.backends.gpu.machine import Machine
from gatework.compiler.passes import Sum

TEAMS = (2, 4, 8)  # blocks of a team; larger clusters are not everywhere


def teams(layout: Layout, machine: Machine) -> Iterator[int]:
    """The teams that may run a layout's sequences, all at the same time, the smallest first."""
    passes = (layout.step, layout.replay) if layout.replay else (layout.step,)
    sums = [s for one in passes for stage in one.stages for w in stage.works for s in w.sums]
    if machine.clusters and all(_can_be_shared(layout, s) for s in sums):
        for team in TEAMS:
            if layout.blocks <= machine.processors // team - (team >= max(TEAMS)):
                yield team  # a few multiprocessors are in no cluster of the largest size


def _can_be_shared(layout: Layout, total: Sum) -> bool:
    """Whether blocks can have units of a sum: all of W v or all of Wᵀ v, and this of one head."""
    turned = [p for p in total.products if p.transposed]
    heads = any(p.matrix.heads(layout.sizes) > 1 for p in turned)
    return not turned or (len(turned) == len(total.products) and not heads)
