"""A module's own parameters, found fast."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn


def own_parameters(module: nn.Module, names: Iterable[str]) -> list[Tensor]:
    """Parameters of a module.

    `getattr` takes most of a microsecond, for each weight of each call; only it, however, finds
    weights that torch.nn.utils.parametrize and the like compute.
    """
    found = []
    for name in names:
        own = module._parameters.get(name)
        found.append(getattr(module, name) if own is None else own)
    return found
