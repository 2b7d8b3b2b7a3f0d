"""torch.nn's recurrent classes with Gatework's forward pass: what `accelerate` makes of a module.

A swapped module is the same object with another class, which is torch's and ours at once: of
torch's it has parameters, hooks, `_flat_weights` and whatever else other code reads, of ours how it
runs, `lengths=`, `pin=`, `trace` and `stream`.
"""

from __future__ import annotations

import warnings
from functools import cache, lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.rnn import PackedSequence

from gatework.autograd.job import Job
from gatework.autograd.undisturbed import undisturbed
from gatework.backends import chosen, select
from gatework.backends.reference import autocasts
from gatework.lang.definition import Cell
from gatework.lang.sizes import Sizes
from gatework.nn.layers import GRU, LSTM, RNN
from gatework.nn.steps import GRUCell, LSTMCell, RNNCell

# ---- the classes -------------------------------------------------------------------------------


class Accelerated:
    """Stands before a class of ours and the class of torch.nn in whose place it runs.

    Attributes:
        torch_class: The class of torch.nn.
        original_class: The class that a module had: that one, or a class derived from it.
        our_class: Our class of the same arguments.
        fewest_steps: From how many steps on ours is the faster one; measured by
            benchmarks/short_sequences.py.
    """

    torch_class: ClassVar[type[nn.Module]]
    original_class: ClassVar[type[nn.Module]]
    our_class: ClassVar[Any]
    fewest_steps: ClassVar[int]

    def forward(self, input: Any, hx: Any = None, **options: Any) -> Any:
        """As torch's, with the further arguments of ours."""
        if not options and torch_runs(self, input):
            return self.torch_class.forward(self, input, hx)
        if torch.compiler.is_compiling():
            return super().forward(input, hx, **options)  # type: ignore[misc]
        return undisturbed(self.our_class.forward)(self, input, hx, **options)

    def extra_repr(self) -> str:
        """Torch's, and that the module is accelerated."""
        return f"{self.torch_class.extra_repr(self)}, accelerated"  # type: ignore[arg-type]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Copy and pickle by the original class: one made at run time cannot be imported."""
        return _uninitialised, (self.original_class,), self.__getstate__()


class AcceleratedLayer(Accelerated):
    """Keeps torch's where a layer of ours has the same name."""

    batch_first: bool

    all_weights = nn.RNNBase.all_weights
    flatten_parameters = nn.RNNBase.flatten_parameters
    reset_parameters = nn.RNNBase.reset_parameters
    _flat_weights: Any = ()  # torch's, which it sets: no property
    _flat_weights_names: Any = ()

    def steps(self, input: Any) -> int:
        """How many steps an input has."""
        if isinstance(input, PackedSequence):
            return len(input.batch_sizes)
        dims = input.dim()
        return input.shape[1 if self.batch_first and dims == 3 else 0] if dims in (2, 3) else 0

    def with_cell(self, *cells: Any, **run: Any) -> Any:
        """A layer of our own class: torch's code knows no other cell."""
        other: Any = super().with_cell(*cells, **run)  # type: ignore[misc]
        vars(other).pop("_flat_weight_refs", None)  # torch's, which cannot be copied
        other.__class__ = _over(other, lambda cls: cls.our_class)
        return other

    def __getstate__(self) -> dict[str, Any]:
        """What both keep: neither weak references nor what follows from the cell."""
        ours: Any = super().__getstate__()
        theirs = nn.RNNBase.__getstate__(self)  # type: ignore[no-untyped-call,arg-type]
        return {name: value for name, value in ours.items() if name in theirs}


class AcceleratedCell(Accelerated):
    """Keeps torch's where a single step of ours has the same name."""

    reset_parameters = nn.RNNCellBase.reset_parameters

    def steps(self, input: Any) -> int:
        """How many steps an input has: one."""
        return 1


_ROWS: tuple[tuple[type, type, type, int], ...] = (
    (AcceleratedLayer, LSTM, nn.LSTM, 1),
    (AcceleratedLayer, GRU, nn.GRU, 1),
    (AcceleratedLayer, RNN, nn.RNN, 3),
    (AcceleratedCell, LSTMCell, nn.LSTMCell, 2),
    (AcceleratedCell, GRUCell, nn.GRUCell, 2),
    (AcceleratedCell, RNNCell, nn.RNNCell, 2),
)


def _combined(kind: type, ours: type, theirs: type, fewest_steps: int) -> type[Accelerated]:
    # Named as torch's, in its module: other code looks there, such as torch.fx for its leaves.
    attributes = {
        "our_class": ours,
        "torch_class": theirs,
        "original_class": theirs,
        "fewest_steps": fewest_steps,
        "__module__": theirs.__module__,
    }
    return type(theirs.__name__, (kind, ours, theirs), attributes)


_COMBINED: dict[type, type[Accelerated]] = {row[2]: _combined(*row) for row in _ROWS}


@cache
def accelerated_class(original: Any) -> type[Accelerated]:
    """The class that runs in place of one of torch.nn's, or of one derived from it."""
    if original in _COMBINED:
        return _COMBINED[original]
    base = _COMBINED[next(cls for cls in original.__mro__ if cls in _COMBINED)]
    attributes = {"original_class": original, "__module__": original.__module__}
    return type(original.__name__, (original, base), attributes)


def _uninitialised(original: Any) -> Any:
    """A module of the accelerated class, for copy and pickle to fill."""
    cls = accelerated_class(original)
    return cls.__new__(cls)


def torch_runs(module: Any, input: Any) -> bool:
    """Whether torch's own forward pass runs, because Gatework would not be faster.

    That is so for very few steps, and where the backend that runs the input makes no code of its
    own for it: on the CPU in half precision and under autocast, on CUDA where cuDNN is faster.
    Torch's runs as well while it records its own operations, in torch.jit.trace and in ONNX export.
    A backend that is chosen by hand always runs.
    """
    if torch.compiler.is_compiling():
        return torch.onnx.is_in_onnx_export()
    if chosen() is not None:
        return False
    if torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
        return True
    rows = input.data if isinstance(input, PackedSequence) else input
    if not isinstance(rows, Tensor) or rows.is_nested:
        return False  # ours takes it, or says what is wrong with it
    if module.steps(input) < module.fewest_steps:
        return True
    device, dtype = rows.device.type, rows.dtype
    if autocasts(rows):
        dtype = torch.get_autocast_dtype(device)
    job = module._stack[0][0].jobs[False]
    return not _compiled(job.cell, job.sizes, device, dtype)


@lru_cache(256)
def _compiled(cell: Cell, sizes: Sizes, device: str, dtype: torch.dtype) -> bool:
    """Whether a backend makes code of its own for a cell, on a kind of device and in a dtype."""
    job = Job(cell, sizes)
    states = ((1, sizes[s.size]) for s in cell.states)
    shapes = [(2, 1, sizes["input"]), *states, *(p.shape(sizes) for p in cell.parameters)]
    call = job.call([torch.empty(s, device=device, dtype=dtype) for s in shapes], None)
    return select(job.program.forward, call).compiles


# ---- changing a module -------------------------------------------------------------------------


def is_recurrent(module: nn.Module) -> bool:
    """Whether a module is one of torch.nn's recurrent layers and steps, swapped or not."""
    return isinstance(module, tuple(_COMBINED))


def is_swapped(module: nn.Module) -> bool:
    """Whether a module runs on Gatework by `swap`."""
    return isinstance(module, Accelerated)


def proviso(module: nn.Module) -> str:
    """When torch's own code runs a swapped module all the same, for a report."""
    if isinstance(module, AcceleratedCell):
        return ", by torch's code, which is faster for single steps"
    least = module.fewest_steps if isinstance(module, Accelerated) else 1
    return f", from {least} steps on" if least > 1 else ""


def swap(module: nn.Module) -> None:
    """Give a module of torch.nn our class, in place."""
    vars(module).update(_added(module))
    module.__class__ = _over(module, accelerated_class)


def unswap(module: nn.Module) -> None:
    """Give a swapped module its original class again, in place."""
    for name in added_names(torch_class_of(module)):
        del vars(module)[name]
    module.__class__ = _over(module, lambda cls: cls.original_class)


def _over(module: nn.Module, change: Any) -> type[Any]:
    """The class of a module, changed; beneath the class that holds its parametrisations, if any."""
    cls = type(module)
    if not is_parametrized(module):
        changed: type[Any] = change(cls)
        return changed
    own = {n: v for n, v in vars(cls).items() if n not in ("__dict__", "__weakref__")}
    return type(cls.__name__, (change(cls.__base__),), own)


@cache
def added_names(torch_class: Any) -> tuple[str, ...]:
    """The attributes that swapping adds: what a layer of ours has and torch's has not."""
    ours, theirs = (
        _COMBINED[torch_class].our_class(1, 1, device="meta"),
        torch_class(1, 1, device="meta"),
    )
    return tuple(name for name in vars(ours) if name not in vars(theirs))


def torch_class_of(module: nn.Module) -> Any:
    """Which of torch.nn's classes a module is, or is derived from."""
    return next(cls for cls in _COMBINED if isinstance(module, cls))


def _added(module: nn.Module) -> dict[str, Any]:
    """What swapping adds to a module: its cell and what follows from it."""
    names = ["input_size", "hidden_size", "bias"]
    if isinstance(module, nn.RNNBase):
        names += ["num_layers", "batch_first", "dropout", "bidirectional"]
    if isinstance(module, nn.RNN | nn.RNNCell):
        names += ["nonlinearity"]
    if isinstance(module, nn.LSTM):
        names += ["proj_size"]
    arguments = {name: getattr(module, name) for name in names}
    torch_class = torch_class_of(module)
    with warnings.catch_warnings(action="ignore"):  # heard when the module was made
        ours = _COMBINED[torch_class].our_class(**arguments, device="meta")
    return {name: vars(ours)[name] for name in added_names(torch_class)}
