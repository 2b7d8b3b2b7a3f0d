"""Results that depend on what stands behind a sequence's end.

Legend: T steps, B sequences.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gatework.checkup.axes import main_tensor
from gatework.checkup.layers import Visit, directions, given_form, time_first
from gatework.checkup.reading import Reading
from gatework.checkup.report import Finding
from gatework.checkup.trial import Run, Trial, tensors

DIFFERENT = 1e-4  # relative difference of outputs that rounding does not explain


@dataclass(frozen=True)
class Lengths:
    """The steps of each sequence [B], and how they are known."""

    steps: Tensor
    source: str
    certain: bool


def lengths_of(trial: Trial, visit: Visit, given: Any) -> Lengths | None:
    """The lengths of the sequences that a layer reads; None when nothing says so."""
    count, batch = visit.x.shape[:2]
    if given is not None:
        steps = torch.as_tensor(given).cpu()
        return Lengths(steps, "lengths=", certain=True) if steps.shape == (batch,) else None
    named = _named_lengths(trial.batch, count, batch)
    if named is not None:
        return named
    for tensor in tensors(trial.batch):
        if _may_be_lengths(tensor, count, batch) and _constant_behind(visit.x, tensor.cpu()):
            return Lengths(tensor.cpu(), "the integers in the batch", certain=True)
    return _zero_tails(visit.x)


def check_lengths(batch: Any, run: Run, given: Any) -> None:
    """Raise if given lengths are those of no axis of the batch, and of no layer's sequences."""
    if given is None:
        return
    main = main_tensor(batch)
    read = [v.x.shape for v in run.visits.values() if v.whole]
    axes = [] if main is None else list(main.shape)
    counts, longest = {*axes[:2], *(r[1] for r in read)}, max([0, *axes, *(r[0] for r in read)])
    steps = torch.as_tensor(given)
    if len(steps) not in counts:
        raise ValueError(
            f"lengths has {len(steps)} numbers, one for each sequence; the batch has "
            f"{' or '.join(map(str, sorted(counts)))}"
        )
    if int(steps.max()) > longest:
        raise ValueError(f"lengths has {int(steps.max())}; the batch has {longest} steps at most")


def _named_lengths(batch: Any, count: int, size: int) -> Lengths | None:
    if not isinstance(batch, Mapping):
        return None
    for name, value in batch.items():
        if "len" in name.lower():
            steps = torch.as_tensor(value).cpu()
            if _may_be_lengths(steps, count, size):
                return Lengths(steps, f"{name!r} in the batch", certain=True)
    return None


def _may_be_lengths(tensor: Tensor, count: int, batch: int) -> bool:
    if tensor.is_floating_point() or tensor.dtype == torch.bool or tensor.shape != (batch,):
        return False
    return bool(tensor.min() >= 0 and tensor.max() <= count)


def _constant_behind(x: Tensor, lengths: Tensor) -> bool:
    """Whether all rows behind the ends are one and the same, and no last row is."""
    behind = torch.arange(len(x))[:, None] >= lengths
    rows = x.detach().cpu()[behind]
    last = x.detach().cpu()[(lengths - 1).clamp(min=0), torch.arange(x.shape[1])]
    return len(rows) > 0 and bool((rows == rows[0]).all() and (last != rows[0]).any(-1).all())


def _zero_tails(x: Tensor) -> Lengths | None:
    """Rows of zeros that stand at the ends of some sequences and nowhere else."""
    if x.shape[-1] < 2:
        return None
    zero = (x.detach().cpu() == 0).all(-1)  # [T, B]
    steps = len(x) - zero.flip(0).int().cumprod(0).sum(0)
    only_there = bool((zero.sum(0) == len(x) - steps).all())
    if not only_there or steps.min() == steps.max():
        return None
    return Lengths(steps, "rows of zeros at the ends of sequences", certain=False)


def padding_read(trial: Trial, base: Run, reading: Reading, given: Any) -> Iterator[Finding]:
    """Whether the model's output at real steps changes with what stands behind the ends."""
    visit = base.visits[reading.name]
    lengths = lengths_of(trial, visit, given)
    if visit.knows_lengths or lengths is None:
        return
    count, batch = visit.x.shape[:2]
    if lengths.steps.shape != (batch,) or not (lengths.steps < count).any():
        return
    other = trial.run(edits={reading.name: lambda a: _disturbed(visit, a, lengths.steps)})
    if not _real_steps_differ(base, other, lengths.steps, count, visit.layer.batch_first):
        return
    short = int((lengths.steps < count).sum())
    yield Finding(
        "error" if lengths.certain else "warning",
        "padding-read",
        reading.name,
        f"{short} of {batch} sequences end before step {count} ({lengths.source}), and the result "
        f"depends on what stands behind their ends: {_how(reading, lengths.steps)}",
        "give a layer of gatework lengths= (gatework.accelerate(model) makes it one), or torch.nn "
        "a packed sequence; then h_n is each sequence's own last state and padding is never read",
    )


def _disturbed(visit: Visit, arguments: Mapping[str, Any], lengths: Tensor) -> Mapping[str, Any]:
    """The arguments with other numbers behind the ends."""
    x = time_first(visit.layer, arguments["input"])
    behind = (torch.arange(len(x))[:, None] >= lengths)[..., None].to(x.device)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).to(x)
    changed = torch.where(behind, x + noise * (x.std() + 1), x)
    return {**arguments, "input": given_form(visit.layer, changed, arguments["input"])}


def _real_steps_differ(
    base: Run, other: Run, lengths: Tensor, count: int, batch_first: bool
) -> bool:
    """Whether outputs differ; of those with a row for each step only real steps count."""
    batch = len(lengths)
    real = torch.arange(count)[:, None] < lengths  # [T, B]
    for one, two in zip(base.outputs, other.outputs, strict=False):
        if one.shape != two.shape:
            continue
        change = (one - two).detach().abs().cpu()
        scale = float(one.detach().abs().max()) + 1e-12
        axes = tuple(one.shape[:2])
        if axes in ((count, batch), (batch, count)):
            first = axes == (batch, count) and (batch_first or batch != count)
            change = change[real.T if first else real]
        elif one.shape[:1] == (count * batch,):
            continue  # rows of steps in an order that is not known
        if change.numel() and float(change.max()) > DIFFERENT * scale:
            return True
    return False


def _how(reading: Reading, lengths: Tensor) -> str:
    """In which way the padding is read."""
    layer, out = reading.visit.layer, reading.whole[0]
    weight = out.sum(-1)  # [T, B]
    behind = torch.arange(len(out))[:, None] >= lengths
    if not out.any():
        return "h_n is the state after the padding"
    if not (weight * behind).any():
        ways = "the backward direction begins in the padding"
        return ways if directions(layer) == 2 else "a later layer reads on"
    if not weight[:-1].any():
        return "out[:, -1], the last step, lies in the padding"
    return "steps behind the end are read, too, such as by a mean over all"
