"""A backend that stands in for one on a card: the reference, handed 16-bit tensors as they are.

Layers ask a backend what it takes, not where tensors are; so with this one before the others they
do on the CPU what they do on CUDA.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from gatework import backends
from gatework.backends.calls import Call, Result
from gatework.backends.reference import Reference
from gatework.compiler.plan import Plan


class StandIn(Reference):
    """Runs every call and notes the dtypes of its tensors.

    Attributes:
        seen: For each run, the dtypes of its tensors.
    """

    name = "gpu"
    compiles = True

    def __init__(self) -> None:
        self.seen: list[set[torch.dtype]] = []

    def run(self, plan: Plan, call: Call) -> Result:
        self.seen.append({t.dtype for t in call.tensors if t is not None})
        return super().run(plan, call)

    def takes_halves(self, device: str) -> bool:
        return True

    def about(self, plan: Plan, call: Call) -> str:
        return f"as a stand-in for {call.shape[0]} steps of {call.shape[1]} sequences"


@contextmanager
def standing_in() -> Iterator[StandIn]:
    """Inside, the stand-in is asked before all other backends."""
    made = StandIn()
    with pytest.MonkeyPatch.context() as patch:
        others = {n: b for n, b in backends._BACKENDS.items() if n != made.name}
        patch.setattr(backends, "_BACKENDS", {made.name: made, **others})
        yield made
