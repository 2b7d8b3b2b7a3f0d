"""The CPU backend: runs any plan on torch tensors by machine code made for it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakValueDictionary

import torch

from gatework.backends.calls import Call, Result, Stepper
from gatework.backends.gate import PLAIN, stands_for_numbers
from gatework.compiler.plan import Plan
from gatework.forking import building
from gatework.lang.sizes import Sizes

if TYPE_CHECKING:
    from gatework.backends.cpu.compiled import Compiled
    from gatework.backends.cpu.invocation import Invocation
    from gatework.backends.cpu.vector.target import Target
    from gatework.backends.cpu.vector.values import Element

ELEMENTS: dict[torch.dtype, Element] = {torch.float32: "float", torch.float64: "double"}
SHAPES_KEPT = 256  # prepared shapes of one plan at some sizes

Key = tuple[object, ...]


class Prepared:
    """What is made for one plan at some sizes. It goes with either of them.

    Attributes:
        shapes: The prepared calls, by all that distinguishes them.
        kernels: The kernels that these run.
    """

    def __init__(self) -> None:
        self.shapes: dict[Key, Invocation] = {}
        self.kernels: WeakValueDictionary[Key, Compiled] = WeakValueDictionary()


class Cpu:
    """Machine code for the processor at hand. See `gatework.backends.calls.Backend`."""

    name = "cpu"
    recorded = False
    compiles = True

    def __init__(self, processor: Target | None = None) -> None:
        """A backend for the host's processor, or for another that it can stand in for."""
        self._processor = processor
        self._prepared: WeakKeyDictionary[Plan, WeakKeyDictionary[Sizes, Prepared]]
        self._prepared = WeakKeyDictionary()

    def refusal(self, plan: Plan, call: Call) -> str | None:
        """Why a call cannot run here, or None when it can."""
        if sys.platform == "win32":
            return "it has not been made for Windows yet"
        tensor = call.like  # all have one dtype and one device, which a run checks
        if not tensor.is_cpu:
            return f"it runs on the CPU only, and a tensor is on {tensor.device}"
        if tensor.dtype not in ELEMENTS:
            return f"it knows float32 and float64, and a tensor is {tensor.dtype}"
        if PLAIN.issuperset(map(type, call.tensors)):
            return None
        classes: list[type] = [type(t) for t in call.tensors if t is not None]
        return next((_refusal(c) for c in classes if stands_for_numbers(c)), None)

    def run(self, plan: Plan, call: Call) -> Result:
        """Run a plan on tensors."""
        return self.invocation(plan, call, torch.get_num_threads()).run(call)

    def stepper(self, plan: Plan, call: Call) -> Stepper:
        """Prepare to run a forward plan step by step, on one thread."""
        with building:  # an import is half done, too, where another thread forks
            from gatework.backends.cpu.streaming import Stream

        return Stream(self, plan, call)

    def takes_halves(self, device: str) -> bool:
        """Its vectors are of float32 and float64."""
        return False

    def about(self, plan: Plan, call: Call) -> str:
        """There is one way."""
        return ""

    def invocation(self, plan: Plan, call: Call, threads: int, lasting: bool = False) -> Invocation:
        """The prepared kernel for calls of this shape, `lasting` for many with the same weights."""
        dtype, sizes = call.like.dtype, call.sizes
        if type(sizes) is not Sizes:
            sizes = Sizes.of(sizes)
        key = (
            call.shape, dtype, threads, call.lengths is None, call.reverse, call.skip, lasting
        )  # fmt: skip
        of_plan = self._prepared.get(plan)
        prepared = None if of_plan is None else of_plan.get(sizes)
        found = None if prepared is None else prepared.shapes.get(key)
        if found is not None:
            return found
        with building:
            of_plan = self._prepared.setdefault(plan, WeakKeyDictionary())
            prepared = of_plan.setdefault(sizes, Prepared())
            if key not in prepared.shapes:
                if len(prepared.shapes) >= SHAPES_KEPT:
                    prepared.shapes.pop(next(iter(prepared.shapes)))
                made = self._prepare(prepared, plan, call, threads, lasting)
                prepared.shapes[key] = made
            return prepared.shapes[key]

    def _prepare(
        self, prepared: Prepared, plan: Plan, call: Call, threads: int, lasting: bool
    ) -> Invocation:
        # LLVM takes a tenth of a second to load: only when code is wanted
        from gatework.backends.cpu.compiled import Compiled
        from gatework.backends.cpu.invocation import Invocation
        from gatework.backends.cpu.schedule import choose
        from gatework.backends.cpu.vector.target import host

        element = ELEMENTS[call.like.dtype]
        schedule = choose(plan, call, element, self._processor or host(), threads, lasting)
        key = (schedule.setting.key, call.skip)
        kernel = prepared.kernels.get(key)
        if kernel is None:
            kernel = prepared.kernels[key] = Compiled(plan, schedule.setting, call.skip)
        return Invocation(plan, schedule, kernel, call.skip)


def _refusal(cls: type) -> str:
    return f"it reads memory, and a tensor is a {cls.__name__}, which has none of its own"
