"""Other code in the place of a module's forward pass, for as long as somebody looks on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import nn

Module = TypeVar("Module", bound=nn.Module)


@contextmanager
def replaced_forwards(forwards: Mapping[Module, Callable[..., Any]]) -> Iterator[None]:
    """Call other functions in the place of modules' `forward` inside the `with` block.

    After it, also by an error, each module has again what it had. Blocks may be nested.

    Args:
        forwards: For each module, what is called with the arguments of its `forward`.

    Example:
        >>> import torch, gatework as gw
        >>> from gatework.nn.replacing import replaced_forwards
        >>> layer = gw.nn.GRU(4, 8)
        >>> with replaced_forwards({layer: lambda x: "replaced"}):
        ...     layer(torch.randn(6, 2, 4))
        'replaced'
    """
    before = {module: vars(module).get("forward") for module in forwards}
    for module, forward in forwards.items():
        vars(module)["forward"] = forward
    try:
        yield
    finally:
        for module, own in before.items():
            vars(module).pop("forward", None)  # what is left is that of its class
            if own is not None:
                vars(module)["forward"] = own
