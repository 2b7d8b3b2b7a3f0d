"""Recurrent layers and single steps of any make, seen alike: torch.nn's and ours.

Legend: T steps, B sequences, n features, L layers, D directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from gatework.nn import Recurrent, RecurrentCell

LAYERS = (Recurrent, nn.RNNBase)
STEPS = (RecurrentCell, nn.RNNCellBase)


def recurrent_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The recurrent layers and steps of a model by name; the model itself is called "model"."""
    found: dict[str, nn.Module] = {
        name or "model": m for name, m in model.named_modules() if isinstance(m, LAYERS + STEPS)
    }
    if not found:
        raise ValueError(
            f"{type(model).__name__} has no recurrent layer: expected gatework.nn.Recurrent, LSTM, "
            "GRU, RNN or one of their cells, or those of torch.nn, among its modules"
        )
    return found


def weights_of(layer: nn.Module) -> dict[str, Tensor]:
    """The learned parameters of a layer by name, without a learned initial state."""
    initial = layer.initial_parameters if isinstance(layer, Recurrent) else {}
    return {n: p for n, p in layer.named_parameters() if p.requires_grad and n not in initial}


def directions(layer: Any) -> int:
    """D."""
    return 2 if layer.bidirectional else 1


def time_first(layer: Any, value: Tensor | PackedSequence) -> Tensor:
    """The rows of an input or an output as [T, B, n], whatever their form."""
    if isinstance(value, PackedSequence):
        return pad_packed_sequence(value)[0]
    if value.dim() == 2:
        return value.unsqueeze(1)
    return value.transpose(0, 1) if layer.batch_first else value


def given_form(layer: Any, rows: Tensor, like: Tensor | PackedSequence) -> Any:
    """Rows [T, B, n] in the form of `like`."""
    if isinstance(like, PackedSequence):
        order = like.sorted_indices
        ordered = rows if order is None else rows.index_select(1, order)
        steps = torch.arange(len(rows), device=rows.device)[:, None]
        batch = torch.arange(rows.shape[1], device=rows.device)
        inside = batch < like.batch_sizes.to(rows.device)[steps[:, 0]][:, None]
        return PackedSequence(
            ordered[inside], like.batch_sizes, like.sorted_indices, like.unsorted_indices
        )
    if like.dim() == 2:
        return rows.squeeze(1)
    return rows.transpose(0, 1) if layer.batch_first else rows


def _rows(value: Tensor | PackedSequence) -> Tensor:
    return value.data if isinstance(value, PackedSequence) else value


def gives_state_alone(layer: Any) -> bool:
    """Whether a call returns the new state and no output beside it, as torch's single steps do."""
    own_output = isinstance(layer, RecurrentCell) and layer.cell.output is not None
    return isinstance(layer, STEPS) and not own_output


def states_of(state: Any) -> tuple[Tensor, ...]:
    """The states in a result or an argument, one tensor each."""
    return (state,) if isinstance(state, Tensor) else tuple(state)


@dataclass(frozen=True)
class Visit:
    """The first call of a layer, or of a single step, in one run of the model.

    Attributes:
        layer: The layer.
        arguments: All it was given by name.
        output: What it returned for the steps, as it was handed on.
        state: The final states as they were handed on.
        last: The final states of its last call in the run.
        held: The learned parameters that it had at that call, by name: in a functional call, or
            where a wrapper sets them, others than its own.
        made: The operations that made the results of all its calls.
        calls: How many times it was called in the run.
    """

    layer: Any
    arguments: Mapping[str, Any]
    output: Any
    state: tuple[Tensor, ...]
    last: tuple[Tensor, ...]
    held: Mapping[str, Tensor]
    made: tuple[Any, ...] = ()
    calls: int = 1

    @property
    def whole(self) -> bool:
        """Whether it read whole sequences, all in this call."""
        return isinstance(self.layer, LAYERS) and self.calls == 1

    @property
    def input(self) -> Tensor | PackedSequence:
        """What it read, in the given form."""
        value: Tensor | PackedSequence = self.arguments["input"]
        return value

    @property
    def rows(self) -> Tensor:
        """What it read, in no particular form."""
        return _rows(self.input)

    @property
    def results(self) -> tuple[Tensor, ...]:
        """The output, as rows, and each final state; of a step that gives no more the states."""
        if gives_state_alone(self.layer):
            return self.state
        return (_rows(self.output), *self.state)

    @property
    def pinned(self) -> bool:
        """Whether a value of its cell was held in this call."""
        return bool(self.arguments.get("pin"))

    @property
    def x(self) -> Tensor:
        """What it read, [T, B, I]."""
        return time_first(self.layer, self.input)

    @property
    def given_state(self) -> tuple[Tensor, ...]:
        """The initial states that it was given; none when it began at zero."""
        state = self.arguments.get("hx")
        return () if state is None else states_of(state)

    @property
    def knows_lengths(self) -> bool:
        """Whether it was told where sequences end."""
        packed = isinstance(self.input, PackedSequence)
        return packed or self.arguments.get("lengths") is not None
