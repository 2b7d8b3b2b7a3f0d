"""The GPU backend: runs the loop of any plan on CUDA as one kernel made for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

import torch

from gatework.backends.calls import Call, Result, Stepper
from gatework.backends.gate import PLAIN, stands_for_numbers
from gatework.backends.gpu.fusing import fused
from gatework.backends.gpu.loop import Element, Form, Loop, Refused, Setting
from gatework.backends.gpu.machine import Machine
from gatework.backends.gpu.matmul import is_exact
from gatework.backends.gpu.memory import Memory
from gatework.backends.gpu.prepared import Prepared
from gatework.backends.gpu.running import run
from gatework.backends.reference import Reference
from gatework.backends.single_steps import SingleSteps
from gatework.compiler.plan import Plan
from gatework.forking import building
from gatework.lang.sizes import Sizes

ELEMENTS: dict[torch.dtype, Element] = {
    torch.float32: "float", torch.float16: "half", torch.bfloat16: "bfloat16"
}  # fmt: skip
SHAPES_KEPT = 256  # prepared shapes of one plan at some sizes

Key = tuple[object, ...]


@dataclass
class Made:
    """What is made for one plan at some sizes. It goes with either of them.

    Attributes:
        plan: The plan as loops are made for it: see `fused`.
        prepared: The prepared calls, by all that distinguishes them; or why no form runs them.
        loops: The loops of these, which do not depend on what is skipped.
        memories: How sequences lie, of calls with lengths and without.
    """

    plan: Plan
    prepared: dict[Key, Prepared | str] = field(default_factory=dict)
    loops: dict[Key, Loop | str] = field(default_factory=dict)
    memories: dict[bool, Memory] = field(default_factory=dict)


class Gpu:
    """Kernels for a card with CUDA. See `gatework.backends.calls.Backend`.

    Args:
        machine: Where kernels run; the card on which the tensors of a call are, where none is
            given.
        forms: The forms of kernel, the best first; all where none are given.
    """

    name = "gpu"
    recorded = False
    compiles = True

    def __init__(self, machine: Machine | None = None, forms: Sequence[Form] | None = None) -> None:
        self._machine, self._forms = machine, forms
        self._made: WeakKeyDictionary[Plan, WeakKeyDictionary[Sizes, Made]] = WeakKeyDictionary()

    def refusal(self, plan: Plan, call: Call) -> str | None:
        """Why a call cannot run here, or None when it can.

        No form of kernel is asked: it may have to compile one to know, and training never runs the
        forward plan. What none of them takes, the reference runs, see `about`.
        """
        tensor = call.like  # all have one dtype and one device, which a run checks
        if not tensor.is_cuda and self._machine is None:
            return f"it runs on CUDA only, and a tensor is on {tensor.device}"
        if tensor.dtype not in ELEMENTS:
            return f"it knows float32, float16 and bfloat16, and a tensor is {tensor.dtype}"
        if not PLAIN.issuperset(map(type, call.tensors)):
            classes = [type(t) for t in call.tensors if t is not None]
            found = next((c.__name__ for c in classes if stands_for_numbers(c)), None)
            if found is not None:
                return f"it reads memory, and a tensor is a {found}, which has none of its own"
        try:
            self._machine_of(tensor.device)
        except Refused as reason:
            return str(reason)
        return None

    def run(self, plan: Plan, call: Call) -> Result:
        """Run a plan on tensors; by the reference where there is nothing to do, or no form."""
        prepared = "" if _is_empty(call) else self.prepared(plan, call)
        if isinstance(prepared, str):
            return Reference().run(plan, call)
        return run(prepared, plan, call)

    def stepper(self, plan: Plan, call: Call) -> Stepper:
        """Calls of one step, which a card replays as a graph."""
        return SingleSteps(self, plan, call)

    def takes_halves(self, device: str) -> bool:
        """States, sums and gates are float32 in its kernels."""
        if device != "cuda" and self._machine is None:
            return False
        try:
            self._machine_of(torch.device(device))
        except Refused:
            return False
        return True

    def about(self, plan: Plan, call: Call) -> str:
        """Which form of kernel runs a call."""
        if _is_empty(call):
            return ""
        prepared = self.prepared(plan, call)
        if isinstance(prepared, str):
            return f"step by step with torch's operations; {prepared}"
        return prepared.loop.about

    # ---- what is made once ---------------------------------------------------------------------

    def prepared(self, plan: Plan, call: Call) -> Prepared | str:
        """What is prepared for calls of this shape, or why no form of kernel runs them."""
        like, sizes = call.like, call.sizes
        if type(sizes) is not Sizes:
            sizes = Sizes.of(sizes)
        exact = like.dtype is not torch.float32 or is_exact()
        shape = call.shape, like.dtype, like.device, call.lengths is None, call.reverse, exact
        key = shape, call.skip
        of_plan = self._made.get(plan)
        made = None if of_plan is None else of_plan.get(sizes)
        found = None if made is None else made.prepared.get(key)
        if found is not None:
            return found
        with building:
            of_plan = self._made.setdefault(plan, WeakKeyDictionary())
            made = of_plan.get(sizes) or of_plan.setdefault(sizes, Made(fused(plan)))
            found = made.prepared.get(key)
            if found is None:
                found = self._prepare(made, shape, call, exact)
                _keep(made.prepared, key, found)
            return found

    def _prepare(self, made: Made, shape: Key, call: Call, exact: bool) -> Prepared | str:
        plan, like, ragged = made.plan, call.like, call.lengths is not None
        sizes = Sizes(call.sizes)  # a copy: what is kept with the sizes must not keep them
        if ragged not in made.memories:
            made.memories[ragged] = Memory.of(plan, sizes, ragged)
        memory, element = made.memories[ragged], ELEMENTS[like.dtype]
        setting = Setting(
            sizes, element, *call.shape, ragged, call.reverse, exact, memory.pitches()
        )
        machine = self._machine_of(like.device)
        if shape not in made.loops:
            _keep(made.loops, shape, self._loop(plan, setting, machine))
        loop = made.loops[shape]
        if isinstance(loop, str):
            return loop
        return Prepared(plan, loop, setting, memory, machine, call.skip, like)

    def _machine_of(self, device: torch.device) -> Machine:
        if self._machine is not None:
            return self._machine
        from gatework.backends.gpu.driver import card

        return card(device)

    def _loop(self, plan: Plan, setting: Setting, machine: Machine) -> Loop | str:
        """The loop by the first form that does not refuse it, or what the forms say."""
        refused: dict[str, str] = {}
        for form in self._forms or _forms():
            try:
                loop = form(plan, setting, machine)
                require_room(loop, machine)
            except Refused as reason:
                refused[form.__name__] = str(reason)
            else:
                others = "".join(f"; no {name}: {why}" for name, why in refused.items())
                return replace(loop, about=f"form {loop.form}: {loop.about}{others}")
        return "; ".join(f"no {name}: {why}" for name, why in refused.items())


def require_room(loop: Loop, machine: Machine) -> None:
    """Ask the card whether blocks that reach each other, or wait for each other, are there at once.

    Raises:
        Refused: If they are not.
    """
    launch = loop.launch
    if launch.cluster == 1 and not launch.together:
        return
    resident = machine.resident(machine.kernel(loop.text, loop.about), launch)
    needed = launch.blocks // launch.cluster if launch.together else 1
    if resident < needed:
        what = "blocks" if launch.cluster == 1 else f"clusters of {launch.cluster} blocks"
        raise Refused(f"{resident} of its {needed} {what} are on this card at the same time")


def _forms() -> tuple[Form, ...]:
    """The forms of kernel, the best first."""
    from gatework.backends.gpu.block import block
    from gatework.backends.gpu.group import group
    from gatework.backends.gpu.scan import scan

    return scan, group, block


def _keep(made: dict[Key, Any], key: Key, value: Any) -> None:
    """Keep what is made, in the place of what was made first where there is too much."""
    for oldest in list(made)[: 1 - SHAPES_KEPT]:
        del made[oldest]
    made[key] = value


def _is_empty(call: Call) -> bool:
    return 0 in call.shape
