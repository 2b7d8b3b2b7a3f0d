"""`gatework.export.c`: from a network to an object file and a header."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor, nn

from gatework.backends.cpu.vector.ir import Builder, Module
from gatework.backends.cpu.vector.values import Value
from gatework.errors import InputError
from gatework.export.objects.blocks import Block, blocks_of
from gatework.export.objects.header import header
from gatework.export.objects.memory import Constants, Room, Row
from gatework.export.objects.step import Step
from gatework.export.objects.targets import Machine, machine_of, object_code
from gatework.lang.expressions import Symbol


def c(model: nn.Module, path: str | Path, target: str = "x86-64-v3") -> tuple[Path, Path]:
    """Write a trained network as an object file and a C header.

    The object computes one sequence in float32, step by step. It allocates nothing, calls nothing
    and holds the weights.

    Args:
        model: A layer, or a `torch.nn.Sequential` of layers and `torch.nn.Linear`; as in eval mode.
        path: Where the files go, without an ending; its name begins the names of the functions.
        target: The machine, one of `gatework.export.TARGETS`.

    Returns:
        The object file and the header.

    Raises:
        InputError: If the target is unknown, the name is none of C, or a part has no C form.

    Example:
        >>> import tempfile, gatework as gw
        >>> folder = Path(tempfile.mkdtemp())
        >>> files = gw.export.c(gw.nn.GRU(1, 8), folder / "amp", target="cortex-m4")
        >>> [f.name for f in files]
        ['amp.o', 'amp.h']
    """
    path, machine = Path(path), machine_of(target)
    if not re.fullmatch(r"[A-Za-z_]\w*", path.name, re.ASCII):
        raise InputError(
            f"a file name that cannot begin a C function's: {path.name!r}",
            "a letter, then letters, digits and _",
            "choose another name, without an ending",
        )
    written = Program(path.name, blocks_of(model), machine)
    image = object_code(written.ir, machine)
    files = path.with_name(f"{path.name}.o"), path.with_name(f"{path.name}.h")
    files[0].write_bytes(image)
    files[1].write_text(header(path.name, target, written))
    return files


class Program:
    """The functions of a network in LLVM IR, and what their header has to know.

    Attributes:
        reads: What a step reads: names, units, and whether it is another row at each step.
        outputs: The units of the output.
        states: The numbers that a saved state has.
        memory: The numbers that a state takes in memory.
        ir: The text.
    """

    def __init__(self, name: str, blocks: Sequence[Block], machine: Machine) -> None:
        self.name, self.blocks, self.machine = name, blocks, machine
        self.room, self.constants = Room(machine.lanes), Constants(machine.lanes)
        self._module = Module()
        self.places = [[self.room.take(len(s[0])) for s in b.initial] for b in blocks]
        self.reads = self._reads()
        self._step()
        self.states = sum(s.numel() for b in blocks for s in b.initial)
        self._sequence()
        self._reset()
        self._copying("save", to_state=False)
        self._copying("load", to_state=True)
        self.memory = self.room.size
        self.ir = self._text()

    def _reads(self) -> list[tuple[str, int, bool]]:
        """The first block's input, then the further inputs of all."""
        if any(_further(b) for b in self.blocks[1:]):
            raise InputError(
                "further inputs of a layer above the first",
                "a cell with further inputs as the one layer that reads them",
                "export a network whose first layer alone reads further inputs",
            )
        first = self.blocks[0]
        rows = [first.recurrence.sequences[0], *_further(first)]
        return [(s.name, first.sizes[s.size], s.role == "sequence") for s in rows]

    def _params(self) -> list[tuple[str, str]]:
        return [("ptr", "state"), *(("ptr", n) for n, _, _ in self._named_reads()), ("ptr", "y")]

    def _named_reads(self) -> Iterator[tuple[str, int, bool]]:
        for k, (_, n, each) in enumerate(self.reads):
            yield f"x{k}", n, each

    def _step(self) -> None:
        with self._module.function(f"{self.name}_step", self._params(), exported=True) as (
            b,
            given,
        ):
            memory, *read, y = given
            data = Value("@constants", "ptr")
            row = []
            for (_, n, _), address in zip(self.reads, read, strict=True):
                row.append(self.room.take(n))
                _copy(b, Row(address, 0), Row(memory, row[-1]), n)
            for block, states in zip(self.blocks, self.places, strict=True):
                symbols = [block.recurrence.sequences[0], *_further(block)]
                step = Step(
                    b, block, (self.room, memory), (self.constants, data), self.machine.fused
                )
                place = step.write(states, dict(zip(symbols, row, strict=True)))
                (output,) = block.recurrence.outputs.values()
                row, self.outputs = [place], block.sizes[output.size]
            _copy(b, Row(memory, place), Row(y, 0), self.outputs)

    def _sequence(self) -> None:
        """A step for each row."""
        count = (f"i{self.machine.bits}", "steps")
        params = [*self._params(), count]
        with self._module.function(f"{self.name}_sequence", params, exported=True) as (b, given):
            state, *read, y, steps = given
            if steps.type != "i64":
                steps = b.op(f"zext {steps.type} {steps.text} to i64", "i64")
            with b.loop(steps) as t:
                rows = [
                    b.at(x, "float", b.mul(t, n)) if each else x
                    for x, (_, n, each) in zip(read, self.reads, strict=True)
                ]
                b.call_local(
                    f"{self.name}_step", state, *rows, b.at(y, "float", b.mul(t, self.outputs))
                )

    def _reset(self) -> None:
        with self._module.function(f"{self.name}_reset", [("ptr", "state")], exported=True) as (
            b,
            (state,),
        ):
            with b.loop(self.room.size) as i:
                b.store(Value("0.0", "float"), b.at(state, "float", i))
            for place, row in self._kept():
                if row.any():
                    start = self.constants.put(row)
                    _copy(b, Row(Value("@constants", "ptr"), start), Row(state, place), row.numel())

    def _copying(self, word: str, to_state: bool) -> None:
        """Copy the states to or from rows one after the other, alike on all machines."""
        params = [("ptr", "state"), ("ptr", "saved")]
        with self._module.function(f"{self.name}_{word}", params, exported=True) as (b, given):
            state, saved = given
            done = 0
            for place, row in self._kept():
                ends = Row(state, place), Row(saved, done)
                _copy(b, *(ends[::-1] if to_state else ends), row.numel())
                done += row.numel()

    def _kept(self) -> Iterator[tuple[int, Tensor]]:
        for block, places in zip(self.blocks, self.places, strict=True):
            yield from zip(places, block.initial, strict=True)

    def _text(self) -> str:
        data = self.constants.data()
        listed = "".join(f"\\{byte:02X}" for byte in data)
        constants = (
            f'@constants = internal unnamed_addr constant [{len(data)} x i8] c"{listed}", align 64'
        )
        bits = 32 * self.machine.lanes
        return f"{constants}\n{self._module.text(bits, freestanding=True)}"


def _further(block: Block) -> list[Symbol]:
    """What a block reads beside its input."""
    step = block.recurrence
    return [*step.sequences[1:], *step.constants]


def _copy(b: Builder, source: Row, target: Row, n: int) -> None:
    """Copy n numbers one by one: what others own has no room behind it."""
    with b.loop(n) as i:
        value = b.load(b.at(source.base, "float", b.add(i, source.place)), "float")
        b.store(value, b.at(target.base, "float", b.add(i, target.place)))
