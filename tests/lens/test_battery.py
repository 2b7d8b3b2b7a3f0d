"""Every measurement of every cell of the catalogue against a direct computation in float64.

The direct computation is a plain Python loop over the steps, which evaluates the cell's equations
with torch and keeps every value: no kernel, no plan, no derived gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

import gatework as gw
from gatework.analysis.gates import named_gates
from gatework.backends.reference import ARRANGEMENTS, OPERATIONS
from gatework.lang.definition import Cell, block_of
from gatework.lang.expressions import (
    Apply,
    Arrange,
    Const,
    Count,
    Expr,
    Product,
    Reduce,
    Symbol,
    postorder,
)
from gatework.lang.sizes import Sizes, units
from gatework.lens.measuring import candidates, state_values
from numerics import randomised, state_sizes
from plain_sizes import plain_sizes

CORE = {"rnn", "lstm", "gru", "gru_reset_before", "peephole_lstm", "projected_lstm", "tau_gru"}
every_cell = pytest.mark.parametrize(
    "cell",
    [
        pytest.param(cell, id=name, marks=[] if name in CORE else [pytest.mark.slow])
        for name, cell in gw.cells.catalogue().items()
        if not cell.further  # these are in test_further_inputs.py
    ],
)
I, H, T, B = 8, 4, 7, 2  # cells make four equal parts of both


@pytest.fixture(autouse=True)
def _reference():
    """The measurements are tested, not the kernels; no time is spent on making them."""
    with gw.use_backend("reference"):
        yield


def layer_of(cell: Cell, **arguments) -> gw.nn.Recurrent:
    sizes = plain_sizes(cell, H - 1)
    sizes |= {axis: 2 for axis in ("head", "key", "mode") if axis in cell.axis_names()}
    layer = gw.nn.Recurrent(cell, I, H, dtype=torch.float64, **sizes, **arguments)
    return randomised(layer).eval()


def inputs(*shape: int) -> Tensor:
    return torch.randn(shape or (T, B, I), dtype=torch.float64)


def shaped(row: Tensor, size: str, sizes, axes: int) -> Tensor:
    """A flat row [.., n] with an index for each axis; a single number beside so many axes."""
    if size == "1":
        return row[(..., *[None] * (axes - 1))] if row.dim() else row
    return row.unflatten(-1, [sizes[axis] for axis in size.split(",")])


def arranged(node: Arrange, args: list[Tensor], sizes) -> Tensor:
    """Units in other places; rows side by side only where none is left out."""
    if node.kind == "rename":
        return renamed(node, args[0], sizes)
    if node.kind == "cat":
        assert sum(a.shape[-1] for a in args) == sizes[node.size]
        return torch.cat(args, -1)
    slots, before = node.size.split(","), node.args[0].size.split(",")
    row = args[0].unflatten(-1, [units(slot, sizes) for slot in before])
    dim, count = node.axis - len(slots), units(slots[node.axis], sizes)
    return ARRANGEMENTS[node.kind](row, node.details, dim, count, sizes).flatten(-len(slots))


def renamed(node: Arrange, row: Tensor, sizes) -> Tensor:
    """A flat row with its axes in the order in which the result has them."""
    names, before = node.args[0].size.split(","), row.dim() - 1
    had = [k for k, axis in enumerate(names) if axis != "1"]
    order = (before + had.index(k) for k in node.details[0] if k >= 0)
    row = row.unflatten(-1, [sizes[names[k]] for k in had])
    return row.permute(*range(before), *order).flatten(before)


def applied(node: Apply, args: list[Tensor], sizes) -> Tensor:
    """A function of the language on flat rows: what lacks an axis is repeated along it."""
    axes = node.size.count(",") + 1
    if axes == 1:
        return OPERATIONS[node.function](*args)
    rows = [shaped(a, n.size, sizes, axes) for a, n in zip(args, node.args, strict=True)]
    value = OPERATIONS[node.function](*rows)
    return value.expand(*value.shape[:-axes], *map(sizes.get, node.size.split(","))).flatten(-axes)


def reduced(node: Reduce, row: Tensor, sizes) -> Tensor:
    """A sum or maximum over the units of a flat row, or over the axes that the result lacks."""
    reduction = torch.sum if node.function == "sum" else torch.amax
    own = node.args[0].size.split(",")
    left = node.size.split(",") if node.size != "1" else ["1"] * len(own)
    along = [k - len(own) for k, (a, b) in enumerate(zip(own, left, strict=True)) if a != b]
    value = reduction(row.unflatten(-1, [sizes[axis] for axis in own]), along, keepdim=True)
    return value.flatten(-len(own))


def side_by_side(node: Arrange, args: list[Tensor], sizes) -> Tensor:
    """Rows where they begin; zero between them."""
    total = torch.zeros(sizes[node.size], dtype=torch.float64)
    for row, start in zip(args, node.details, strict=True):
        before = units(start, sizes, 0)
        after = total.shape[-1] - before - row.shape[-1]
        total = total + torch.nn.functional.pad(row, (before, after))
    return total


@dataclass
class Loop:
    """A layer of one layer and one direction, run by a plain loop.

    `before` and `known` have, for each step, the states before it and every value in it.
    """

    layer: gw.nn.Recurrent
    before: list[list[Tensor]]
    known: list[dict[Expr, Tensor]]

    @classmethod
    def run(cls, layer: gw.nn.Recurrent, x: Tensor) -> Loop:
        loop = cls(layer, [], [])
        states = [x.new_zeros(x.shape[1], n).requires_grad_() for n in state_sizes(layer)]
        for row in x:
            loop.before.append(states)
            known = loop.step(row, states)
            loop.known.append(known)
            states = [
                known[v].expand(x.shape[1], n)
                for v, n in zip(layer.cell.next_states, state_sizes(layer), strict=True)
            ]
        return loop

    def step(self, row: Tensor, states: list[Tensor]) -> dict[Expr, Tensor]:
        cell, sizes = self.layer.cell, Sizes.of(self.layer.sizes(0))
        known = {cell.input: row, **dict(zip(cell.states, states, strict=True))}
        spans = {p.name: p.spans(sizes) for p in cell.parameters}
        for node in postorder(cell.named_values()):
            if node in known:
                continue
            args = [known[a] for a in node.args]
            if isinstance(node, Const):
                known[node] = row.new_full((sizes[node.size],), node.value)
            elif isinstance(node, Count):
                known[node] = row.new_tensor(sizes[node.of])
            elif isinstance(node, Symbol):
                name, block = block_of(node)
                known[node] = getattr(self.layer, f"{name}_l0")[spans[name][block]]
            elif isinstance(node, Product):
                name, block = block_of(node.matrix)
                weight = getattr(self.layer, f"{name}_l0")[spans[name][block]]
                if node.matrix.per:
                    weight = torch.block_diag(*weight.chunk(sizes[node.matrix.per]))
                known[node] = args[0] @ (weight if node.transposed else weight.T)
            elif isinstance(node, Reduce):
                known[node] = reduced(node, args[0], sizes)
            elif isinstance(node, Arrange) and node.kind == "cat":
                known[node] = side_by_side(node, args, sizes)
            elif isinstance(node, Arrange):
                known[node] = arranged(node, args, sizes)
            else:
                assert isinstance(node, Apply)
                known[node] = applied(node, args, sizes)
        return known

    def values(self, value: Expr) -> Tensor:
        """A value at every step, [T, B, n]."""
        rows = [known[value] for known in self.known]
        units = Sizes.of(self.layer.sizes(0))[value.size]
        return torch.stack([row.expand(self.before[0][0].shape[0], units) for row in rows])

    def output(self) -> Tensor:
        return self.values(self.layer.cell.output_value)


# ---- horizon -----------------------------------------------------------------------------------


@every_cell
def test_the_horizon_is_that_of_the_jacobian(cell):
    """With as many orthogonal probes as units the estimate is the Jacobian's norm itself."""
    layer, x = layer_of(cell), inputs()
    probes = max(layer.output_size, *state_sizes(layer))
    found = gw.lens.memory_horizon(layer, [x], T - 1, probes=probes)
    given = x.clone().requires_grad_()
    loop = Loop.run(layer, given)
    targets = {
        "": loop.output(),
        **{f"l0.{n}": loop.values(v) for n, v in state_values(cell).items()},
    }
    assert set(found.states) == set(targets) - {""}
    for name, values in targets.items():
        squares = torch.zeros(T, B, dtype=torch.float64)
        for unit in range(values.shape[-1]):
            (gradient,) = torch.autograd.grad(
                values[-1, :, unit].sum(), given, retain_graph=True, allow_unused=True
            )
            squares += 0 if gradient is None else gradient.square().sum(-1)
        estimate = found.states[name] if name else found.influence
        expected = squares.sqrt().flip(0).T.detach()
        np.testing.assert_allclose(estimate, expected, rtol=1e-6, atol=1e-12)


# ---- gradient flow -----------------------------------------------------------------------------


@every_cell
def test_gradient_norms_are_those_of_autograd(cell):
    layer, x = layer_of(cell), inputs()
    weights = inputs(T, B, layer.output_size)
    found = gw.lens.gradient_flow(
        layer, [x], lambda model, batch: (model(batch)[0] * weights).sum()
    )
    loop = Loop.run(layer, x)
    loss = (loop.output() * weights).sum()
    for name, value in state_values(cell).items():
        rows = [known[value] for known in loop.known]
        gradients = torch.autograd.grad(
            loss, rows, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        expected = torch.stack([g.norm(dim=-1) for g in gradients]).flip(0).T
        np.testing.assert_allclose(found.norms[f"l0.{name}"], expected, rtol=1e-9, atol=1e-12)


@every_cell
def test_the_spectral_radius_is_that_of_the_jacobian_at_some_step(cell):
    layer, x = layer_of(cell), inputs(3, 2, I)
    found = gw.lens.gradient_flow(layer, [x, x, x], samples=5)
    loop = Loop.run(layer, x)
    radii = []
    for t in range(3):
        for b in range(2):

            def step(*states, t=t, b=b):
                known = loop.step(x[t, b : b + 1], [s[None] for s in states])
                new = zip(cell.next_states, state_sizes(layer), strict=True)
                return torch.cat([known[v].expand(1, n)[0] for v, n in new])

            before = tuple(s[b].detach() for s in loop.before[t])
            jacobian = torch.cat(torch.autograd.functional.jacobian(step, before), 1)
            radii.append(np.abs(np.linalg.eigvals(jacobian.numpy())).max())
    assert found.spectral_radius["l0"].shape == (5,)
    for radius in found.spectral_radius["l0"]:
        assert np.abs(np.array(radii) - radius).min() < 1e-6 * max(1, radius)


# ---- retention ---------------------------------------------------------------------------------


@every_cell
def test_retention_is_the_diagonal_of_the_jacobian_without_its_matrices(cell):
    """With all matrices zero the step's Jacobian is what is left: the way through no matrix."""
    layer, x = layer_of(cell), inputs()
    loop = Loop.run(layer, x)
    found = gw.lens.retention(layer, [x], lags=[1, 2, 5, T, T + 1])
    for k, state in enumerate(cell.states):
        kept = torch.stack([_kept(loop, t, k) for t in range(T)])  # [T, B, n]
        name = f"l0.{state.name}"
        np.testing.assert_allclose(found.mean[name], kept.mean((0, 1)), rtol=1e-9, atol=1e-12)
        for row, lag in enumerate([1, 2, 5, T]):
            ways = [kept[t : t + lag].prod(0) for t in range(T - lag + 1)]
            expected = torch.stack(ways).mean((0, 1))
            np.testing.assert_allclose(found.survival[name][row], expected, rtol=1e-9, atol=1e-12)
        assert np.isnan(found.survival[name][4]).all()


PARTS = ("part", "cat")  # put together as they were cut, which leaves units in their places


def _kept(loop: Loop, t: int, k: int) -> Tensor:
    """∂s'/∂s unit by unit at step t, every product and sum over units held where it is."""
    cell = loop.layer.cell
    held = {
        n: v.detach()
        for n, v in loop.known[t].items()
        if isinstance(n, Product | Reduce) or (isinstance(n, Arrange) and n.kind not in PARTS)
    }
    state = loop.before[t][k].detach().requires_grad_()
    states = [s.detach() for s in loop.before[t]]
    states[k] = state
    known = {cell.input: loop.known[t][cell.input], **dict(zip(cell.states, states, strict=True))}
    for node in postorder([cell.next_states[k]], until=set(held)):
        if node in known:
            continue
        if node in held or not node.args:
            known[node] = held.get(node, loop.known[t][node].detach())
        else:
            known[node] = _again(loop.layer, node, [known[a] for a in node.args])
    new = known[cell.next_states[k]].expand(state.shape)
    if not new.requires_grad:
        return torch.zeros_like(state)
    if not any(isinstance(n, Arrange) for n in known):
        return torch.autograd.grad(new.sum(), state, materialize_grads=True)[0]
    rows = [
        torch.autograd.grad(unit.sum(), state, retain_graph=True, materialize_grads=True)[0][..., i]
        for i, unit in enumerate(new.unbind(-1))
    ]
    return torch.stack(rows, -1)


# ---- saturation --------------------------------------------------------------------------------


@every_cell
def test_saturation_counts_what_the_loop_shows(cell):
    layer, x = layer_of(cell), 3 * inputs()
    loop = Loop.run(layer, x)
    found = gw.lens.saturation(layer, x.split(1, dim=1))
    assert found.steps == T * B
    assert found.gates == tuple(f"l0.{n}" for n in named_gates(cell))
    bounds = {**dict.fromkeys(named_gates(cell), 0.1)}
    bounds |= dict.fromkeys(candidates(cell), -0.9)
    assert set(found.left) == {f"l0.{n}" for n in bounds}
    for name, low in bounds.items():
        values = loop.values(cell.names[name]).flatten(0, 1).detach()
        expected = (values < low).double().mean(0), (values > 0.9).double().mean(0)
        np.testing.assert_allclose(found.left[f"l0.{name}"], expected[0])
        np.testing.assert_allclose(found.right[f"l0.{name}"], expected[1])
    for name in (*bounds, *state_values(cell)):
        values = loop.values(cell.names[name]).flatten(0, 1).detach()
        np.testing.assert_allclose(found.mean[f"l0.{name}"], values.mean(0), atol=1e-12)
        deviation = values.std(0, correction=0)
        np.testing.assert_allclose(found.deviation[f"l0.{name}"], deviation, atol=1e-9)


# ---- finding units -----------------------------------------------------------------------------


@every_cell
def test_correlations_and_probes_are_those_of_the_whole_data(cell):
    layer = layer_of(cell)
    x = [inputs(30, B, I) for _ in range(4)]
    labels = [{"a": part[..., 0].numpy(), "b": (part[..., 1] > 0).numpy()} for part in x]
    found = gw.lens.find_units(layer, zip(x, labels, strict=True))
    assert (found.steps, found.held_out_steps) == (60 * B, 60 * B)
    for name, value in state_values(cell).items():
        seen = [Loop.run(layer, part).values(value).flatten(0, 1).detach().numpy() for part in x]
        fitted, held_out = np.concatenate(seen[::2]), np.concatenate(seen[1::2])
        for p, key in enumerate("ab"):
            y = [np.asarray(one[key], float).reshape(-1) for one in labels]
            y_fitted, y_held_out = np.concatenate(y[::2]), np.concatenate(y[1::2])
            for unit in range(fitted.shape[1]):
                if fitted[:, unit].std() < 1e-9:
                    continue
                r = np.corrcoef(fitted[:, unit], y_fitted)[0, 1]
                np.testing.assert_allclose(found.correlation[f"l0.{name}"][p, unit], r, atol=1e-9)
                r = np.corrcoef(held_out[:, unit], y_held_out)[0, 1]
                np.testing.assert_allclose(found.held_out[f"l0.{name}"][p, unit], r, atol=1e-9)
            score = _ridge_score(fitted, y_fitted, held_out, y_held_out)
            np.testing.assert_allclose(found.probe[f"l0.{name}"][p], score, atol=1e-6)


def _ridge_score(x, y, x_new, y_new) -> float:
    """R² on new rows of ridge regression, by least squares on rows with the penalty appended."""
    centred = x - x.mean(0)
    penalty = 1e-4 * (centred**2).sum() / x.shape[1]
    rows = np.vstack([centred, np.sqrt(penalty) * np.eye(x.shape[1])])
    weights = np.linalg.lstsq(rows, np.append(y - y.mean(), np.zeros(x.shape[1])))[0]
    error = y_new - y.mean() - (x_new - x.mean(0)) @ weights
    return 1 - (error**2).sum() / ((y_new - y_new.mean()) ** 2).sum()


# ---- holding and comparing ---------------------------------------------------------------------


@every_cell
def test_a_silenced_unit_is_zero_and_the_rest_follows_from_it(cell):
    layer, x = layer_of(cell), inputs()
    for name, value in state_values(cell).items():
        unit = 0 if value.size == "1" else 1
        with gw.lens.hold(layer, {f"l0.{name}": {unit: 0.25}}):
            held = layer.trace(x)
            y, _ = layer(x)
        assert (held[name][..., unit] == 0.25).all()
        torch.testing.assert_close(y, held.output)
        states = [x.new_zeros(B, n) for n in state_sizes(layer)]
        for t in range(T):  # a loop that holds the unit by itself
            output, *states = _step_holding(layer, x[t], states, value, unit, 0.25)
            torch.testing.assert_close(output, y[t])


def _step_holding(layer, row, states, value, unit, number) -> list[Tensor]:
    """The output and the states of a step whose value is held in one unit, wherever it is read."""
    known = Loop(layer, [], []).step(row, states)
    held = known[value].clone()
    held[:, unit] = number
    cell = layer.cell
    after = {value: held}
    for node in postorder(cell.results()):
        if node not in after and node.args and any(a in after for a in node.args):
            args = [after.get(a, known[a]) for a in node.args]
            after[node] = _again(layer, node, args)
    results = (cell.output_value, *cell.next_states)
    units = [Sizes.of(layer.sizes(0))[v.size] for v in results]
    return [after.get(v, known[v]).expand(len(row), n) for v, n in zip(results, units, strict=True)]


def _again(layer, node, args) -> Tensor:
    if isinstance(node, Product):
        name, block = block_of(node.matrix)
        spans = next(p for p in layer.cell.parameters if p.name == name).spans(layer.sizes(0))
        weight = getattr(layer, f"{name}_l0")[spans[block]]
        return args[0] @ (weight if node.transposed else weight.T)
    sizes = Sizes.of(layer.sizes(0))
    if isinstance(node, Reduce):
        return reduced(node, args[0], sizes)
    if isinstance(node, Arrange) and node.kind == "cat":
        return side_by_side(node, args, sizes)
    if isinstance(node, Arrange):
        return arranged(node, args, sizes)
    return applied(node, args, sizes)


@every_cell
def test_ablation_of_every_gate_is_that_of_the_pinned_layer(cell):
    layer, x = layer_of(cell), inputs()
    found = gw.lens.ablate(layer, lambda model: model(x)[0].square().sum().item())
    expected = [
        layer(x, pin={gate: end})[0].square().sum().item()
        for gate in named_gates(cell)
        for end in (0.0, 1.0)
    ]
    np.testing.assert_allclose(found.metric, expected, rtol=1e-12)
    np.testing.assert_allclose(found.baseline, layer(x)[0].square().sum().item(), rtol=1e-12)


@every_cell
def test_similarity_is_that_of_the_kernels(cell):
    """Linear CKA by its other form, from the N × N kernels of the rows."""
    first, second = layer_of(cell), randomised(layer_of(cell), seed=1).eval()
    x = inputs(9, B, I)
    found = gw.lens.compare(first, second, x.split(5))
    for name, value in state_values(cell).items():
        rows = [Loop.run(m, part).values(value) for m in (first, second) for part in x.split(5)]
        a, b = torch.cat(rows[:2]).flatten(0, 1), torch.cat(rows[2:]).flatten(0, 1)
        a, b = ((v - v.mean(0)).detach() for v in (a, b))
        k, m = a @ a.T, b @ b.T
        expected = (k * m).sum() / (k.norm() * m.norm())
        np.testing.assert_allclose(found.similarity[f"l0.{name}"], expected, rtol=1e-6)
        r = ((a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0))).nan_to_num()  # units that never move
        np.testing.assert_allclose(found.correlation[f"l0.{name}"], r, rtol=1e-6, atol=1e-9)
