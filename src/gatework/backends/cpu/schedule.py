"""How one call is divided among threads, and which variant of the kernel it gets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gatework.backends.calls import Call
from gatework.backends.cpu.kernel.setting import ROW_BLOCK, Setting, Weights
from gatework.backends.cpu.vector.target import Target
from gatework.backends.cpu.vector.values import Element
from gatework.compiler.plan import Plan
from gatework.compiler.recurrence import STRETCH
from gatework.lang.axes import SCALAR, has_axes, is_long
from gatework.lang.sizes import Sizes

SHARED_ROWS = 4  # sequences a thread below which threads share units, not sequences
FEW_STEPS = 4  # steps for which packed weights are better not read by several cores,
FEW_STEPS_UNITS = 32  # if each thread has so many units of its own
DIRECT_ROWS = 2  # rows in all up to which weights are not worth packing
WORTH_SHARING = 2**19  # multiply-adds, some 20 µs: for less no thread is woken
NEAR_CACHE = 2**18  # bytes, a quarter of a core's second-level cache: for states computed again
NEAREST_CACHE = 2**14  # bytes, half of a core's first-level cache: for states with axes
AXES_WORK = 8  # operations in a step for each number of a state with axes
MERGED_ROWS = 8  # sequences from which the input's products are done in the loop, without axes


@dataclass(frozen=True)
class Schedule:
    """What was chosen for a call.

    Attributes:
        setting: What the kernel is compiled for.
        threads: Threads that run it.
        shared: Whether threads share the units of a row instead of the rows.
        shape: T and B.
        reverse: Whether the last step is run first.
    """

    setting: Setting
    threads: int
    shared: bool
    shape: tuple[int, int]
    reverse: bool

    @property
    def parts(self) -> int:
        """How many parts the order of the sequences falls into."""
        if self.shared:
            return 1
        together = self.setting.together or self.shape[1]
        return max(self.threads, -(-self.shape[1] // max(1, together)))

    def rows(self, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The order of the sequences [B], and all rows t·B + b that are run [N].

        Each part of the order has its longest sequences first, so those that still run at some
        step are its first ones, and every part has long and short ones.
        """
        steps, batch = self.shape
        longest = torch.argsort(lengths, descending=True, stable=True)
        parts = self.parts
        order = torch.empty_like(longest)
        for p in range(parts):  # part p is [batch·p/parts, batch·(p+1)/parts)
            order[batch * p // parts : batch * (p + 1) // parts] = _dealt(longest, p, parts)
        times = torch.arange(steps, device="cpu")
        return order, (times[:, None] < lengths).flatten().nonzero().flatten()


def _dealt(longest: Tensor, part: int, parts: int) -> Tensor:
    """The sequences that fall to a part, dealt in turn from its end: the last part is largest."""
    mine = longest.flip(0)[parts - 1 - part :: parts]
    return mine.flip(0)


def choose(
    plan: Plan, call: Call, element: Element, target: Target, threads: int, lasting: bool = False
) -> Schedule:
    """Choose by the number of sequences and threads.

    Args:
        plan: The plan.
        call: The call.
        element: "float" or "double".
        target: The processor.
        threads: How many threads may run it; little work gets one.
        lasting: Whether the packed weights are used for many calls.
    """
    steps, batch = call.shape
    known = Sizes.of(call.sizes)
    sizes = {SCALAR: 1, **{n: known[n] for n in sorted(plan.recurrence.sizes - {SCALAR})}}
    states = plan.recurrence.states
    carried = sum(sizes[s.size] for s in states if has_axes(s.size))
    work = _weights_read(plan, sizes) + AXES_WORK * carried
    threads = threads if steps * batch * work >= WORTH_SHARING else 1
    few = steps <= FEW_STEPS and sizes[states[0].size] >= FEW_STEPS_UNITS * threads
    shared = threads > 1 and (few or batch < SHARED_ROWS * threads)
    if plan.recurrence.has_axes and shared:
        threads, shared = max(1, min(threads, batch)), False
    setting = Setting(
        target=target,
        element=element,
        sizes=sizes,
        widest=_widest(target, element, sizes, threads if shared else 1),
        ragged=call.lengths is not None,
        merged=not plan.recurrence.has_axes and (few or batch >= MERGED_ROWS),
        weights="packed" if lasting else _weights(steps, batch, shared or threads == 1),
        together=_together(plan, sizes, target.vector(element).size),
    )
    return Schedule(setting, threads, shared, call.shape, call.reverse)


def _weights(steps: int, batch: int, once: bool) -> Weights:
    """How matrices are read, see `Setting`; `once`, whether only one thread reads each block."""
    if steps * batch <= DIRECT_ROWS:
        return "direct"
    return "block" if once and steps == 1 and batch <= ROW_BLOCK else "packed"


def _together(plan: Plan, sizes: Mapping[str, int], element: int) -> int:
    """How many sequences have their long states in a near cache at the same time; 0 for all.

    States that are computed again are there for a stretch. Where a step multiplies with matrices,
    many rows at once make the better use of them.
    """
    again = sum(sizes[r.state.size] for r in plan.replays)
    if again:
        return max(1, NEAR_CACHE // (STRETCH * again * element))
    long = sum(sizes[s.size] for s in plan.recurrence.states if is_long(s.size))
    if not long or any(stage.products for stage in plan.stages):
        return 0
    return max(1, NEAREST_CACHE // (long * element))


def _weights_read(plan: Plan, sizes: Mapping[str, int]) -> int:
    """The numbers of all parameters: about the multiply-adds of a row."""
    return sum(math.prod(p.shape(sizes)) for p in plan.recurrence.parameters)


def _widest(target: Target, element: Element, sizes: dict[str, int], members: int) -> int:
    """The widest blocks of which there are enough for the threads that share them."""
    lanes = target.vector(element).lanes
    vectors = max(-(-n // lanes) for n in sizes.values())
    return max(1, min(target.tile_vectors, vectors // members))
