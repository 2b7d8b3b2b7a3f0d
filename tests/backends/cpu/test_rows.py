"""Rows in another order, and parts of them: values and gradients are torch's, on both backends.

Of 1 and 2 units, of an odd number, of more than a vector holds; with threads that share sequences
or, of one sequence, units.
"""

import pytest
import torch

import gatework as gw
from gatework.backends.cpu import Cpu
from gatework.compiler.program import program
from plan_calls import all_sizes, assert_plans_agree


def shifted(v, k):
    zeros = 0 * v
    if abs(k) >= v.shape[-1]:
        return zeros
    return torch.cat([zeros[..., :k], v[..., :-k]] if k > 0 else [v[..., -k:], zeros[..., k:]], -1)


ROWS = {  # ours and torch's
    "roll": (lambda v: gw.roll(v, 3), lambda v: v.roll(3, -1)),
    "roll back": (lambda v: gw.roll(v, -2), lambda v: v.roll(-2, -1)),
    "shift": (lambda v: gw.shift(v, 2), lambda v: shifted(v, 2)),
    "shift back": (lambda v: gw.shift(v, -1), lambda v: shifted(v, -1)),
    "flip": (gw.flip, lambda v: v.flip(-1)),
    "cumsum": (gw.cumsum, lambda v: v.cumsum(-1)),
    "cumsum from the end": (
        lambda v: gw.flip(gw.cumsum(gw.flip(v))),
        lambda v: v.flip(-1).cumsum(-1).flip(-1),
    ),
    "cumax": (gw.cumax, lambda v: v.softmax(-1).cumsum(-1)),
    "take": (
        lambda v: v * gw.sum(gw.take(v, [0, 0, 0]) * gw.take(gw.sin(v), [0], size="1")),
        lambda v: v * 3 * v[..., :1] * v[..., :1].sin(),
    ),
    "cat": (
        lambda v: v * gw.flip(gw.cat([v, 0, gw.sin(v), gw.mean(v)]))[1],
        lambda v: v * v[..., -1:].sin(),
    ),
    "chunk": (
        lambda v: gw.chunk(gw.roll(gw.cat([v, v * v]), 1), 2)[1],
        lambda v: torch.cat([v, v * v], -1).roll(1, -1).chunk(2, -1)[1],
    ),
    "split": (
        lambda v: gw.split(gw.cumsum(gw.cat([v, 2, v])), ["input", "1", "input"])[2],
        lambda v: torch.cat([v, torch.full_like(v[..., :1], 2), v], -1).cumsum(-1)[
            ..., v.shape[-1] + 1 :
        ],
    ),
    "first and last": (lambda v: v[0] * v[-1] * v, lambda v: v[..., :1] * v[..., -1:] * v),
}


@pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("units", [1, 2, 7, 33])
@pytest.mark.parametrize("name", ROWS)
def test_rows_are_arranged_as_torch_has_it(name, units, backend, dtype):
    """Over two steps, so that a state is arranged as well."""
    ours, torchs = ROWS[name]
    cell = gw.cell(sizes={"h": "input"})(lambda x, h: ours(gw.tanh(x + h)))
    v = torch.randn(2, 3, units, dtype=dtype).requires_grad_()
    with gw.use_backend(backend):
        found, _ = gw.nn.Recurrent(cell, units, units).to(dtype)(v)
    first = torchs(v[0].tanh())
    expected = torch.stack([first, torchs((v[1] + first).tanh())])
    tolerance = 1e-5 if dtype == torch.float32 else 1e-13
    compare = lambda a, b: torch.testing.assert_close(a, b, rtol=tolerance, atol=10 * tolerance)  # noqa: E731
    compare(found, expected)
    weights = torch.randn_like(expected)
    compare(*(torch.autograd.grad((y * weights).sum(), v)[0] for y in (found, expected)))


@gw.cell
def mixed(x, h, c):
    """Products, reductions and rows that wait for each other."""
    i, f, g = gw.chunk(gw.linear("gates", x, h, size="3*hidden"), 3)
    c = gw.cumax(f) * gw.roll(c, 1) + gw.sigmoid(i) * gw.flip(gw.tanh(g))
    low = gw.cat([gw.shift(c, 1), gw.linear("u", gw.flip(c), size="key")])
    picked = gw.take(low, [2, 0, 2, 1])
    return gw.tanh(gw.linear("n", low) + gw.sum(picked) * c[0]), c + 0.01 * gw.cumsum(c)


@gw.cell(sizes={"s": "1", "pair": "2"})
def of_all_kinds(x, h, s, pair):
    """Rows of learned values, numbers, noise and inputs; states of a few units."""
    kept = gw.flip(gw.dropout(h, 0.3, per="sequence")) * gw.roll(gw.vector("a"), 1)
    low = gw.cat([gw.vector("b"), gw.sum(0 * h + 1), gw.scalar("g"), 2.5])[:2]
    n = gw.linear("n", gw.shift(gw.dropout(x, 0.2, per="sequence"), 1))
    n = n + gw.linear("r", gw.cat([x, gw.cumsum(x)]))
    return gw.roll(gw.tanh(n + kept + s + gw.sum(pair * low)), 1), gw.mean(h), gw.cat([s, h[0]])


@pytest.mark.parametrize("shape", [(4, 3), (1, 1), (3, 40)])
def test_rows_of_all_kinds_agree(shape, threads):
    sizes = all_sizes(of_all_kinds, 3, 5)
    assert_plans_agree(Cpu(), of_all_kinds, shape, sizes, torch.float64)


@pytest.mark.parametrize("batch", [1, 40])
def test_gates_that_are_parts_of_one_map_are_torchs(batch, threads):
    """The weights are torch's own tensors."""

    @gw.cell
    def lstm(x, h, c):
        i, f, g, o = gw.chunk(gw.linear("gates", x, h, size="4*hidden"), 4)
        c = gw.sigmoid(f) * c + gw.sigmoid(i) * gw.tanh(g)
        return gw.sigmoid(o) * gw.tanh(c), c

    theirs, ours = torch.nn.LSTM(5, 33).double(), gw.nn.Recurrent(lstm, 5, 33).double()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(6, batch, 5, dtype=torch.float64)
    for layer in (theirs, ours):
        layer(x)[0].square().sum().backward()
    torch.testing.assert_close(ours(x)[0], theirs(x)[0], rtol=1e-12, atol=1e-12)
    for mine, torchs in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, torchs.grad, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("shape", "units", "lengths"),
    [
        ((5, 1), 130, None),  # threads share units
        ((3, 2), 65, None),
        ((1, 1), 1, None),
        ((4, 40), 33, None),
        ((6, 5), 17, (6, 0, 3, 1, 6)),
    ],
)
@pytest.mark.parametrize("reverse", [False, True])
def test_machine_code_agrees_with_the_reference(shape, units, lengths, reverse, threads):
    lengths = None if lengths is None else torch.tensor(lengths)
    sizes = all_sizes(mixed, 3, units)
    assert_plans_agree(Cpu(), mixed, shape, sizes, torch.float64, lengths, reverse)


def test_a_sum_at_each_index_is_taken_from_a_table():
    """The adjoint of an index with repeats; the code does not grow with the index."""
    index = [0, 2, 2, 1, 0, 2]

    @gw.cell
    def picking(x, h):
        picked = gw.take(h, index)
        return gw.tanh(gw.linear("u", x) + gw.sum(picked * gw.sin(picked)))

    assert "index_add" in str(program(picking).backward.recurrence.next_states)
    assert_plans_agree(Cpu(), picking, (4, 3), all_sizes(picking, 3, 5), torch.float64)


def test_memory_and_what_is_kept():
    """A row that is read back anyway is arranged again; a computed one is kept."""

    @gw.cell
    def rotated(x, h):
        return gw.tanh(gw.linear("u", x) * h + gw.vector("s") * gw.roll(h, 1))

    assert program(rotated).derivative.kept == ("kept_h", "kept0", "previous_h")
    assert [len(s.arrangements) for s in program(rotated).backward.stages] == [1, 1]
