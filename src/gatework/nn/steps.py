"""Single steps of a cell: RNNCell, LSTMCell and GRUCell as torch.nn's, and one for any cell.

Legend: B sequences, I input size, n the size of a state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from torch import Tensor
from torch.fx import Proxy

from gatework.autograd.routes import run
from gatework.cells import gru, lstm
from gatework.lang.definition import Cell
from gatework.nn import checks
from gatework.nn.inputs import step_rows
from gatework.nn.layers import NONLINEARITIES
from gatework.nn.module import CellModule
from gatework.nn.noise import draw_noise
from gatework.nn.options import StepOptions, options_among
from gatework.nn.parameters import direction, own_parameters
from gatework.nn.precision import inside_step, within
from gatework.nn.recurrent import State


class RecurrentCell(CellModule):
    """One step of any cell, called with the input and the state; it returns the new state.

    Where the cell's output is no state, it returns the output and the new state, as a layer does.

    Args:
        cell: A cell made by `gatework.cell`, or one of the catalogue `gatework.cells`.
        input_size: The number of features of the input, I.
        hidden_size: The number of hidden units; none for a cell that has axes in their place.
        bias: Whether the linear maps have biases.
        device: Where the parameters are made.
        dtype: The parameters' dtype.
        forget_bias: The bias with which the gates that keep a state start.
        layer_norm: Whether every linear map is normalised.
        single_bias: Whether two biases of a gate that are added to each other are one.
        zoneout: The probability that a unit of a state keeps its old value, for all states or for
            states by name.
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
        hidden_size: int | None = None,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        forget_bias: float | None = None,
        layer_norm: bool = False,
        single_bias: bool = False,
        zoneout: float | Mapping[str, float] = 0.0,
        **sizes: int,
    ) -> None:
        options = options_among(locals())
        super().__init__(cell, input_size, hidden_size, bias, sizes, options)
        self._prepare()
        self._make_parameters(device, dtype)
        for p in cell.parameters:
            if p.name not in {
                *self._parameters,
                *self._buffers,
            }:  # torch's steps have None for a missing bias
                self.register_parameter(p.name, None)

    def _prepare(self) -> None:
        """A stack of one."""
        self._stack = [[direction(self._cells(), self._first_sizes())]]

    def forward(
        self, input: Tensor, hx: State | None = None, **inputs: Any
    ) -> State | tuple[Tensor, State]:
        """One step.

        Args:
            input: [B, I] or [I].
            hx: The state before the step; zero when it is not given.
            inputs: What the cell reads beside its input, by name: [B, n] or [n].

        Returns:
            The state after it, in the same form; after the output, where that is no state.
        """
        if type(input) is not Tensor and isinstance(input, Proxy):
            node: State | tuple[Tensor, State] = self._as_node(input, hx, inputs=inputs)
            return node
        checks.check_input(type(self).__name__, input, (1, 2))
        batched = input.dim() == 2
        x = input if batched else input[None]
        checks.check_step_features(x, self.input_size)
        one = self._stack[0][0]
        parameters = own_parameters(self, one.names)
        weight = parameters[0] if parameters else x  # a pinned cell may have none
        checks.check_device(x, weight)
        inside = inside_step(x, weight)
        half = inside is not None
        x = x if inside is None else within(x, inside)
        before = self._initial(hx, x, one.units, batched, half)
        if not half:
            checks.check_step_dtype(x, weight)
        if weight.dtype != x.dtype:
            parameters = [within(p, x.dtype) for p in parameters]
        job, row = one.jobs[self.training], x[None]  # [1, B, I]
        noises = [draw_noise(n, row, one.sizes) for n in job.cell.noises]
        further: tuple[Tensor, ...] = ()
        if inputs or self.cell.further:
            further = step_rows(self.cell, inputs, x, one.sizes, batched, half)
        outputs, new = run(job, (row, *before, *parameters, *further, *noises))
        found = new if self.cell.output is None else (outputs[0][0], *new)
        if weight.dtype != x.dtype:  # not autocast's: a state that is carried on stays as exact
            found = tuple(s.to(weight.dtype) for s in found)
        return self._handed_out(found if batched else tuple(s.squeeze(0) for s in found))

    def _handed_out(self, found: tuple[Tensor, ...]) -> State | tuple[Tensor, State]:
        """The new states as one; after the output, where the cell has one of its own."""
        states = found[self.cell.output is not None :]
        state = states if len(states) > 1 else states[0]
        return state if self.cell.output is None else (found[0], state)

    def _initial(
        self, hx: Any, x: Tensor, units: list[int], batched: bool, half: bool
    ) -> tuple[Tensor | None, ...]:
        """The states before the step, checked: each [B, n], None for zero."""
        if hx is None:
            return (None,) * len(units)
        states = checks.check_state(hx, [s.name for s in self.cell.states])
        checks.check_step_state_dims(type(self).__name__, states)
        states = states if batched else tuple(s.unsqueeze(0) for s in states)
        if half:
            states = tuple(within(s, x.dtype) for s in states)
        checks.check_step_states(states, units, x)
        return states

    def extra_repr(self) -> str:
        """The arguments that differ from the defaults, as torch.nn writes them."""
        return self._described(RecurrentCell)


class RNNCell(RecurrentCell):
    """One step of the vanilla recurrent network, as torch.nn.RNNCell.

    Example:
        >>> import torch, gatework as gw
        >>> h = gw.nn.RNNCell(4, 8)(torch.randn(3, 4))
    """

    _shows_cell = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
        **options: Unpack[StepOptions],
    ) -> None:
        if nonlinearity not in NONLINEARITIES:
            raise ValueError(
                f"Unknown nonlinearity {nonlinearity!r}. Select from 'tanh' or 'relu'."
            )
        cell = NONLINEARITIES[nonlinearity]
        super().__init__(cell, input_size, hidden_size, bias, device, dtype, **options)
        self.nonlinearity = nonlinearity

    def extra_repr(self) -> str:
        """The arguments that differ from the defaults, as torch.nn writes them."""
        shown = "" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}"
        return super().extra_repr() + shown


class LSTMCell(RecurrentCell):
    """One step of the LSTM, as torch.nn.LSTMCell.

    Example:
        >>> import torch, gatework as gw
        >>> h, c = gw.nn.LSTMCell(4, 8)(torch.randn(3, 4))
    """

    _shows_cell = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        **options: Unpack[StepOptions],
    ) -> None:
        super().__init__(lstm, input_size, hidden_size, bias, device, dtype, **options)


class GRUCell(RecurrentCell):
    """One step of the GRU, as torch.nn.GRUCell.

    Example:
        >>> import torch, gatework as gw
        >>> h = gw.nn.GRUCell(4, 8)(torch.randn(3, 4))
    """

    _shows_cell = False

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        **options: Unpack[StepOptions],
    ) -> None:
        super().__init__(gru, input_size, hidden_size, bias, device, dtype, **options)
