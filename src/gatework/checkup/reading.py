"""What of a layer's results the model's output is made of: gradients with respect to them.

Legend: T steps, B sequences, n units of one direction, L layers, D directions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatework.checkup.layers import Visit, directions, time_first
from gatework.checkup.report import Finding
from gatework.checkup.trial import Run, Trial

ROWS = 16  # rows of an output that are looked at one by one


@dataclass(frozen=True, eq=False)
class Reading:
    """A run in which one layer's results are leaves.

    Attributes:
        name: The layer's.
        visit: Its call; output and states are leaves.
        outputs: The model's outputs that are made of them.
    """

    name: str
    visit: Visit
    outputs: tuple[Tensor, ...]

    @property
    def ends(self) -> Tensor:
        """The last step that the layer knows of each sequence, [B]."""
        given, x = self.visit.input, self.visit.x
        lengths = self.visit.arguments.get("lengths")
        if isinstance(given, PackedSequence):
            lengths = torch.nn.utils.rnn.pad_packed_sequence(given)[1]
        if lengths is None:
            return torch.full((x.shape[1],), len(x) - 1)
        return torch.as_tensor(lengths).cpu() - 1

    def gradients(self, outputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """How much each place weighs: of the output [T, B, D·n], of the first state [L·D, B, n]."""
        made = self.visit.output
        leaf = made.data if isinstance(made, PackedSequence) else made
        leaves = [leaf, *self.visit.state]
        g = torch.Generator().manual_seed(0)
        weights = [torch.randn(o.shape, generator=g).to(o) for o in outputs]
        found = torch.autograd.grad(
            list(outputs), leaves, weights, allow_unused=True, retain_graph=True
        )
        of = [torch.zeros_like(v) if f is None else f for v, f in zip(leaves, found, strict=True)]
        rows = PackedSequence(of[0], *made[1:]) if isinstance(made, PackedSequence) else of[0]
        states = [s if s.dim() == 3 else s.unsqueeze(1) for s in of[1:]]
        weighed = torch.stack([s.abs().sum(-1) for s in states]).sum(0)  # [L·D, B]
        return time_first(self.visit.layer, rows).detach().abs().cpu(), weighed.detach().cpu()

    @cached_property
    def whole(self) -> tuple[Tensor, Tensor]:
        """The gradients of everything: of the output [T, B, D·n], of the states [L·D, B]."""
        return self.gradients(self.outputs)

    def rows(self) -> list[tuple[Tensor, Tensor]] | None:
        """The places that each example's row is made of: [T, B] and [L·D, B], booleans."""
        batch = self.visit.x.shape[1]
        if any(not o.dim() or o.shape[0] != batch for o in self.outputs):
            return None
        found = []
        for b in range(min(batch, ROWS)):
            out, state = self.gradients([o[b] for o in self.outputs])
            found.append(((out > 0).any(-1), state > 0))
        return found


def readings(trial: Trial, base: Run) -> dict[str, Reading]:
    """A reading of each layer that was called once, if its results are read differentiably."""
    found = {}
    for name, visit in base.visits.items():
        if not visit.whole:
            continue
        run = trial.run(leaf=name)
        outputs = tuple(o for o in run.outputs if o.requires_grad and o.numel())
        if outputs and name in run.visits:
            found[name] = Reading(name, run.visits[name], outputs)
    return found


def reads_one_sequence(reading: Reading | None) -> bool:
    """Whether the output is made of one sequence of the layer's batch alone."""
    if reading is None:
        return False
    out, state = reading.whole
    return int(((out.sum((0, 2)) + state.sum(0)) > 0).sum()) == 1


# ---- the two directions ------------------------------------------------------------------------


def last_of_both(reading: Reading) -> Iterator[Finding]:
    """`out[:, -1]` of a bidirectional layer: its backward half has seen one step there."""
    layer, (out, state) = reading.visit.layer, reading.whole
    if directions(layer) == 1 or len(out) < 2:
        return
    backward = out[..., out.shape[-1] // 2 :].sum(-1)  # [T, B]
    read = backward.sum(0) > 0
    ends = reading.ends.clamp(min=0)
    at_end = backward[ends, torch.arange(len(ends))]
    only_there = bool(((backward.sum(0) - at_end).abs() <= 1e-6 * at_end)[read].all())
    if read.any() and only_there and (ends[read] > 0).any() and not state[1::2].any():
        yield Finding(
            "warning", "last-of-bidirectional", reading.name,
            "of the backward direction only the output at the last step is read, where it has "
            "seen one step: it begins at the end",
            "read h_n, whose last two rows are the final states of both directions: "
            "torch.cat([h_n[-2], h_n[-1]], -1); or a mean or maximum over the steps",
        )  # fmt: skip


def part_of_state(reading: Reading) -> Iterator[Finding]:
    """Of h_n only one direction, or not the last layer, is read, and of the output nothing."""
    layer, (out, state) = reading.visit.layer, reading.whole
    if out.any() or not state.any():
        return
    read = set(state.any(1).nonzero().flatten().tolist())
    places = len(state)
    if directions(layer) == 2 and read == {places - 1}:
        yield Finding(
            "warning", "one-direction", reading.name,
            f"of h_n only row {places - 1} is read, the final state of the backward direction",
            "read both: torch.cat([h_n[-2], h_n[-1]], -1)",
        )  # fmt: skip
    elif max(read) < places - directions(layer):
        yield Finding(
            "warning", "first-layer", reading.name,
            f"of the {places} rows of h_n only {sorted(read)} are read, which are lower layers': "
            "what the last layer computes is not used",
            "h_n is [num_layers * directions, batch, size]: the last layer is h_n[-1]",
        )  # fmt: skip


# ---- whose rows --------------------------------------------------------------------------------


def mixed_rows(reading: Reading) -> Iterator[Finding]:
    """h_n taken for batch-first, and outputs that were viewed, not transposed."""
    out, state = reading.whole
    batch, places = state.shape[1], len(state)
    if batch < 2:
        return
    columns = state.any(0).nonzero().flatten().tolist()
    if not out.any() and columns in ([0], [batch - 1]):
        yield _batch_first_state(
            reading.name, places, batch, f"only sequence {columns[0]} of the {batch} is read"
        )
        return
    rows = reading.rows()
    if rows is None:
        return
    if 1 < places != batch and _in_memory_order([s for _, s in rows], places):
        yield _batch_first_state(
            reading.name, places, batch,
            f"each example's row is made of {places} rows of h_n that follow each other in memory, "
            "of several sequences",
        )  # fmt: skip
    first = reading.visit.layer.batch_first
    steps = len(out)
    if steps > 1 and steps != batch and not first and _in_memory_order([o for o, _ in rows], steps):
        yield Finding(
            "error", "view-for-transpose", reading.name,
            f"each example's row is made of {steps} rows of the output [T, B, …] that follow each "
            "other in memory, of several sequences",
            "use output.transpose(0, 1) before view or reshape, or make the layer with "
            "batch_first=True",
        )  # fmt: skip


def _in_memory_order(rows: list[Tensor], each: int) -> bool:
    """Whether example k is made of the places k·each … (k+1)·each - 1 and no others."""
    flat = [r.reshape(-1) for r in rows]
    inside = [bool(r.any()) and not _outside(r, k * each, each).any() for k, r in enumerate(flat)]
    several = any(int(r.any(0).sum()) > 1 for r in rows)
    return len(rows) > 1 and several and all(inside)


def _outside(places: Tensor, start: int, count: int) -> Tensor:
    return torch.cat([places[:start], places[start + count :]])


def _batch_first_state(name: str, places: int, batch: int, seen: str) -> Finding:
    return Finding(
        "error", "state-batch-first", name,
        f"h_n is [{places}, {batch}, …], layers and directions first, with batch_first=True too; "
        + seen,
        "h_n[-1] is the last layer's state of every sequence; for all layers "
        "h_n.transpose(0, 1).reshape(batch, -1)",
    )  # fmt: skip
