"""Where everything lies that a kernel reads and writes, decided for the kernel as a whole.

Letters: T steps, B sequences, n units of a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gatework.backends.cpu.kernel.merging import merged
from gatework.backends.cpu.kernel.setting import ROW_BLOCK, Arguments, Setting
from gatework.backends.cpu.vector.ir import Builder
from gatework.backends.cpu.vector.routines import call_routine
from gatework.backends.cpu.vector.values import Index, Value
from gatework.compiler.arranging import Table, table_of
from gatework.compiler.passes import Lowered, Pass, When, lower
from gatework.compiler.plan import Plan, stages
from gatework.compiler.recurrence import STRETCH, Replay
from gatework.compiler.stepping import Storage, aliases_of, sequences, stepping
from gatework.lang.definition import block_of
from gatework.lang.expressions import (
    Const,
    Count,
    Matrix,
)


@dataclass(frozen=True)
class Panels:
    """The packed form of a matrix W, or of Wᵀ when `transposed`: see `blocks`."""

    matrix: Matrix
    transposed: bool

    @property
    def name(self) -> str:
        """The argument that points to it."""
        turned = " transposed" if self.transposed else ""
        return f"panel {self.matrix.group}.{self.matrix.gate}{turned}"

    @property
    def inner(self) -> str:
        """The size over which is summed."""
        return self.matrix.height if self.transposed else self.matrix.width

    @property
    def outer(self) -> str:
        """The size of the result; of a matrix per head, of each head's."""
        return self.matrix.width if self.transposed else self.matrix.height


@dataclass(frozen=True)
class Passes:
    """The passes of a plan in their order."""

    before: Pass
    step: Pass
    after: Pass
    replay: Pass | None = None

    def items(self) -> tuple[tuple[When, Pass], ...]:
        """Each pass with its name."""
        replay: tuple[tuple[When, Pass], ...] = (("replay", self.replay),) if self.replay else ()
        return (("before", self.before), *replay, ("step", self.step), ("after", self.after))

    def __getitem__(self, name: When) -> Pass:
        """The pass of a name."""
        return dict(self.items())[name]

    def stages(self) -> Iterable[Lowered]:
        """Every stage of every pass."""
        return (s for _, one in self.items() for s in one.stages)

    def panels(self) -> tuple[Panels, ...]:
        """The packed matrices that the products read."""
        return tuple(dict.fromkeys(p for stage in self.stages() for p in panels_of(stage)))


def panels_of(stage: Lowered) -> tuple[Panels, ...]:
    """The packed matrices that the products of a stage read."""
    return tuple(dict.fromkeys(Panels(p.matrix, p.transposed) for p in stage.products()))


@dataclass(frozen=True)
class Layout:
    """The decisions.

    Attributes:
        setting: The processor, the precision and the sizes.
        arguments: The kernel's block of arguments.
        passes: What is done before, in and after the loop.
        states: How each state is kept, by name: "single", in place; "double", in two slots in
            turn; "trajectory", a slot for each step and one more.
        state_sizes: The size of each state.
        replays: The states of the forward pass that are computed again, in the thread's own memory:
            a slot for each step of a stretch and one more.
        aliases: Written sequences that are a trajectory: of which state, and whether the new one.
        offsets: The first row of each block of each parameter.
        private: The sequences that only the kernel sees, and their sizes.
    """

    setting: Setting
    arguments: Arguments
    passes: Passes
    states: Mapping[str, Storage]
    state_sizes: Mapping[str, str]
    replays: tuple[Replay, ...]
    aliases: Mapping[str, tuple[str, bool]]
    offsets: Mapping[tuple[str, str], int]
    private: Mapping[str, str]

    def panels(self) -> tuple[Panels, ...]:
        """The matrices that are packed before anything else."""
        return self.passes.panels() if self.setting.weights == "packed" else ()

    def memory(self, argument: str) -> str:
        """The argument itself, or that of the state whose slots a sequence is a part of."""
        alias = self.aliases.get(argument.removeprefix("sequence "))
        return f"state {alias[0]}" if alias and argument.startswith("sequence ") else argument

    def sums(self) -> int:
        """Elements of scratch memory for the sums of a block of rows."""
        works = (w for s in self.passes.stages() for w in s.works)
        return max(len(w.sums) * ROW_BLOCK * self.setting.blocks(w.size).width for w in works)

    def passing_panel(self) -> int:
        """Elements of scratch memory for a block that is packed just before it is read."""
        if self.setting.weights != "block":
            return 0
        sizes, panels = self.setting.sizes, self.passes.panels()
        return max((sizes[p.inner] * self.setting.blocks(p.outer).width for p in panels), default=0)

    def slot(self, replay: Replay) -> int:
        """Elements of a slot of a replayed state: the rows of a part of the batch."""
        return self.setting.together * self.setting.sizes[replay.state.size]

    def slots_start(self, state: str) -> int:
        """Where the slots of a replayed state begin in scratch memory; of none, where they end."""
        start = self.sums() + self.passing_panel()
        for replay in self.replays:
            if replay.state.name == state:
                break
            start += (STRETCH + 1) * self.slot(replay)
        return start

    def pack(
        self, b: Builder, args: Value, panels: Panels, block: Value, to: Value, head: Index = 0
    ) -> None:
        """Write code that packs one block of columns, of a matrix per head those of one head."""
        setting, element = self.setting, self.setting.element
        blocks, k = setting.blocks(panels.outer), setting.sizes[panels.inner]
        cols = setting.sizes[panels.matrix.width]
        weight = self.weight(b, args, panels.matrix, head)
        unit = b.mul(block, blocks.width)
        left = b.index(b.smaller(b.sub(blocks.columns, unit), blocks.width))
        if panels.transposed:
            start, numbers = b.at(weight, element, unit), self.arguments.pointer(b, args, "numbers")
            call_routine(b, "gather", to, start, b.index(cols), numbers, b.index(k), left)
        else:
            start = b.at(weight, element, b.mul(unit, cols))
            call_routine(b, "transpose", to, start, b.index(cols), left, b.index(k))

    def weight(self, b: Builder, args: Value, matrix: Matrix, head: Index = 0) -> Value:
        """The address of a matrix's first row, of a matrix per head that of one head's."""
        name, block = block_of(matrix)
        sizes = self.setting.sizes
        rows = b.add(self.offsets[name, block], b.mul(head, sizes[matrix.height]))
        parameter = self.arguments.pointer(b, args, f"parameter {name}")
        return b.at(parameter, self.setting.element, b.mul(rows, sizes[matrix.width]))

    def panel(self, panels: Panels, block: Index, head: Index, b: Builder) -> Index:
        """Where a block of a packed matrix begins, [head][block][K, V·W]."""
        blocks, k = self.setting.blocks(panels.outer), self.setting.sizes[panels.inner]
        return b.add(b.mul(head, blocks.size(k)), b.mul(block, blocks.width * k))

    def panel_size(self, panels: Panels) -> int:
        """Elements of a packed matrix."""
        sizes = self.setting.sizes
        one = self.setting.blocks(panels.outer).size(sizes[panels.inner])
        return panels.matrix.heads(sizes) * one

    def numbers(self) -> dict[str, Const | Count]:
        """Constant rows in memory, by argument."""
        return {n: row for _, one in self.passes.items() for n, row in one.numbers.items()}

    def tables(self) -> dict[Table, str]:
        """The fixed indices in memory, and the argument of each."""
        nodes = (n for stage in self.passes.stages() for n, _ in stage.arrangements)
        indices = (table_of(n, self.setting.sizes) for n in nodes)
        return {t: f"table {k}" for k, t in enumerate(dict.fromkeys(t for t in indices if t))}

    def temporaries(self) -> tuple[tuple[str, str, bool], ...]:
        """Rows that only the kernel sees: argument, size, whether there are rows for all steps."""
        found = [(f"sequence {n}", size, True) for n, size in self.private.items()]
        for name, one in self.passes.items():
            all_rows = name in ("before", "after")
            found += [(n, size, all_rows) for n, size in one.temporaries.items()]
        return tuple(found)


def lay_out(plan: Plan, setting: Setting, skip: frozenset[str]) -> Layout:
    """Decide where everything of a plan lies.

    Args:
        plan: The plan.
        setting: What the kernel is made for.
        skip: Outputs and gradients that are not wanted.
    """
    plan = merged(plan) if setting.merged else plan
    work = stepping(plan, {} if setting.ragged else aliases_of(plan))
    late = {n: v for n, v in plan.deferred.items() if n not in skip}
    passes = Passes(
        lower("before", stages(plan.hoisted.values()), sequences(plan.hoisted)),
        work.step,
        lower("after", stages(late.values()), sequences(late)),
        work.replay,
    )
    offsets = {
        (p.name, block): span.start
        for p in plan.recurrence.parameters
        for block, span in p.spans(setting.sizes).items()
    }
    state_sizes = {s.name: s.size for s in plan.recurrence.states}
    computed, outputs = {**plan.hoisted, **work.written}, plan.recurrence.outputs
    private = {n: v.size for n, v in computed.items() if n not in outputs}
    return Layout(
        setting,
        Arguments(),
        passes,
        work.states,
        state_sizes,
        plan.replays,
        work.aliases,
        offsets,
        private,
    )
