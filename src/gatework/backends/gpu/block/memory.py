"""Where the units of a value lie, as the text of a kernel has it."""

from __future__ import annotations

from dataclasses import dataclass

from gatework.backends.gpu.block.parts import Where
from gatework.backends.gpu.block.sections import Use
from gatework.compiler.waiting import ANYBODY


def by_unit(units: int) -> str:
    """The share of whoever takes unit i of a row as thread i, counted around."""
    return f"unit by unit of {units}"


@dataclass(frozen=True)
class Row:
    """A row of floats of the block: in shared memory, or in its scratch memory.

    Attributes:
        name: Its address in the text.
        memory: What is touched with it.
        units: How many units it has.
        ahead: Of a state in two slots, which is meant: see `Use`.
    """

    name: str
    memory: str
    units: int
    ahead: int | None = None

    def read(self, unit: str) -> str:
        """A unit."""
        return f"{self.name}[{unit}]"

    def write(self, unit: str, value: str) -> str:
        """The statement that stores a unit."""
        return f"{self.name}[{unit}] = {value};"

    def used(self, share: str = ANYBODY, *, writes: bool = False) -> tuple[Use, ...]:
        """What is touched by whoever reads or writes it."""
        return (Use(self.memory, share, writes, self.ahead),)


@dataclass(frozen=True)
class Outside:
    """A row of elements that the call gave, or will have.

    Attributes:
        name: Its address in the text.
        units: How many units it has.
        who: Which threads store it, if not all of those that have it.
        where: Where its units are from there, if only a part of the row is meant.
    """

    name: str
    units: int
    who: str = ""
    where: Where | None = None

    def at(self, unit: str) -> str:
        """The address of a unit."""
        return f"{self.name} + {self.where.unit(unit) if self.where else unit}"

    def read(self, unit: str) -> str:
        """A unit."""
        return f"load({self.at(unit)})"

    def write(self, unit: str, value: str) -> str:
        """The statement that stores a unit."""
        guard = f"if ({self.who}) " if self.who else ""
        return f"{guard}store({self.at(unit)}, {value});"

    def used(self, share: str = ANYBODY, *, writes: bool = False) -> tuple[Use, ...]:
        """Nothing that threads wait for: what is read is never written."""
        return ()


@dataclass(frozen=True)
class Everywhere:
    """A single number that every thread has in a variable, or a number written down."""

    name: str
    units: int = 1

    def read(self, unit: str) -> str:
        """The number."""
        return self.name

    def write(self, unit: str, value: str) -> str:
        """The statement that stores it."""
        return f"{self.name} = {value};"

    def used(self, share: str = ANYBODY, *, writes: bool = False) -> tuple[Use, ...]:
        """Nothing: every thread has its own."""
        return ()


Memory = Row | Outside | Everywhere
