"""The functions of an exported network, in LLVM IR."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from gatework.backends.cpu.vector.ir import Builder, Module
from gatework.backends.cpu.vector.values import Value
from gatework.errors import InputError
from gatework.export.objects.blocks import Block, Network
from gatework.export.objects.memory import Constants, Room, Row
from gatework.export.objects.step import Step
from gatework.export.objects.targets import Machine
from gatework.lang.expressions import Symbol

FUNCTIONS = ("reset", "step", "sequence", "save", "load")
"""What follows the network's name in those of its functions."""


@dataclass(frozen=True)
class Read:
    """What a step reads: its name, how many numbers, and whether they are others at each step."""

    name: str
    units: int
    each: bool
    type: str = "float"


class Program:
    """The functions of a network.

    Args:
        name: What their names begin with.
        network: What they compute.
        machine: The machine that runs them.
        beside: Whether the weights are handed in by a pointer, and not part of the object.

    Attributes:
        reads: What a step reads.
        outputs: How many numbers it gives.
        states: How many numbers a saved state has.
        memory: How many numbers a state takes in memory.
        constants: The weights and other numbers that never change.
        ir: The text.
    """

    def __init__(self, name: str, network: Network, machine: Machine, beside: bool = False) -> None:
        self.name, self.network, self.machine, self.beside = name, network, machine, beside
        self.blocks = network.blocks
        self.room, self.constants = Room(machine.lanes), Constants(machine.lanes)
        self._module = Module()
        self.places = [[self.room.take(len(s[0])) for s in b.initial] for b in self.blocks]
        self._further = _further(self.blocks)
        self.reads = self._reads()
        self.outputs = self.blocks[-1].units
        self._step()
        self.states = sum(s.numel() for b in self.blocks for s in b.initial)
        self._sequence()
        self._reset()
        self._copying("save", to_state=False)
        self._copying("load", to_state=True)
        self.memory = self.room.size
        self.ir = self._text()

    # ---- what is read --------------------------------------------------------------------------

    def _reads(self) -> list[Read]:
        """A symbol or the first block's input, then the further inputs of all."""
        first = Read("x", self.blocks[0].reads, True)
        if self.network.table is not None:
            first = Read("x", 1, True, "int32_t")
        found = [first]
        for symbol, units in self._further.items():
            name = _name(symbol.name, [r.name for r in found])
            found.append(Read(name, units, symbol.role == "sequence"))
        return found

    def _params(self, *, rows: bool = True) -> list[tuple[str, str]]:
        """The state, the weights if they are beside, and the rows that are read and written."""
        weights = ["weights"] if self.beside else []
        read = [f"x{k}" for k in range(len(self.reads))]
        return [("ptr", n) for n in ["state", *weights, *([*read, "y"] if rows else [])]]

    def _split(self, given: Sequence[Value]) -> tuple[Value, Value, list[Value]]:
        """The state, where the weights are, and the rows."""
        if self.beside:
            return given[0], given[1], [*given[2:]]
        return given[0], Value("@constants", "ptr"), [*given[1:]]

    # ---- functions -----------------------------------------------------------------------------

    def _step(self) -> None:
        with self._module.function(f"{self.name}_step", self._params(), exported=True) as (
            b,
            given,
        ):
            memory, data, (*read, y) = self._split(given)
            places = [self._taken(b, memory, r, a) for r, a in zip(self.reads, read, strict=True)]
            row, known = places[0], dict(zip(self._further, places[1:], strict=True))
            if self.network.table is not None:
                row = self._looked_up(b, Row(memory, 0), data, read[0])
            for block, states in zip(self.blocks, self.places, strict=True):
                step = Step(
                    b, block, (self.room, memory), (self.constants, data), self.machine.fused
                )
                row = step.write(states, {block.recurrence.sequences[0]: row, **known})
            _copy(b, Row(memory, row), Row(y, 0), self.outputs)

    def _taken(self, b: Builder, memory: Value, read: Read, address: Value) -> int:
        """Numbers that are read, in the state's own memory, where there is room behind them."""
        if read.type != "float":
            return 0
        place = self.room.take(read.units)
        _copy(b, Row(address, 0), Row(memory, place), read.units)
        return place

    def _looked_up(self, b: Builder, memory: Row, data: Value, address: Value) -> int:
        """The row of a symbol; of a number that is none the nearest one's."""
        table = self.network.table
        assert table is not None
        count, units = table.shape
        place, start = self.room.take(units), self.constants.put(table)
        number = b.load(address, "i32")
        least = b.call("llvm.smax.i32", "i32", number, Value("0", "i32"))
        within = b.call("llvm.smin.i32", "i32", least, Value(str(count - 1), "i32"))
        row = b.op(f"zext i32 {within.text} to i64", "i64")
        source = Row(b.at(data, "float", b.mul(row, units)), start)
        _copy(b, source, Row(memory.base, place), units)
        return place

    def _sequence(self) -> None:
        """A step for each row."""
        count = (f"i{self.machine.bits}", "steps")
        params = [*self._params(), count]
        with self._module.function(f"{self.name}_sequence", params, exported=True) as (b, given):
            *pointers, steps = given
            before = pointers[: -len(self.reads) - 1]
            _, _, (*read, y) = self._split(pointers)
            if steps.type != "i64":
                steps = b.op(f"zext {steps.type} {steps.text} to i64", "i64")
            with b.loop(steps) as t:
                rows = [
                    b.at(x, "float", b.mul(t, r.units)) if r.each else x  # int32 is as long
                    for x, r in zip(read, self.reads, strict=True)
                ]
                written = b.at(y, "float", b.mul(t, self.outputs))
                b.call_local(f"{self.name}_step", *before, *rows, written)

    def _reset(self) -> None:
        params = self._params(rows=False)
        with self._module.function(f"{self.name}_reset", params, exported=True) as (b, given):
            state, data, _ = self._split(given)
            with b.loop(self.room.size) as i:
                b.store(Value("0.0", "float"), b.at(state, "float", i))
            for place, row in self._kept():
                if self.beside or row.any():  # beside, the code is the same for all weights
                    start = self.constants.put(row)
                    _copy(b, Row(data, start), Row(state, place), row.numel())

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
        text = self._module.text(32 * self.machine.lanes, freestanding=True)
        if self.beside:
            return text
        data = self.constants.data()
        listed = "".join(f"\\{byte:02X}" for byte in data)
        what = f'constant [{len(data)} x i8] c"{listed}", align 64'
        return f"@constants = internal unnamed_addr {what}\n{text}"


# ---- names -------------------------------------------------------------------------------------


def _further(blocks: Sequence[Block]) -> dict[Symbol, int]:
    """What blocks read beside their input, with its units; rows of one name are one.

    Raises:
        InputError: If two of them have one name and are not as long.
    """
    found: dict[Symbol, int] = {}
    for block in blocks:
        step = block.recurrence
        for symbol in (*step.sequences[1:], *step.constants):
            units = block.sizes[symbol.size]
            if found.setdefault(symbol, units) != units:
                raise InputError(
                    f"two further inputs {symbol.name!r}, of {found[symbol]} and {units} numbers",
                    "one length for one name",
                    "give the input of one of the cells another name",
                )
    return found


TAKEN = {"state", "weights", "x", "y", "steps", "saved", "symbols"}
WORDS_OF_C = """
alignas alignof auto bool break case catch char class concept const continue default delete do
double else enum explicit export extern false float for friend goto if inline int long namespace
new not operator or and xor private protected public register requires restrict return short
signed sizeof static struct switch template this throw true try typedef typename union unsigned
using virtual void volatile while
"""  # and of C++


def _name(name: str, others: Sequence[str]) -> str:
    """A name for C: in its letters, none of its words, and another one than those before."""
    name = re.sub(r"\W", "_", name, flags=re.ASCII)
    while (
        name in WORDS_OF_C.split() or name in TAKEN or name.upper() in {o.upper() for o in others}
    ):
        name += "_"
    return name


def _copy(b: Builder, source: Row, target: Row, n: int) -> None:
    """Copy n numbers one by one: what others own has no room behind it."""
    with b.loop(n) as i:
        value = b.load(b.at(source.base, "float", b.add(i, source.place)), "float")
        b.store(value, b.at(target.base, "float", b.add(i, target.place)))
