"""One call of a prepared loop: its tensors, the slots that its kernel is given, what comes out.

A tensor that a kernel uses may be gone before the kernel has run: torch hands its memory out again
in the order of the stream, so whoever gets it comes later.

Legend: T steps, B sequences, N = T·B rows, n units of a row.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gatework.backends.calls import Call, Result
from gatework.backends.gate import LOW
from gatework.backends.gpu.prepared import Prepared
from gatework.backends.gpu.rows import Rows
from gatework.backends.reading import readable
from gatework.backends.reference import without_autocast
from gatework.compiler.plan import Plan


def run(prepared: Prepared, plan: Plan, call: Call) -> Result:
    """Before the loop, the loop, after the loop."""
    if torch.is_grad_enabled():  # its products are not to be recorded
        with torch.no_grad():
            return run(prepared, plan, call)
    with without_autocast(call.like):
        running = Running(prepared, plan, call)
        running.loop()
        return running.result()


class Running:
    """The tensors of one call.

    Attributes:
        slots: What the kernel is given.
        rows: The tensors by name.
        made: What the call has made, as `Prepared` lists it.
    """

    def __init__(self, prepared: Prepared, plan: Plan, call: Call) -> None:
        self.prepared = prepared
        self.slots = prepared.template[:]  # a copy
        self.alive: list[Tensor] = []
        lengths = None if call.lengths is None else self.lengths(call.lengths)
        call = call._replace(tensors=self.read(call.tensors), lengths=lengths)
        self.rows = Rows(plan, call, prepared.names)
        self.made = self.make()

    def put(self, name: str, value: int) -> None:
        """Fill a slot, where there is one of that name."""
        slot = self.prepared.slot.get(name)
        if slot is not None:
            self.slots[slot] = value

    def lengths(self, lengths: Tensor) -> Tensor:
        """The lengths, none below 0 or above T, and the order of the sequences, longest first."""
        prepared, setting = self.prepared, self.prepared.setting
        if lengths.shape != (setting.batch,):
            raise ValueError(
                f"lengths should have shape [{setting.batch}], got {list(lengths.shape)}"
            )
        lengths = lengths.to(prepared.device, torch.int64).clamp(0, setting.steps)
        order = lengths.argsort(descending=True, stable=True)
        self.alive += (lengths, order)
        self.put("lengths", lengths.data_ptr())
        self.put("order", order.data_ptr())
        return lengths

    def read(self, given: Sequence[Tensor | None]) -> list[Tensor | None]:
        """The tensors as the kernel reads them. All is checked: native code trusts it."""
        dtype, device, tensors = self.prepared.dtype, self.prepared.device, []
        for (name, slot, shape, grain, optional), tensor in zip(
            self.prepared.reads, given, strict=True
        ):
            tensors.append(tensor)
            if tensor is None:
                if optional:
                    continue
                raise ValueError(f"{name} should be a tensor, got None")
            if tensor.shape != shape or tensor.dtype is not dtype or tensor.device != device:
                raise ValueError(
                    f"{name} should be {dtype} of shape {list(shape)} on {device}, got "
                    f"{tensor.dtype} of shape {list(tensor.shape)} on {tensor.device}"
                )
            try:
                at = 0 if tensor.is_neg() or not tensor.is_contiguous() else tensor.data_ptr()
            except RuntimeError:  # some layouts do not even answer
                at = 0
            if at < LOW or at % grain:
                tensor = readable(tensor, name)
                tensor = tensor if tensor.data_ptr() % grain == 0 else tensor.clone()
                tensors[-1], at = tensor, tensor.data_ptr()
            if slot is not None:
                self.slots[slot] = at
        return tensors

    def make(self) -> list[Tensor]:
        """Make what the kernel writes, and its own memory."""
        slots, made = self.slots, []
        for _, slot, like, fill in self.prepared.made:
            tensor = torch.empty_like(like) if fill != 0 else torch.zeros_like(like)
            if fill:
                tensor.fill_(fill)
            made.append(tensor)
            if slot is not None:
                slots[slot] = tensor.data_ptr()
        for slot, of, offset in self.prepared.views:
            slots[slot] = made[of].data_ptr() + offset
        return made

    def loop(self) -> None:
        """What is done before the loop, and the loop."""
        prepared, slots = self.prepared, self.slots
        products, rest = prepared.before.run(self.rows)
        self.alive += (*products, *rest.values())
        for slot, of, offset in prepared.products:
            slots[slot] = products[of].data_ptr() + offset
        for name, slot in prepared.rest.items():
            slots[slot] = rest[name].data_ptr()
        prepared.kernel.launch(prepared.loop.launch, slots)
        self.early = prepared.before.sequences(prepared.early, self.rows, products, rest)

    def written(self) -> dict[str, Tensor]:
        """The sequences [T, B, n] that the loop has written."""
        prepared, made, shape = self.prepared, self.made, self.rows.call.shape
        found = {name: made[k] for name, k in prepared.owned.items()}
        found.update((name, made[k][part]) for name, (k, part) in prepared.aliases.items())
        for name, sequence in self.early.items():  # what is handed out may be changed
            own = sequence.clone() if name in prepared.handed_out else sequence
            found[name] = self.rows.masked(own)
        for of, k, names in prepared.sides:
            self.rows.stacks[of] = made[k]
            columns = made[k].view(*shape, len(names), -1).unbind(2)
            found.update(zip(names, columns, strict=True))
        return found

    def result(self) -> Result:
        """What came out, and what is done after the loop."""
        prepared, rows, written = self.prepared, self.rows, self.written()
        rows.sequences.update(written)
        late, gradients = prepared.after.run(rows)
        written.update(late)
        return Result(
            [written.get(name) for name in prepared.outputs],
            prepared.finals(self.made),
            [gradients.get(name) for name in prepared.parameters],
        )
