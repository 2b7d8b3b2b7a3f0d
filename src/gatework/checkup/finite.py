"""Numbers that are none: where NaN and infinity begin."""

from __future__ import annotations

from collections.abc import Iterator

from gatework.checkup.layers import Visit
from gatework.checkup.report import Finding
from gatework.checkup.trial import Run, Trial, tensors


def not_finite(trial: Trial, run: Run) -> Iterator[Finding]:
    """The first layer whose results are not finite, or else outputs of the model that are NaN.

    Infinite outputs may be meant, as logits that are masked out; so may a batch that has NaN where
    the model does not look.
    """
    for name, visit in run.visits.items():
        if not all(bool(r.isfinite().all()) for r in visit.results):
            yield _finding(name, f"its results are not finite: {_where_from(trial, visit)}")
            return
    if any(bool(o.isnan().any()) for o in run.outputs):
        where = "behind its recurrent layers, whose results are finite"
        yield _finding(", ".join(run.visits), f"the model's output is NaN in places, {where}")


def _where_from(trial: Trial, visit: Visit) -> str:
    batch = [t for t in tensors(trial.batch) if t.is_floating_point()]
    weights = [n for n, w in visit.held.items() if not bool(w.isfinite().all())]
    states = visit.given_state
    if not bool(visit.rows.isfinite().all()):
        in_batch = not all(bool(t.isfinite().all()) for t in batch)
        return f"its input is not, {'as the batch is not' if in_batch else 'the batch is'}"
    if not all(bool(s.isfinite().all()) for s in states):
        return "the state that it is given is not"
    if weights:
        return (
            f"{', '.join(weights)} is not" if len(weights) == 1 else f"{', '.join(weights)} are not"
        )
    return f"they grow beyond what {visit.rows.dtype} holds".replace("torch.", "")


def _finding(name: str, seen: str) -> Finding:
    return Finding(
        "error", "not-finite", name,
        f"{seen}. Nothing else was looked at",
        "find what is not finite with torch.isfinite; a model that has become so in training needs "
        "a smaller learning rate, or gradients that are clipped",
    )  # fmt: skip
