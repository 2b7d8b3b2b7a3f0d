"""What is done with a state between calls: detach, clone, move, save, load.

The state of a layer is a tensor [L * D, B, n] for a cell with one state and a tuple of such
tensors, in the order of the cell's arguments, for a cell with several. Layers come first, and
within a layer its directions; `batch_first` is about inputs and outputs and never about states.
For one sequence alone it is [L * D, n], for a single step [B, n] or [n].

The functions take such a state and whatever a model makes of several: tuples, lists and
dictionaries of states, and None where there is no state yet.

Legend: L layers, D directions, B sequences, n the size of a state.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from gatework.files import write_atomically

__all__ = ["clone", "detach", "load", "save", "to"]

S = TypeVar("S")  # a state, or several in tuples, lists and dictionaries

KEY, VERSION = "gatework.state", 1


def mapped(function: Callable[[Tensor], Tensor], state: S) -> S:
    """The state with a function applied to each of its tensors."""
    found: Any = _mapped(function, state)
    return found  # type: ignore[no-any-return]


def _mapped(function: Callable[[Tensor], Tensor], state: Any) -> Any:
    if state is None or isinstance(state, Tensor):
        return state if state is None else function(state)
    if isinstance(state, dict):
        return {name: _mapped(function, part) for name, part in state.items()}
    if isinstance(state, tuple | list):
        parts = [_mapped(function, part) for part in state]
        if hasattr(state, "_fields"):
            return type(state)(*parts)
        return tuple(parts) if isinstance(state, tuple) else parts
    raise TypeError(
        "a state is a tensor, or tuples, lists and dictionaries of tensors and None; "
        f"got {type(state).__name__} in it"
    )


def detach(state: S) -> S:
    """The state without its history: the numbers go on to the next call, the gradient stops.

    Example:
        >>> import torch, gatework as gw
        >>> y, state = gw.nn.LSTM(4, 8)(torch.randn(5, 3, 4))
        >>> h, c = gw.nn.state.detach(state)
        >>> c.requires_grad
        False
    """
    return mapped(Tensor.detach, state)


def clone(state: S) -> S:
    """The state in memory of its own; gradients pass, as through `torch.Tensor.clone`."""
    return mapped(Tensor.clone, state)


def to(state: S, *args: Any, **options: Any) -> S:
    """The state on another device or in another precision: the arguments of `torch.Tensor.to`.

    Example:
        >>> import torch, gatework as gw
        >>> gw.nn.state.to((torch.zeros(1, 3, 8), None), torch.float64)[0].dtype
        torch.float64
    """
    return mapped(lambda tensor: tensor.to(*args, **options), state)


# ---- on disk -----------------------------------------------------------------------------------


def save(state: Any, path: str | PathLike[str]) -> None:
    """Write a state to a safetensors file, from any device; its history is not kept.

    A tensor is called by the path that leads to it, "1" or "encoder.0", and "state" if it is the
    whole state. The entry "gatework.state" of the file's metadata is JSON with the version of the
    form, 1, and the state itself with a name in place of each tensor; tuples stand as
    {"tuple": […]} and dictionaries as {"dict": {…}}.

    Raises:
        TypeError: If something in it is no tensor.
        ValueError: If two tensors would get the same name.

    Example:
        >>> import torch, gatework as gw
        >>> y, state = gw.nn.LSTM(4, 8)(torch.randn(5, 3, 4))
        >>> gw.nn.state.save(state, "state.safetensors")
        >>> h, c = gw.nn.state.load("state.safetensors")
        >>> torch.equal(c, state[1])
        True
    """
    from safetensors.torch import save as as_bytes

    tensors: dict[str, Tensor] = {}
    form = {"version": VERSION, "state": _form(state, "", tensors)}
    write_atomically(Path(path), as_bytes(tensors, {KEY: json.dumps(form)}))


def _form(state: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """The form of a state, its tensors gathered by name."""
    if state is None:
        return None
    if isinstance(state, Tensor):
        name = path or "state"
        if name in tensors:
            raise ValueError(f"two tensors of the state would be called {name!r}; rename a key")
        tensors[name] = state.detach().clone(memory_format=torch.contiguous_format)
        return name
    if isinstance(state, dict):
        for key in state:
            if not isinstance(key, str):
                raise TypeError(f"the keys of a saved state are strings, got {key!r}")
        return {"dict": {k: _form(v, _joined(path, k), tensors) for k, v in state.items()}}
    if isinstance(state, tuple | list):
        parts = [_form(v, _joined(path, str(k)), tensors) for k, v in enumerate(state)]
        return {"tuple": parts} if isinstance(state, tuple) else parts
    return mapped(torch.clone, state)  # says what a state may be


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def load(path: str | PathLike[str], device: Any = "cpu") -> Any:
    """Read what `save` wrote. A named tuple comes back as a plain one.

    Args:
        path: The file.
        device: Where the tensors are made.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, or no saved state.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{str(path)!r} is no safetensors file: {error}") from None
    try:
        form = json.loads(metadata[KEY])
        if form["version"] != VERSION:
            raise ValueError(f"version {form['version']!r}; this program reads {VERSION}")
        state = _filled(form["state"], tensors)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{str(path)!r} is no state that gatework.nn.state.save wrote: {error!r}"
        ) from None
    return state


def _filled(form: Any, tensors: dict[str, Tensor]) -> Any:
    """A form with its tensors in place of their names."""
    match form:
        case None:
            return None
        case str():
            return tensors[form]
        case list():
            return [_filled(part, tensors) for part in form]
        case {"tuple": list(parts), **rest} if not rest:
            return tuple(_filled(part, tensors) for part in parts)
        case {"dict": dict(parts), **rest} if not rest:
            return {key: _filled(part, tensors) for key, part in parts.items()}
    raise ValueError(f"{form!r} is no part of a state")
