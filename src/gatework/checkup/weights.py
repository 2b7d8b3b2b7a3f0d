"""Weights that a layer has but does not use, or uses but does not train."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from gatework.checkup.layers import Visit, weights_of
from gatework.checkup.report import Finding
from gatework.checkup.trial import Run, Trial, quiet, real_tensors, restored


def unseen_weights(run: Run) -> Iterator[Finding]:
    """Learned parameters of a layer on which its results do not depend."""
    for name, visit in run.visits.items():
        if visit.arguments.get("pin"):
            continue  # a held gate needs no weights
        unseen = _unseen(visit)
        if unseen:
            yield Finding(
                "error", "weight-unseen", name,
                f"{', '.join(unseen)}: no gradient comes here; the layer computes without",
                "remove what is left over, or call the wrapper that makes the layer's weights of "
                "it. A layer of torch.nn also keeps a list of its weights; one of gatework looks "
                "each up at each call: gatework.accelerate(model)",
            )  # fmt: skip


def _unseen(visit: Visit) -> list[str]:
    weights = weights_of(visit.layer)
    arguments = {n: _cut(v) for n, v in visit.arguments.items()}
    with restored(visit.layer), quiet(visit.layer), torch.enable_grad():
        results = [t for t in real_tensors(visit.layer(**arguments)) if t.requires_grad]
    if not results or not weights:
        return []
    found = torch.autograd.grad(
        [t.sum() for t in results], list(weights.values()), allow_unused=True
    )
    return [n for n, g in zip(weights, found, strict=True) if g is None]


def _cut(value: object) -> object:
    """An argument without its past."""
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(_cut(v) for v in value)
    return value


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
