"""What the doctor found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One mistake.

    Attributes:
        severity: "error" when results or training are wrong, "warning" when something has no
            effect or is probably not what was meant.
        kind: A short name, the same at every run, such as "padding-read".
        layer: The name of the recurrent layer in the model.
        seen: What was seen.
        mend: How to mend it.
    """

    severity: Severity
    kind: str
    layer: str
    seen: str
    mend: str

    def __str__(self) -> str:
        head = f"{self.severity} in {_named(self.layer.split(', '))} ({self.kind})"
        return f"{head}\n  seen: {self.seen}\n  mend: {self.mend}"


@dataclass(frozen=True)
class Report:
    """What `gatework.doctor` found.

    Attributes:
        findings: The mistakes, errors first.
        notes: What is no mistake but worth knowing.
        layers: The recurrent layers that were looked at, by name.
    """

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    layers: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def __repr__(self) -> str:
        looked = f"looked at {_named(self.layers)}"
        head = f"{looked}: no mistake found" if self.ok else f"{looked}: {_counted(self.findings)}"
        return "\n".join([head, *map(str, self.findings), *(f"note: {n}" for n in self.notes)])


def _named(layers: Sequence[str]) -> str:
    """Layers by their names in the model, which may be numbers; alone it is called "model"."""
    if tuple(layers) == ("model",):
        return "the model"
    return f"layer{'s'[: len(layers) > 1]} {', '.join(map(repr, layers))}"


def _counted(findings: tuple[Finding, ...]) -> str:
    count = len(findings)
    return f"{count} {'mistake' if count == 1 else 'mistakes'} found"
