"""What a backward pass finds of its forward pass, and the error when it is gone."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def saved_tensors(ctx: Any) -> tuple[Tensor, ...]:
    """The tensors that a forward pass saved.

    Raises:
        RuntimeError: If a backward pass freed them: torch's error, and how to mend it.
    """
    try:
        tensors: tuple[Tensor, ...] = ctx.saved_tensors
    except RuntimeError as error:
        if "backward through the graph a second time" not in str(error):
            raise
        raise RuntimeError(
            "Trying to backward through the graph of a recurrent layer a second time. Most often "
            "the state of the last batch was handed on with its graph: cut it first, with "
            "gatework.nn.state.detach(state). To go through the same graph "
            "twice on purpose, use backward(retain_graph=True) the first time"
        ) from error
    return tensors
