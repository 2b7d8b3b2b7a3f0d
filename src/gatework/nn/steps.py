"""Single steps of a cell: RNNCell, LSTMCell and GRUCell as torch.nn's, and one for any cell.

Legend: B sequences, I input size, n the size of a state.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gatework.cells import gru, lstm
from gatework.compiler.program import program
from gatework.lang.definition import Cell
from gatework.nn import checks
from gatework.nn.differentiable import Job, run
from gatework.nn.layers import NONLINEARITIES
from gatework.nn.precision import rounded_to, widened
from gatework.nn.recurrent import State, draw_noise, initialise


class RecurrentCell(nn.Module):
    """One step of any cell, called with the input and the state; it returns the new state.

    Args:
        cell: A cell made by `gatework.cell`, or one of the catalogue `gatework.cells`.
        input_size: The number of features of the input, I.
        hidden_size: The number of hidden units.
        bias: Whether the linear maps have biases.
        device: Where the parameters are made.
        dtype: The parameters' dtype.
        sizes: Any other size that the cell names, such as `proj_size=64`.

    Shapes:
        input: [B, I] or [I].
        state: [B, n] or [n] for each of the cell's states; a tuple when it has several.

    Example:
        >>> import torch, gatework as gw
        >>> step = gw.nn.RecurrentCell(gw.cells.peephole_lstm, 4, 8)
        >>> h, c = step(torch.randn(3, 4))
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        **sizes: int,
    ) -> None:
        super().__init__()
        if not isinstance(cell, Cell):
            raise TypeError(f"expected a cell, made by gatework.cell; got {type(cell).__name__}")
        checks.check_sizes(input_size=input_size, hidden_size=hidden_size)
        checks.check_extra_sizes(sizes, cell.size_names(), cell.name)
        self.cell = cell if bias else cell.without_bias()
        self.eval_cell = self.cell.deterministic()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        self.sizes = {"1": 1, "input": input_size, "hidden": hidden_size, **sizes}
        checks.check_layers(self.cell, [self.sizes])
        for p in cell.parameters:
            values = torch.empty(p.shape(self.sizes), device=device, dtype=dtype)
            kept = any(q.name == p.name for q in self.cell.parameters)
            self.register_parameter(p.name, nn.Parameter(values) if kept else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and biases from ±1/√hidden_size, as torch; set others as the cell says."""
        values = [getattr(self, p.name) for p in self.cell.parameters]
        initialise(self.cell.parameters, values, self.hidden_size)

    def forward(self, input: Tensor, hx: State | None = None) -> State:
        """One step.

        Args:
            input: [B, I] or [I].
            hx: The state before the step; zero when it is not given.

        Returns:
            The state after it, in the same form.
        """
        checks.check_input(type(self).__name__, input, (1, 2))
        batched = input.dim() == 2
        x = input if batched else input.unsqueeze(0)
        checks.check_step_features(x, self.input_size)
        names = self.cell.parameters[:1]  # a pinned cell may have none
        weight = getattr(self, names[0].name) if names else x
        half = rounded_to(x, weight) is not None
        x = widened(x) if half else x
        states = self._initial(hx, x, batched, half)
        if not half:
            checks.check_step_dtype(x, weight)
        cell = self.cell if self.training else self.eval_cell
        parameters = [getattr(self, p.name) for p in cell.parameters]
        if weight.dtype != x.dtype:
            parameters = [widened(p) for p in parameters]
        noises = [draw_noise(n, x.unsqueeze(0), self.sizes) for n in cell.noises]
        job = Job(program(cell), self.sizes)
        _, new = run(job, (x.unsqueeze(0), *states, *parameters, *noises))
        if weight.dtype != x.dtype:  # not autocast's: a state that is carried on stays as exact
            new = tuple(s.to(weight.dtype) for s in new)
        new = new if batched else tuple(s.squeeze(0) for s in new)
        return new if len(new) > 1 else new[0]

    def _initial(self, hx: Any, x: Tensor, batched: bool, half: bool) -> tuple[Tensor, ...]:
        """The states before the step, checked: each [B, n]."""
        sizes = [self.sizes[s.size] for s in self.cell.states]
        if hx is None:
            return tuple(x.new_zeros((x.shape[0], n)) for n in sizes)
        states = checks.check_state(hx, [s.name for s in self.cell.states])
        checks.check_step_state_dims(type(self).__name__, states)
        states = states if batched else tuple(s.unsqueeze(0) for s in states)
        if half:
            states = tuple(widened(s) for s in states)
        checks.check_step_states(states, sizes, x)
        return states

    def extra_repr(self) -> str:
        """The arguments that differ from the defaults, as torch.nn writes them."""
        bias = [] if self.bias else [f"bias={self.bias}"]
        return ", ".join([*self._repr_cell(), f"{self.input_size}, {self.hidden_size}", *bias])

    def _repr_cell(self) -> list[str]:
        return [self.cell.name]


class RNNCell(RecurrentCell):
    """One step of the vanilla recurrent network, as torch.nn.RNNCell.

    Example:
        >>> import torch, gatework as gw
        >>> h = gw.nn.RNNCell(4, 8)(torch.randn(3, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in NONLINEARITIES:
            raise ValueError(
                f"Unknown nonlinearity {nonlinearity!r}. Select from 'tanh' or 'relu'."
            )
        cell = NONLINEARITIES[nonlinearity]
        super().__init__(cell, input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def extra_repr(self) -> str:
        """The arguments that differ from the defaults, as torch.nn writes them."""
        shown = "" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}"
        return super().extra_repr() + shown

    def _repr_cell(self) -> list[str]:
        return []


class LSTMCell(RecurrentCell):
    """One step of the LSTM, as torch.nn.LSTMCell.

    Example:
        >>> import torch, gatework as gw
        >>> h, c = gw.nn.LSTMCell(4, 8)(torch.randn(3, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(lstm, input_size, hidden_size, bias, device, dtype)

    def _repr_cell(self) -> list[str]:
        return []


class GRUCell(RecurrentCell):
    """One step of the GRU, as torch.nn.GRUCell.

    Example:
        >>> import torch, gatework as gw
        >>> h = gw.nn.GRUCell(4, 8)(torch.randn(3, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(gru, input_size, hidden_size, bias, device, dtype)

    def _repr_cell(self) -> list[str]:
        return []
