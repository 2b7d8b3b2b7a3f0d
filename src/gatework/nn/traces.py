"""What `layer.trace` returns: every named value of every layer and direction, at every step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from gatework.lang.definition import check_known
from gatework.nn import tables
from gatework.nn.checks import check_layer


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
        dims: The axes of every value, such as ("time", "batch", "unit").
        sizes: What the units of each value are counted by: "hidden", "input", "1" for a single
            number, or a size that the cell names.
        lengths: The steps of each sequence [B]; None when all have the same.
        axes: How long each axis is that the cell names, such as {"head": 4, "key": 16}.
    """

    layers: list[list[DirectionTrace]]
    output: Any
    state: Any
    dims: tuple[str, ...]
    sizes: Mapping[str, str]
    lengths: Tensor | None = None
    axes: Mapping[str, int] = field(default_factory=dict)

    def layer(self, k: int) -> DirectionTrace:
        """The named values of layer k, the first being 0."""
        check_layer(k, len(self.layers))
        forward, *reverse = self.layers[k]
        return DirectionTrace(forward.rows, reverse[0] if reverse else None)

    def stacked(self, name: str) -> Tensor:
        """A value of all layers and directions, [L, D, …] with `dims` behind; differentiable.

        Where layers have different numbers of units, NaN stands for those that a layer has not.

        Example:
            >>> import torch, gatework as gw
            >>> trace = gw.nn.LSTM(4, 8, num_layers=2).trace(torch.randn(6, 3, 4))
            >>> trace.stacked("f").shape
            torch.Size([2, 1, 6, 3, 8])
        """
        return tables.stacked(self, name)

    def to_numpy(self) -> dict[str, Any]:
        """Every named value as an array [L, D, …] with `dims` behind; zero past an end.

        Example:
            >>> import torch, gatework as gw
            >>> trace = gw.nn.GRU(4, 8, bidirectional=True).trace(torch.randn(6, 3, 4))
            >>> trace.to_numpy()["z"].shape
            (1, 2, 6, 3, 8)
        """
        return tables.arrays(self)

    def to_xarray(self) -> Any:
        """An xarray.Dataset with a variable for each named value, and NaN past an end.

        The axes are layer, direction, time, batch and unit. Values of the input's size have the
        axis feature in place of unit, single numbers the axis number, others that of the size's
        own name; states that are matrices have the axes of the cell, such as head, key and value.
        With lengths, the coordinate length has the steps of each sequence.

        Raises:
            ImportError: If xarray is not installed.

        Example:
            >>> import torch, gatework as gw
            >>> trace = gw.nn.GRU(4, 8, bidirectional=True).trace(torch.randn(6, 3, 4))
            >>> dict(trace.to_xarray()["z"].sel(direction="reverse").mean("unit").sizes)
            {'layer': 1, 'time': 6, 'batch': 3}
        """
        return tables.dataset(self)

    def to_pandas(self) -> Any:
        """A pandas.DataFrame with a column for each named value.

        The index is layer, direction, time, batch and unit; steps past an end have no row. A value
        with fewer units than others is NaN in the rows of the rest.

        Raises:
            ImportError: If pandas is not installed.

        Example:
            >>> import torch, gatework as gw
            >>> trace = gw.nn.GRU(4, 8).trace(torch.randn(6, 3, 4), lengths=[6, 4, 0])
            >>> table = trace.to_pandas()
            >>> list(table.index.names), len(table)
            (['layer', 'direction', 'time', 'batch', 'unit'], 80)
        """
        return tables.frame(self)

    def __getitem__(self, name: str) -> Tensor:
        return self.layer(-1)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layer(-1))

    def __len__(self) -> int:
        return len(self.layer(-1))

    def __repr__(self) -> str:
        return f"<trace of {len(self.layers)} layer(s): {', '.join(self)}>"
