"""How the gates are used: how often each is open or closed, and what depends on it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gatework.analysis.gates import keepers
from gatework.reports.inspection import Inspection
from gatework.reports.page import figure, paragraph, table
from gatework.reports.sections.section import (
    MOST_PLACES,
    Found,
    Part,
    Section,
    drawn,
    first_axis,
    short_name,
    title,
)

__all__ = ["GATES"]

SATURATION = (
    "Each dot is a unit: how often its gate is all but closed (below 0.1, to the right) and all "
    "but open (above 0.9, to the top). A dot at the top left is a gate that is always open, one at "
    "the bottom left is used gradually, on the diagonal as a switch."
)
HELD = (
    "What held-out data costs when a gate is held at one value for all units. The more "
    "it costs, the more depends on that gate."
)
UNKNOWN = "What a gate is worth is not told: nobody said what the model should predict."


def _gates(found: Found) -> Iterator[str]:
    for one in found:
        if one.saturation.gates:
            yield from _gates_of(one)
        else:
            yield paragraph(f"{one.name} has no gates: its state is written anew at every step.")


def _gates_of(one: Inspection) -> Iterator[str]:
    alt = f"Saturation of the gates of {one.name}; the table below has the means."
    yield figure(drawn(one, one.saturation), alt, f"{title(one)}.")
    header = ("gate", "mean", "all but closed", "all but open", "units always open")
    yield table(header, list(_gate_rows(one)))
    yield from _by_place(one)
    if one.ablation is None:
        yield paragraph(UNKNOWN, quiet=True)
    else:
        yield paragraph(HELD)
        yield table(("gate", "held closed, 0", "as it is", "held open, 1"), _held_rows(one))
    dead = {
        short_name(one, n): len(units) for n, units in one.saturation.dead().items() if len(units)
    }
    if dead:
        told = ", ".join(f"{count} of {name}" for name, count in dead.items())
        yield paragraph(f"Units that never move: {told}.")


def _gate_rows(one: Inspection) -> Iterator[tuple[str, ...]]:
    opened = one.saturation.always_open()
    for gate in one.saturation.gates:
        name = short_name(one, gate)
        memory = " (keeps the memory)" if _keeps(one, gate) else ""
        yield (
            name + memory,
            f"{one.saturation.mean[gate].mean():.2f}",
            f"{one.saturation.left[gate].mean():.0%}",
            f"{one.saturation.right[gate].mean():.0%}",
            f"{len(opened[gate])}",
        )


def _keeps(one: Inspection, gate: str) -> bool:
    """Whether a gate decides how much of a state is kept."""
    kept = keepers(one.subject.cell_of(gate)).values()
    return gate.rpartition(".")[2] in {keeper.name for gates in kept for keeper in gates}


def _by_place(one: Inspection) -> Iterator[str]:
    """The mean of each gate by head: of gates that have heads, or another first axis, all alike."""
    lengths = {g: one.saturation.lengths.get(g, {}) for g in one.saturation.gates}
    for axis in dict.fromkeys(filter(None, map(first_axis, lengths.values()))):
        means = one.saturation.along(axis).mean
        gates = [g for g in lengths if axis in lengths[g]]
        spread = np.max([means[g] for g in gates], axis=0)
        shown = np.sort(np.argsort(-spread, kind="stable")[:MOST_PLACES])
        header = (axis, *(f"{short_name(one, g)}, mean" for g in gates))
        yield paragraph(f"By {axis}:")
        yield table(header, [(str(k), *(f"{means[g][k]:.2f}" for g in gates)) for k in shown])
        if len(shown) < len(spread):
            words = f"The {len(shown)} of {len(spread)} whose gates are most open."
            yield paragraph(words, quiet=True)


def _held_rows(one: Inspection) -> list[tuple[str, ...]]:
    assert one.ablation is not None
    cost = dict(zip(one.ablation.changes, one.ablation.metric, strict=True))
    as_is = f"{one.ablation.baseline:.3g}"
    return [
        (short_name(one, g), f"{cost[f'{g} = 0']:.3g}", as_is, f"{cost[f'{g} = 1']:.3g}")
        for g in one.saturation.gates
    ]


GATES = Section("How the gates are used", (Part(_gates, SATURATION, ("saturation", "ablation")),))
