"""Run the recurrent layers of an existing model on Gatework, in place, and back again."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from torch import jit, nn

from gatework.nn.swapped import (
    added_names,
    is_recurrent,
    is_swapped,
    proviso,
    swap,
    torch_class_of,
    unswap,
)

Model = TypeVar("Model", bound=nn.Module)

NAMES = ("LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell")
USED_BY_FORWARD = (  # a class that changes one of these changes what torch's forward pass does
    "forward",
    "__call__",
    "check_input",
    "check_hidden_size",
    "check_forward_args",
    "get_expected_hidden_size",
    "permute_hidden",
)


@dataclass(frozen=True)
class Acceleration:
    """Which recurrent modules of a model run on Gatework.

    Attributes:
        changed: The modules that do, by their names in the model.
        left: Why the others do not, by their names.
    """

    changed: Mapping[str, nn.Module]
    left: Mapping[str, str]

    def __repr__(self) -> str:
        counts = f"{len(self.changed)} recurrent module(s) on Gatework, {len(self.left)}"
        lines = [f"{counts} left as before"]
        lines += [f"  changed {_shown(n)}: {m}{proviso(m)}" for n, m in self.changed.items()]
        lines += [f"  left {_shown(name)}: {reason}" for name, reason in self.left.items()]
        return "\n".join(lines)


def _shown(name: str) -> str:
    return name or "(the model itself)"


def accelerate(model: Model) -> Model:
    """Run every recurrent layer and single step of torch.nn in a model on Gatework, in place.

    Each module stays the same object: parameters, optimisers that hold them, hooks, `state_dict`,
    parametrisations and training mode are untouched. A module that cannot be changed is left as it
    is, with a warning; `acceleration(model)` lists both.

    Args:
        model: Any module; it may itself be a recurrent layer.

    Returns:
        The model, the same object.

    Raises:
        TypeError: If it is no module.

    Example:
        >>> import torch, gatework as gw
        >>> model = torch.nn.Sequential(torch.nn.Embedding(100, 8), torch.nn.LSTM(8, 16))
        >>> model = gw.accelerate(model)
        >>> gw.acceleration(model)
        1 recurrent module(s) on Gatework, 0 left as before
          changed 1: LSTM(8, 16, accelerated)
    """
    _check_module("accelerate", model)
    for _, module in _recurrent(model):
        if not is_swapped(module) and reason_to_leave(module) is None:
            swap(module)
    found = acceleration(model)
    if found.left:
        warnings.warn(f"gatework.accelerate: {found}", stacklevel=2)
    elif not found.changed:
        warnings.warn(
            "gatework.accelerate: the model has no recurrent layer of torch.nn among its modules",
            stacklevel=2,
        )
    return model


def restore(model: Model) -> Model:
    """Give the modules that `accelerate` changed their own classes back, in place.

    Args:
        model: The model, or any part of it.

    Returns:
        The model, the same object.

    Example:
        >>> import torch, gatework as gw
        >>> gw.restore(gw.accelerate(torch.nn.GRU(8, 16)))
        GRU(8, 16)
    """
    _check_module("restore", model)
    for module in model.modules():
        if is_swapped(module):
            unswap(module)
    return model


def acceleration(model: nn.Module) -> Acceleration:
    """Which recurrent modules of a model run on Gatework, and why the others do not.

    Example:
        >>> import torch, gatework as gw
        >>> gw.acceleration(torch.nn.GRU(8, 16))
        0 recurrent module(s) on Gatework, 1 left as before
          left (the model itself): gatework.accelerate has not been called on it
    """
    _check_module("acceleration", model)
    found = dict(_recurrent(model))
    changed = {name: module for name, module in found.items() if is_swapped(module)}
    left = {
        name: reason_to_leave(module) or "gatework.accelerate has not been called on it"
        for name, module in found.items()
        if name not in changed
    }
    return Acceleration(changed, left)


def _recurrent(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules that are recurrent layers or steps of torch, of whatever kind, by name."""
    for name, module in model.named_modules():
        if is_recurrent(module) or _compiled_name(module) or _quantised(module):
            yield name, module


def _compiled_name(module: nn.Module) -> str | None:
    """What TorchScript compiled a recurrent module from."""
    name = getattr(module, "original_name", None) if isinstance(module, jit.ScriptModule) else None
    return name if name in NAMES else None


def _quantised(module: nn.Module) -> bool:
    cls = type(module)
    return cls.__module__.startswith("torch.ao.nn.") and cls.__name__ in NAMES


def reason_to_leave(module: nn.Module) -> str | None:
    """Why a recurrent module has to stay as it is, or None."""
    if isinstance(module, jit.ScriptModule):
        return "TorchScript has compiled it; accelerate the model that was compiled"
    if _quantised(module):
        return "it is quantised, and only torch.ao knows its weights"
    cls = type(module)
    theirs = next(c for c in cls.__mro__ if c.__module__.startswith("torch.nn.modules"))
    for name in USED_BY_FORWARD:
        if getattr(cls, name, None) is not getattr(theirs, name, None):
            return f"its class {cls.__name__} has a {name} of its own"
        if name in vars(module):
            return f"its {name} has been replaced"
    names = added_names(torch_class_of(module))
    taken = [name for name in names if hasattr(module, name)]
    if taken:
        return f"its attribute {taken[0]!r} is in the way; Gatework uses that name"
    return None


def _check_module(function: str, model: object) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"{function} expects a torch.nn.Module, got {type(model).__name__}"
            + ("; give an object of the class" if isinstance(model, type) else "")
        )
