"""Maps as values, and cells inside cells: against torch loops with the same weights."""

import pytest
import torch

import gatework as gw
from gatework import cell, linear, tanh, weight
from gatework.lang import DefinitionError
from numerics import randomised


@cell
def runge_kutta(x, h, *, dt=0.5):
    u, drive = weight("u"), linear("drive", x)

    def slope(h):
        return tanh(drive + u(h)) - h

    a = slope(h)
    b = slope(h + dt / 2 * a)
    c = slope(h + dt / 2 * b)
    d = slope(h + dt * c)
    return h + dt / 6 * (a + 2 * b + 2 * c + d)


def runge_kutta_of_torch(layer, x, h):
    drive = x @ layer.weight_ih_l0.T + layer.bias_ih_l0
    slope = lambda h: torch.tanh(drive + h @ layer.weight_u_l0.T) - h  # noqa: E731
    a = slope(h)
    b = slope(h + a / 4)
    c = slope(h + b / 4)
    d = slope(h + c / 2)
    return h + (a + 2 * b + 2 * c + d) / 12


@cell
def settling(x, h, *, steps=3):  # a norm inside of a loop
    u, drive = weight("u"), linear("drive", x)
    for _ in range(steps):
        h = tanh(gw.rms_norm(gw.layer_norm(drive + u(h), "norm"), "scale"))
    return h


def settling_of_torch(layer, x, h):
    drive, n = x @ layer.weight_ih_l0.T + layer.bias_ih_l0, (layer.hidden_size,)
    gain, bias, scale = layer.norm_weight_l0, layer.norm_bias_l0, layer.scale_weight_l0
    for _ in range(3):
        normal = torch.nn.functional.layer_norm(drive + h @ layer.weight_u_l0.T, n, gain, bias)
        h = torch.tanh(normal / (normal.square().mean(-1, keepdim=True) + 1e-6).sqrt() * scale)
    return h


@cell
def there_and_back(x, h):
    w = weight("w", size="memory", of="hidden")
    return h - 0.3 * w.T(tanh(w(h) + linear("g", x, size="memory")))


def there_and_back_of_torch(layer, x, h):
    g = x @ layer.weight_ih_l0.T + layer.bias_ih_l0
    return h - 0.3 * torch.tanh(h @ layer.weight_w_l0.T + g) @ layer.weight_w_l0


@cell
def decaying_gru(x, h):
    kept = gw.exp(-gw.relu(linear("decay", x)))
    return gw.cells.gru.equations(x, kept * h, prefix="inner")


def decaying_gru_of_torch(layer, x, h):
    decay = torch.exp(-torch.relu(x @ layer.weight_ih_l0.T + layer.bias_ih_l0))
    names = ["weight_inner_ih", "weight_inner_hh", "bias_inner_ih", "bias_inner_hh"]
    return torch.gru_cell(x, decay * h, *(getattr(layer, f"{n}_l0") for n in names))


@cell
def learned_drive(x, h):
    return tanh(linear("n", x, h) + weight("u")(gw.vector("p")))


def learned_drive_of_torch(layer, x, h):
    total = x @ layer.weight_ih_l0.T + layer.bias_ih_l0 + h @ layer.weight_hh_l0.T
    return torch.tanh(total + layer.bias_hh_l0 + layer.p_l0 @ layer.weight_u_l0.T)


CELLS = {
    "learned_drive": (
        learned_drive,
        learned_drive_of_torch,
        {},
    ),  # a map of what is the same always
    "runge_kutta": (runge_kutta, runge_kutta_of_torch, {}),
    "settling": (settling, settling_of_torch, {}),
    "there_and_back": (there_and_back, there_and_back_of_torch, {"memory": 5}),
    "decaying_gru": (decaying_gru, decaying_gru_of_torch, {}),
}


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("name", CELLS)
def test_outputs_and_gradients_are_those_of_a_loop(name, backend):
    equations, of_torch, sizes = CELLS[name]
    layer = randomised(gw.nn.Recurrent(equations, 3, 4, **sizes, dtype=torch.float64))
    x = torch.randn(7, 2, 3, dtype=torch.float64, requires_grad=True)
    sources = [x, *layer.parameters()]
    with gw.use_backend(backend):
        y, _ = layer(x)
        found = torch.autograd.grad(y.square().sum(), sources)
    h, rows = torch.zeros(2, 4, dtype=torch.float64), []
    for step in x:
        h = of_torch(layer, step, h)
        rows.append(h)
    torch.testing.assert_close(y, torch.stack(rows), rtol=0, atol=1e-12)
    expected = torch.autograd.grad(torch.stack(rows).square().sum(), sources)
    for have, want in zip(found, expected, strict=True):
        torch.testing.assert_close(have, want, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", gw.cells.catalogue())
def test_every_cell_inside_another_is_the_cell(name):
    inner = gw.cells.catalogue()[name]
    states = [s.name for s in inner.states]
    once = {s.name: s.size for s in inner.further if s.role == "constant"}
    sizes = {s.name: s.size for s in (*inner.further, *inner.states) if s.name not in once}
    given = {
        n: tuple(a for a in s.split(",") if a != "1") if "," in s else s for n, s in once.items()
    }
    inputs = [s.name for s in inner.inputs]
    values = ", ".join([*inputs, *states])
    made = {"inner": inner}
    arguments = ", ".join([*inputs, "/", *states])
    exec(f"def outer({arguments}): return inner.equations({values}, prefix='in')", made)
    outer = gw.cell(sizes=sizes, given=given, output=inner.output is not None)(made["outer"])
    assert gw.equivalent(outer.deterministic(), inner.deterministic())
    assert [p.shape(Sizes()) for p in outer.parameters] == [
        p.shape(Sizes()) for p in inner.parameters
    ]
    assert len(outer.noises) == len(inner.noises)


class Sizes(dict):
    """Every size by its length, so that shapes tell which they are."""

    def __missing__(self, name):
        return len(name)


def test_a_cell_inside_takes_the_sizes_of_its_values():
    @cell(sizes={"m": "memory"})
    def stacked(x, h, m):
        m = gw.cells.gru.equations(x, m, prefix="low")
        return gw.cells.gru.equations(m, h, prefix="high"), m

    layer = gw.nn.Recurrent(stacked, 3, 4, memory=5)
    assert layer.weight_low_hh_l0.shape == (15, 5)
    assert layer.weight_high_ih_l0.shape == (12, 5)
    low, high = gw.nn.GRU(3, 5), gw.nn.GRU(5, 4)
    with torch.no_grad():
        for part, of in (("low", low), ("high", high)):
            for kind in ("weight", "bias"):
                for group in ("ih", "hh"):
                    own = getattr(layer, f"{kind}_{part}_{group}_l0")
                    own.copy_(getattr(of, f"{kind}_{group}_l0"))
    x = torch.randn(6, 2, 3)
    torch.testing.assert_close(layer(x)[0], high(low(x)[0])[0])


def test_values_of_a_cell_inside_are_traced_and_pinned():
    layer, x = gw.nn.Recurrent(decaying_gru, 3, 4), torch.randn(5, 2, 3)
    assert layer.trace(x)["inner_z"].shape == (5, 2, 4)
    y, _ = layer(x, pin={"inner_z": 0.0, "inner_r": 1.0})
    pinned = decaying_gru.pin(inner_z=0, inner_r=1)
    assert not [p for p in pinned.parameters if set(p.blocks) & {"z", "r"}]
    assert y.shape == (5, 2, 4)


def test_weight_drop_inside_stays():
    from gatework import rewriting

    dropped = rewriting.weight_drop(gw.cells.gru, 0.5)

    @cell
    def outer(x, h):
        return dropped.equations(x, h, prefix="in")

    (drop,) = outer.weight_drops
    assert drop.parameter == "weight_in_hh"


WRONG = {
    "never used": (lambda x, h: (weight("u"), tanh(linear("n", x, h)))[1], "map 'u' is never used"),
    "two sizes": (
        lambda x, h: tanh((u := weight("u"))(x) + u(h)),
        "map 'u' maps the size 'input' here, and the value has the size 'hidden'",
    ),
    "named twice": (lambda x, h: weight("u")(x) + weight("u")(h), "two weights named 'u'"),
    "of a gate": (lambda x, h: linear("u", x) + weight("u")(h), "two weights named 'u'"),
    "transposed first": (
        lambda x, h: linear("n", x) + weight("u", size="memory").T(linear("m", h, size="memory")),
        r"say it: weight\('u', of='hidden'\)",
    ),
    "looks shared": (
        lambda x, h, c: (tanh(linear("n", h)) + tanh(linear("n", c)), linear("c", x)),
        r"one weight is a value, u = weight\('n'\)",
    ),
    "too few values": (
        lambda x, h: gw.cells.lstm.equations(x, h, prefix="in")[0],
        "the equations of 'lstm' take x, h, c; got 2",
    ),
    "prefix twice": (
        lambda x, h: gw.cells.rnn.equations(
            x, gw.cells.rnn.equations(x, h, prefix="in"), prefix="in"
        ),
        "two cells inside with the prefix 'in'",
    ),
    "no prefix": (lambda x, h: gw.cells.rnn.equations(x, h, prefix="a b"), "Python identifier"),
    "one size, two values": (
        lambda x, h: gw.cells.lstm.equations(x, h, linear("m", x, size="memory"), prefix="in")[0],
        "'hidden' of one value and 'memory' of another",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_named_with_its_mend(name):
    step, message = WRONG[name]
    with pytest.raises(DefinitionError, match=message):
        cell(step)


def test_equations_stand_in_a_cell_only():
    with pytest.raises(TypeError, match="can stand inside a function marked @cell"):
        gw.cells.gru.equations(1, 2, prefix="in")


def test_a_derivative_for_each_argument():
    product = gw.pointwise(lambda a, b: a * b, lambda a, b: b)
    with pytest.raises(DefinitionError, match=r"gives 1 value\(s\) for 2 argument"):
        cell(lambda x, h: product(tanh(linear("n", x)), h))


def test_a_function_of_several_values_has_their_derivatives():
    product = gw.pointwise(lambda a, b: a * b, lambda a, b: (2 * b, 3 * a))

    @cell(sizes={"h": "input"})
    def step(x, h):
        return product(x, h)

    x, h = (torch.randn(1, 1, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    layer = gw.nn.Recurrent(step, 4, 4)
    for backend in ("cpu", "reference"):
        with gw.use_backend(backend):
            y, _ = layer(x, h)
        found = torch.autograd.grad(y.sum(), [x, h])
        torch.testing.assert_close(y, x * h)
        torch.testing.assert_close(found[0], 2 * h)
        torch.testing.assert_close(found[1], 3 * x)


def test_equal_largest_units_share_the_gradient():
    @cell(sizes={"h": "input"})
    def step(x, h):
        return gw.amax(x) * gw.amin(h) * gw.norm(x) + 0 * h

    x = torch.tensor([[[1.0, 3.0, 3.0, 0.0]]], dtype=torch.float64, requires_grad=True)
    h = torch.tensor([[[2.0, 1.0, 1.0, 1.0]]], dtype=torch.float64, requires_grad=True)
    expected = (x.amax(-1) * h.amin(-1) * x.norm(dim=-1)).sum() * 4
    want = torch.autograd.grad(expected, [x, h])
    for backend in ("cpu", "reference"):
        with gw.use_backend(backend):
            y, _ = gw.nn.Recurrent(step, 4, 4)(x, h)
        torch.testing.assert_close(y.sum(), expected)
        for have, w in zip(torch.autograd.grad(y.sum(), [x, h]), want, strict=True):
            torch.testing.assert_close(have, w)


def test_a_gate_named_i_leaves_the_name_of_the_inputs_weight_alone():
    @cell
    def gated(x, h):
        mixed = tanh(linear("m", x, h))
        return tanh(linear("i", mixed * h))

    assert [p.name for p in gated.parameters if p.cols] == ["weight_ih", "weight_hh", "weight_i_h"]


@pytest.mark.parametrize(
    "use", [gw.square, lambda v: v * v, gw.layer_norm, lambda v: v / gw.norm(v)]
)
def test_a_sum_of_two_maps_times_itself_is_one_gate(use):
    @cell
    def squared(x, h, c):
        v = linear("n", c) + linear("n", h)
        return tanh(use(v)), tanh(linear("c", x, c))

    assert {p.name for p in squared.parameters} >= {"weight_hh", "weight_ch"}


def test_a_gate_named_as_the_state_maps_what_is_computed():
    @cell
    def twice(x, h):
        return tanh(linear("h", x, h, tanh(linear("u", x, h))))

    names = ["weight_ih", "weight_hh", "weight_h_h"]
    assert [p.name for p in twice.parameters if p.cols] == names
