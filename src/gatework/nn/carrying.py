"""Truncated back-propagation through time: the state goes on from call to call, its gradient not.

Legend: L layers, D directions, B sequences, n the size of a state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gatework.nn import checks
from gatework.nn.recurrent import Recurrent
from gatework.nn.state import detach, mapped
from gatework.nn.steps import RecurrentCell


class Carry:
    """Calls a model with the state that it left behind the last time, detached.

    For reading long sequences in pieces (Williams & Peng 1990): what stands in piece k + 1 at a
    place of the batch must continue what stood there in piece k. The gradient of a piece reaches
    back to its beginning.

    Args:
        model: Called as `model(input, state, …)`, it returns an output and the new state: any
            layer of Gatework or of torch, or a model around one.

    Attributes:
        state: What the next call begins with; None for the model's own initial state. Assign to
            set it, `gatework.nn.state.save` it to go on later.

    Example:
        >>> import torch, gatework as gw
        >>> layer = gw.nn.LSTM(4, 8)
        >>> carry = gw.nn.Carry(layer)
        >>> x = torch.randn(30, 3, 4)
        >>> for piece in x.split(10):
        ...     y, (h, c) = carry(piece)
        ...     y.square().mean().backward()
        >>> torch.allclose(c, layer(x)[1][1], atol=1e-6)
        True
    """

    def __init__(self, model: Callable[..., tuple[Any, Any]]) -> None:
        if not callable(model):
            raise TypeError(f"expected a model to call, got {type(model).__name__}")
        if isinstance(model, RecurrentCell | nn.RNNCellBase):
            raise TypeError(
                f"{type(model).__name__} makes single steps; carry the state of a layer, or hand "
                "that of each step to the next"
            )
        self.model = model
        self.state: Any = None

    def __call__(self, input: Any, *args: Any, **options: Any) -> tuple[Any, Any]:
        """Call the model with the held state, and hold the new one, detached.

        Args:
            input: The model's input.
            args: What the model takes after input and state.
            options: Whatever else it takes, such as `lengths=` and `resets=`.

        Returns:
            What the model returns: the output and the new state, which is part of the graph.
        """
        result = self.model(input, self.state, *args, **options)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(
                "a model whose state is carried should return a pair, the output and the new "
                f"state; {type(self.model).__name__} returned {type(result).__name__}"
            )
        output, state = result
        self.state = detach(state)
        return output, state

    def reset(self, which: Any = None) -> None:
        """Go on from the initial state: the model's own `initial_state(batch_size)`, or zero.

        A learned initial state gets its gradient from the next call.

        Args:
            which: The sequences of the batch that begin anew: booleans [B], or numbers from 0;
                None for all.

        Raises:
            TypeError: If these are neither booleans nor whole numbers.
            ValueError: If they do not fit the batch of the held state.

        Example:
            >>> import torch, gatework as gw
            >>> carry = gw.nn.Carry(gw.nn.GRU(4, 8))
            >>> y, h = carry(torch.randn(5, 3, 4))
            >>> carry.reset([0, 2])
            >>> (carry.state == 0).all(-1)
            tensor([[ True, False,  True]])
        """
        if which is None or self.state is None:
            self.state = None
            return
        batch = self._batch_size()
        chosen = checks.check_which(which, batch)[:, None]  # [B, 1]
        make = getattr(self.model, "initial_state", None)
        initial = iter(_tensors(make(batch) if make else mapped(torch.zeros_like, self.state)))

        def begun(state: Tensor) -> Tensor:
            return torch.where(chosen.to(state.device), next(initial), state)

        self.state = mapped(begun, self.state)

    def _batch_size(self) -> int:
        """B of the held state: every tensor of it ends in [B, n]."""
        tensors = _tensors(self.state)
        sizes = {s.shape[-2] for s in tensors if s.dim() > 1}
        alone = isinstance(self.model, Recurrent | nn.RNNBase) and tensors[0].dim() == 2
        if len(sizes) != 1 or alone:
            found = "is that of one sequence alone" if alone else f"has batches of {sorted(sizes)}"
            raise ValueError(
                f"the held state {found}, so no sequences of it can be named; "
                "reset() resets it as a whole"
            )
        return sizes.pop()

    def __repr__(self) -> str:
        return f"<state carried from call to call of {type(self.model).__name__}>"


def _tensors(state: Any) -> list[Tensor]:
    """The tensors of a state in their order."""
    found: list[Tensor] = []
    mapped(lambda tensor: found.append(tensor) or tensor, state)  # type: ignore[func-returns-value]
    return found
