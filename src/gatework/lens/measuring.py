"""Running a model over any number of batches while meters watch it, in the memory of one batch.

T  time steps      B  sequences      n  units of a value
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatework.lang.definition import Cell
from gatework.lang.expressions import Apply, Expr
from gatework.lens.arguments import check_functions
from gatework.lens.measurement import Measurement
from gatework.lens.watching import (
    Reading,
    check_batches,
    in_eval_mode,
    recurrent_layers,
    watch,
)
from gatework.nn import Recurrent

__all__ = ["Meter", "Progress", "Run", "Scatter", "carry_state", "measure", "state_values"]

Run = Callable[[nn.Module, Any], Any]
"""Runs a model on one batch. The default is `run_on`."""

Progress = Callable[[int], None]
"""Told after each batch how many steps have been read so far, counted over all sequences."""


class Meter(Protocol):
    """One measurement in the making; see `measure`."""

    def wanted(self, cell: Cell) -> Mapping[str, Expr]:
        """The values of a cell that it must see at every step, by name."""

    def add(self, reading: Reading, batch: Any, number: int) -> None:
        """Take in one call of a recurrent layer, in the batch of this number, from 0."""

    def result(self) -> Measurement:
        """The measurement.

        Raises:
            ValueError: too little was seen.
        """


def measure(
    model: nn.Module,
    batches: Iterable[Any],
    *meters: Meter,
    run: Run | None = None,
    progress: Progress | None = None,
) -> tuple[Any, ...]:
    """Take several measurements in one reading of the data.

    Every measurement of this package that needs no gradient is a meter; the function of its name
    reads the data for it alone.

    Args:
        model: any module that holds recurrent layers of Gatework; run in eval mode.
        batches: what the model is called with, one by one; read once. The items of a mapping are
            arguments by name: `{"input": x, "gap": dt}`.
        meters: the measurements, such as `SaturationMeter()`.
        run: how the model is run on a batch. To carry a state, see `carry_state`.
        progress: told after each batch how many steps have been read so far.

    Returns:
        The result of each meter, in their order.

    Raises:
        ValueError: there is no batch, the model has no recurrent layer, or a value is not finite.

    Example:
        >>> import torch, gatework as gw
        >>> from gatework.lens import RetentionMeter, SaturationMeter, measure
        >>> batches = (torch.randn(20, 3, 4) for _ in range(5))
        >>> saturation, retention = measure(
        ...     gw.nn.LSTM(4, 8), batches, SaturationMeter(), RetentionMeter()
        ... )
    """

    def wanted(cell: Cell) -> dict[str, Expr]:
        of_meters = {n: value for meter in meters for n, value in meter.wanted(cell).items()}
        return {**state_values(cell), **of_meters}  # the states to see that they are finite

    check_batches(batches)
    check_functions(run=run)
    run = run or run_on
    steps = 0
    check_weights(model)
    with in_eval_mode(model), torch.no_grad(), watch(model, wanted) as readings:
        for number, batch in enumerate(batches):
            run(model, batch)
            if not readings:
                raise ValueError(
                    "the model ran on a batch without calling any of its recurrent layers; "
                    "call them as modules, and leave streams aside"
                )
            steps += sum(_steps(reading) for reading in readings[:1])
            for reading in readings:
                check_reading(reading, f"in batch {number}")
                for meter in meters:
                    meter.add(reading, batch, number)
            readings.clear()
            if progress is not None:
                progress(steps)
    if not steps:
        raise ValueError("batches is empty, or has no steps; expected at least one")
    return tuple(meter.result() for meter in meters)


def check_finite(name: str, values: Tensor, where: str = "") -> None:
    """Raise unless all values are finite: of NaN no share, mean or rate says anything."""
    if not bool(values.isfinite().all()):
        count = int((~values.isfinite()).sum())
        raise ValueError(
            f"{name} has {count:,} of {values.numel():,} values that are not finite"
            f"{' ' if where else ''}{where}; gatework.doctor(model, batch) says where they begin"
        )


def check_weights(model: nn.Module) -> None:
    """Raise unless all weights of a model's recurrent layers are finite."""
    for path, layer in recurrent_layers(model).items():
        for name, weight in layer.named_parameters():
            check_finite(f"{path}{'.' if path else ''}{name}", weight)


def check_reading(reading: Reading, where: str = "") -> None:
    """Raise unless all that a call read and traced is finite, at the steps of its sequences."""
    given = reading.input
    if isinstance(given, PackedSequence):
        rows = given.data
    elif isinstance(given, list) or given.is_nested:
        rows = torch.cat(given if isinstance(given, list) else given.unbind())
    else:
        rows = reading.rows(reading.time_first(given))
    check_finite(f"the input of {reading.module or 'the layer'}", rows, where)
    for name, values in reading.values().items():
        check_finite(name, reading.rows(values), where)


def run_on(model: Callable[..., Any], batch: Any) -> Any:
    """A model on a batch; the items of a mapping are its arguments by name."""
    return model(**batch) if isinstance(batch, Mapping) else model(batch)


def _steps(reading: Reading) -> int:
    """The steps of a call, counted over its sequences."""
    if reading.inside is not None:
        return int(reading.inside.sum())
    output: Tensor = reading.trace.output
    return output.numel() // max(output.shape[-1], 1)


def carry_state() -> Run:
    """A way to run a model on windows of long streams: the state goes from one batch to the next.

    The model is called as `model(batch, state)` and returns a result and a state, as recurrent
    layers and `gatework.train.LanguageModel` do. Of a mapping the first item is what stands before
    the state, the others are arguments by name.

    Example:
        >>> import torch, gatework as gw
        >>> from gatework.lens import carry_state, saturation
        >>> windows = torch.randn(100, 3, 4).split(20)
        >>> found = saturation(gw.nn.LSTM(4, 8), windows, run=carry_state())
    """
    state = None

    def run(model: nn.Module, batch: Any) -> Any:
        nonlocal state
        first, *others = batch.items() if isinstance(batch, Mapping) else [("", batch)]
        result, state = model(first[1], state, **dict(others))
        return result

    return run


def last_step(model: Any, result: Any) -> Tensor:
    """The last step of what a model returned, [B, n]: of its output, or of the first of a tuple."""
    output: Tensor = result if isinstance(result, Tensor) else result[0]
    modules = model.modules() if isinstance(model, nn.Module) else ()
    layers = [m for m in modules if isinstance(m, Recurrent | nn.RNNBase)]
    return output[:, -1] if layers and layers[0].batch_first else output[-1]


def state_values(cell: Cell) -> dict[str, Expr]:
    """The new states by name; one that is no more than an older value of another is left out."""
    return {s.name: cell.names[s.name] for s in cell.states if cell.names[s.name].args}


def candidates(cell: Cell) -> dict[str, Expr]:
    """The named values that are a tanh of something: what a gate may let in."""
    return {
        name: value
        for name, value in cell.observables().items()
        if isinstance(value, Apply) and value.function == "tanh"
    }


@dataclass
class Scatter:
    """Mean and scatter of rows that come in parts, exact to rounding (Chan et al. 1983, eq. 2.1).

    Attributes:
        count: rows so far.
        mean: float64 [n].
        scatter: float64, Σ (row − mean)²; [n, n] Σ (row − mean)(row − mean)ᵀ when `joint`.
    """

    joint: bool = False
    count: int = 0
    mean: Any = 0.0
    scatter: Any = 0.0

    def add(self, rows: Tensor) -> None:
        """Take in rows [N, n]."""
        if not len(rows):
            return
        mean = rows.mean(0)
        centred = rows - mean
        new = centred.T @ centred if self.joint else centred.square_().sum(0)
        delta = mean.double().cpu().numpy() - self.mean
        weight = self.count * len(rows) / (self.count + len(rows))
        between = np.outer(delta, delta) if self.joint else delta * delta
        self.scatter = self.scatter + new.double().cpu().numpy() + weight * between
        self.mean = self.mean + delta * len(rows) / (self.count + len(rows))
        self.count += len(rows)

    def deviation(self) -> NDArray[np.float64]:
        """The standard deviation of each unit, [n]."""
        variance = np.diag(self.scatter) if self.joint else self.scatter
        return np.asarray(np.sqrt(variance / max(self.count, 1)))


def ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """a / b, and 0 where b is."""
    return np.asarray(np.divide(a, b, out=np.zeros_like(a), where=b > 0))


def rows_of(
    reading: Reading, names: Iterable[str] | Callable[[Cell], Iterable[str]]
) -> Iterator[tuple[str, str, Tensor]]:
    """Of each place of a call: the place, a value's name, the value's steps as rows [N, n]."""
    for place, values in reading.places():
        for name in names(reading.layer.cell) if callable(names) else names:
            rows = reading.rows(values[name])
            yield place, name, rows if rows.dtype == torch.float64 else rows.float()
