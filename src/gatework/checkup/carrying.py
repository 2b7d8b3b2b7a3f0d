"""State that is carried from one call of the model to the next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    RandomSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from gatework.checkup.graph import is_older, leaves, nodes_of, past
from gatework.checkup.layers import Visit
from gatework.checkup.report import Finding
from gatework.checkup.trial import Run, Trial, restored

SHUFFLING = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)


def two_calls(trial: Trial) -> tuple[Run, Run]:
    """Two calls in a row on the same batch, the second on the model as the first left it."""
    with restored(trial.model):
        return trial.run_on(), trial.run_on()


def hanging_state(first: Run, second: Run) -> Iterator[Finding]:
    """A state given to a layer that is still part of the graph of an earlier call."""
    for name in {**first.visits, **second.visits}:
        before, after = first.visits.get(name), second.visits.get(name)
        if before is not None and _hangs(before, first.began, ()):
            yield _hanging(name, "the state in the batch")
        elif after is not None and _hangs(
            after, second.began, () if before is None else before.last
        ):
            yield _hanging(name, "in the second of two calls the state")


def carried(first: Run, second: Run) -> list[str]:
    """The layers that begin where the call before ended."""
    found = []
    for name, after in second.visits.items():
        before = first.visits.get(name)
        if before is not None and len(after.given_state) == len(before.last):
            pairs = list(zip(after.given_state, before.last, strict=True))
            same = all(g.shape == s.shape and torch.equal(g, s) for g, s in pairs)
            if same and any(bool(s.any()) for _, s in pairs):
                found.append(name)
    return found


def shuffled(loader: DataLoader[Any], name: str) -> Iterator[Finding]:
    """A carried state needs batches that go on where the last ones ended."""
    if isinstance(loader.sampler, SHUFFLING):
        yield Finding(
            "error", "stateful-shuffled", name,
            "the state is carried from call to call, and the loader shuffles: each sequence begins "
            "with the state of one that it has nothing to do with",
            "use shuffle=False and lay the data out so that row b of a batch goes on in row b of "
            "the next; or begin each batch with state None",
        )  # fmt: skip


def note_on_carrying(name: str) -> str:
    """What a carried state asks for."""
    return (
        f"{name} carries its state from call to call: row b of a batch must go on in row b of the "
        "next, the state must be reset where sequences begin (each epoch, and from training to "
        "evaluation), and every batch must have as many rows"
    )


def _hanging(name: str, which: str) -> Finding:
    return Finding(
        "error", "state-on-graph", name,
        f"{which} still hangs on the graph of the call before: backward() goes through all batches "
        "so far, and fails after the first one",
        "cut it before it is handed on: state = gatework.nn.state.detach(state), or "
        "state.detach() of each of its tensors",
    )  # fmt: skip


def _hangs(visit: Visit, began: int, earlier: tuple[Tensor, ...]) -> bool:
    """Whether a given state was made before the run by the layer, or of its earlier results."""
    results = set(nodes_of(earlier))
    older = [n for n in past(nodes_of(visit.given_state)) if is_older(n, began)]
    made_by = leaves(older)
    return any(n in results for n in older) or any(id(p) in made_by for p in visit.held.values())
