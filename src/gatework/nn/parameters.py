"""A module's own parameters, found fast."""

from __future__ import annotations

from torch import Tensor, nn


def own_parameter(module: nn.Module, name: str) -> Tensor:
    """A parameter of a module.

    `getattr` takes most of a microsecond, for each weight of each call; only it, however, finds
    weights that torch.nn.utils.parametrize and the like compute.
    """
    found = module._parameters.get(name)
    return getattr(module, name) if found is None else found
