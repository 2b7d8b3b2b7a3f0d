"""What `layer.trace` returns: every named value of every layer and direction, at every step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gatework.lang.definition import check_known


@dataclass(frozen=True, eq=False, repr=False)
class DirectionTrace(Mapping[str, Tensor]):
    """The named values of one layer in one direction, each [T, B, n] as the layer's output.

    `reverse` is the other direction of a bidirectional layer.
    """

    rows: Mapping[str, Tensor]
    reverse: DirectionTrace | None = None

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.rows:
            check_known("traced value", [name], self.rows, "the trace")
        return self.rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        shown = ", ".join(f"{n}: {list(v.shape)}" for n, v in self.rows.items())
        return f"<trace {shown}>"


@dataclass(frozen=True, eq=False, repr=False)
class LayerTrace(Mapping[str, Tensor]):
    """The named values of all layers; by name, those of the last layer's forward direction.

    Attributes:
        layers: For each layer, its forward and, when bidirectional, its reverse direction.
        output: What the call returned.
        state: The final state.
    """

    layers: list[list[DirectionTrace]]
    output: Any
    state: Any

    def layer(self, k: int) -> DirectionTrace:
        """The named values of layer k, the first being 0."""
        if not -len(self.layers) <= k < len(self.layers):
            raise IndexError(f"there are {len(self.layers)} layers, numbered from 0; got {k}")
        forward, *reverse = self.layers[k]
        return DirectionTrace(forward.rows, reverse[0] if reverse else None)

    def __getitem__(self, name: str) -> Tensor:
        return self.layer(-1)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layer(-1))

    def __len__(self) -> int:
        return len(self.layer(-1))

    def __repr__(self) -> str:
        return f"<trace of {len(self.layers)} layer(s): {', '.join(self)}>"
