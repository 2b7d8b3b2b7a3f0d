"""The form `group`: loops that multiply by learned matrices, as one kernel for all steps.

Groups of blocks hold the matrices in registers and shared memory, and send each other what a step
multiplies. `asking` says what a plan asks, `layout` where everything is in a configuration, `cell`
and `writing` make the text.
"""

from __future__ import annotations

from collections.abc import Iterable

from gatework.backends.gpu.choosing import candidates
from gatework.backends.gpu.configurations import Configuration, Demand, Products
from gatework.backends.gpu.group.asking import Asked, ask
from gatework.backends.gpu.group.cell import Cell
from gatework.backends.gpu.group.layout import Layout
from gatework.backends.gpu.group.writing import written
from gatework.backends.gpu.loop import BYTES, Loop, Refused, Scratch, Setting
from gatework.backends.gpu.machine import Launch, Machine
from gatework.compiler.plan import Plan
from gatework.compiler.stepping import aliases_of

MOST_THREADS = 1024  # of a block
SPILLED = 64  # bytes of a thread that may not fit in its registers, before something else is tried
TRIES = 3  # configurations that are compiled at most


def group(plan: Plan, setting: Setting, machine: Machine) -> Loop:
    """The kernel of a plan in the likely best configuration that fits.

    Raises:
        Refused: If the plan asks what a group of blocks cannot do, or nothing fits.
    """
    asked = ask(plan, {} if setting.ragged else aliases_of(plan))
    return loop(asked, setting, machine, configurations(asked, setting, machine))


def loop(asked: Asked, setting: Setting, machine: Machine, found: Iterable[Configuration]) -> Loop:
    """The kernel in the first of some configurations that fits, as the compiler finds.

    Raises:
        Refused: If none does.
    """
    spills: dict[int, Loop] = {}
    for layout in fitting(asked, setting, machine, found)[:TRIES]:
        made = _loop(layout)
        spilled = machine.kernel(made.text, made.about).spilled
        if spilled <= SPILLED:
            return made
        spills.setdefault(spilled, made)
    return spills[min(spills)]


def placed(
    asked: Asked, setting: Setting, machine: Machine, found: Iterable[Configuration]
) -> Layout:
    """The layout in the first of some configurations that fits, as it is estimated.

    Raises:
        Refused: If none does.
    """
    return fitting(asked, setting, machine, found)[0]


def fitting(
    asked: Asked, setting: Setting, machine: Machine, found: Iterable[Configuration]
) -> list[Layout]:
    """The layouts in those configurations that fit, in their order, tight ones after all others.

    Raises:
        Refused: If none does.
    """
    layouts = [Layout(asked, setting, c, machine.shared) for c in found]
    fit = [x for x in layouts if x.shared <= machine.shared and x.threads <= MOST_THREADS]
    if not fit:
        raise Refused("the matrices of the loop do not fit in the registers of the card")
    return sorted(fit, key=lambda layout: layout.tight)


def configurations(asked: Asked, setting: Setting, machine: Machine) -> list[Configuration]:
    """The configurations of a plan, the likely best first."""
    found = candidates(demand(asked, setting), machine)
    return [c for c in found if asked.scatters or not c.scattered]


def demand(asked: Asked, setting: Setting) -> Demand:
    """What a configuration has to hold."""
    exchanged = [p for p in asked.phases if p.exchange and p.exchange.operands]
    stages = tuple(Products(len(p.sums), len(p.exchange.operands)) for p in exchanged if p.exchange)
    return Demand(
        units=max((setting.sizes[size] for size in asked.sizes()), default=1),
        batch=setting.batch,
        element=BYTES[setting.element],
        stages=stages or (Products(1, 1),),
        reads=len(asked.sequences),
        first=asked.first,
    )


def _loop(layout: Layout) -> Loop:
    """The kernel of a layout."""
    c, setting = layout.configuration, layout.setting
    cell = Cell(layout.asked, setting, layout.grid)
    steps = setting.steps * c.rounds(setting.batch)
    memory = max(1, steps * c.groups * layout.step_bytes)
    return Loop(
        form="group",
        text=written(layout, cell),
        launch=Launch(
            blocks=c.groups * c.blocks,
            threads=layout.threads,
            shared=layout.shared,
            cluster=1 if layout.grid else c.blocks,
            together=layout.grid and c.blocks > 1,
        ),
        arguments=tuple(cell.slots()),
        scratch=(Scratch("exchange", memory, 0xFF),) if layout.grid else (),
        about=_about(layout),
    )


def _about(layout: Layout) -> str:
    c = layout.configuration
    groups = "1 group" if c.groups == 1 else f"{c.groups} groups"
    through = "memory" if layout.grid else "a cluster's shared memory"
    return f"{groups} of {c.blocks} blocks that exchange rows through {through}"
