"""Layers through which no gradient passes: a step function, or units that are all saturated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gatework.checkup.graph import is_older, leaves, nodes_of, past
from gatework.checkup.layers import Visit
from gatework.checkup.report import Finding
from gatework.checkup.trial import Run, Trial, cut


def blocked_gradients(trial: Trial, first: Run) -> Iterator[Finding]:
    """Layers whose results, as far as the model reads them, have no slope in anything.

    A gradient comes to the results, but of what they were made of, the input, the weights and the
    given state, none gets more than exact zeros.
    """
    for name, visit in first.visits.items():
        if visit.pinned or not visit.made:
            continue
        read = _read(trial, name)
        if any(read) and _is_blocked(trial, name, read):
            yield Finding(
                "error", "no-gradient", name,
                "a gradient comes to its results, and what passes on to its weights and its input "
                "is exactly zero everywhere: neither it nor what stands before it learns",
                "a comparison, as in where(v > 1, 1.0, 0.0), and sign have slope 0: train with a "
                "smooth function in their place. Else all units are saturated or dead: scale the "
                "input and the weights down",
            )  # fmt: skip


def _read(trial: Trial, name: str) -> list[bool]:
    """Which of a layer's results get a gradient from the model's outputs.

    A final state that the model hands on as it is has not been read.
    """
    run = trial.run(leaf=name)
    results = run.visits[name].results if name in run.visits else ()
    handed_on = {id(r) for r in results[1:]}
    outputs = [o for o in run.outputs if o.requires_grad and id(o) not in handed_on]
    return [g is not None and bool(g.any()) for g in _gradients(outputs, results)]


def _is_blocked(trial: Trial, name: str, read: Sequence[bool]) -> bool:
    run = trial.run(edits={name: _with_leaf}, grad=True)
    visit = run.visits[name]
    results = [r for r, is_read in zip(visit.results, read, strict=True) if is_read]
    results = [r for r in results if r.requires_grad]
    sources = _sources(visit, results, run.began)
    found = [g for g in _gradients(results, sources) if g is not None]
    return bool(results) and not any(bool(g.any()) for g in found)


def _with_leaf(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments with the input as a leaf."""
    return {**arguments, "input": cut(arguments["input"])}


def _sources(visit: Visit, results: Sequence[Tensor], began: int) -> list[Tensor]:
    """What the results are made of: input, states, and weights as the layer has them.

    Weights that a wrapper made before the run end the search: their graph may be used up.
    """
    attributes = [v for v in vars(visit.layer).values() if isinstance(v, Tensor)]
    made = [w for w in (*visit.held.values(), *attributes) if w.grad_fn is not None]
    given = [s for s in visit.given_state if s.requires_grad]
    ends = set(nodes_of([*made, *given]))
    ends |= {n for n in past(nodes_of(results), ends) if is_older(n, began)}
    found = leaves(nodes_of(results), ends)
    return list({id(t): t for t in (visit.rows, *given, *made, *found.values())}.values())


def _gradients(outputs: Sequence[Tensor], sources: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """The gradient of a random weighting of the outputs; None where there is no way."""
    if not outputs or not sources:
        return [None] * len(sources)
    g = torch.Generator().manual_seed(0)
    weights = [torch.randn(o.shape, generator=g).to(o) for o in outputs]
    return torch.autograd.grad(list(outputs), list(sources), weights, allow_unused=True)
