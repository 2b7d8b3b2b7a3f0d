"""Initialisation in the manner of `torch.nn.init`: functions that set parameters in place.

A layer is a `Recurrent` or a single step, of any cell. Which rows of which parameter belong to
which gate, which matrices are recurrent and which gates keep a state is found in the cell's
equations. `reset_parameters()` of a layer starts all of them anew, as torch does.

Legend: n units of a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from gatework.analysis.gates import Keeper, biases, keepers, writers
from gatework.lang.definition import Cell, Start, block_of, check_known
from gatework.lang.expressions import Apply, Expr, Matrix, Symbol, finite
from gatework.lang.rewriting import recurrent_maps
from gatework.printable import brief

Place = tuple[Mapping[str, Tensor], Mapping[str, int]]
"""The parameters of one layer and direction by the cell's names, and how many units a size has."""


class Layer(Protocol):
    """What is initialised: a layer, or a single step."""

    cell: Cell
    hidden_size: int

    def cell_parameters(self) -> list[Place]:
        """The parameters of each layer and direction, and their sizes."""


def default_(layer: Layer) -> None:
    """Draw from ±1/√hidden_size, as torch does; set others to the numbers that the cell gives.

    Of a weight per head, hidden_size is what one head maps: as many numbers are added up.
    """
    _check_layer(layer)
    for values, sizes in layer.cell_parameters():
        for p in layer.cell.parameters:
            if p.init is None:
                added = layer.hidden_size if p.per is None else p.shape(sizes)[1]
                bound = 1 / math.sqrt(added)
                nn.init.uniform_(values[p.name], -bound, bound)
            elif isinstance(p.init, Start):
                _set_numbers(values[p.name], p.name, p.init, p.lengths(sizes))
            else:
                nn.init.constant_(values[p.name], p.init)


def orthogonal_(layer: Layer, gain: float = 1.0) -> None:
    """Make the recurrent weight of each gate orthogonal (Saxe, McClelland & Ganguli 2014).

    Gate by gate: the stacked weight as a whole, four times as high as wide, would have orthogonal
    columns instead, and no gate would keep the norm of what it maps.

    Args:
        layer: A layer with recurrent matrices.
        gain: The factor of all of them.

    Example:
        >>> import torch, gatework as gw
        >>> layer = gw.nn.GRU(4, 8)
        >>> gw.nn.init.orthogonal_(layer)
        >>> r, z, n = layer.weight_hh_l0.detach().chunk(3)
        >>> torch.allclose(r @ r.T, torch.eye(8), atol=1e-5)
        True
    """
    _check_layer(layer)
    for weight in _recurrent_weights(layer):
        nn.init.orthogonal_(weight, gain)


def identity_(layer: Layer, gain: float = 1.0) -> None:
    """Start the recurrent weight at the identity, all biases at 0 (Le, Jaitly & Hinton 2015).

    For the vanilla RNN, above all with ReLU: while nothing enters, the state is kept as it is.

    Args:
        layer: A layer of a cell with one recurrent matrix.
        gain: The factor of the identity; Le et al. use 0.01 where memory should be short.

    Raises:
        ValueError: If the cell has several recurrent matrices.

    Example:
        >>> import gatework as gw
        >>> layer = gw.nn.RNN(4, 8, nonlinearity="relu")
        >>> gw.nn.init.identity_(layer)
    """
    _check_layer(layer)
    matrices = _learned_matrices(layer.cell)
    if len(matrices) > 1 or any(m.rows != m.cols for m in matrices):
        raise ValueError(
            f"cell {layer.cell.name!r} has not one square recurrent matrix but "
            f"{', '.join(sorted(m.gate for m in matrices))}; identity_ is for vanilla cells, "
            "orthogonal_ for all"
        )
    for weight in _recurrent_weights(layer):
        with torch.no_grad():
            weight.copy_(gain * torch.eye(*weight.shape))
    for values, _ in layer.cell_parameters():
        for name, value in values.items():
            if name.startswith("bias_"):
                nn.init.zeros_(value)


def gate_bias_(layer: Layer, gate: str, value: float | Tensor) -> None:
    """Set the bias of a gate: of several biases that are added, the first; the others to 0.

    Args:
        layer: A layer.
        gate: What the cell calls the gate.
        value: The bias, a number or one number per unit [n].

    Raises:
        ValueError: If the cell has no such gate, or the gate no bias.

    Example:
        >>> import gatework as gw
        >>> layer = gw.nn.LSTM(4, 8)
        >>> gw.nn.init.gate_bias_(layer, "o", -1.0)
    """
    _check_layer(layer)
    check_known("gate", [gate], layer.cell.observables(), f"cell {layer.cell.name!r}")
    level = _level(layer.cell, layer.cell.names[gate], gate)
    for place in layer.cell_parameters():
        _set_bias(layer.cell, place, level, gate, value)


def forget_bias_(layer: Layer, value: float = 1.0) -> None:
    """Set the bias of every gate that keeps a state, so that it starts by keeping.

    With 1, as Jozefowicz, Zaremba & Sutskever 2015 found best for the LSTM, σ(1) = 73 % of the
    memory stays in each step. A gate that clears where it is open, such as i of the coupled LSTM
    with f = 1 - i, gets the negative value.

    Args:
        layer: A layer of a cell with gates that keep a state.
        value: The bias.

    Raises:
        ValueError: If no gate of the cell keeps a state, or such a gate has no bias.

    Example:
        >>> import gatework as gw
        >>> layer = gw.nn.LSTM(4, 8)
        >>> gw.nn.init.forget_bias_(layer, 1.0)
        >>> layer.bias_ih_l0[8:16].unique().tolist(), layer.bias_hh_l0[8:16].unique().tolist()
        ([1.0], [0.0])
    """
    _check_layer(layer)
    kept = _keepers(layer.cell)
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"forget_bias should be a finite number, got {value!r}")
    value = finite("forget_bias", value)
    for place in layer.cell_parameters():
        for keeper in kept:
            level = _level(layer.cell, keeper.value, keeper.name)
            signed = value if keeper.keeps else -value
            _set_bias(layer.cell, place, level, keeper.name, signed)


def chrono_(layer: Layer, longest: int) -> None:
    """Start with memories of 1 to `longest` steps, spread over the units (Tallec & Ollivier 2018).

    Gates that keep a state get the bias log u, u uniform in [1, longest - 1]; gates that multiply
    what is added to it, such as the LSTM's i, get the negative one.

    Args:
        layer: A layer of a cell with gates that keep a state.
        longest: T_max, the longest dependence expected in the data, in steps.

    Raises:
        ValueError: If no gate of the cell keeps a state, or a gate has no bias of its own.

    Example:
        >>> import gatework as gw
        >>> layer = gw.nn.LSTM(4, 8)
        >>> gw.nn.init.chrono_(layer, 500)
        >>> i, f, g, o = layer.bias_ih_l0.detach().chunk(4)
        >>> bool((f >= 0).all()), bool((i == -f).all())
        (True, True)
    """
    _check_layer(layer)
    if not isinstance(longest, int) or isinstance(longest, bool) or longest < 3:
        raise ValueError(f"longest should be a number of steps, 3 or more, got {longest!r}")
    cell, found = layer.cell, keepers(layer.cell)
    of_keepers = {b for k in _keepers(cell) for b in biases(_level(cell, k.value, k.name))}
    for place in layer.cell_parameters():
        levels: dict[Expr, Tensor] = {}
        for state, gates in found.items():
            for k in gates:
                drawn = torch.empty(place[1][k.value.size]).uniform_(1, longest - 1).log_()
                levels.setdefault(k.value, drawn if k.keeps else -drawn)
            for gate in writers(cell).get(state, ()):
                first, own = gates[0], biases(_level(cell, gate, _name(cell, gate)))
                if own and of_keepers.isdisjoint(own) and gate.size == first.value.size:
                    kept = levels[first.value]
                    levels.setdefault(gate, -kept if first.keeps else kept)
        for gate, values in levels.items():
            name = _name(cell, gate)
            _set_bias(cell, place, _level(cell, gate, name), name, values)


def _set_numbers(values: Tensor, name: str, start: Start, lengths: Sequence[int]) -> None:
    """Set a parameter to the numbers that its function gives for these lengths."""
    if values.is_meta or isinstance(values, FakeTensor):
        return
    if start.function is None:
        nn.init.constant_(values, math.nan)
        return
    with torch.device("cpu"):  # whatever the default device is
        given = start.function(*lengths)
    with torch.no_grad():
        values.copy_(_checked_numbers(given, name, list(lengths)).reshape(values.shape))


def _checked_numbers(given: Any, name: str, shape: list[int]) -> Tensor:
    wanted = f"the init of {name!r} should return finite numbers of the shape {shape}"
    try:
        numbers = torch.as_tensor(given, device="cpu")
        if isinstance(given, list | tuple) and not numbers.is_complex():
            numbers = torch.as_tensor(given, device="cpu", dtype=torch.float64)  # as Python's are
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{wanted}, got {type(given).__name__}: {error}") from None
    if numbers.is_complex():
        raise TypeError(f"{wanted}, got complex ones; make a vector of each part")
    if list(numbers.shape) != shape:
        raise ValueError(f"{wanted}, got the shape {list(numbers.shape)}")
    count = int((~numbers.isfinite()).sum())
    if count:
        raise ValueError(f"{wanted}, got {count} that are not")
    return numbers


def _check_layer(layer: Any) -> None:
    if not isinstance(getattr(layer, "cell", None), Cell):
        raise TypeError(f"expected a layer or a step of gatework.nn, got {type(layer).__name__}")


# ---- which parameter is whose ------------------------------------------------------------------


def _learned_matrices(cell: Cell) -> list[Matrix]:
    """The recurrent ones that are learned."""
    known = {p.name for p in cell.parameters if not p.learned}
    found = dict.fromkeys(m.matrix for m in recurrent_maps(cell))
    learned = [m for m in found if block_of(m)[0] not in known]
    if not learned:
        raise ValueError(f"no recurrent matrix of cell {cell.name!r} is learned, so none is set")
    return learned


def _recurrent_weights(layer: Layer) -> Iterator[Tensor]:
    """The recurrent weight of each gate, layer, direction and head, [rows, cols]."""
    matrices = _learned_matrices(layer.cell)
    for values, sizes in layer.cell_parameters():
        for matrix in matrices:
            whole = _block(layer.cell, (values, sizes), matrix)
            yield from whole.chunk(matrix.heads(sizes))


def _keepers(cell: Cell) -> tuple[Keeper, ...]:
    """The gates that keep any state, each once."""
    found = {k.value: k for gates in keepers(cell).values() for k in gates}
    if not found:
        raise ValueError(
            f"no gate of cell {cell.name!r} keeps a state, so there is no forget gate to set"
        )
    return tuple(found.values())


def _name(cell: Cell, gate: Expr) -> str | None:
    return next((n for n, v in cell.observables().items() if v is gate), None)


def _level(cell: Cell, gate: Expr, name: str | None) -> Expr:
    """What goes into a gate's function; the gate itself where it is a map and no more."""
    if isinstance(gate, Apply) and gate.function == "sigmoid":
        return gate.args[0]
    return cell.names.get(f"{name}.pre", gate)


def _set_bias(
    cell: Cell, place: Place, level: Expr, name: str | None, value: float | Tensor
) -> None:
    """Set the sum of the biases that are added in what goes into a gate."""
    known = {p.name for p in cell.parameters if not p.learned}
    found = [b for b in biases(level) if block_of(b)[0] not in known]
    called = f"the gate {name!r}" if name else f"the gate {brief(level)}"
    if not found:
        gates = ", ".join(n for n in cell.observables() if biases(_level(cell, cell.names[n], n)))
        raise ValueError(
            f"{called} of cell {cell.name!r} has no bias of its own; "
            f"gate_bias_(layer, gate, value) sets that of one of {gates or 'no gate'}"
        )
    first = next((b for b in found if b.size == level.size), found[0])
    with torch.no_grad():
        for bias in found:
            block = _block(cell, place, bias)
            if bias is not first:
                block.zero_()
            elif not isinstance(value, Tensor):
                block.fill_(value)
            elif value.shape in ((), block.shape):
                block.copy_(value)
            else:
                raise ValueError(
                    f"the bias of {called} has the shape {list(block.shape)}, "
                    f"got values of the shape {list(value.shape)}"
                )


def _block(cell: Cell, place: Place, node: Symbol | Matrix) -> Tensor:
    """The rows of a parameter that belong to one gate, as a view."""
    values, sizes = place
    name, block = block_of(node)
    if not isinstance(values[name], nn.Parameter):
        raise ValueError(
            f"{name} is computed from other parameters, by a parametrization or pruning; "
            "initialise the layer before that"
        )
    parameter = next(p for p in cell.parameters if p.name == name)
    return values[name][parameter.spans(sizes)[block]]
