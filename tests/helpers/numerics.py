"""Comparing numbers, and running one cell in several ways. Imported by the tests of many folders.

Legend: T steps, B sequences, n units of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gatework.autograd.job import Job
from gatework.autograd.routes import run
from gatework.backends.reference import Reference
from gatework.lang import Cell
from gatework.lang.sizes import Sizes
from gatework.nn.noise import draw_noise
from plain_sizes import divisible, unlike_axes

Named = dict[str, Tensor]

SMALLEST_SCALE = 1e-3  # below this a tensor's error is taken as absolute


def worst_difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest expected value. NaN never agrees."""
    if not expected.numel():
        return 0.0
    scale = max(expected.abs().max().item(), SMALLEST_SCALE)
    worst = (found - expected).abs().max().item() / scale
    return float("inf") if worst != worst else worst


def assert_same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], tolerance: float):
    """Fail with the list of the named tensors that differ; tolerance 0 means bit for bit."""
    assert list(found) == list(expected)
    problems = []
    for name, want in expected.items():
        have = found[name]
        if have.shape != want.shape or have.dtype != want.dtype:
            problems.append(
                f"{name}: {have.dtype}{list(have.shape)}, not {want.dtype}{[*want.shape]}"
            )
        elif worst_difference(have, want) > tolerance:
            problems.append(f"{name}: differs by {worst_difference(have, want):.2e} relative")
    assert not problems, "\n".join(problems)


def flat(value: object, name: str = "") -> Named:
    """The tensors in nested tuples and packed sequences, by the path that leads to each."""
    if isinstance(value, Tensor):
        return {name: value}
    if isinstance(value, torch.nn.utils.rnn.PackedSequence):
        return {f"{name}.data": value.data}
    return {k: v for i, part in enumerate(value) for k, v in flat(part, f"{name}[{i}]").items()}


def state_sizes(layer) -> list[int]:
    """n of each of a layer's states."""
    sizes = Sizes.of(layer.sizes(0))
    return [sizes[state.size] for state in layer.cell.states]


def gradients(
    outputs: Mapping[str, Tensor], sources: Mapping[str, Tensor], create_graph: bool = False
) -> Named:
    """The gradient of a random weighted sum of the outputs; zero where nothing depends on it."""
    g = torch.Generator().manual_seed(1)
    reached = {n: o for n, o in outputs.items() if o.requires_grad}
    weights = {n: torch.randn(o.shape, generator=g, dtype=o.dtype) for n, o in outputs.items()}
    wanted = {n: s for n, s in sources.items() if s.requires_grad}
    found = torch.autograd.grad(
        list(reached.values()), list(wanted.values()), [weights[n] for n in reached],
        allow_unused=True, retain_graph=True, create_graph=create_graph,
    )  # fmt: skip
    return {
        f"gradient of {n}": torch.zeros_like(s) if f is None else f
        for (n, s), f in zip(wanted.items(), found, strict=True)
    }


def randomised(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The module with random weights: equal ones would let swapped gates pass."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(0.5 * torch.randn(p.shape, generator=g, dtype=p.dtype))
    return module


@dataclass(frozen=True, eq=False)
class Problem:
    """A cell with random tensors for one run of it."""

    job: Job
    tensors: tuple[Tensor, ...]  # input, initial states, parameters, further inputs, noises
    lengths: Tensor | None

    @property
    def cell(self) -> Cell:
        return self.job.cell

    def names(self) -> list[str]:
        cell = self.cell
        return [
            cell.input.name,
            *(f"initial {s.name}" for s in cell.states),
            *(p.name for p in cell.parameters),
            *(s.name for s in cell.further),
            *(n.symbol.name for n in cell.noises),
        ]

    def differentiable(self) -> Named:
        """What a gradient is taken of: everything but the noises."""
        named = zip(self.names(), self.tensors, strict=True)
        return {n: t for n, t in named if t.requires_grad}

    def with_input(self, x: Tensor) -> Problem:
        return replace(self, tensors=(x, *self.tensors[1:]))

    def with_dirty_padding(self) -> Problem:
        """The same with NaN where a sequence is over, in all that is read at each step."""
        assert self.lengths is not None
        read = {s.name for s in self.cell.inputs if s.role == "sequence"}
        over = torch.arange(len(self.tensors[0]))[:, None] >= self.lengths
        tensors = [
            t.detach().masked_fill(over[..., None], torch.nan).requires_grad_() if n in read else t
            for n, t in zip(self.names(), self.tensors, strict=True)
        ]
        return replace(self, tensors=tuple(tensors))

    def run(self) -> Named:
        """Outputs and final states; their gradients come from the derived backward plan."""
        return self._named(*run(self.job, self.tensors, self.lengths))

    def run_plainly(self) -> Named:
        """Outputs and final states by the reference's forward plan under torch's autograd."""
        result = Reference().run(
            self.job.program.forward, self.job.call(self.tensors, self.lengths)
        )
        return self._named(result.outputs, result.states)

    def _named(self, outputs: Sequence[Tensor], states: Sequence[Tensor]) -> Named:
        written = zip(self.job.program.outputs, outputs, strict=True)
        finals = {f"final {s.name}": v for s, v in zip(self.cell.states, states, strict=True)}
        return {**{f"output {n}": v for n, v in written}, **finals}

    def derived(self) -> Named:
        """Outputs, final states and gradients, by the derived backward plan."""
        results = self.run()
        return {**results, **gradients(results, self.differentiable())}

    def by_autograd(self) -> Named:
        """The same, by torch's autograd."""
        results = self.run_plainly()
        return {**results, **gradients(results, self.differentiable())}

    def second_derived(self) -> Named:
        """Gradients of the gradients' squared norm, through the layer's double backward."""
        return self._second(self.run())

    def second_by_autograd(self) -> Named:
        """The same, by torch's autograd."""
        return self._second(self.run_plainly())

    def _second(self, results: Named) -> Named:
        first = gradients(results, self.differentiable(), create_graph=True)
        return gradients(first, self.differentiable())


def problem(
    cell: Cell,
    *,
    steps: int = 4,
    batch: int = 3,
    input_size: int = 8,
    hidden_size: int = 4,
    lengths: Sequence[int] | None = None,
    reverse: bool = False,
    traced: tuple[str, ...] = (),
    seed: int = 0,
    scale: float = 0.7,
) -> Problem:
    """A cell with random float64 tensors; sizes that it names itself are hidden_size + 1, + 2, …

    Where the cell makes equal parts of an input or a state, its size is the next one that has them.
    """
    input_size = divisible(cell, "input", input_size)
    hidden_size = divisible(cell, "hidden", hidden_size)
    sizes = {"1": 1, "input": input_size, "hidden": hidden_size}
    sizes |= {n: hidden_size + k for k, n in enumerate(cell.size_names(), 1)}
    sizes = Sizes.of(sizes | unlike_axes(cell, 2))
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        values = scale * torch.randn(shape, generator=g, dtype=torch.float64)
        return values.requires_grad_()

    x = normal(steps, batch, sizes[cell.input.size])
    states = [normal(batch, sizes[s.size]) for s in cell.states]
    parameters = [normal(*p.shape(sizes)) for p in cell.parameters]
    outer = {"sequence": (steps, batch), "constant": (batch,)}
    further = [normal(*outer[s.role], sizes[s.size]) for s in cell.further]
    noises = [draw_noise(n, x, sizes) for n in cell.noises]
    lengths = None if lengths is None else torch.tensor(lengths)
    job = Job(cell, sizes, reverse, traced)
    return Problem(job, (x, *states, *parameters, *further, *noises), lengths)


def on_threads(count: int, layer: torch.nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """A layer's output and the gradients of its parameters, on so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        y, _ = layer(x)
        return (y, *torch.autograd.grad(y.square().sum(), layer.parameters()))
    finally:
        torch.set_num_threads(before)
