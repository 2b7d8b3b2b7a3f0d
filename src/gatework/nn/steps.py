"""Single steps of a cell: RNNCell, LSTMCell and GRUCell as torch.nn's, and one for any cell.

Legend: B sequences, I input size, n the size of a state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from gatework.autograd.job import Job
from gatework.autograd.routes import run
from gatework.cells import gru, lstm
from gatework.lang.definition import Cell, check_cell
from gatework.nn import checks, init
from gatework.nn.layers import NONLINEARITIES
from gatework.nn.noise import draw_noise
from gatework.nn.options import Rewriting, StepOptions, described, rewritten
from gatework.nn.parameters import own_parameters
from gatework.nn.precision import rounded_to, widened
from gatework.nn.recording import Recordable
from gatework.nn.recurrent import State


class RecurrentCell(Recordable):
    """One step of any cell, called with the input and the state; it returns the new state.

    Args:
        cell: A cell made by `gatework.cell`, or one of the catalogue `gatework.cells`.
        input_size: The number of features of the input, I.
        hidden_size: The number of hidden units.
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
        hidden_size: int,
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
        super().__init__()
        check_cell(type(self).__name__, cell)
        checks.check_sizes(input_size=input_size, hidden_size=hidden_size)
        checks.check_extra_sizes(sizes, cell.size_names(), cell.name, StepOptions.__annotations__)
        self.rewriting = Rewriting(layer_norm=layer_norm, single_bias=single_bias, zoneout=zoneout)
        self.cell = rewritten(cell, bias, self.rewriting)
        self.forget_bias = forget_bias
        self.eval_cell = self.cell.deterministic()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        self.sizes = {"1": 1, "input": input_size, "hidden": hidden_size, **sizes}
        checks.check_layers(self.cell, [self.sizes])
        for p in self.cell.parameters:
            values = torch.empty(p.shape(self.sizes), device=device, dtype=dtype)
            self.register_parameter(p.name, nn.Parameter(values))
        for p in cell.parameters:
            if p.name not in self._parameters:  # torch's steps have None for a missing bias
                self.register_parameter(p.name, None)
        self.reset_parameters()
        self._prepare()

    def _prepare(self) -> None:
        """The job of a call, by whether it is training, and the names of its parameters."""
        cells = {False: self.eval_cell, True: self.cell}
        self._jobs = {training: Job(c, self.sizes) for training, c in cells.items()}
        self._names = [p.name for p in self.cell.parameters]

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: not what follows from it."""
        return {n: v for n, v in self.__dict__.items() if n not in ("_jobs", "_names")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copied or pickled step."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._prepare()

    def cell_parameters(self) -> list[init.Place]:
        """The parameters by the cell's names, and their sizes, as a layer of one direction."""
        return [({p.name: getattr(self, p.name) for p in self.cell.parameters}, self.sizes)]

    def reset_parameters(self) -> None:
        """Draw weights and biases from ±1/√hidden_size, as torch; set others as the cell says."""
        init.default_(self)
        if self.forget_bias is not None:
            init.forget_bias_(self, self.forget_bias)

    def forward(self, input: Tensor, hx: State | None = None) -> State:
        """One step.

        Args:
            input: [B, I] or [I].
            hx: The state before the step; zero when it is not given.

        Returns:
            The state after it, in the same form.
        """
        if type(input) is not Tensor and isinstance(input, Proxy):
            node: State = self._as_node(input, hx)
            return node
        checks.check_input(type(self).__name__, input, (1, 2))
        batched = input.dim() == 2
        x = input if batched else input[None]
        checks.check_step_features(x, self.input_size)
        parameters = own_parameters(self, self._names)
        weight = parameters[0] if parameters else x  # a pinned cell may have none
        checks.check_device(x, weight)
        half = rounded_to(x, weight) is not None
        x = widened(x) if half else x
        states = self._initial(hx, x, batched, half)
        if not half:
            checks.check_step_dtype(x, weight)
        if weight.dtype != x.dtype:
            parameters = [widened(p) for p in parameters]
        job, row = self._jobs[self.training], x[None]  # [1, B, I]
        noises = [draw_noise(n, row, self.sizes) for n in job.cell.noises]
        new = run(job, (row, *states, *parameters, *noises))[1]
        if weight.dtype != x.dtype:  # not autocast's: a state that is carried on stays as exact
            new = tuple(s.to(weight.dtype) for s in new)
        new = new if batched else tuple(s.squeeze(0) for s in new)
        return new if len(new) > 1 else new[0]

    def _initial(self, hx: Any, x: Tensor, batched: bool, half: bool) -> tuple[Tensor | None, ...]:
        """The states before the step, checked: each [B, n], None for zero."""
        sizes = [self.sizes[s.size] for s in self.cell.states]
        if hx is None:
            return (None,) * len(sizes)
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
        sizes = f"{self.input_size}, {self.hidden_size}"
        forget = [] if self.forget_bias is None else [f"forget_bias={self.forget_bias}"]
        return ", ".join([*self._repr_cell(), sizes, *bias, *forget, *described(self.rewriting)])

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
        **options: Unpack[StepOptions],
    ) -> None:
        super().__init__(lstm, input_size, hidden_size, bias, device, dtype, **options)

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
        **options: Unpack[StepOptions],
    ) -> None:
        super().__init__(gru, input_size, hidden_size, bias, device, dtype, **options)

    def _repr_cell(self) -> list[str]:
        return []
