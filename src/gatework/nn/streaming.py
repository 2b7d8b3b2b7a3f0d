"""One step at a time with the state held: `layer.stream()`.

Legend: B sequences, I input size, n the size of a state, L layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatework.backends import Stepper
from gatework.nn import checks
from gatework.nn.precision import HALF, widened
from gatework.nn.recording import check_live


class Stream:
    """A stack of layers run step by step, in eval mode. Made by `layer.stream()`.

    Weights that are changed in place, as by an optimiser or `load_state_dict`, are read again at
    the next step; the state stays.

    Args:
        make: Makes a stepper for each layer, with the weights as they are.
        initial: Gives the layer's initial state, zero or learned.
        weights: The layer's parameters.
        names: The names of the cell's states.
        batch_size: B.
        input_size: I.
    """

    def __init__(
        self,
        make: Callable[[], list[Stepper]],
        initial: Callable[[], Any],
        weights: Sequence[Tensor],
        names: Sequence[str],
        batch_size: int,
        input_size: int,
    ) -> None:
        self._make, self._initial = make, initial
        self._weights, self._names = tuple(weights), tuple(names)
        self._shape = (batch_size, input_size)
        dtype = self._weights[0].dtype if self._weights else torch.get_default_dtype()
        self._dtypes = {True: dtype, False: _of_numpy(dtype)}
        self._half = dtype in HALF
        self._version = self._versions()
        self._steppers = make()
        self.reset()

    def _versions(self) -> int:
        return sum([w._version for w in self._weights])

    def _refresh(self) -> None:
        """Read the weights again."""
        state = self.state
        self._version = self._versions()
        self._steppers = self._make()
        self.state = state

    def step(self, x: Any) -> Any:
        """The output [B, n] for one input [B, I]; [n] for [I] when B is 1.

        Args:
            x: A tensor or a numpy array of the weights' dtype.

        Returns:
            The same kind. Its memory is used again at the next step: copy it to keep it.

        Raises:
            ValueError: If the input has another shape.
            TypeError: If it is no tensor and no array, or has another dtype.

        Example:
            >>> import numpy as np, gatework as gw
            >>> stream = gw.nn.LSTM(3, 5).stream()
            >>> stream.step(np.zeros(3, np.float32)).shape
            (5,)
        """
        if type(x) is not np.ndarray:
            check_live(x)
        row = self._checked(x)
        if self._version != self._versions():
            self._refresh()
        if self._half:
            row = widened(row) if isinstance(row, Tensor) else row.astype(np.float32)
        for stepper in self._steppers:
            row = stepper.step(row)
        if self._half:
            row = row.to(x.dtype) if isinstance(row, Tensor) else row.astype(x.dtype)
        return row[0] if x.ndim == 1 else row

    def _checked(self, x: Any) -> Any:
        """The input as [B, I]."""
        is_tensor = not isinstance(x, np.ndarray)  # a tensor's type is slow to recognise
        if is_tensor and not isinstance(x, Tensor):
            raise TypeError(f"a step takes a tensor or a numpy array, got {type(x).__name__}")
        row = x[None] if x.ndim == 1 else x
        if row.shape != self._shape:
            raise ValueError(
                f"a step's input should have shape {list(self._shape)}, got {list(x.shape)}"
            )
        if x.dtype != self._dtypes[is_tensor]:
            wanted = self._dtypes[is_tensor] or f"a tensor of {self._dtypes[True]}"
            raise TypeError(f"a step's input should be {wanted}, got {x.dtype}; convert it")
        return row

    @torch.no_grad()
    def reset(self, which: Any = None) -> None:
        """Return the state to its initial value: zero, or learned.

        Args:
            which: The sequences of the batch: booleans [B], or numbers from 0; None for all.

        Raises:
            TypeError: If these are neither booleans nor whole numbers.
            ValueError: If there is not one boolean for each sequence, or no sequence of a number.

        Example:
            >>> import torch, gatework as gw
            >>> stream = gw.nn.GRU(3, 5).stream(batch_size=2)
            >>> y = stream.step(torch.ones(2, 3))
            >>> stream.reset([False, True])  # the second sequence begins anew
            >>> (stream.state == 0).all(-1)
            tensor([[False,  True]])
        """
        initial = self._initial()
        if which is not None:
            chosen = checks.check_which(which, self._shape[0])[:, None]
            chosen = chosen.to(_tupled(initial)[0].device)
            pairs = zip(_tupled(initial), _tupled(self.state), strict=True)
            initial = tuple(torch.where(chosen, new, old) for new, old in pairs)
        self.state = initial

    @property
    def state(self) -> Any:
        """The state as the layer returns it, [L, B, n] each, in memory of its own.

        It is float32 where the layer has half precision: nothing of it is rounded between steps.
        Assign to set it; `torch.save`, or safetensors for its parts, keeps it.
        """
        parts = zip(*(s.state for s in self._steppers), strict=True)
        states = tuple(torch.stack(p) for p in parts)
        return states if len(states) > 1 else states[0]

    @state.setter
    def state(self, value: Any) -> None:
        states = checks.check_state(value, self._names)
        for name, state, held in zip(self._names, states, _tupled(self.state), strict=True):
            if state.shape != held.shape:
                raise ValueError(
                    f"the state {name!r} should have shape {list(held.shape)} "
                    f"[layers, batch, size], got {list(state.shape)}"
                )
        for k, stepper in enumerate(self._steppers):
            stepper.state = tuple(widened(s[k]) for s in states)

    def __repr__(self) -> str:
        batch, features = self._shape
        return f"<stream of {len(self._steppers)} layer(s), batch {batch}, input {features}>"


def _of_numpy(dtype: torch.dtype) -> Any:
    """The numpy dtype of a tensor's; None where numpy has none, as for bfloat16."""
    name = str(dtype).removeprefix("torch.")
    return np.dtype(name) if hasattr(np, name) else None


def _tupled(state: Any) -> tuple[Tensor, ...]:
    return (state,) if isinstance(state, Tensor) else state
