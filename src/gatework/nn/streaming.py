"""One step at a time with the state held: `layer.stream()`.

Legend: B sequences, I input size, n the size of a state, L layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gatework.backends import Call, Stepper
from gatework.backends.calls import HALVES
from gatework.compiler.plan import Plan
from gatework.lang.expressions import Role, Symbol
from gatework.nn import checks
from gatework.nn.inputs import Given, check_given, memory_of, shape_of_row, write
from gatework.nn.origins import UNREAD, Origins, Unread, computed
from gatework.nn.parameters import own_parameters
from gatework.nn.precision import widened
from gatework.nn.recording import check_live

if TYPE_CHECKING:
    from gatework.nn.recurrent import Recurrent


class Stream:
    """A stack of layers run step by step, in eval mode. Made by `layer.stream()`.

    It reads the weights when it is made, and again at the first step after a change of them that
    shows: by `load_state_dict` and any other change in place, an optimiser's step, a new Parameter,
    `.data = …`, a parametrisation or pruning and what they compute from, another precision. The
    state stays. Some changes show nowhere, and the stream goes on with the old weights until
    `refresh` is called: numbers written through `.data`, through numpy or by another process, the
    step of a `fused=True` optimiser inside torch.compile, and a change in place of weights that
    were made in inference mode.

    `copy.copy` shares the layer and has a state of its own; `copy.deepcopy` and pickle take the
    layer along.

    Args:
        layer: The layer.
        batch_size: B.
        given: What the cell reads once for a whole sequence, by name: [B, n].
    """

    def __init__(self, layer: Recurrent, batch_size: int, given: Given | None = None) -> None:
        checks.check_sizes(batch_size=batch_size)
        if layer.bidirectional:
            raise ValueError(
                "a bidirectional layer reads each sequence from its end as well, so it cannot be "
                "run step by step; make the layer with bidirectional=False"
            )
        check_given(layer.cell, given or {}, _read(layer, "constant"), ("batch_size",))
        self.__setstate__({"layer": layer, "batch_size": batch_size, "state": None})
        self.refresh()
        self._begin(given or {}, None)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "layer": self._layer,
            "batch_size": self._batch_size,
            "state": self.state,
            "given": {n: m.clone() for n, m in self._once.items()},
        }

    def __setstate__(self, kept: dict[str, Any]) -> None:
        """Restore a copied or pickled stream; its layer may yet be empty, so it is not read."""
        self._layer, self._kept = kept["layer"], kept["state"]
        self._batch_size = kept["batch_size"]
        self._shapes: dict[str, tuple[int, ...]] = {}  # of these, by axes
        self._each: dict[str, Tensor] = {}  # the memory of what is read at each step,
        self._once: dict[str, Tensor] = dict(kept.get("given", {}))  # and once for a sequence
        self._origins: Origins | Unread = UNREAD
        self._steppers: list[Stepper] = []

    @torch.inference_mode(False)
    @torch.no_grad()
    def refresh(self) -> None:
        """Read the weights again, also where no change of them shows; the state stays.

        Example:
            >>> import torch, gatework as gw
            >>> layer, x = gw.nn.GRU(3, 5), torch.ones(3)
            >>> stream = layer.stream()
            >>> for w in layer.parameters():
            ...     w.detach().numpy()[:] = 0.0
            >>> stream.refresh()
            >>> stream.step(x)
            tensor([0., 0., 0., 0., 0.])
        """
        state = self._stacked() if self._steppers else self._kept
        layer, names = self._layer, [n for (one,) in self._layer._stack for n in one.names]
        with computed(layer, names):
            origins = Origins(layer, names)  # first: a change meanwhile is seen at the next step
            rows, steppers = steppers_of(layer, self._batch_size)
        for name, value in self._once.items():
            rows[name].copy_(value)
        self._origins, self._steppers = origins, steppers
        sizes = layer.sizes(0)
        self._shapes = {s.name: shape_of_row(s.size, sizes) for s in layer.cell.further}
        self._each = {s.name: rows[s.name] for s in _read(layer, "sequence")}
        self._once = {s.name: rows[s.name] for s in _read(layer, "constant")}
        self._runs = [stepper.step for stepper in steppers]
        self._lay_out(layer._first_weight(steppers[0].input).dtype)
        self.state = layer.initial_state(self._batch_size) if state is None else state

    def _lay_out(self, dtype: torch.dtype) -> None:
        """The memory in which a step's input goes and its output comes, by the input's shape."""
        x, y = self._steppers[0].input, self._steppers[-1].output
        self._rounded = y.to(dtype) if dtype in HALVES else None
        y = y if self._rounded is None else self._rounded
        self._device, self._dtypes = x.device, (dtype, _of_numpy(dtype) if x.is_cpu else None)
        self._tensors = _forms(x, y)
        self._arrays = {} if self._dtypes[1] is None else _forms(x.numpy(), y.numpy())

    def step(self, x: Any, **inputs: Any) -> Any:
        """The output [B, n] for one input [B, I]; [n] for [I] when B is 1.

        Args:
            x: A tensor or a numpy array of the weights' dtype.
            inputs: What the cell reads beside it at each step, by name: [B, n], or [n] when B is 1.

        Returns:
            The same kind. Its memory is used again at the next step: copy it to keep it.

        Raises:
            ValueError: If the input has another shape.
            TypeError: If it is no tensor and no array, or has another dtype or device.

        Example:
            >>> import numpy as np, gatework as gw
            >>> stream = gw.nn.LSTM(3, 5).stream()
            >>> stream.step(np.zeros(3, np.float32)).shape
            (5,)
        """
        if self._origins.changed():
            self.refresh()
        if isinstance(x, np.ndarray):  # asked first: a tensor's type is slow to recognise
            form = self._arrays.get(x.shape)
            if form is None or x.dtype != self._dtypes[1]:
                raise self._refusal(x)
            form[0][...] = x
        else:
            form = self._tensors.get(x.shape) if isinstance(x, Tensor) else None
            if form is None or x.dtype != self._dtypes[0] or x.device != self._device:
                raise self._refusal(x)
            check_live(x)
            form[0].copy_(x.detach() if x.requires_grad else x)
        if inputs or self._each:
            self._feed(inputs)
        for run in self._runs:
            run()
        if self._rounded is not None:
            self._rounded.copy_(self._steppers[-1].output)
        return form[1]

    @torch.no_grad()
    def _feed(self, inputs: Given) -> None:
        """Write what is read at this step beside x."""
        check_given(self._layer.cell, inputs, _read(self._layer, "sequence"), ("x",))
        for name, value in inputs.items():
            write(name, value, self._each[name], self._shapes[name], self._dtypes[0])

    def _refusal(self, x: Any) -> Exception:
        """What is wrong with an input."""
        check_live(x)  # where a graph is made a shape is a tensor
        if not isinstance(x, Tensor | np.ndarray):
            return TypeError(f"a step takes a tensor or a numpy array, got {type(x).__name__}")
        shape = self._steppers[0].input.shape
        if x.shape not in self._tensors:
            return ValueError(
                f"a step's input should have shape {list(shape)}, got {list(x.shape)}"
            )
        dtype, of_numpy = self._dtypes
        where = "" if self._device.type == "cpu" else f" on {self._device}"
        if isinstance(x, Tensor):
            wanted, got = f"{dtype}{where}", f"{x.dtype}"
            if x.device != self._device:
                wanted, got = f"{dtype} on {self._device}", f"{x.dtype} on {x.device}"
        else:
            wanted = str(of_numpy) if of_numpy else f"a tensor of {dtype}{where}"
            got = str(x.dtype)
        return TypeError(f"a step's input should be {wanted}, got {got}; convert it")

    @torch.no_grad()
    def reset(self, which: Any = None, **inputs: Any) -> None:
        """Return the state to its initial value: zero, or learned.

        Args:
            which: The sequences of the batch: booleans [B], or numbers from 0; None for all.
            inputs: What the cell reads once for a sequence, for those that begin anew: [B, n] of
                all, of which the others' rows are not read. What is left out stays as it was.

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
        initial = self._layer.initial_state(self._batch_size)
        chosen = None
        if which is not None:
            chosen = checks.check_which(which, self._batch_size)[:, None]
            chosen = chosen.to(_tupled(initial)[0].device)
            pairs = zip(_tupled(initial), _tupled(self.state), strict=True)
            initial = tuple(torch.where(chosen, new, old) for new, old in pairs)
        self._begin(inputs, chosen)
        self.state = initial

    def _begin(self, inputs: Given, chosen: Tensor | None) -> None:
        """Take in what is read once for the sequences that begin."""
        if not inputs:
            return
        if not self._steppers:
            self.refresh()
        known = [s for s in _read(self._layer, "constant") if s.name in inputs]
        check_given(self._layer.cell, inputs, known, ("which",))
        for name, value in inputs.items():
            memory = self._once[name]
            before = memory.clone()
            write(name, value, memory, self._shapes[name], self._dtypes[0])
            if chosen is not None:
                memory.copy_(torch.where(chosen, memory, before))

    @property
    def state(self) -> Any:
        """The state as the layer returns it, [L, B, n] each, in memory of its own.

        It is float32 where the layer has half precision: nothing of it is rounded between steps.
        Assign to set it; `torch.save`, or safetensors for its parts, keeps it.
        """
        if not self._steppers:
            self.refresh()
        return self._stacked()

    @state.setter
    def state(self, value: Any) -> None:
        names = [s.name for s in self._layer.cell.states]
        states = checks.check_state(value, names)
        for name, state, held in zip(names, states, _tupled(self.state), strict=True):
            if state.shape != held.shape:
                raise ValueError(
                    f"the state {name!r} should have shape {list(held.shape)} "
                    f"[layers, batch, size], got {list(state.shape)}"
                )
        for k, stepper in enumerate(self._steppers):
            stepper.state = tuple(s[k] for s in states)

    def _stacked(self) -> Any:
        parts = zip(*(s.state for s in self._steppers), strict=True)
        states = tuple(torch.stack(p) for p in parts)
        return states if len(states) > 1 else states[0]

    def __repr__(self) -> str:
        layers, features = self._layer.num_layers, self._layer.input_size
        about = dict.fromkeys(s.about for s in self._steppers if s.about)
        run = "".join(f", {words}" for words in about)
        return f"<stream of {layers} layer(s), batch {self._batch_size}, input {features}{run}>"


def _read(layer: Recurrent, role: Role) -> list[Symbol]:
    """The further inputs that are read at each step, or once for a whole sequence."""
    return [s for s in layer.cell.further if s.role == role]


def steppers_of(layer: Recurrent, batch_size: int) -> tuple[dict[str, Tensor], list[Stepper]]:
    """One for each layer, by the weights as they are; each reads what that below writes.

    Before them, the memory of the further inputs, which all of them read.
    """
    steppers: list[Stepper] = []
    rows: dict[str, Tensor] | None = None
    for k, (one,) in enumerate(layer._stack):
        x = steppers[-1].output[None] if steppers else None
        plan, call, rows = one_step(layer, k, batch_size, x, rows)
        steppers.append(one.jobs[False].backend(plan, call).stepper(plan, call))
    return rows or {}, steppers


def one_step(
    layer: Recurrent,
    k: int,
    batch_size: int,
    x: Tensor | None = None,
    rows: dict[str, Tensor] | None = None,
) -> tuple[Plan, Call, dict[str, Tensor]]:
    """The plan of one of the layers in eval mode, and a call of it that takes one step from zero.

    Behind them, the further inputs of the call.

    Args:
        layer: The stack.
        k: Which of its layers.
        batch_size: B.
        x: The input [1, B, I]; zero when it is not given.
        rows: The further inputs; the same.
    """
    one = layer._stack[k][0]
    job, given = one.jobs[False], own_parameters(layer, one.names)
    weights = [widened(w.detach()) for w in given]
    like = weights[0] if weights else torch.empty(0)
    if x is None:
        x = like.new_zeros((1, batch_size, job.sizes["input"]))
    if rows is None:
        rows = memory_of(job.cell, x, job.sizes)
    call = job.call([x, *[None] * len(one.units), *weights, *rows.values()], None)
    return job.program.forward, call, rows


def _forms(x: Any, y: Any) -> dict[tuple[int, ...], tuple[Any, Any]]:
    """Where an input goes and its output comes, by the shapes [B, I], and [I] when B is 1."""
    forms = {tuple(x.shape): (x, y)}
    if len(x) == 1:
        forms[tuple(x.shape[1:])] = (x[0], y[0])
    return forms


def _of_numpy(dtype: torch.dtype) -> Any:
    """The numpy dtype of a tensor's; None where numpy has none, as for bfloat16."""
    name = str(dtype).removeprefix("torch.")
    return np.dtype(name) if hasattr(np, name) else None


def _tupled(state: Any) -> tuple[Tensor, ...]:
    return (state,) if isinstance(state, Tensor) else state
