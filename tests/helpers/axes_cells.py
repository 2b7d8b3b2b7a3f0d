"""Cells whose states have axes, each beside a loop of torch's with the same weights.

A loop takes the input x [T, B, I], the weights by gate and the lengths of the axes, and gives the
output of every step, flat, and the last state.
"""

import torch
from hypothesis import reject
from hypothesis import strategies as st

import gatework as gw
from gatework import cell, linear, sigmoid, tanh


@cell(axes={"y": ("value",), "S": ("key", "value")})
def delta_rule(x, y, S):  # Schlag et al. 2021
    q, k = (linear(g, x, size="key") for g in "qk")
    v, b = linear("v", x, size="value"), sigmoid(linear("b", x, size="1"))
    S = S + k * (b * (v - gw.sum(k * S, "key")))
    return gw.sum(q * S, "key"), S


def delta_rule_of_torch(x, w, sizes):
    q, k, v, b = w["q"], w["k"], w["v"], torch.sigmoid(w["b"])
    S, rows = x.new_zeros(x.shape[1], sizes["key"], sizes["value"]), []
    for t in range(len(x)):
        held = torch.einsum("bk,bkv->bv", k[t], S)
        S = S + torch.einsum("bk,bv->bkv", k[t], b[t] * (v[t] - held))
        rows.append(torch.einsum("bk,bkv->bv", q[t], S))
    return torch.stack(rows), S


@cell(axes={"S": ("head", "key", "value")}, output=True)
def gated_heads(x, S):  # Yang et al. 2025
    q, k = (gw.silu(linear(g, x, size=("head", "key"))) for g in "qk")
    k = gw.normalize(k, "key")
    v = linear("v", x, size=("head", "value"))
    a, b = (sigmoid(linear(g, x, size="head")) for g in "ab")
    S = a * S
    S = S + k * (b * (v - gw.sum(k * S, "key")))
    return gw.sum(q * S, "key"), S


def gated_heads_of_torch(x, w, sizes):
    heads, rows = sizes["head"], []
    q, k, v = (w[g].unflatten(-1, (heads, -1)) for g in "qkv")
    q, k = torch.nn.functional.silu(q), torch.nn.functional.silu(k)
    k = torch.nn.functional.normalize(k, dim=-1)
    a, b = torch.sigmoid(w["a"]), torch.sigmoid(w["b"])
    S = x.new_zeros(x.shape[1], heads, sizes["key"], sizes["value"])
    for t in range(len(x)):
        S = a[t][..., None, None] * S
        held = torch.einsum("bhk,bhkv->bhv", k[t], S)
        S = S + torch.einsum("bhk,bhv->bhkv", k[t], b[t][..., None] * (v[t] - held))
        rows.append(torch.einsum("bhk,bhkv->bhv", q[t], S).flatten(1))
    return torch.stack(rows), S


@cell(axes={"s": ("unit", "mode")}, output=True)
def selective(x, s):  # Gu & Dao 2023, with a plain input
    step = gw.softplus(linear("step", x, size="unit"))
    read, write = (linear(g, x, size="mode") for g in ("read", "write"))
    u = linear("u", x, size="unit")
    decay = gw.exp(-step * gw.exp(gw.vector("rates", size=("unit", "mode"))))
    s = decay * s + step * write * u
    return gw.sum(s * read, "mode"), s


def selective_of_torch(x, w, sizes):
    step, rows = torch.nn.functional.softplus(w["step"]), []
    rates = torch.exp(w["rates"]).unflatten(-1, (sizes["unit"], sizes["mode"]))
    s = x.new_zeros(x.shape[1], sizes["unit"], sizes["mode"])
    for t in range(len(x)):
        decay = torch.exp(-step[t][..., None] * rates)
        s = decay * s + (step[t] * w["u"][t])[..., None] * w["write"][t][:, None]
        rows.append((s * w["read"][t][:, None]).sum(-1))
    return torch.stack(rows), s


@cell(
    axes={
        "h": ("head", "value"),
        "n": ("head", "key"),
        "m": ("head",),
        "C": ("head", "key", "value"),
    }
)
def matrix_memory(x, h, n, m, C):  # Beck et al. 2024, eq. 19 to 27
    q, k = (linear(g, x, size=("head", "key")) for g in "qk")
    v = linear("v", x, size=("head", "value"))
    i, f = (linear(g, x, size="head") for g in "if")
    o = sigmoid(linear("o", x, size=("head", "value")))
    f = gw.logsigmoid(f)
    top = gw.maximum(f + m, i)
    i, f = gw.exp(i - top), gw.exp(f + m - top)
    k = k / gw.count("key") ** 0.5
    C = f * C + i * k * v
    n = f * n + i * k
    down = gw.maximum(gw.abs(gw.sum(n * q, "key")), gw.exp(-top))
    return o * gw.sum(q * C, "key") / down, n, top, C


def matrix_memory_of_torch(x, w, sizes):
    heads, rows = sizes["head"], []
    q, k, v, o = (w[g].unflatten(-1, (heads, -1)) for g in "qkvo")
    k = k / sizes["key"] ** 0.5
    C = x.new_zeros(x.shape[1], heads, sizes["key"], sizes["value"])
    n, m = C[..., 0], C[..., 0, 0]
    for t in range(len(x)):
        f = torch.nn.functional.logsigmoid(w["f"][t])
        top = torch.maximum(f + m, w["i"][t])
        i, f, m = torch.exp(w["i"][t] - top), torch.exp(f + m - top), top
        C = f[..., None, None] * C + torch.einsum("bhk,bhv->bhkv", i[..., None] * k[t], v[t])
        n = f[..., None] * n + i[..., None] * k[t]
        down = torch.maximum((n * q[t]).sum(-1).abs(), torch.exp(-top))
        h = torch.einsum("bhk,bhkv->bhv", q[t], C) / down[..., None]
        rows.append((torch.sigmoid(o[t]) * h).flatten(1))
    return torch.stack(rows), C


@cell(axes={"y": ("slot",), "M": ("slot", "word")})
def content_addressed(x, y, M):  # Graves et al. 2014, eq. 5 to 8, one head that reads and writes
    key, sharp = linear("key", x, y, size="word"), gw.softplus(linear("sharp", x, size="1"))
    alike = gw.sum(M * key, "word") / (gw.norm(M, "word") * gw.norm(key) + 0.1)
    w = gw.softmax(sharp * alike)
    M = M * (1 - w * sigmoid(linear("erase", x, size="word"))) + w * linear("add", x, size="word")
    return w + gw.amax(gw.tanh(M), "word"), M


def content_addressed_of_torch(x, w, sizes):
    M, rows = x.new_zeros(x.shape[1], sizes["slot"], sizes["word"]), []
    y = x.new_zeros(x.shape[1], sizes["slot"])
    for t in range(len(x)):
        key = w["key"][t] + y @ w["weight_hh"].T + w["bias_hh"]
        norms = M.norm(dim=-1) * key.norm(dim=-1, keepdim=True) + 0.1
        alike = torch.einsum("bsw,bw->bs", M, key) / norms
        at = torch.softmax(torch.nn.functional.softplus(w["sharp"][t]) * alike, -1)
        M = M * (1 - at[..., None] * torch.sigmoid(w["erase"][t])[:, None])
        M = M + at[..., None] * w["add"][t][:, None]
        y = at + torch.tanh(M).amax(-1)
        rows.append(y)
    return torch.stack(rows), M


@cell(axes={"h": ("head", "unit"), "c": ("head", "key")})
def block_diagonal(x, h, c):  # maps per head of the input, of states, of what is computed
    z = sigmoid(linear("z", x, h, per="head"))
    u = gw.weight("u", per="head")
    n = tanh(linear("n", x, z * h, per="head") + u(h) - u.T(z * h))
    k = linear("k", h, c, bias=False, per="head", size=("head", "key"))
    s = sigmoid(linear("s", c, per="head", size="head"))
    return (1 - z) * h + s * n, tanh(k)


def block_diagonal_of_torch(x, w, sizes):
    def per_head(v, name, gate):
        weight = w[name].unflatten(0, (sizes["head"], -1))  # [head, rows, columns]
        return torch.einsum("bhc,hrc->bhr", v, weight) + gate

    def parts(name, length):  # of two gates
        at = sizes["head"] * length
        return {name: w[name][:at], f"{name}2": w[name][at:]}

    heads, rows = sizes["head"], []
    w = {**w, **parts("weight_hh", sizes["unit"]), **parts("weight_ch", sizes["key"])}
    b = {n: w[n].unflatten(0, (heads, -1)) for n in ("bias_hh", "bias_nh", "bias_ch")}
    z_, n_ = (w[g].unflatten(-1, (heads, -1)) for g in "zn")
    h = x.new_zeros(x.shape[1], heads, sizes["unit"])
    c = x.new_zeros(x.shape[1], heads, sizes["key"])
    for t in range(len(x)):
        z = torch.sigmoid(per_head(h, "weight_hh", z_[t] + b["bias_hh"]))
        n = per_head(z * h, "weight_nh", n_[t] + b["bias_nh"])
        n = n + per_head(h, "weight_u", 0)
        n = n - torch.einsum("bhr,hrc->bhc", z * h, w["weight_u"].unflatten(0, (heads, -1)))
        k = per_head(h, "weight_hh2", 0) + per_head(c, "weight_ch", 0)
        s = torch.sigmoid(per_head(c, "weight_ch2", b["bias_ch"]))
        h, c = (1 - z) * h + s * torch.tanh(n), torch.tanh(k)
        rows.append(h.flatten(1))
    return torch.stack(rows), c


@cell(axes={"z": ("unit",)})
def dendritic(x, z):  # Brenner et al. 2022, eq. 4 and 5
    a, t = gw.vector("a", size="basis"), gw.vector("t", size=("unit", "basis"))
    bent = gw.sum(a * gw.relu(z - t), "basis")
    z = gw.vector("kept", 0.5, size="unit") * z + linear("w", bent, size="unit", group="wb")
    return z + linear("x", x, bias=False, size="unit")


def dendritic_of_torch(x, w, sizes):
    z, rows = x.new_zeros(x.shape[1], sizes["unit"]), []
    for t in range(len(x)):
        bent = w["a"] * torch.relu(z[..., None] - w["t"].unflatten(-1, (-1, sizes["basis"])))
        z = w["kept"] * z + bent.sum(-1) @ w["weight_wb"].T + w["bias_wb"] + w["x"][t]
        rows.append(z)
    return torch.stack(rows), z


@cell(axes={"h": ("unit",), "A": ("unit", "other")})
def fast_weights(x, h, A):  # Ba et al. 2016, eq. 1, 2 and 5
    A = 0.9 * A + 0.5 * h * gw.rename(h, unit="other")
    given = linear("n", x, h, size="unit")
    h = gw.tanh(given)
    for _ in range(2):
        h = gw.tanh(given + gw.layer_norm(gw.sum(A * gw.rename(h, unit="other"), "other")))
    return h, A


def fast_weights_of_torch(x, w, sizes):
    n = sizes["unit"]
    h, A, rows = x.new_zeros(x.shape[1], n), x.new_zeros(x.shape[1], n, n), []
    for t in range(len(x)):
        A = 0.9 * A + 0.5 * torch.einsum("bi,bj->bij", h, h)
        given = w["n"][t] + h @ w["weight_hh"].T + w["bias_hh"]
        h = torch.tanh(given)
        for _ in range(2):
            recalled = torch.einsum("bij,bj->bi", A, h)
            h = torch.tanh(given + torch.nn.functional.layer_norm(recalled, (n,)))
        rows.append(h)
    return torch.stack(rows), A


AXES_CELLS = {
    "delta_rule": (delta_rule, delta_rule_of_torch, ("key", "value")),
    "gated_heads": (gated_heads, gated_heads_of_torch, ("head", "key", "value")),
    "selective": (selective, selective_of_torch, ("unit", "mode")),
    "matrix_memory": (matrix_memory, matrix_memory_of_torch, ("head", "key", "value")),
    "content_addressed": (content_addressed, content_addressed_of_torch, ("slot", "word")),
    "block_diagonal": (block_diagonal, block_diagonal_of_torch, ("head", "unit", "key")),
    "dendritic": (dendritic, dendritic_of_torch, ("unit", "basis")),
    "fast_weights": (fast_weights, fast_weights_of_torch, ("unit",)),
}


def gates_of_input(layer, x):
    """The map of the input of each gate at every step, and what else the layer has learned."""
    found = {}
    for p in layer.cell.parameters:
        value = getattr(layer, f"{p.name}_l0")
        if p.name in ("weight_ih", "bias_ih"):
            for gate, rows in p.spans(layer._stack[0][0].sizes).items():
                part = x @ value[rows].T if p.cols else value[rows]
                found[gate] = found.get(gate, 0) + part
        else:
            found[p.name] = value
    return found


@st.composite
def random_axes_cells(draw):
    """A strategy for cells with a state of two axes and states of one, all mixed at random."""

    def value(pool, depth):
        if depth == 0 or draw(st.booleans()):
            return draw(st.sampled_from(pool))
        a, b = value(pool, depth - 1), value(pool, depth - 1)
        return {
            "mul": lambda: gw.tanh(a) * gw.sin(b),
            "add": lambda: a + b,
            "mix": lambda: gw.sigmoid(a) * b,
            "div": lambda: a / (1.5 + b * b),
            "where": lambda: gw.where(a < b, a * 0.5, b),
            "sum": lambda: _along(draw, gw.sum, a) * 0.2,
            "mean": lambda: b * _along(draw, gw.mean, a),
            "amax": lambda: _along(draw, gw.amax, a) - b,
            "peak": lambda: b * _along(draw, gw.amax, a * b + 0.3 * a),
            "unit": lambda: _along(draw, gw.rms_norm, a, eps=0.1),
            "softmax": lambda: _along(draw, gw.softmax, a),
            **{n: lambda n=n: _moved(draw, MOVED[n], gw.tanh(a)) + b * 0.1 for n in MOVED},
            "rename": lambda: _renamed(draw, gw.tanh(a), b),
        }[draw(st.sampled_from(OPERATIONS))]()

    def fitted(v, size):
        """A value with axes that a state lacks, without them."""
        have = {axis for axis in gw.lang.axes.slots(v.size) if axis != "1"}
        over = sorted(have - set(gw.lang.axes.slots(size)))
        return gw.tanh(gw.sum(v, over)) if over else gw.tanh(v)

    def random_axes_cell(x, h, n, S):
        pool = [h, n, S]
        pool += [linear(f"k{i}", x, size="key") for i in range(draw(st.integers(0, 2)))]
        pool += [linear(f"v{i}", x, h, size="value") for i in range(draw(st.integers(1, 2)))]
        pool += [gw.vector("p", 0.5, size=("key", "value")), sigmoid(linear("b", x, size="1"))]
        if draw(st.booleans()):
            pool.append(linear("of", gw.tanh(value(pool, 2)), size="key"))
        if draw(st.booleans()):  # maps per key
            size = draw(st.sampled_from(["key", ("key", "value")]))
            drawn = gw.tanh(value(pool, 2))
            read = [drawn, S] if "key" in gw.lang.axes.slots(drawn.size) else [S]
            pool.append(linear("per", x, *read[:1], size=size, per="key"))
            u = gw.weight("u", per="key")
            pool.append(u(S) - u.T(gw.tanh(S)))
        new = [value(pool, 3) for _ in range(3)]
        used = 0.0
        for one in pool[3:]:  # every gate is used
            used = used + 0.1 * gw.tanh(gw.mean(one))
        states = zip(new, ("1,value", "key,1", "key,value"), strict=True)
        h, n, S = (fitted(v, size) for v, size in states)
        return h + used, n, S

    try:
        return gw.cell(axes={"h": ("value",), "n": ("key",), "S": ("key", "value")})(
            random_axes_cell
        )
    except gw.DefinitionError as error:
        if "is never used" not in str(error):  # what a gate was used for is 0
            raise
        reject()


MOVED = {  # of a value and the name of one of its axes
    "roll": lambda v, d: gw.roll(v, 2, d),
    "shift": lambda v, d: gw.shift(v, -1, d),
    "flip": gw.flip,
    "cumsum": lambda v, d: 0.1 * gw.cumsum(v, d),
    "take": lambda v, d: v - gw.sum(gw.take(v, [0, 0], dim=d), "2"),
    "push": lambda v, d: gw.split(gw.cat([0.5, v], d), [d, "1"], d)[0],
    "halves": lambda v, d: gw.chunk(gw.roll(gw.cat([v, gw.sin(v)], d), 1, d), 2, d)[1],
}
OPERATIONS = (
    *("mul", "add", "mix", "div", "where", "sum", "mean", "amax", "peak", "unit", "softmax"),
    *("rename", *MOVED),
)


def _moved(draw, word, v):
    """A value with its units in other places along one of its axes, if it has any."""
    axes = [axis for axis in gw.lang.axes.slots(v.size) if axis != "1"]
    return word(v, draw(st.sampled_from(axes))) if axes else v


OTHER = {"key": "other_key", "value": "other_value"}  # axes of the same lengths that no state has


def _renamed(draw, v, w):
    """A value times another that is read along another axis, if it has any, summed over that."""
    axes = [axis for axis in gw.lang.axes.slots(v.size) if axis != "1"]
    if not axes:
        return v * w
    axis = draw(st.sampled_from(axes))
    return 0.2 * gw.sum(w * gw.rename(v, **{axis: OTHER[axis]}), OTHER[axis])


def _along(draw, word, v, **options):
    axes = [axis for axis in gw.lang.axes.slots(v.size) if axis != "1"]
    dims = [None, *axes] if "," in v.size or v.size != "1" else [None]
    return word(v, dim=draw(st.sampled_from(dims)), **options)
