"""Watching a model: while it runs, every recurrent layer in it is traced; or held.

T  time steps      B  sequences      n  units of a value

A value of a model is addressed by the layer's place in the model, as torch names its parameters,
and by what the cell calls it: "encoder.l0.f" is the gate f of the first layer of the module
`encoder`, "encoder.l0_reverse.f" that of its reverse direction, "l0.f" where the model is the
layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_sequence

from gatework.lang.definition import Cell, as_names, check_known
from gatework.lang.expressions import Expr
from gatework.lang.keeping import of_the_cell
from gatework.lens.arguments import check_several
from gatework.lens.axes import axis_lengths
from gatework.nn import LayerTrace, Recurrent, RecurrentCell
from gatework.nn.replacing import replaced_forwards

__all__ = ["Reading", "hold", "in_eval_mode", "place_name", "recurrent_layers", "watch"]

Choose = Callable[[Cell], Mapping[str, Expr]]
"""Which values of a cell to trace, by name; those that it does not name itself included."""


@dataclass(frozen=True, eq=False)
class Reading:
    """One call of one recurrent layer, traced.

    Attributes:
        module: the layer's path in the model; empty where it is the model.
        layer: the layer.
        trace: what `layer.trace` returned.
        input: what the layer was given, in the form in which it was, but for arrays and tables.
        inside: bool [T, B], which steps belong to their sequence; None when all do.
        begins: bool [T, B], which steps begin an episode (`resets=`); None when none does.
    """

    module: str
    layer: Recurrent
    trace: LayerTrace
    input: Tensor | PackedSequence | list[Tensor]
    inside: Tensor | None
    begins: Tensor | None = None

    def places(self) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Each layer and direction by its name, such as "encoder.l0_reverse": [T, B, n] by name."""
        for k, directions in enumerate(self.trace.layers):
            for d, direction in enumerate(directions):
                yield (
                    place_name(self.module, k, d),
                    {n: self.time_first(v) for n, v in direction.items()},
                )

    def values(self) -> dict[str, Tensor]:
        """Each traced value by its full name, such as "encoder.l0.f": [T, B, n]."""
        return {f"{p}.{n}": v for p, values in self.places() for n, v in values.items()}

    def sizes(self) -> dict[str, Mapping[str, int]]:
        """How many units each size has, by place: see `Recurrent.sizes`."""
        return {place_name(self.module, k, d): self.layer.sizes(k) for k, d in _places(self.layer)}

    def lengths(self) -> dict[str, dict[str, int]]:
        """How long the axes of each traced value are, by its full name; of those that have any."""
        sizes = self.trace.sizes
        found = {
            f"{place}.{name}": axis_lengths(size, of)
            for place, of in self.sizes().items()
            for name, size in sizes.items()
        }
        return {name: own for name, own in found.items() if own}

    def rows(self, values: Tensor) -> Tensor:
        """The steps of values [T, B, n] that belong to their sequence, [N, n]."""
        return values.flatten(0, 1) if self.inside is None else values[self.inside]

    def time_first(self, values: Tensor) -> Tensor:
        """Values laid out as the layer's input, as [T, B, n]."""
        if values.dim() == 2:
            return values.unsqueeze(1)
        return values.transpose(0, 1) if self.layer.batch_first else values


def place_name(module: str, layer: int, direction: int) -> str:
    """The name of one layer in one direction of a module: "encoder.l0_reverse"."""
    return f"{module}{'.' if module else ''}l{layer}{'_reverse' if direction else ''}"


def recurrent_layers(model: nn.Module) -> dict[str, Recurrent]:
    """The recurrent layers of a model, by their path in it.

    Raises:
        TypeError: the model is no module.
        ValueError: it has no layer of Gatework.
    """
    _check_module(model)
    found = {name: m for name, m in model.named_modules() if isinstance(m, Recurrent)}
    if found:
        return found
    raise ValueError(f"{type(model).__name__} has no recurrent layer of Gatework; {_hint(model)}")


def _hint(model: nn.Module) -> str:
    """What may be meant by one whose model has no layer to be watched."""
    steps = [name for name, m in model.named_modules() if isinstance(m, RecurrentCell)]
    if steps:
        return (
            f"{steps[0] or 'it'!r} makes single steps, which are not watched; run whole sequences "
            "with a layer of the same cell and weights"
        )
    theirs = [name for name, m in model.named_modules() if isinstance(m, nn.RNNBase)]
    if theirs:
        return f"{theirs[0] or 'it'!r} is one of torch: model = gatework.accelerate(model)"
    return "expected a module that holds a gatework.nn.Recurrent, LSTM, GRU or RNN"


def check_batches(batches: Any) -> None:
    """Raise unless something can be gone through batch by batch."""
    if isinstance(batches, Tensor | PackedSequence | np.ndarray | str | bytes | Mapping):
        raise TypeError(
            f"batches is one {type(batches).__name__}; expected an iterable of what the model is "
            "called with, one by one: [batch] for a single one"
        )
    if not isinstance(batches, Iterable):
        raise TypeError(
            f"batches is a {type(batches).__name__}; expected an iterable, such as a list or a "
            "generator"
        )


def _check_module(model: Any) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected a torch.nn.Module, got {type(model).__name__}")


@contextmanager
def watch(model: nn.Module, names: Sequence[str] | Choose | None = None) -> Iterator[list[Reading]]:
    """Trace every call of every recurrent layer of a model inside the `with` block.

    The model's results stay what they are. What is traced is part of autograd's graph.

    Args:
        model: any module that holds recurrent layers of Gatework.
        names: the named values to trace, of those that a cell has; all when not given. Or a
            function that gives, for a cell, values of its own by name.

    Yields:
        A list to which each call adds a `Reading`. Clear it to let go of the memory.

    Example:
        >>> import torch, gatework as gw
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), gw.nn.LSTM(4, 8, num_layers=2))
        >>> with gw.lens.watch(model, ("f", "c")) as readings:
        ...     y, state = model(torch.randn(6, 2, 3))
        >>> {name: tuple(v.shape) for name, v in readings[0].values().items()}
        {'1.l0.f': (6, 2, 8), '1.l0.c': (6, 2, 8), '1.l1.f': (6, 2, 8), '1.l1.c': (6, 2, 8)}
    """
    layers = recurrent_layers(model)
    check_several('names of values, such as ("c", "f")', names=None if callable(names) else names)
    choose = names if callable(names) else _chosen(names, layers)
    readings: list[Reading] = []
    forwards = {
        layer: _traced_forward(path, layer, choose, readings) for path, layer in layers.items()
    }
    with replaced_forwards(forwards):
        yield readings


def _chosen(names: Sequence[str] | None, layers: Mapping[str, Recurrent]) -> Choose:
    """The choice of those of the names that a cell has."""
    names = None if names is None else as_names("names", names)
    if names is not None:
        known = {n for layer in layers.values() for n in layer.cell.names}
        check_known("value", names, sorted(known), "the model")
    return lambda cell: {n: v for n, v in cell.names.items() if names is None or n in names}


def _traced_forward(
    path: str, layer: Recurrent, choose: Choose, readings: list[Reading]
) -> Callable[..., Any]:
    """A layer's forward that also traces the chosen values."""
    chosen = choose(layer.cell)
    further = tuple((n, v) for n, v in chosen.items() if n not in layer.cell.names)
    traced = observing(layer, further)
    results = layer.cell.result_names()
    own = {n for n, v in layer.cell.names.items() if not v.args and n not in results}
    names = tuple(n for n in chosen if n not in own)  # a number or a row from outside has no trace

    def forward(*args: Any, **kwargs: Any) -> Any:
        traced.training, traced.held = layer.training, layer.held
        trace = traced.trace(*args, names=names, **kwargs)
        given = layer.as_sequences(args[0] if args else kwargs["input"])
        begins = _begins(layer, kwargs.get("resets"), listed=isinstance(given, list))
        readings.append(Reading(path, layer, trace, given, _inside(trace), begins))
        return trace.output, trace.state

    return forward


def observing(layer: Recurrent, further: tuple[tuple[str, Expr], ...]) -> Recurrent:
    """A layer with the same parameters whose cell names further values."""
    if not further:
        return layer
    return layer.with_cell(_observing(layer.cell, further))


@of_the_cell(16)
def _observing(cell: Cell, further: tuple[tuple[str, Expr], ...]) -> Cell:
    """A cell with further named values; the same for the same."""
    return cell.observing(dict(further))


def _inside(trace: LayerTrace) -> Tensor | None:
    """Which steps of a call belong to their sequence, [T, B]; None when all do."""
    if trace.lengths is None:
        return None
    values = next(iter(trace.values()))
    steps = torch.arange(values.shape[trace.dims.index("time")], device=trace.lengths.device)
    return steps[:, None] < trace.lengths


def value_names(model: nn.Module) -> list[str]:
    """The full name of every named value of a model, such as "encoder.l0.f"."""
    return [
        f"{place_name(path, *place)}.{name}"
        for path, layer in recurrent_layers(model).items()
        for place in _places(layer)
        for name in layer.cell.names
    ]


def _begins(layer: Recurrent, resets: Any, listed: bool) -> Tensor | None:
    """Which steps of a call begin an episode, [T, B]; None when none does."""
    if resets is None:
        return None
    if listed and isinstance(resets, list | tuple):
        return pad_sequence([torch.as_tensor(flags) for flags in resets])
    flags = torch.as_tensor(resets)
    if flags.dim() == 1:
        return flags.unsqueeze(1)
    return flags.T if layer.batch_first else flags


@contextmanager
def hold(model: nn.Module, pins: Mapping[str, Any]) -> Iterator[None]:
    """Hold named values of a model's recurrent layers inside the `with` block.

    Args:
        model: any module that holds recurrent layers of Gatework.
        pins: what to hold. A key is a value's full name, "encoder.l0.f", or what the cells call
            it, "f", for every layer and direction that has one. It is held at a number, at a
            tensor of one number per unit, or for some units alone by a mapping from the unit's
            number: `{"l0.c": {17: 0.0}}` silences unit 17 of the memory. A value with axes also
            along one of them: `{"l0.S": {"head": {2: 0.0}}}` silences head 2.

    Raises:
        ValueError: no layer has a value of that name.

    Example:
        >>> import torch, gatework as gw
        >>> model, x = gw.nn.GRU(4, 8), torch.randn(6, 2, 4)
        >>> with gw.lens.hold(model, {"h": {3: 0.0}}):
        ...     y, h = model(x)
        >>> y[..., 3].abs().max().item()
        0.0
    """
    layers = recurrent_layers(model)
    if not isinstance(pins, Mapping):
        raise TypeError(
            f"pins is a {type(pins).__name__}; expected a mapping from names of values to what "
            'they are held at, such as {"f": 1.0}'
        )
    short = {name for layer in layers.values() for name in layer.cell.names}
    check_known("value", pins, [*value_names(model), *sorted(short)], "the model")
    held = _by_place(layers, pins)
    before = {layer: layer.held for layer in layers.values()}
    for path, layer in layers.items():
        layer.held = {
            place: {**layer.held.get(place, {}), **held[place_name(path, *place)]}
            for place in _places(layer)
        }
    try:
        yield
    finally:
        for layer, was in before.items():
            layer.held = was


def _places(layer: Recurrent) -> list[tuple[int, int]]:
    """Each layer and direction of a module."""
    return [(k, d) for k in range(layer.num_layers) for d in range(layer.num_directions)]


def _by_place(
    layers: Mapping[str, Recurrent], pins: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The pins of each place by the names that its cell has."""
    names = {
        place_name(path, *place): layer.cell.names
        for path, layer in layers.items()
        for place in _places(layer)
    }
    return {
        place: {
            name: pins[key]
            for name in known
            for key in (name, f"{place}.{name}")  # the full name has the last word
            if key in pins
        }
        for place, known in names.items()
    }


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Run a model in eval mode inside the `with` block; its modules' modes are restored after."""
    _check_module(model)
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
