"""Where the examples of the batch lie when they come to a layer.

One example after the other is replaced by its neighbour; which steps and sequences of the layer's
input change tells how the axes were moved on the way.

Legend: T steps, B sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatework.checkup.layers import Visit
from gatework.checkup.report import Finding
from gatework.checkup.trial import Run, Trial, tensors

Footprints = dict[int, Tensor]
"""Which places [T, B] of a layer's input an example reaches, by its index."""


def wrong_axes(
    trial: Trial, base: Run, batch_dim: int | None, reads_one_sequence: Callable[[str], bool]
) -> Iterator[Finding]:
    """Layers that run over the batch, and layers whose input was viewed, not transposed.

    Args:
        trial: The model and the batch.
        base: A run of it.
        batch_dim: Which axis of the batch counts the examples, where that is known.
        reads_one_sequence: Whether the model's output is made of one sequence of a layer's batch.
    """
    main = main_tensor(trial.batch)
    if main is None:
        return
    changed = {axis: runs_with_neighbours(trial, main, axis) for axis in (0, 1)}
    for name, visit in base.visits.items():
        if not visit.whole or isinstance(visit.input, PackedSequence):
            continue
        x = visit.x
        if min(x.shape[:2]) < 2:
            continue
        by_axis = {axis: footprints(name, visit, runs) for axis, runs in changed.items()}
        if _viewed(main, visit, by_axis[0]):
            yield _view(name, main, visit)
            continue
        axis = batch_dim
        if axis is None and _rows_are_steps(base, x) and reads_one_sequence(name):
            axis = next((a for a in (0, 1) if main.shape[a] == len(x) and _steps(by_axis[a])), None)
        if axis is not None and _steps(by_axis[axis]):
            yield _swapped(name, visit, axis)


def main_tensor(batch: Any) -> Tensor | None:
    """The first tensor of a batch with two axes or more, masks left out."""
    return next((t for t in tensors(batch) if t.dim() >= 2 and t.dtype != torch.bool), None)


def replaced(batch: Any, old: Tensor, new: Tensor) -> Any:
    """The batch with another tensor in the place of one of its own."""
    if batch is old:
        return new
    if isinstance(batch, Mapping):
        return {k: replaced(v, old, new) for k, v in batch.items()}
    if isinstance(batch, tuple | list) and not isinstance(batch, PackedSequence):
        parts = (replaced(v, old, new) for v in batch)
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    return batch


def runs_with_neighbours(trial: Trial, main: Tensor, axis: int) -> dict[int, Run]:
    """Runs in which one index of an axis holds what its neighbour holds, for a few indices."""
    count = main.shape[axis]
    found = {}
    for index in sorted({0, count // 2, count - 1} if count > 1 else ()):
        changed = main.detach().clone()
        changed.select(axis, index).copy_(main.select(axis, (index + 1) % count))
        found[index] = trial.run(replaced(trial.batch, main, changed))
    return found


def footprints(name: str, visit: Visit, runs: Mapping[int, Run]) -> Footprints:
    """The places of a layer's input that differ in each run; none for runs without effect."""
    found: Footprints = {}
    for index, run in runs.items():
        other = run.visits.get(name)
        if other is None or other.x.shape != visit.x.shape:
            return {}
        places = (other.x != visit.x).any(-1)
        if places.any():
            found[index] = places
    return found


def _steps(places: Footprints) -> bool:
    """Whether each index reaches one step, another one each, of several sequences."""
    reached = [p.any(1).nonzero().flatten().tolist() for p in places.values()]
    several = any(int(p.any(0).sum()) > 1 for p in places.values())
    return len(reached) > 1 and several and sorted(reached) == sorted([i] for i in places)


def _rows_are_steps(run: Run, x: Tensor) -> bool:
    """Whether every output has a row for each step and none has an axis for the sequences."""
    steps, batch = x.shape[:2]
    return (
        steps != batch
        and bool(run.outputs)
        and all(o.dim() and o.shape[0] == steps and batch not in o.shape[1:2] for o in run.outputs)
    )


def _viewed(main: Tensor, visit: Visit, places: Footprints) -> bool:
    """Whether the layer's input has the axes in the other order, but the rows as they lay."""
    assert isinstance(visit.input, Tensor)
    rows, columns = main.shape[:2]
    if rows == columns or tuple(visit.input.shape[:2]) != (columns, rows) or len(places) < 2:
        return False
    given = {k: (p.T if visit.layer.batch_first else p).reshape(-1) for k, p in places.items()}
    return all(
        int(p.sum()) == int(p[k * columns : (k + 1) * columns].sum()) and int(p.sum()) > 1
        for k, p in given.items()
    )


# ---- findings ----------------------------------------------------------------------------------


def _view(name: str, main: Tensor, visit: Visit) -> Finding:
    assert isinstance(visit.input, Tensor)
    came, became = list(main.shape), list(visit.input.shape)
    return Finding(
        "error", "view-for-transpose", name,
        f"the batch {came} comes to the layer as {became} with its rows as they lay in memory: "
        "each sequence is made of pieces of several examples",
        "use x.transpose(0, 1), which moves the axes; view and reshape only count anew. Or leave "
        "the input as it is and set batch_first on the layer",
    )  # fmt: skip


def _swapped(name: str, visit: Visit, axis: int) -> Finding:
    steps, batch = visit.x.shape[:2]
    say = "batch_first=True" if not visit.layer.batch_first else "batch_first=False"
    return Finding(
        "error", "batch-as-time", name,
        f"axis {axis} of the batch counts the examples, and the layer runs over it as its {steps} "
        f"time steps, with {batch} sequences: each example's result depends on those before it",
        f"make the layer with {say}, or give it x.transpose(0, 1)",
    )  # fmt: skip


def axis_of_size(batch: Any, count: int) -> int | None:
    """Which of the two first axes of a batch has a size, when only one has it."""
    main = main_tensor(batch)
    axes = [] if main is None else [a for a in (0, 1) if main.shape[a] == count]
    return axes[0] if len(axes) == 1 else None
