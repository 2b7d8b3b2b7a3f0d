"""Weights that a layer has but does not use, or uses but does not train."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from gatework.checkup.graph import leaves, nodes_of
from gatework.checkup.layers import weights_of
from gatework.checkup.report import Finding
from gatework.checkup.trial import Run, Trial


def unseen_weights(trial: Trial, first: Run) -> Iterator[Finding]:
    """Learned parameters of a layer on which neither its results nor the model's outputs depend.

    Seen is what stands in the graph of either, whoever put it there: a wrapper may make the weights
    that the layer computes with of the parameters anew at each call. Where it does so in training
    alone, a run in training mode shows it.
    """
    suspects = _unseen(first)
    if not suspects:
        return
    in_training = _unseen(trial.run(grad=True, training=True))
    for name, names in suspects.items():
        unseen = [n for n in names if n in in_training.get(name, ())]
        if unseen:
            yield Finding(
                "error", "weight-unseen", name,
                f"{', '.join(unseen)}: no gradient comes here; the layer computes without",
                "remove what is left over, or call the wrapper that makes the layer's weights of "
                "it. A layer of torch.nn also keeps a list of its weights; one of gatework looks "
                "each up at each call: gatework.accelerate(model)",
            )  # fmt: skip


def _unseen(run: Run) -> dict[str, list[str]]:
    """The names of such parameters, by layer."""
    found = {}
    for name, visit in run.visits.items():
        if visit.pinned or not visit.made:
            continue  # a held gate needs no weights; without a graph nothing shows
        seen = leaves((*visit.made, *nodes_of(run.outputs)))
        own = weights_of(visit.layer)
        unseen = [n for n, p in visit.held.items() if p is own.get(n) and id(p) not in seen]
        if unseen:
            found[name] = unseen
    return found


def untrained_weights(trial: Trial, optimizer: torch.optim.Optimizer | None) -> Iterator[Finding]:
    """Weights in whose place the optimizer still holds tensors that no module has any more."""
    if optimizer is None:
        return
    held = [p for group in optimizer.param_groups for p in group["params"]]
    own = {id(p) for p in trial.model.parameters()}
    stale = [p.shape for p in held if id(p) not in own]
    trained = {id(p) for p in held}
    for name, layer in trial.layers.items():
        missing = {n: p for n, p in weights_of(layer).items() if id(p) not in trained}
        lost = [n for n, p in missing.items() if p.shape in stale]
        if lost:
            yield Finding(
                "error", "weight-untrained", name,
                f"the optimizer does not hold {', '.join(lost)}; it holds others of the same "
                "shape that the model no longer has",
                "make the optimizer after weights were replaced, normalised, parametrized or the "
                "model was moved",
            )  # fmt: skip
