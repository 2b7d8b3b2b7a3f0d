"""What layers and single steps have in common: a module that is made of a cell."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from gatework.lang.definition import Cell, check_cell
from gatework.lang.sizes import Sizes
from gatework.nn import checks, init
from gatework.nn.inputs import check_names
from gatework.nn.options import LayerOptions, rewritten
from gatework.nn.parameters import Direction, Stack, own_parameters
from gatework.nn.recording import Recordable


class CellModule(Recordable):
    """A module that runs a cell: its parameters, how they start, what is kept and shown of it.

    Args:
        cell: The cell that it was given.
        input_size: The number of features of the input.
        hidden_size: The number of hidden units; None for a cell that has axes in their place, all
            of them among the sizes.
        bias: Whether the linear maps have biases.
        sizes: Any other size that the cell names.
        options: All those that it may be given, with their values.

    Attributes:
        cell: The cell that it runs in training mode, rewritten as the options ask.
        eval_cell: The one that it runs in eval mode.
    """

    _stack: Stack
    _derived: ClassVar[tuple[str, ...]] = ("_stack",)  # what follows from the other attributes
    _shows_cell: ClassVar[bool] = True  # in its repr: the name of a class may say it

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int | None,
        bias: bool,
        sizes: Mapping[str, int],
        options: LayerOptions,
    ) -> None:
        super().__init__()
        check_cell(type(self).__name__, cell)
        checks.check_sizes(input_size=input_size)
        checks.check_hidden_size(cell, hidden_size)
        if hidden_size is not None and cell.axis_names():
            checks.check_sizes(**sizes)
            sizes = {**sizes, **cell.axis_lengths(hidden_size, sizes)}
        else:
            sizes = {**sizes, **cell.renamed_lengths(sizes)}
        checks.check_extra_sizes(sizes, cell.size_names(), cell.name, options)
        check_names(cell)
        self.cell = rewritten(cell, bias, options)
        self.eval_cell = self.cell.deterministic()
        self.extra_sizes, self.forget_bias = dict(sizes), options.get("forget_bias")
        if hidden_size is None:
            hidden_size = Sizes.of({"1": 1, "input": input_size, **sizes})[cell.output_value.size]
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        self._options = options

    def _prepare(self) -> None:
        """Make what follows from the other attributes."""
        raise NotImplementedError

    def _cells(self) -> dict[bool, Cell]:
        """The cell by whether in training mode."""
        return {False: self.eval_cell, True: self.cell}

    def _first_sizes(self) -> dict[str, int]:
        """How many units each size has in the lowest layer."""
        given = {"1": 1, "input": self.input_size, "hidden": self.hidden_size}
        return {**given, **self.extra_sizes}

    def _directions(self) -> list[Direction]:
        """Each layer in each direction."""
        return [one for directions in self._stack for one in directions]

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: not what follows from it."""
        return {n: v for n, v in self.__dict__.items() if n not in self._derived}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copied or pickled module."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._prepare()

    # ---- parameters ----------------------------------------------------------------------------

    def _make_parameters(self, device: Any, dtype: Any) -> None:
        """Make what the cell reads, layer by layer, then the learned initial states; draw them."""

        def make(name: str, shape: Sequence[int], learned: bool = True) -> None:
            values = torch.empty(shape, device=device, dtype=dtype)
            if learned:
                self.register_parameter(name, nn.Parameter(values))
            else:
                self.register_buffer(name, values)

        places, cell = self._directions(), self.cell
        checks.check_layers(cell, [directions[0].sizes for directions in self._stack])
        for one in places:
            for name, p in zip(one.names, cell.parameters, strict=True):
                make(name, p.shape(one.sizes), p.learned)
        for one in places:
            checks.check_free(one.initial, {**self._parameters, **self._buffers}, cell.name)
            for name, n in zip(one.initial, one.units, strict=False):
                make(name, (n,))
        self.reset_parameters()

    def cell_parameters(self) -> list[init.Place]:
        """The parameters of each layer and direction by the cell's names, and their sizes."""
        names = [p.name for p in self.cell.parameters]
        return [
            (dict(zip(names, own_parameters(self, one.names), strict=True)), one.sizes)
            for one in self._directions()
        ]

    def reset_parameters(self) -> None:
        """Draw weights and biases from ±1/√hidden_size, as torch; set others as the cell says."""
        init.default_(self)
        if self.forget_bias is not None:
            init.forget_bias_(self, self.forget_bias)
        for one in self._directions():
            for initial in own_parameters(self, one.initial):
                nn.init.zeros_(initial)

    # ---- what is shown -------------------------------------------------------------------------

    def _described(self, kind: type) -> str:
        """The arguments that differ from the defaults of a class, as torch.nn writes them."""
        given = {**self._options, **vars(self)}
        defaults = {
            name: argument.default
            for name, argument in inspect.signature(kind).parameters.items()
            if name in given and name != "hidden_size" and argument.default is not argument.empty
        }
        parts = [self.cell.name] if self._shows_cell else []
        parts += [f"{self.input_size}, {self.hidden_size}"]
        parts += [f"{name}={size}" for name, size in self.extra_sizes.items()]
        parts += [f"{n}={given[n]}" for n, default in defaults.items() if given[n] != default]
        return ", ".join(parts)
