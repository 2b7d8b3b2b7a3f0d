"""The loop of a plan as a kernel on a machine, compared with the reference's loop.

Legend: T steps, B sequences, n units of a row.
"""

from __future__ import annotations

from array import array

import torch

from gatework.backends.gpu.loop import Loop, Setting
from gatework.backends.reference import Run

ELEMENTS = {torch.float32: "float", torch.float16: "half", torch.bfloat16: "bfloat16"}


def setting_of(call) -> Setting:
    """What a kernel of a call is made for."""
    steps, batch = call.shape
    element = ELEMENTS[call.like.dtype]
    ragged = call.lengths is not None
    return Setting(call.sizes, element, steps, batch, ragged, call.reverse)


class LoopCall:
    """The memory of a kernel's call, by the names of its slots; what it writes is NaN before."""

    def __init__(self, plan, call) -> None:
        self.plan, self.call = plan, call
        self.run = Run(plan, call)
        self.run.sequences.update(self.run.over_all_steps(plan.hoisted))
        self.recurrence, (self.steps, self.batch) = plan.recurrence, call.shape
        self.memory: dict[str, torch.Tensor] = {}
        self.spare: list[torch.Tensor] = []

    def poisoned(self, *shape):
        """Memory that holds no number yet."""
        return torch.full(shape, torch.nan, dtype=self.call.like.dtype)

    def number(self, name: str, scratch, kernel) -> int:
        """What stands in a slot."""
        kind, _, rest = name.partition(" ")
        if name == "status":
            return kernel.status
        if name in ("steps", "batch"):
            return getattr(self, name)
        if name == "lengths":
            return self.address(name, self.call.lengths)
        if name == "order":
            longest = (
                torch.arange(self.batch)
                if self.call.lengths is None
                else self.call.lengths.argsort(descending=True)
            )
            return self.address(name, longest)
        if name == "initial" or kind == "initial":
            index = [s.name for s in self.recurrence.states].index(rest)
            return self.address(name, self.run.given.states[index])
        if kind == "final":
            return self.address(name, self.poisoned(self.batch, self.units(rest)))
        if kind == "state":
            return self.address(name, self.poisoned(self.steps + 1, self.batch, self.units(rest)))
        if kind == "constant":
            return self.address(name, self.run.given.constants[rest])
        if kind == "parameter":
            return self.address(name, self.run.given.parameters[rest])
        if kind == "sequence":
            return self.address(name, self.sequence(rest))
        (own,) = (s for s in scratch if s.name == name)
        fill = 0xFF if own.fill is None else own.fill
        return self.address(name, torch.full((own.size,), fill, dtype=torch.uint8))

    def address(self, name, tensor) -> int:
        if tensor is None:
            return 0
        self.memory[name] = tensor.contiguous()
        return self.memory[name].data_ptr()

    def units(self, state: str) -> int:
        (size,) = {s.size for s in self.recurrence.states if s.name == state}
        return self.call.sizes[size]

    def sequence(self, name):
        if name in self.plan.written and name not in self.plan.hoisted:
            length = self.recurrence.length(name, self.steps)
            rows = self.poisoned(length, self.batch, self.call.sizes[self.plan.written[name].size])
            ragged = self.call.lengths is not None and name not in self.recurrence.marked
            return rows.zero_() if ragged else rows
        return self.run.sequences[name]

    def launch(self, loop: Loop, machine):
        """What the kernel wrote, and the final states."""
        kernel = machine.kernel(loop.text)
        slots = array("q", [self.number(n, loop.scratch, kernel) for n in loop.arguments])
        kernel.launch(loop.launch, slots)
        own = (n for n in self.plan.written if n not in self.plan.hoisted)
        written = {n: self.written(n) for n in own}
        return written, [self.memory[f"final {s.name}"] for s in self.recurrence.states]

    def written(self, name):
        """A written sequence, or the slots of the state that it is."""
        if f"sequence {name}" in self.memory:
            return self.memory[f"sequence {name}"]
        from gatework.compiler.stepping import aliases_of

        state, new = aliases_of(self.plan)[name]
        slots = self.memory[f"state {state}"]
        return slots[1:] if new != self.call.reverse else slots[:-1]


def expected(plan, call):
    """The same of the reference."""
    run = Run(plan, call)
    run.sequences.update(run.over_all_steps(plan.hoisted))
    run.replayed = run.replay() if plan.replays else {}
    return run.loop()


def as_double(call):
    return call._replace(tensors=[None if t is None else t.double() for t in call.tensors])


def assert_loop_agrees(form, plan, call, machine, tolerance=1e-5):
    """A form's kernel gives what the reference gives in float64."""
    loop = form(plan, setting_of(call), machine)
    written, states = LoopCall(plan, call).launch(loop, machine)
    should, last = expected(plan, as_double(call))
    for name in written:
        close(name, written[name], should[name], tolerance)
    for s, have, want in zip(plan.recurrence.states, states, last, strict=True):
        close(f"final {s.name}", have, want, tolerance)


def close(name, have, want, tolerance):
    scale = max(1.0, want.abs().max().item()) if want.numel() else 1.0
    torch.testing.assert_close(
        have.double(), want, rtol=0, atol=tolerance * scale, msg=lambda m: f"{name}: {m}"
    )
