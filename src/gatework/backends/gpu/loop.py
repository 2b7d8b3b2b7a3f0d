"""The loop of a plan as a kernel: what it is made for, its text, and what it is called with.

Every form of kernel, `group`, `block` and `scan`, is a function from a plan, a setting and a
machine to a `Loop`, or raises `Refused` with the reason.

The text has one struct `Arguments` of slots of 8 bytes, addresses and numbers, which the entry
`run` takes by value. Names of slots, T steps, B sequences, n units of a row:

    steps, batch      T and B
    lengths           i64 [B], 0 where all have T
    order             i64 [B], the sequences in the order in which kernels take them, the longest
                      first; 0 where all have T: their own order
    status            i32, where a kernel that has waited too long says so
    sequence NAME     rows [T, B, n] that are read or written, pitch elements apart; written ones of
                      ragged calls are zeros before the kernel runs, and it writes real steps alone
    constant NAME     rows [B, n]
    initial NAME      a state before the first step, [B, n]; 0 for zeros
    final NAME        a state after the last step, [B, n]
    state NAME        the slots [T + 1, B, n] of a state that is a trajectory, see `Stepping`: the
                      kernel writes all, the initial state as well
    parameter NAME    a stacked parameter as it lies
    anything else     the kernel's own memory, see `Scratch`

All rows in memory have the call's element; sums, gates and states in a kernel are float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from gatework.backends.gpu.machine import Launch, Machine
from gatework.compiler.plan import Plan
from gatework.lang.sizes import Sizes

Element = Literal["float", "half", "bfloat16"]
BYTES: dict[Element, int] = {"float": 4, "half": 2, "bfloat16": 2}
VECTOR = 16  # bytes: memory begins at a multiple, as far as the length of its rows is one


class Refused(Exception):
    """Why a form of kernel cannot run a plan: a reason that `gatework.explain` shows."""


@dataclass(frozen=True)
class Setting:
    """What a kernel is made for.

    Attributes:
        sizes: The number of units of each size.
        element: The numbers in memory.
        steps: How many steps; a choice may depend on it, the text must not.
        batch: How many sequences; the same.
        ragged: Whether sequences may have lengths of their own.
        reverse: Whether the last step is run first.
        exact: Whether products of float32 are as exact as float32; else tf32 is allowed.
        pitches: Of a sequence that lies in wider rows, elements from a row to the next, by name.
    """

    sizes: Sizes
    element: Element
    steps: int
    batch: int
    ragged: bool = False
    reverse: bool = False
    exact: bool = True
    pitches: Mapping[str, int] = field(default_factory=dict)

    def pitch(self, name: str, size: str) -> int:
        """Elements from a row of a sequence to the next."""
        return self.pitches.get(name, self.sizes[size])


@dataclass(frozen=True)
class Scratch:
    """Memory that only the kernel sees.

    Attributes:
        name: Its argument.
        size: Bytes.
        fill: What every byte is before the kernel runs; None where that does not matter.
    """

    name: str
    size: int
    fill: int | None = None


@dataclass(frozen=True)
class Loop:
    """A kernel that runs all steps of a plan.

    Attributes:
        form: Which form it has: "group", "block" or "scan".
        text: Its text.
        launch: How it is launched.
        arguments: The names of its slots, in their order.
        scratch: Memory of its own.
        about: What it is, in a few words, for `gatework.explain`.
    """

    form: str
    text: str
    launch: Launch
    arguments: tuple[str, ...]
    scratch: tuple[Scratch, ...] = ()
    about: str = ""


Form = Callable[[Plan, Setting, Machine], Loop]
