"""Layers of torch.nn in the place of ours, for where there is no Gatework.

Legend: I input size, H hidden size, T steps, B sequences.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from gatework.cells import gru, lstm, projected_lstm, rnn, rnn_relu
from gatework.errors import InputError
from gatework.lang.definition import Cell
from gatework.nn.accelerate import restore
from gatework.nn.layers import GRU, LSTM, RNN
from gatework.nn.module import CellModule
from gatework.nn.parameters import own_parameters
from gatework.nn.recurrent import Recurrent
from gatework.nn.steps import GRUCell, LSTMCell, RecurrentCell, RNNCell

__all__ = ["to_torch"]

Model = TypeVar("Model", bound=nn.Module)

KINDS: dict[Cell, tuple[type[nn.Module], type[nn.Module], dict[str, str]]] = {
    lstm: (nn.LSTM, nn.LSTMCell, {}),
    gru: (nn.GRU, nn.GRUCell, {}),
    rnn: (nn.RNN, nn.RNNCell, {"nonlinearity": "tanh"}),
    rnn_relu: (nn.RNN, nn.RNNCell, {"nonlinearity": "relu"}),
}
"""Torch's layer and single step of each cell that torch has."""
OUR_CLASSES = (Recurrent, RNN, LSTM, GRU, RecurrentCell, RNNCell, LSTMCell, GRUCell)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
"""Difference of outputs, as a share of the largest or of 1; 0.02 in 16 bits."""
STEPS, SEQUENCES = 5, 3
"""Of the input on which a layer is tried."""


def to_torch(model: Model) -> Any:
    """Return a copy of a model in which layers and steps of torch.nn stand in the place of ours.

    The cells that torch has are the vanilla RNN, the LSTM, also with a projection, and the GRU.
    Their parameters keep names, values and whether they are shared. Modules that
    `gatework.accelerate` changed get their classes back. What is only ours to be called with, such
    as `lengths=` or `pin=`, torch's layers do not take.

    Each layer is tried on random numbers before it is returned.

    Args:
        model: A layer, or any module that holds some. A layer in training mode that draws noise
            inside its cell (`zoneout`, `weight_drop`, …) has no equal in torch; in eval mode it is
            the plain one.

    Returns:
        A module of torch.nn for a layer or single step; else a model of the same class.

    Raises:
        TypeError: If it is no module.
        InputError: A ValueError that names the layers that torch does not have.

    Example:
        >>> import torch, gatework as gw
        >>> model = torch.nn.Sequential(torch.nn.Embedding(100, 8), gw.nn.LSTM(8, 16))
        >>> gw.to_torch(model)
        Sequential(
          (0): Embedding(100, 8)
          (1): LSTM(8, 16)
        )
        >>> gw.to_torch(gw.nn.Recurrent(gw.cells.mgu, 4, 8))
        Traceback (most recent call last):
        gatework.errors.InputError: Recurrent(mgu, 4, 8): torch has no cell 'mgu'
          expected: layers of the cells that torch has: lstm, gru, rnn, rnn_relu
          to mend:  export it by gatework.export.onnx or gatework.export.c
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"to_torch expects a torch.nn.Module, got {type(model).__name__}")
    found = restore(copy.deepcopy(model))
    ours = {module: name for name, module in found.named_modules() if _is_ours(module)}
    if refused := [(n, m, why) for m, n in ours.items() if (why := _reason(m))]:
        raise _refusal(refused)
    if not ours:
        warnings.warn("gatework.to_torch: the model has no layer of Gatework", stacklevel=2)
    made = {module: _made(module) for module in ours}
    for module, theirs in made.items():
        _try(module, theirs, ours[module])
    if found in made:
        return made[found]
    for parent in [*found.modules()]:
        for name, child in parent._modules.items():  # also what stands in several places
            if child in made:
                setattr(parent, name, made[child])
    return found


def _is_ours(module: nn.Module) -> bool:
    return isinstance(module, CellModule)


def _reason(module: nn.Module) -> str | None:
    """Why torch cannot stand in a module's place, or None."""
    own = type(module).__mro__[is_parametrized(module)]  # torch derives a class for those
    if own not in OUR_CLASSES:
        return f"its class {own.__name__} may compute something else"
    if any(getattr(module, hooks) for hooks in HOOKS):
        return "hooks are attached to it, which would be lost"
    if getattr(module, "learned_state", False):
        return "torch's layers have no learned initial state"
    if _kind(module) is None:
        cell = _cell(module)
        noise = cell.deterministic() is not cell and _plain(cell.deterministic()) is not None
        if noise:
            return "it draws noise inside its cell in training mode; call eval first"
        if cell.name in {known.name for known in KINDS}:
            return f"options or pins have made its cell {cell.name!r} another"
        return f"torch has no cell {cell.name!r}"
    return None


def _refusal(refused: list[tuple[str, nn.Module, str]]) -> InputError:
    shown = "; ".join(f"{name + ': ' if name else ''}{m}: {why}" for name, m, why in refused)
    return InputError(
        shown,
        f"layers of the cells that torch has: {', '.join(cell.name for cell in KINDS)}",
        "export it by gatework.export.onnx or gatework.export.c",
    )


def _cell(module: Any) -> Cell:
    """The cell that a module runs in the mode that it is in."""
    cell: Cell = module.cell if module.training else module.eval_cell
    return cell


def _plain(cell: Cell) -> Cell | None:
    """Which of the cells that torch has a cell is, with biases or without."""
    known = (*KINDS, projected_lstm)
    return next((one for one in known if _same(cell, one) or _same(cell, one.without_bias())), None)


def _same(cell: Cell, other: Cell) -> bool:
    """Whether two cells have the same equations on the same parameters."""
    blocks = [[(p.name, p.blocks) for p in one.parameters] for one in (cell, other)]
    return blocks[0] == blocks[1] and _computed(cell) == _computed(other)


def _computed(cell: Cell) -> tuple[object, ...]:
    return cell.results(), cell.weight_drops


def _kind(module: nn.Module) -> Cell | None:
    cell = _plain(_cell(module))
    return None if cell is projected_lstm and not isinstance(module, Recurrent) else cell


def _made(module: Any) -> nn.Module:
    """Torch's module with the parameters of ours."""
    cell = _kind(module)
    assert cell is not None
    layer, step, options = KINDS[lstm if cell is projected_lstm else cell]
    values = {
        name: value
        for one in module._directions()
        for name, value in zip(one.names, own_parameters(module, one.names), strict=True)
    }
    arguments: dict[str, Any] = {
        "bias": any(name.startswith("bias") for name in values),
        "device": "meta",
        "dtype": next(iter(values.values())).dtype,
        **options,
    }
    if isinstance(module, Recurrent):
        arguments |= {
            "num_layers": module.num_layers,
            "batch_first": module.batch_first,
            "dropout": module.dropout,
            "bidirectional": module.bidirectional,
        }
        if cell is projected_lstm:
            arguments["proj_size"] = module.extra_sizes["proj_size"]
        theirs = layer(module.input_size, module.hidden_size, **arguments)
    else:
        theirs = step(module.input_size, module.hidden_size, **arguments)
    for name, value in values.items():
        setattr(theirs, name, _parameter(value))
    return theirs.train(module.training)


def _parameter(value: Tensor) -> nn.Parameter:
    """A parameter as it is, so that whoever shares it still does; what is computed by its value."""
    if isinstance(value, nn.Parameter):
        return value
    return nn.Parameter(value.detach().clone(), requires_grad=value.requires_grad)


@torch.no_grad()
def _try(ours: Any, theirs: nn.Module, name: str) -> None:
    """Raise unless both give the same for random numbers."""
    weight = next(theirs.parameters())
    if weight.is_meta:
        return
    shape = (STEPS, SEQUENCES) if isinstance(ours, Recurrent) else (SEQUENCES,)
    if getattr(ours, "batch_first", False):
        shape = shape[::-1]
    numbers = torch.Generator().manual_seed(0)
    x = torch.randn(*shape, ours.input_size, generator=numbers, dtype=torch.float64).to(weight)
    pairs = zip(*(_results(_in_eval(module, x)) for module in (ours, theirs)), strict=True)
    for one, other in pairs:
        error = float((one - other).abs().max() / max(1.0, float(other.abs().max())))
        if not error <= TOLERANCE.get(weight.dtype, 0.02) and other.isfinite().all():
            raise RuntimeError(
                f"to_torch: {name or 'the layer'}: torch's {theirs} gives another result for the "
                f"same weights, by {error:.2g}; this is a fault of Gatework, please report it"
            )


def _in_eval(module: nn.Module, x: Tensor) -> Any:
    training = module.training
    try:
        return module.eval()(x)
    finally:
        module.train(training)


def _results(found: Any) -> list[Tensor]:
    """All tensors of an output and states."""
    return [found] if isinstance(found, Tensor) else [t for one in found for t in _results(one)]
