"""How the gradient flows back through time, and whether it vanishes or explodes.

T  time steps      B  sequences      n  units of a state      N  units of all states together
L  the loss        s_t  a state after step t
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gatework.autograd.job import Job
from gatework.backends import Call, Given, given
from gatework.backends.reference import Reference
from gatework.compiler.program import program
from gatework.lang.definition import Cell, Noise, check_known
from gatework.lang.expressions import Expr, symbol
from gatework.lang.keeping import of_the_cell
from gatework.lens.arguments import check_functions, check_whole
from gatework.lens.drawing import (
    LEAST_DRAWN,
    Plot,
    canvas,
    finished,
    in_style,
    line_name,
    name_lines,
    short_names,
    styled,
)
from gatework.lens.measurement import Arrays, Measurement, axes
from gatework.lens.measuring import (
    Progress,
    check_finite,
    check_weights,
    last_step,
    run_on,
    state_values,
)
from gatework.lens.watching import check_batches, in_eval_mode, place_name, recurrent_layers
from gatework.nn import Recurrent
from gatework.nn.replacing import replaced_forwards

__all__ = ["GradientFlow", "Verdict", "draw_flows", "gradient_flow"]

Verdict = Literal["vanishing", "healthy", "exploding"]
PROBE = "probe."
"""What is added to a state is named after it."""
MOST_UNITS, KRYLOV = 1_024, 40
"""Units of which the whole Jacobian is computed; the dimensions of the space that stands for it."""


@dataclass(frozen=True, eq=False)
class GradientFlow(Measurement):
    """Norms of the gradient of a loss with respect to each state, over time and layers.

    The gradient is total: ∂L/∂c_t of an LSTM counts what c_t does through h_t, as in
    back-propagation through time (Graves 2012, "Supervised sequence labelling with recurrent
    neural networks", section 4.6). Norms are Euclidean, in units of L per unit of the state.

    The growth rate γ is that of the norm per step back in time, from the straight line through
    ln(mean norm) against steps back. It says whether the gradient vanishes (γ < 1) or explodes
    (γ > 1) (Hochreiter 1991; Pascanu, Mikolov & Bengio 2013, section 2.1) where the loss looks at
    the last step; a loss at every step mixes paths of all lengths. The spectral radius is the
    largest |eigenvalue| of the recurrent Jacobian J_t = ∂s_t/∂s_{t−1} [N, N] of all states of a
    layer together, at some steps of the data: the growth rate where J_t changes slowly. With more
    than 1,024 units it is estimated by Arnoldi's method, and is then a little low at most.

    Attributes:
        norms: of each state by full name, ‖∂L/∂s_t‖ of every sequence; along the second axis
            stands the number of steps back from the last one, 0 … T−1. Infinite where the gradient
            has grown beyond what floats hold.
        spectral_radius: of each layer and direction by name, at some random steps of the data.
    """

    norms: Arrays = field(metadata=axes("sequence", "steps back"))
    spectral_radius: Arrays = field(metadata=axes("sample"))

    def mean(self, state: str) -> NDArray[np.float64]:
        """The mean norm over the sequences, by steps back, [T]."""
        check_known("state", [state], self.norms, "the measurement")
        return np.asarray(self.norms[state].mean(0))

    def growth(self, state: str) -> float:
        """γ: by what factor the norm grows per step back in time; NaN with fewer than two norms.

        Steps whose norm is zero, or below the smallest share of the largest that a float32 keeps,
        are left out. Infinite where a norm is.
        """
        mean = self.mean(state)
        if not np.isfinite(mean).all():
            return float("inf")
        back = np.flatnonzero(mean > mean.max(initial=0.0) * np.finfo(np.float32).tiny)
        if len(back) < 2:
            return float("nan")
        return float(np.exp(np.polyfit(back, np.log(mean[back]), 1)[0]))

    def verdict(self, state: str, steps: int = 100, factor: float = 1e3) -> Verdict:
        """What the growth rate amounts to over so many steps.

        Vanishing where the gradient falls to less than 1/`factor` within `steps`, exploding where
        it grows to more than `factor` times. A state that the gradient reaches at one step alone,
        or at none, is vanishing. So is the reverse direction of a layer under a loss that looks at
        the last step, which that direction makes first: give a loss that looks at the first.
        """
        growth = self.growth(state)
        if np.isnan(growth):
            return "vanishing"
        change = steps * np.log(growth)
        if change < -np.log(factor):
            return "vanishing"
        return "exploding" if change > np.log(factor) else "healthy"

    def plot(self) -> Plot:
        """Draw the gradient's norm at each state against steps back."""
        return draw_flows({"": self})


def gradient_flow(
    model: nn.Module,
    batches: Iterable[Any],
    loss: Callable[[nn.Module, Any], Tensor] | None = None,
    *,
    samples: int = 8,
    seed: int = 0,
    progress: Progress | None = None,
) -> GradientFlow:
    """Measure how the gradient of a loss flows back through a model. See `GradientFlow`.

    The gradients are exact: zeros are added to every state at every step and differentiated, step
    by step on the reference backend under torch's autograd. That is slow beside training; some
    batches are enough.

    Args:
        model: any module that holds recurrent layers of Gatework; run in eval mode.
        batches: what the loss is computed on, one by one, all of one number of steps.
        loss: from the model and a batch to a number. When not given, a random weighting, with
            independent signs, of the output at the last step of `model(batch)`.
        samples: how many Jacobians to take the eigenvalues of, in each layer and direction; two of
            each batch at most.
        seed: of the signs and of the steps at which Jacobians are taken.
        progress: told after each batch how many steps have been read so far.

    Raises:
        ValueError: there is no batch, batches differ in their number of steps, the model has no
            recurrent layer, or a state or the loss is not finite.

    Example:
        >>> import torch, gatework as gw
        >>> flow = gw.lens.gradient_flow(gw.nn.RNN(4, 8), [torch.randn(60, 16, 4)])
        >>> flow.verdict("l0.h")
        'vanishing'
    """
    check_batches(batches)
    check_whole(samples=samples)
    check_functions(loss=loss)
    random = np.random.default_rng(seed)
    signs = torch.Generator().manual_seed(seed)
    loss = loss or (lambda model, batch: _random_weighting(model, batch, signs))
    check_weights(model)
    norms: dict[str, list[NDArray[np.float64]]] = {}
    radii: dict[str, list[float]] = {}
    steps = 0
    with in_eval_mode(model):
        for batch in batches:
            ran = _differentiated(model, batch, loss)
            for one in ran:
                if not one.steps:
                    continue
                for state, rows in one.norms().items():
                    norms.setdefault(f"{one.place}.{state}", []).append(rows)
                found = radii.setdefault(one.place, [])
                found += [one.radius(random) for _ in range(min(2, samples - len(found)))]
            steps += ran[0].steps
            if progress is not None:
                progress(steps)
    if not steps:
        raise ValueError("batches is empty, or has no steps; expected at least one")
    lengths = {rows.shape[1] for parts in norms.values() for rows in parts}
    if len(lengths) > 1:
        raise ValueError(
            f"batches have {', '.join(map(str, sorted(lengths)))} steps; expected all of one number"
        )
    return GradientFlow(
        norms={name: np.concatenate(parts) for name, parts in norms.items()},
        spectral_radius={place: np.array(found) for place, found in radii.items()},
    )


def _random_weighting(model: nn.Module, batch: Any, generator: torch.Generator) -> Tensor:
    rows = last_step(model, run_on(model, batch))
    return (rows * (torch.randint(2, rows.shape, generator=generator).to(rows) * 2 - 1)).sum()


@dataclass(frozen=True, eq=False)
class _Ran:
    """One layer in one direction on one batch, run with zeros added to its states.

    Attributes:
        place: its name in the model.
        cell: the cell, to whose states the zeros are added.
        call: the call that ran it.
        read: the tensors of the call by name.
        states: every state after each step, [T, B, n].
        gradients: ∂L/∂ each zero, [T, B, n], by the state's name.
    """

    place: str
    cell: Cell
    call: Call
    read: Given
    states: dict[str, Tensor]
    gradients: dict[str, Tensor]

    @property
    def steps(self) -> int:
        """The steps, counted over the sequences."""
        return self.call.shape[0] * self.call.shape[1]

    def norms(self) -> dict[str, NDArray[np.float64]]:
        """‖∂L/∂s_t‖ of each state, [B, T], from the last step run to the first."""
        ordered = {n: g if self.call.reverse else g.flip(0) for n, g in self.gradients.items()}
        norms = {n: g.double().norm(dim=2).T.cpu().numpy() for n, g in ordered.items()}
        return {n: np.where(np.isfinite(v), v, np.inf) for n, v in norms.items()}

    def radius(self, random: np.random.Generator) -> float:
        """The largest |eigenvalue| of the Jacobian at a random step of a random sequence."""
        (steps, batch), order = self.call.shape, self.call.steps()
        k, b = int(random.integers(steps)), int(random.integers(batch))
        before = None if k == 0 else order[k - 1]
        if sum(v.shape[2] for v in self.states.values()) > MOST_UNITS:
            jacobian = self.projected_jacobian(order[k], b, before, random)
        else:
            jacobian = self.jacobian(order[k], b, before)
        finite = bool(np.isfinite(jacobian).all())
        return float(np.abs(np.linalg.eigvals(jacobian)).max()) if finite else float("inf")

    def jacobian(self, t: int, b: int, before: int | None) -> NDArray[np.float64]:
        """∂ (all states after step t) / ∂ (all states before it) in sequence b, [N, N].

        One step of N copies of the sequence, of which the n-th gives row n.
        """
        previous, after = self.step(t, b, before)
        if not after.requires_grad:  # no new state reads an old one
            return np.zeros((after.shape[1], after.shape[1]))
        with torch.enable_grad():
            found = torch.autograd.grad(after.diagonal().sum(), previous, materialize_grads=True)
        return torch.cat(found, 1).double().cpu().numpy()

    def projected_jacobian(
        self, t: int, b: int, before: int | None, random: np.random.Generator
    ) -> NDArray[np.float64]:
        """The same on the space in which its largest eigenvalues show, [K, K], K ≤ `KRYLOV`.

        Arnoldi's method (Saad 2011, "Numerical methods for large eigenvalue problems", 6.2), on the
        transposed Jacobian, which has the same eigenvalues.
        """
        previous, after = self.step(t, b, before, copies=1)
        if not after.requires_grad:
            return np.zeros((1, 1))
        first = random.standard_normal(after.shape[1])
        basis = [first / np.linalg.norm(first)]
        h = np.zeros((KRYLOV + 1, KRYLOV))
        for k in range(KRYLOV):
            v = torch.from_numpy(basis[k]).to(after)[None]
            grads = torch.autograd.grad(
                after, previous, v, retain_graph=True, materialize_grads=True
            )
            w = torch.cat(grads, 1)[0].double().cpu().numpy()
            size = np.linalg.norm(w)
            for _ in range(2):  # twice is enough to be orthogonal to all before
                for j, u in enumerate(basis):
                    h[j, k] += (share := u @ w)
                    w = w - share * u
            h[k + 1, k] = np.linalg.norm(w)
            if not h[k + 1, k] > 1e-6 * size:  # the space holds what comes of it
                return h[: k + 1, : k + 1]
            basis.append(w / h[k + 1, k])
        return h[:KRYLOV]

    def step(
        self, t: int, b: int, before: int | None, copies: int | None = None
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """One step of copies of a sequence: the states before it, all states after it, [copies, N].

        As many copies as there are units when not said.
        """
        names = [s.name for s in self.cell.states]
        read, recurrence = self.read, program(self.cell).recurrence
        initial = dict(zip(names, read.states, strict=False))
        rows = [initial[n][b] if before is None else self.states[n][before, b] for n in names]
        count = copies or sum(len(row) for row in rows)

        def copied(row: Tensor) -> Tensor:
            return row.detach().expand(count, -1)

        previous = tuple(copied(row).clone().requires_grad_() for row in rows)
        tensors = (
            *(copied(read.sequences[s.name][t, b])[None] for s in recurrence.sequences),
            *(copied(read.constants[c.name][b]) for c in recurrence.constants),
            *previous,
            *(p.detach() for p in read.parameters.values()),
        )
        call = Call((1, count), self.call.sizes, tensors)
        with torch.enable_grad():
            return previous, torch.cat(Reference().run(program(self.cell).forward, call).states, 1)


def _differentiated(
    model: nn.Module, batch: Any, loss: Callable[[nn.Module, Any], Tensor]
) -> list[_Ran]:
    """Run a model on a batch with zeros added to every state, and differentiate the loss."""
    runs: list[_Run] = []
    forwards = {
        layer: _forward_with_zeros(path, layer, runs)
        for path, layer in recurrent_layers(model).items()
    }
    with replaced_forwards(forwards), torch.enable_grad():
        value = loss(model, batch)
    if not runs:
        raise ValueError("the loss was computed without calling any of the recurrent layers")
    if value.numel() != 1 or not value.requires_grad:
        raise ValueError(
            f"the loss has the shape {list(value.shape)}; expected one number that depends on "
            "the model's recurrent layers"
        )
    for run in runs:
        run.check()
    check_finite("the loss", value)
    zeros = [zero for run in runs for zero in run.zeros.values()]
    if not zeros:
        raise ValueError(
            "the recurrent layers have no state that a step computes: each is what was read, or an "
            "older value, so there is no gradient to follow"
        )
    gradients = iter(torch.autograd.grad(value.sum(), zeros, materialize_grads=True))
    return [
        _Ran(
            run.place,
            run.cell,
            run.call,
            run.read,
            {n: v.detach() for n, v in run.states.items()},
            {n: next(gradients) for n in run.zeros},
        )
        for run in runs
    ]


@dataclass(frozen=True, eq=False)
class _Run:
    """One layer in one direction as it was run: see `_Ran`."""

    place: str
    cell: Cell
    call: Call
    read: Given
    states: dict[str, Tensor]
    zeros: dict[str, Tensor]
    lengths: Tensor | None

    def check(self) -> None:
        """Raise unless what it read and its states are finite, at the steps of its sequences."""
        read = {f"the input of {self.place}": self.read.sequences[self.cell.input.name]}
        states = {f"{self.place}.{n}": v for n, v in self.states.items()}
        for name, values in {**read, **states}.items():
            steps = torch.arange(len(values), device=values.device)[:, None]
            inside = None if self.lengths is None else steps < self.lengths.to(values.device)
            check_finite(name, values if inside is None else values[inside])


def _forward_with_zeros(path: str, layer: Recurrent, runs: list[_Run]) -> Callable[..., Any]:
    """A layer's forward, step by step under autograd, with zeros added to every state."""
    names = tuple(s.name for s in layer.cell.states)
    places = [
        place_name(path, k, d) for k in range(layer.num_layers) for d in range(layer.num_directions)
    ]
    made = 0

    def run(job: Job, tensors: Sequence[Tensor], lengths: Tensor | None) -> Any:
        nonlocal made
        call = job.call(tensors, lengths)
        read = given(job.program.forward, call)
        rows = {n: s for n, s in read.sequences.items() if n.startswith(PROBE)}
        zeros = {n.removeprefix(PROBE): s.requires_grad_() for n, s in rows.items()}
        result = Reference().run(job.program.forward, call)
        written = dict(zip(job.program.outputs, result.outputs, strict=True))
        states = {n: written[n] for n in names}
        place, cell = places[made % len(places)], job.cell
        runs.append(_Run(place, cell, call, read, states, zeros, lengths))
        made += 1
        return result.outputs, result.states[: len(names)]

    def forward(*args: Any, **kwargs: Any) -> Any:
        other.held = layer.held
        trace = other.trace(*args, names=names, **kwargs)
        return trace.output, trace.state

    changed = _with_zeros(layer.cell if layer.training else layer.eval_cell)
    other = layer.with_cell(changed, changed, run=run)
    return forward


@of_the_cell(2)
def _with_zeros(cell: Cell) -> Cell:
    """The cell with a further read row added to each new state: zero, but differentiable."""
    states = state_values(cell)
    rows = {n: symbol(PROBE + n, "sequence", v.size) for n, v in states.items()}
    changed = cell.changing({n: _adding(row) for n, row in rows.items()})
    zeros = tuple(Noise(row, 0.0) for row in rows.values())  # 1 with probability 0
    return replace(changed, noises=(*changed.noises, *zeros))


def _adding(row: Expr) -> Callable[[Expr], Expr]:
    return lambda value: value + row


@in_style
def draw_flows(flows: Mapping[str, GradientFlow]) -> Plot:
    """Draw the gradient's norm against steps back, as a share of that at the last step.

    Args:
        flows: by the name of the model; a line for each of its states.
    """
    lines = {
        line_name(name, short): flow.mean(state)
        for name, flow in flows.items()
        for state, short in short_names(flow.norms).items()
    }
    figure, ax = canvas(6.0, 4.0)
    for (name, norms), style in styled(lines):
        share = norms / (norms.max() or 1.0)
        ax.plot(np.where(share > LEAST_DRAWN, share, np.nan), label=name, **style)
    ax.set_yscale("log")
    ax.set_xlabel("steps back from the last one")
    ax.set_ylabel("gradient, share of the largest")
    name_lines(ax)
    return finished(figure, "flows")
