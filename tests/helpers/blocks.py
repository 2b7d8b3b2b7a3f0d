"""A layer's parameters gate by gate, for the tests that write a cell a second time."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

import gatework as gw
from gatework.lang.sizes import Sizes


def blocks_of(
    layer: gw.nn.Recurrent, values: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """The first layer's parameters, or such values: "weight_ih.i", or a vector's name."""
    values = values or layer.state_dict(keep_vars=True)
    sizes = Sizes.of(layer.sizes(0))
    return {
        p.name if block == p.name else f"{p.name}.{block}": values[f"{p.name}_l0"][rows]
        for p in layer.cell.parameters
        for block, rows in p.spans(sizes).items()
    }
