"""Autograd's graph, walked without running anything backward."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

Node = Any
"""An operation of autograd's graph, or the place where a leaf's gradient gathers."""


def now() -> int:
    """A number that every later operation of this thread exceeds, and no earlier one."""
    with torch.enable_grad():
        node = torch.zeros((), requires_grad=True).neg().grad_fn
    assert node is not None
    return int(node._sequence_nr())


def nodes_of(tensors: Iterable[Tensor]) -> list[Node]:
    """The operations that made some tensors; for a leaf, the place of its gradient."""
    with torch.enable_grad():
        made = [t.grad_fn or t.view_as(t).grad_fn for t in tensors if t.requires_grad]
    return [n for n in made if n is not None]


def past(nodes: Iterable[Node], until: Collection[Node] = ()) -> Iterator[Node]:
    """Every operation that some were made by, themselves included; not beyond those in `until`."""
    seen: set[Node] = set()
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if node not in seen and node not in until:
            seen.add(node)
            yield node
            pending += [n for n, _ in node.next_functions if n is not None]


def leaves(nodes: Iterable[Node], until: Collection[Node] = ()) -> dict[int, Tensor]:
    """The tensors to which gradients of these operations come, by identity."""
    found = (getattr(node, "variable", None) for node in past(nodes, until))
    return {id(leaf): leaf for leaf in found if leaf is not None}


def is_older(node: Node, than: int) -> bool:
    """Whether an operation was recorded before `now()` gave that number."""
    return not hasattr(node, "variable") and int(node._sequence_nr()) < than
