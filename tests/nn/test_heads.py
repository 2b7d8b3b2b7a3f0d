"""Maps per head: what they learn, where they stand, what machine code makes of them, and mistakes.

That they compute what a loop of torch's does is tested in `test_axes`, by the cell
`block_diagonal`.
"""

import json
import math
import pickle

import pytest
import torch

import gatework as gw
from axes_cells import AXES_CELLS
from gatework import cell, linear, tanh, weight
from gatework.backends.cpu import Cpu
from gatework.lang import DefinitionError
from gatework.lang.printing import equations
from gatework.lang.sizes import Sizes
from gatework.lang.writing import cell_as_data, cell_of_data
from numerics import on_threads, randomised
from plan_calls import assert_plans_agree

BLOCKS = AXES_CELLS["block_diagonal"][0]


@cell(axes={"h": ("head", "unit")})
def per_head(x, h):
    return tanh(linear("n", x, h, per="head"))


@cell(axes={"h": ("head", "unit")})
def full(x, h):
    return tanh(linear("n", x, h, size=("head", "unit")))


# ---- what machine code could get wrong ---------------------------------------------------------


@pytest.mark.parametrize(
    ("lengths", "shape", "dtype", "reverse", "ragged"),
    [
        ((3, 5), (1, 1), torch.float64, False, False),  # weights as they lie
        ((2, 17), (1, 3), torch.float64, True, False),  # packed block by block
        ((1, 3), (5, 4), torch.float64, False, True),
        ((3, 33), (5, 9), torch.float32, True, True),
        pytest.param((5, 1), (4, 3), torch.float64, False, True, marks=pytest.mark.slow),
        pytest.param((4, 16), (9, 8), torch.float32, False, False, marks=pytest.mark.slow),
        pytest.param((2, 65), (1, 1), torch.float32, False, False, marks=pytest.mark.slow),
        pytest.param((2, 130), (3, 5), torch.float64, True, False, marks=pytest.mark.slow),
        pytest.param((2, 512), (2, 129), torch.float32, False, True, marks=pytest.mark.slow),
    ],
)
def test_machine_code_is_the_reference(lengths, shape, dtype, reverse, ragged):
    head, unit = lengths
    own = {"hidden": head * unit, "head": head, "unit": unit, "key": 7}
    of_each = torch.arange(shape[1]) % (shape[0] + 1) if ragged else None
    sizes = Sizes.of({"1": 1, "input": 3, **own})
    assert_plans_agree(Cpu(), BLOCKS, shape, sizes, dtype, of_each, reverse)


@pytest.mark.parametrize("threads", [2, 3, 4])
def test_several_threads_give_what_one_gives(threads):
    layer = randomised(gw.nn.Recurrent(BLOCKS, 5, head=3, unit=40, key=9, dtype=torch.float64))
    x = torch.randn(40, 9, 5).double()
    one, several = (on_threads(n, layer, x) for n in (1, threads))
    torch.testing.assert_close(several, one, rtol=1e-6, atol=1e-6)


def test_the_work_is_that_of_the_weights():
    sizes = {"head": 4, "unit": 16}
    heads, whole = (gw.nn.Recurrent(c, 8, **sizes) for c in (per_head, full))
    saved = 64 * 64 - 64 * 16
    of_heads, of_whole = (sum(p.numel() for p in m.parameters()) for m in (heads, whole))
    assert of_whole - of_heads == saved
    costs = [gw.explain(c, input_size=8, hidden_size=64).cost for c in (per_head, full)]
    flops = [
        int(line.split()[1].replace(",", "")) for c in costs for line in c if "forward" in line
    ]
    assert flops[1] - flops[0] == 2 * saved


# ---- what is learned ---------------------------------------------------------------------------


def test_a_weight_has_the_rows_of_all_heads_and_the_columns_of_one():
    layer = gw.nn.Recurrent(BLOCKS, 5, head=3, unit=4, key=2)
    assert {n: tuple(p.shape) for n, p in layer.named_parameters() if "weight" in n} == {
        "weight_ih_l0": (24, 5),
        "weight_hh_l0": (12 + 6, 4),
        "weight_nh_l0": (12, 4),
        "weight_u_l0": (12, 4),
        "weight_ch_l0": (6 + 3, 2),
    }


def test_it_starts_by_what_one_head_adds_up():
    layer = gw.nn.Recurrent(per_head, 5, head=16, unit=4)
    assert 0.45 < layer.weight_hh_l0.abs().max() < 1 / math.sqrt(4)
    assert layer.weight_ih_l0.abs().max() < 1 / math.sqrt(64)


def test_each_head_is_orthogonal():
    layer = gw.nn.Recurrent(per_head, 5, head=3, unit=4)
    gw.nn.init.orthogonal_(layer)
    for block in layer.weight_hh_l0.detach().chunk(3):
        torch.testing.assert_close(block @ block.T, torch.eye(4))


def test_a_known_weight_is_given_head_by_head():
    def numbers(heads, rows, columns):
        return torch.arange(heads * rows * columns).reshape(heads, rows, columns) / 10.0

    @cell(axes={"h": ("head", "unit")})
    def known(x, h):
        u = weight("u", per="head", init=numbers, learned=False)
        return linear("n", x, size=("head", "unit"), bias=False) + u(h)

    layer = gw.nn.Recurrent(known, 2, head=2, unit=3)
    torch.testing.assert_close(layer.weight_u_l0.unflatten(0, (2, 3)), numbers(2, 3, 3))
    _, h = layer(torch.zeros(1, 1, 2), torch.ones(1, 1, 6))
    torch.testing.assert_close(h.flatten(), numbers(2, 3, 3).sum(-1).flatten())


def test_a_weight_drop_and_a_pin_reach_it():
    layer = gw.nn.Recurrent(per_head, 5, head=3, unit=4, weight_drop=0.5)
    x = torch.randn(6, 2, 5)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])
    held = layer(x, pin={"n": torch.linspace(-1, 1, 12)})[0]
    torch.testing.assert_close(held[3, 1], torch.linspace(-1, 1, 12))


# ---- what the equations say --------------------------------------------------------------------


def test_the_equations_say_per_what():
    gate = "n = tanh(W_ih[n]·x + bias_ih.n + W_hh[n, per head]·h + bias_hh.n)"
    assert equations(per_head)[0] == gate
    assert "d_weight_hh[n, per head] = Σ d_ih.n ⊗ previous_h" in gw.explain(per_head).backward
    assert r"W^{hh}_{n, \mathrm{per\ head}} h" in gw.explain(per_head).latex[0]


def test_equal_means_equal_per_head():
    @cell(axes={"h": ("head", "unit")})
    def again(x, h):
        return tanh(linear("other", h, per="head") + linear("other", x, size=("head", "unit")))

    assert gw.equivalent(per_head, again)
    assert not gw.equivalent(per_head, full)


def test_it_is_written_down_and_pickled():
    for c in (per_head, BLOCKS):
        for back in (
            cell_of_data(json.loads(json.dumps(cell_as_data(c)))),
            pickle.loads(pickle.dumps(c)),
        ):
            assert back.parameters == c.parameters
            assert back.next_states == c.next_states


def test_damaged_equations_are_refused():
    data = json.loads(json.dumps(cell_as_data(per_head)))
    for row in data["nodes"]:
        if row[0] == "product" and len(row[1]) == 5:
            row[1][4] = "unit"
    with pytest.raises(ValueError, match="not the equations of a cell"):
        cell_of_data(data)


def test_a_cell_inside_a_cell_keeps_its_heads():
    @cell(axes={"h": ("head", "unit")})
    def outer(x, h):
        return per_head.equations(x, 0.5 * h, prefix="inner")

    layer = randomised(gw.nn.Recurrent(outer, 5, head=2, unit=3, dtype=torch.float64))
    alone = gw.nn.Recurrent(per_head, 5, head=2, unit=3, dtype=torch.float64)
    alone.load_state_dict({n.replace("inner_", ""): p for n, p in layer.state_dict().items()})
    with torch.no_grad():
        alone.weight_hh_l0.mul_(0.5)
    x = torch.randn(4, 2, 5, dtype=torch.float64)
    torch.testing.assert_close(layer(x)[0], alone(x)[0])


def test_an_input_may_have_heads_too():
    @cell(axes={"x": ("head", "feature"), "h": ("head", "unit")})
    def cut(x, h):
        return tanh(linear("n", x, h, bias=False, per="head", size=("head", "unit")))

    layer = gw.nn.Recurrent(cut, 6, head=2, feature=3, unit=5, dtype=torch.float64)
    x = torch.randn(4, 2, 6, dtype=torch.float64)
    assert layer.weight_ih_l0.shape == (10, 3)
    y, _ = layer(x)
    with torch.no_grad():
        alone = gw.nn.RNN(3, 5, bias=False, dtype=torch.float64)
        alone.weight_ih_l0.copy_(layer.weight_ih_l0[5:])
        alone.weight_hh_l0.copy_(layer.weight_hh_l0[5:])
    torch.testing.assert_close(y[..., 5:], alone(x[..., 3:])[0])


# ---- mistakes ----------------------------------------------------------------------------------


HEADS = {"h": ("head", "unit")}


@pytest.mark.parametrize(
    ("function", "axes", "says"),
    [
        (lambda x, h: linear("n", h, per="heads"), HEADS, "per='heads'.*it has head, unit"),
        (lambda x, h: linear("n", h, per="hidden"), {}, "an axis of the cell's.*it has none"),
        (lambda x, h: linear("n", h, per=4), HEADS, "per=4.*it has head, unit"),
        (lambda x, h: linear("n", h, per="unit"), HEADS, "'unit' to be the first of several axes"),
        (lambda x, h: linear("n", x, per="head"), HEADS, "'input' has no such axis; leave per="),
        (
            lambda x, h: linear("n", h, per="head", size="unit"),
            HEADS,
            r"'unit' has no such axis.*size=\('head', …\)",
        ),
        (
            lambda x, h: linear("a", h, per="head") + linear("b", h, size=("head", "unit")),
            HEADS,
            r"stacked in weight_hh.*u = weight\('b_hh', …\)",
        ),
        (lambda x, h: weight("u", per="head")(x), HEADS, "'input' has no such axis"),
        (
            lambda x, h: linear("n", h, per="head"),
            {"h": ("head",)},
            "'head' to be the first of several axes",
        ),
    ],
)
def test_a_mistake_is_named_with_its_mend(function, axes, says):
    with pytest.raises(DefinitionError, match=says):
        cell(axes=axes)(function)


def test_heads_that_do_not_divide():
    with pytest.raises(ValueError, match="head=5 units, which divide no hidden_size of 12"):
        gw.nn.Recurrent(per_head, 4, 12, head=5)
    with pytest.raises(ValueError, match="head=3 × unit=5 units, which make no hidden_size of 12"):
        gw.nn.Recurrent(per_head, 4, 12, head=3, unit=5)
