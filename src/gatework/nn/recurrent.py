"""Recurrent layers for any cell, with torch.nn.LSTM's arguments, shapes and results.

Legend: T steps, B sequences, I input size, n the size of a state, L layers, D directions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, compress
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.fx import Proxy

from gatework.autograd.operator import call_key, register
from gatework.autograd.recorded import run_registered
from gatework.autograd.routes import run
from gatework.compiler.holding import NONE_HELD
from gatework.lang.definition import Cell, as_names, check_cell, check_known, checked_mapping
from gatework.lang.sizes import Sizes
from gatework.nn import checks
from gatework.nn.at_once import at_once
from gatework.nn.beginning import begin, filled_states, own_initial, stacked
from gatework.nn.explaining import backends_of
from gatework.nn.given import as_sequences
from gatework.nn.inputs import further_rows
from gatework.nn.module import CellModule
from gatework.nn.noise import draw_noise, drop_weights
from gatework.nn.options import options_among
from gatework.nn.packing import Padded, axes, lengths_of
from gatework.nn.parameters import Direction, own_parameters, stack
from gatework.nn.pinning import Pin, held_values
from gatework.nn.precision import precision_of, within
from gatework.nn.resets import Resets
from gatework.nn.streaming import Stream
from gatework.nn.traces import DirectionTrace, LayerTrace
from gatework.show.explanation import Explanation, explain

State = Tensor | tuple[Tensor, ...]


class Asked(NamedTuple):
    """What is asked of a call besides its results; see `Recurrent.forward` and `trace`."""

    resets: Tensor | None = None
    reset_to: State | None = None
    pin: Mapping[str, Pin] | None = None
    traced: tuple[str, ...] | None = None
    given: Mapping[str, Any] | None = None


class Recurrent(CellModule):
    """A stack of recurrent layers of any cell.

    Args:
        cell: A cell made by `gatework.cell`, or one of the catalogue `gatework.cells`.
        input_size: The number of features of the input, I.
        hidden_size: The number of hidden units, H. Where no value of the cell has the hidden size
            it is the size of the output, and may be left out if the length of every axis is given.
        num_layers: How many layers are stacked; each reads the output of the one below.
        bias: Whether the linear maps have biases.
        batch_first: Whether input and output are [B, T, …]; states never are.
        dropout: The probability of zeroing an element of the output of every layer but the last.
        bidirectional: Whether each layer also runs backward in time.
        device: Where the parameters are made.
        dtype: The parameters' dtype.
        learned_state: Whether the initial state is learned: a parameter `initial_h_l0`, [n], for
            each state, layer and direction, which starts at zero.
        forget_bias: The bias with which the gates that keep a state start; see
            `gatework.nn.init.forget_bias_`.
        layer_norm: Whether every linear map is normalised; see `gatework.rewriting.layer_norm`.
        single_bias: Whether two biases of a gate that are added to each other are one.
        input_dropout: The probability that a unit of each layer's input is zeroed for a whole
            sequence.
        recurrent_dropout: The same of the states that recurrent matrices read.
        weight_drop: The probability that an element of a recurrent weight is zeroed for a call.
        zoneout: The probability that a unit of a state keeps its old value in a step: for all
            states, or for states by name, `{"h": 0.05, "c": 0.5}`.
        sizes: Any other size that the cell names, such as `proj_size=64`, and the lengths of its
            axes, `head=4, key=32`; those that are not given follow from the hidden size, see
            `Cell.axis_lengths`.

    Shapes:
        input: [T, B, I], or [B, T, I] with batch_first, or [T, I] for one sequence.
        state: [L * D, B, n] for each of the cell's states; a tuple when it has several.
        output: as the input, with D times the size of the cell's output.

    Example:
        >>> import torch, gatework as gw
        >>> layer = gw.nn.Recurrent(gw.cells.peephole_lstm, 8, 16, num_layers=2)
        >>> y, (h, c) = layer(torch.randn(5, 3, 8))
        >>> y.shape, c.shape
        (torch.Size([5, 3, 16]), torch.Size([2, 3, 16]))
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int | None = None,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        learned_state: bool = False,
        forget_bias: float | None = None,
        layer_norm: bool = False,
        single_bias: bool = False,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        weight_drop: float = 0.0,
        zoneout: float | Mapping[str, float] = 0.0,
        **sizes: int,
    ) -> None:
        options = options_among(locals())
        super().__init__(cell, input_size, hidden_size, bias, sizes, options)
        checks.check_sizes(num_layers=num_layers)
        checks.check_flags(bias=bias, batch_first=batch_first, bidirectional=bidirectional)
        checks.check_flags(learned_state=learned_state)
        checks.check_dropout(dropout, num_layers)
        self.num_layers, self.batch_first = num_layers, batch_first
        self.dropout, self.bidirectional = float(dropout), bidirectional
        self.learned_state = learned_state
        self.held: dict[tuple[int, int], dict[str, Any]] = {}  # by layer, direction: lens.hold
        self._prepare()
        self._make_parameters(device, dtype)

    _derived = ("_stack", "_keys", "_axes")

    def _prepare(self) -> None:
        """The stack of layers, the keys by which a graph finds what runs them, the axes."""
        sizes, directions = self._first_sizes(), self.num_directions
        self._stack = stack(self._cells(), sizes, self.num_layers, directions, self.learned_state)
        self._keys = {
            (*one.place, training): register(job)
            for one in self._directions()
            for training, job in one.jobs.items()
        }
        axes = self.cell.axis_names()
        named = {"hidden", "input", *axes} if axes else set[str]()
        self._axes = {axis: n for axis, n in self.sizes(0).items() if axis in named}

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: neither what follows from it nor what is held."""
        return {**super().__getstate__(), "held": {}}

    # ---- parameters ----------------------------------------------------------------------------

    @property
    def num_directions(self) -> int:
        """D: 2 when bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def output_size(self) -> int:
        """The size of one direction's output of the last layer."""
        return self._stack[-1][0].sizes[self.cell.output_value.size]

    def sizes(self, layer: int) -> dict[str, int]:
        """How many units each size has in a layer, the first being 0.

        Example:
            >>> import gatework as gw
            >>> gw.nn.LSTM(4, 8, num_layers=2, bidirectional=True).sizes(1)
            {'1': 1, 'input': 16, 'hidden': 8}
        """
        checks.check_layer(layer, self.num_layers)
        return Sizes(self._stack[layer][0].sizes)

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The learned parameters of each layer and direction, as torch.nn has it."""
        learned = [p.learned for p in self.cell.parameters]
        return [
            [getattr(self, name) for name in compress(one.names, learned)]
            for one in self._directions()
        ]

    @property
    def initial_parameters(self) -> dict[str, Tensor]:
        """The learned initial states [n] by name; none without `learned_state`."""
        return {name: getattr(self, name) for one in self._directions() for name in one.initial}

    def initial_state(self, batch_size: int | None = None) -> State:
        """The state before the first step when a call is given none: zero, or the learned one.

        Args:
            batch_size: B; None for one sequence alone.

        Returns:
            In the form of `hx`: [L * D, B, n], or [L * D, n], for each of the cell's states.

        Example:
            >>> import gatework as gw
            >>> h, c = gw.nn.LSTM(4, 8, num_layers=2, learned_state=True).initial_state(3)
            >>> h.shape
            torch.Size([2, 3, 8])
        """
        if batch_size is not None:
            checks.check_sizes(batch_size=batch_size)
        like = next(chain(self.parameters(), self.buffers()), torch.empty(0))
        like = like.new_empty((0, batch_size or 1, 0))
        places = filled_states(self, own_initial(self, like), like)
        states = tuple(stacked(s) for s in zip(*places, strict=True))
        if batch_size is None:
            states = tuple(s.squeeze(1) for s in states)
        return states if len(states) > 1 else states[0]

    def with_cell(
        self, cell: Cell, eval_cell: Cell | None = None, *, run: Callable[..., Any] | None = None
    ) -> Self:
        """A layer that has the same parameters, not copies of them, and runs another cell.

        Args:
            cell: A cell that reads no others, such as one that is made of this layer's own.
            eval_cell: What runs in eval mode; the cell without its noise when not given.
            run: What computes one layer in one direction; `gatework.autograd.routes.run`, whose
                arguments it takes, when not given.

        Raises:
            ValueError: If the cell reads a parameter that this layer has not.

        Example:
            >>> import gatework as gw
            >>> layer = gw.nn.GRU(4, 8)
            >>> noisy = layer.with_cell(gw.rewriting.zoneout(layer.cell, 0.1))
            >>> noisy.weight_hh_l0 is layer.weight_hh_l0
            True
        """
        check_cell("with_cell", cell)
        checks.check_same_parameters(cell, self.cell, self._stack[0][0].sizes)
        other = type(self).__new__(type(self))
        vars(other).update(self.__dict__, held={}, cell=cell)
        vars(other).pop("forward", None)  # replaced for this layer alone
        other.eval_cell = eval_cell or cell.deterministic()
        if run is not None:
            other._run = run
        other._prepare()
        return other

    def flatten_parameters(self) -> None:
        """Do nothing: parameters need no flattening here. Kept because torch.nn has it."""

    # ---- running -------------------------------------------------------------------------------

    _run: Callable[..., Any] = staticmethod(run)  # a layer of `with_cell` may have its own

    def forward(
        self,
        input: Any,
        hx: State | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Tensor | None = None,
        reset_to: State | None = None,
        pin: Mapping[str, Pin] | None = None,
        **inputs: Any,
    ) -> tuple[Any, State]:
        """Run the layers over whole sequences.

        Args:
            input: [T, B, I], [B, T, I] with batch_first, or [T, I], as a tensor or an array; a
                DataFrame, a row for each step; a list of tensors, arrays or DataFrames, one for
                each sequence [T, I]; a nested tensor [B, T, I]; or a packed sequence.
            hx: The initial state; zero when it is not given.
            lengths: How many steps each sequence has, in any order, zero allowed. Outputs past an
                end are zero; final states are those at each sequence's own last step.
            resets: Booleans [T, B], [B, T] with batch_first, or [T]: whether a step begins an
                episode. Before it the state returns to its initial value; no gradient passes.
            reset_to: That value, in the form of `hx`; the layer's own, zero or learned, when it is
                not given. `hx` may therefore be carried over from another call.
            pin: Named values to hold, in every layer and direction: a number, a tensor of one per
                unit, or a mapping from some units to their numbers; along an axis that the value
                has, `{"a": {"head": [0.1, 0.9]}}` or, for some heads, `{"a": {"head": {1: 0.9}}}`.
            inputs: What the cell reads beside its input, by name, in every layer and direction: as
                the input what it reads at each step, [B, n] what it reads once for a sequence. The
                last axis may be left out where it is 1; a number then stands for a full tensor.

        Returns:
            The output, in the form of the input, and the final state, in the form of `hx`. A list
            gives a list, a nested tensor a nested one, arrays and DataFrames give tensors.

        Example:
            >>> import torch, gatework as gw
            >>> layer = gw.nn.GRU(4, 8)
            >>> y, h = layer(torch.randn(6, 2, 4), lengths=[6, 3], pin={"z": 0.5})
            >>> bool((y[3:, 1] == 0).all())
            True
        """
        if type(input) is not Tensor:
            if isinstance(input, Proxy):
                options = {"lengths": lengths, "resets": resets, "reset_to": reset_to, "pin": pin}
                node: tuple[Any, State] = self._as_node(input, hx, inputs=inputs, **options)
                return node
            input = self.as_sequences(input)
        output, state, _ = self._forward(
            input, hx, lengths, Asked(resets, reset_to, pin, None, inputs)
        )
        return output, state

    def trace(
        self,
        input: Any,
        hx: State | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        resets: Tensor | None = None,
        reset_to: State | None = None,
        pin: Mapping[str, Pin] | None = None,
        names: Sequence[str] | None = None,
        **inputs: Any,
    ) -> LayerTrace:
        """Run the layers and return every named gate and state at every step.

        Args:
            input: As in `forward`; so are `hx`, `lengths`, `resets`, `reset_to` and `pin`.
            hx: The initial state.
            lengths: How many steps each sequence has.
            resets: Whether a step begins an episode.
            reset_to: What a reset returns to.
            pin: Named values to hold.
            names: Which named values to return; all when not given.
            inputs: What the cell reads beside its input, as in `forward`.

        Example:
            >>> import torch, gatework as gw
            >>> trace = gw.nn.LSTM(4, 8, num_layers=2).trace(torch.randn(6, 2, 4))
            >>> trace["f"].shape, trace.layer(0)["c"].shape
            (torch.Size([6, 2, 8]), torch.Size([6, 2, 8]))
        """
        results = self.cell.result_names()
        traced = tuple(n for n, v in self.cell.names.items() if v.args or n in results)
        if names is not None:
            traced = as_names("names=", names)
            check_known("value", traced, self.cell.names, f"cell {self.cell.name!r}")
        asked = Asked(resets, reset_to, pin, traced, inputs)
        input = self.as_sequences(input)
        output, state, layers = self._forward(input, hx, lengths, asked)
        dims = (*axes(input, self.batch_first), "unit")
        sizes = {n: self.cell.names[n].size for n in traced}
        lengths = lengths_of(input, lengths)
        return LayerTrace(layers, output, state, dims, sizes, lengths, self._axes)

    def stream(self, batch_size: int = 1, **inputs: Any) -> Stream:
        """Prepare to run the layers one step at a time, the state held in `stream.state`.

        Args:
            batch_size: B, the number of sequences that are run side by side.
            inputs: What the cell reads once for a whole sequence, by name: [B, n].

        Raises:
            ValueError: If the layer is bidirectional: it would have to see the end first.

        Example:
            >>> import torch, gatework as gw
            >>> layer = gw.nn.GRU(4, 8, num_layers=2)
            >>> x, stream = torch.randn(6, 1, 4), layer.stream()
            >>> y = torch.stack([stream.step(x_t).clone() for x_t in x])
            >>> torch.allclose(y, layer(x)[0], atol=1e-6)
            True
        """
        return Stream(self, batch_size, inputs)

    def explain(self, *, steps: int = 100, batch_size: int = 16) -> Explanation:
        """The cell's equations, plan and cost at this layer's sizes, and the backend that runs it.

        Args:
            steps: For calls of how many steps the backend is told.
            batch_size: Of how many sequences.

        Example:
            >>> import gatework as gw
            >>> gw.explain(gw.nn.GRU(4, 8)).backend
            ('cpu: runs it',)
        """
        checks.check_sizes(steps=steps, batch_size=batch_size)
        found = explain(self.cell, self.input_size, self.hidden_size, **self.extra_sizes)
        return replace(found, backend=tuple(backends_of(self, steps, batch_size)))

    def _forward(
        self, input: Any, hx: Any, lengths: Any, asked: Asked
    ) -> tuple[Any, State, list[list[DirectionTrace]]]:
        if asked.pin is not None:
            checked_mapping("pin=", asked.pin)
        padded = Padded.of(type(self).__name__, input, lengths, self.batch_first)
        padded = self._in_arithmetic_dtype(padded)
        x = padded.sequence  # [T, B, I]
        checks.check_shape(x, self.input_size)
        states, reset = begin(self, hx, padded, asked.resets, asked.reset_to)
        further: tuple[Tensor, ...] = ()
        if asked.given or self.cell.further:
            sizes = self._stack[0][0].sizes
            further = further_rows(self.cell, asked.given or {}, padded, sizes)
        layers: list[list[DirectionTrace]] = []
        finals: list[Sequence[Tensor]] = []
        of_directions = iter(states)
        for layer, directions in enumerate(self._stack):
            if layer and self.dropout:
                x = nn.functional.dropout(x, self.dropout, self.training)
            rest = padded.lengths, reset, asked
            given = [(one, x, further, next(of_directions), *rest) for one in directions]
            rows = at_once(self._direction, given, x.device)
            x = rows[0][0] if len(rows) == 1 else torch.cat([r[0] for r in rows], -1)
            if asked.traced is not None:
                layers.append(
                    [DirectionTrace({n: padded.restored(v) for n, v in r[2].items()}) for r in rows]
                )
            finals += [r[1] for r in rows]
        state = tuple(padded.restored_state(stacked(s)) for s in zip(*finals, strict=True))
        return padded.restored(x, packed=True), state if len(state) > 1 else state[0], layers

    def as_sequences(self, input: Any) -> Any:
        """What a call may be given, with tensors in the place of DataFrames and arrays."""
        if isinstance(input, Tensor):
            return input
        return as_sequences(type(self).__name__, input, self._first_weight(torch.empty(0)))

    def _first_weight(self, x: Tensor) -> Tensor:
        """A weight, for its dtype and device; the input where a pinned cell has no parameters."""
        names = self._stack[0][0].names
        return own_parameters(self, names[:1])[0] if names else x

    def _in_arithmetic_dtype(self, padded: Padded) -> Padded:
        """The input, its dtype and device checked, in the dtype in which the layers compute."""
        x = padded.sequence
        weight = self._first_weight(x)
        checks.check_device(x, weight)
        precision = precision_of(x, weight)
        if precision is not None:
            return padded.within(precision)
        checks.check_dtype(x, weight)
        return padded

    def _direction(
        self,
        one: Direction,
        x: Tensor,
        further: tuple[Tensor, ...],
        states: tuple[Tensor | None, ...],
        lengths: Tensor | None,
        reset: Resets | None,
        asked: Asked,
    ) -> tuple[Tensor, Sequence[Tensor], dict[str, Tensor]]:
        """One layer in one direction: its output, its final states, its traced values."""
        pin, traced = asked.pin, asked.traced or ()
        if self.held:
            pin = {**self.held.get(one.place, {}), **(pin or {})}
        job = one.jobs[self.training]
        cell, held = job.cell, NONE_HELD
        parameters = own_parameters(self, one.names)
        if cell.weight_drops:
            parameters = drop_weights(cell, parameters, job.sizes)
        if pin:
            held, values = held_values(cell, pin, job.sizes, self._first_weight(x), x.dtype)
            parameters += values
        if parameters and parameters[0].dtype != x.dtype:
            parameters = [within(p, x.dtype) for p in parameters]
        noises = [draw_noise(n, x, job.sizes) for n in cell.noises]
        ends = [reset.ends[one.place[1]]] if reset else []
        to = reset.to if reset else None
        rest = (*parameters, *further, *noises, *ends)
        if torch.compiler.is_compiling():
            key = call_key(self._keys[*one.place, self.training], held, traced, to)
            count = len({cell.output_name, *traced})
            tensors = (x, *filled_states(self, [states], x)[0], *rest)
            outputs, final = run_registered(key, count, len(states), tensors, lengths)
        else:
            if pin or traced or to:
                job = job.variant(held, traced, to)
            outputs, final = self._run(job, (x, *states, *rest), lengths)
        if not traced:
            return outputs[0], final[: len(cell.states)], {}
        names = dict.fromkeys((cell.output_name, *traced))
        named = dict(zip(names, outputs, strict=True))
        return outputs[0], final[: len(cell.states)], {n: named[n] for n in traced}

    def extra_repr(self) -> str:
        """The arguments that differ from the defaults, as torch.nn writes them."""
        return self._described(Recurrent)
