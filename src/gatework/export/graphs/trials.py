"""A file beside the model that it was made of: run in ONNX Runtime at several sizes."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from gatework.errors import InputError
from gatework.export.graphs.checking import (
    NOT_CHECKED,
    TOLERATED,
    Verdict,
    difference_of,
    equal_within,
    rare_of,
    session_of,
)
from gatework.nn import Recurrent

__all__ = ["compared_model"]

LARGER = (0, 1, 9)
"""By how much each free axis is longer than that of the example."""


def compared_model(content: bytes, model: nn.Module, example_inputs: tuple[Any, ...]) -> Verdict:
    """Run a file and the model on the example, and on larger inputs that are drawn like it.

    Numbers are drawn at random, whole numbers from those of the example, since they may be places
    of an embedding.

    Raises:
        InputError: If they differ, or ONNX Runtime does not take the file.
    """
    session = session_of(content)
    if session is None:
        return NOT_CHECKED
    own = copy.deepcopy(model).cpu().eval()
    rare = max((rare_of(m) for m in own.modules() if isinstance(m, Recurrent)), default=0.0)
    worst, tried = 0.0, 0
    for more in LARGER:
        inputs = _drawn(example_inputs, session, more)
        expected = _results(own, inputs, may_fail=more > 0)
        if expected is not None:
            worst = max(worst, _difference(session, inputs, expected, rare))
            tried += 1
    return Verdict(worst, f"{equal_within(worst)} at {tried} sizes")


def _drawn(example_inputs: tuple[Any, ...], session: Any, more: int) -> tuple[Any, ...]:
    """Inputs whose free axes are longer by so many; the example itself for none."""
    leaves, form = tree_flatten(example_inputs)
    places = [k for k, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    chance = torch.Generator().manual_seed(more)
    for place, read in zip(places, session.get_inputs(), strict=True):
        leaf = leaves[place].cpu()
        axes = zip(leaf.shape, read.shape, strict=True)
        shape = [n + more if isinstance(free, str) else n for n, free in axes]
        leaves[place] = _like(leaf, shape, chance) if more else leaf
    return tuple(tree_unflatten(leaves, form))


def _like(example: Tensor, shape: list[int], chance: torch.Generator) -> Tensor:
    if example.is_floating_point():
        return torch.randn(shape, generator=chance).to(example.dtype)
    if not example.numel():
        return example.new_zeros(shape)
    places = torch.randint(example.numel(), shape, generator=chance)
    return example.flatten()[places]


def _results(model: nn.Module, inputs: tuple[Any, ...], *, may_fail: bool) -> list[Tensor] | None:
    """All tensors that a model gives; None for inputs that it does not take."""
    try:
        with torch.no_grad():
            found = model(*copy.deepcopy(inputs))
    except Exception:
        if may_fail:
            return None
        raise
    return [one for one in tree_leaves(found) if isinstance(one, Tensor)]


def _difference(
    session: Any, inputs: tuple[Any, ...], expected: list[Tensor], rare: float
) -> float:
    tensors = [one for one in tree_leaves(inputs) if isinstance(one, Tensor)]
    feed = {r.name: t.numpy() for r, t in zip(session.get_inputs(), tensors, strict=True)}
    try:
        found = session.run(None, feed)
    except Exception as error:  # its own kinds, which have no common base
        raise InputError(
            f"the file does not run at another size than the example's: {error}",
            "a model that is free in its axes",
            "say which are: dynamic_shapes=",
        ) from None
    names = (one.name for one in session.get_outputs())
    pairs = zip(names, map(torch.from_numpy, found), expected, strict=True)
    return max(_compared(n, a, b, rare) for n, a, b in pairs)


def _compared(name: str, found: Tensor, expected: Tensor, rare: float) -> float:
    if found.shape != expected.shape:
        raise InputError(
            f"{name!r} of the file with the shape {list(found.shape)}",
            f"the model's, {list(expected.shape)}",
            "say which axes are free: dynamic_shapes=",
        )
    if not found.numel():
        return 0.0
    tolerated = TOLERATED.get(expected.dtype, TOLERATED[torch.float32])
    return difference_of(name, found.float(), expected.float(), tolerated, rare)
