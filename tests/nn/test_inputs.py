"""Layers of cells that read several inputs: every form in which a call is given them.

What holds for every cell is tested on such cells by the battery of tests/cells.

Legend: T steps, B sequences, I input size, H hidden size, C the size of a context.
"""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jvp, vmap
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

import gatework as gw
from numerics import assert_same, flat, gradients, randomised

T, B, I, H, C = 6, 4, 5, 7, 3
BACKENDS = ("reference", "cpu")


@gw.cell(sizes={"mask": "input"}, given={"speaker": "context", "volume": "1"})
def heard(x, mask, gap, speaker, volume, /, h, c):
    """Every kind of input, mapped and not, in one step."""
    kept = gw.exp(-gw.softplus(gw.linear("d", gap)))
    row = x * mask
    i = gw.sigmoid(gw.linear("i", row, group="row") + gw.linear("i", h, speaker))
    n = gw.tanh(gw.linear("n", row, group="row") + volume * gw.linear("n", h, mask))
    c = kept * c + i * n
    return gw.tanh(c) * gw.sigmoid(gw.linear("o", volume)) + gw.sum(speaker) * gap / 10, c


def by_hand(layer, x, mask, gap, speaker, volume):
    """The same in torch, [T, B, …] each."""
    w = {n.removesuffix("_l0"): p for n, p in layer.named_parameters()}
    h = c = x.new_zeros(x.shape[1], H)
    rows = []
    for x_t, m, g in zip(x, mask, gap, strict=True):
        kept = torch.exp(-nn.functional.softplus(g @ w["weight_gaph"].T + w["bias_gaph"]))
        row = (x_t * m) @ w["weight_row"].T + w["bias_row"]
        of_h = h @ w["weight_hh"].T + w["bias_hh"]
        i = torch.sigmoid(
            row[:, :H] + of_h[:, :H] + speaker @ w["weight_speakerh"].T + w["bias_speakerh"]
        )
        second = of_h[:, H:] + m @ w["weight_maskh"].T + w["bias_maskh"]
        n = torch.tanh(row[:, H:] + volume * second)
        c = kept * c + i * n
        o = torch.sigmoid(volume @ w["weight_volumeh"].T + w["bias_volumeh"])
        h = torch.tanh(c) * o + speaker.sum(1, keepdim=True) * g / 10
        rows.append(h)
    return torch.stack(rows), h, c


def layer_of(cell=heard, dtype=torch.float64, **options):
    sizes = dict.fromkeys(cell.size_names(), C)
    return randomised(gw.nn.Recurrent(cell, I, H, dtype=dtype, **sizes, **options))


def normal(*shape, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype).requires_grad_()


def given(steps=T, batch=B, dtype=torch.float64):
    """An input, and what `heard` reads beside it."""
    further = {
        "mask": normal(steps, batch, I, dtype=dtype),
        "gap": normal(steps, batch, 1, dtype=dtype),
        "speaker": normal(batch, C, dtype=dtype),
        "volume": normal(batch, 1, dtype=dtype),
    }
    return normal(steps, batch, I, dtype=dtype), further


def detached(further):
    return {n: v.detach() for n, v in further.items()}


# ---- the numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(T, B), (1, 3), (3, 1), (2, 17)], ids=str)
def test_outputs_and_all_gradients_are_those_of_a_loop_in_torch(backend, shape):
    layer, (x, further) = layer_of(), given(*shape)
    sources = {"x": x, **further, **dict(layer.named_parameters())}
    with gw.use_backend(backend):
        y, (h, c) = layer(x, **further)
        found = {"y": y, "h": h[0], "c": c[0]}
        expected = dict(zip("yhc", by_hand(layer, x, **further), strict=True))
        assert_same(found, expected, 1e-9)
        assert_same(gradients(found, sources), gradients(expected, sources), 1e-9)


@pytest.mark.parametrize("wanted", ["x", "mask", "gap", "speaker", "volume", "weight_speakerh_l0"])
def test_each_gradient_alone_is_the_same_as_among_all(wanted):
    layer, (x, further) = layer_of(), given()
    sources = {"x": x, **further, **dict(layer.named_parameters())}
    expected = torch.autograd.grad(layer(x, **further)[0].square().sum(), list(sources.values()))
    for name, value in sources.items():
        value.requires_grad_(name == wanted)
    (found,) = torch.autograd.grad(layer(x, **further)[0].square().sum(), sources[wanted])
    torch.testing.assert_close(found, dict(zip(sources, expected, strict=True))[wanted])


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_machine_code_on_threads_agrees_with_the_reference(threads, dtype):
    layer = randomised(gw.nn.Recurrent(heard, I, 40, 1, context=C, dtype=dtype, bidirectional=True))
    x, further = given(9, 33, dtype)
    lengths = torch.arange(33) % 10
    sources = {"x": x, **further, **dict(layer.named_parameters())}
    results = []
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for backend in BACKENDS:
            with gw.use_backend(backend):
                found = flat(layer(x, lengths=lengths, **further))
                results.append({**found, **gradients(found, sources)})
    finally:
        torch.set_num_threads(before)
    assert_same(results[1], results[0], 1e-4 if dtype == torch.float32 else 1e-10)


def test_inputs_that_are_views_are_read_as_they_are():
    layer, (x, further) = layer_of(), given()
    expected = flat(layer(x, **further))
    strided = {
        n: torch.stack([v, v], -1).transpose(0, 1)[..., 1].transpose(0, 1)
        for n, v in further.items()
    }
    assert not any(v.is_contiguous() for v in strided.values())
    assert_same(flat(layer(x, **strided)), expected, 1e-12)


def test_several_layers_and_directions_all_read_them():
    @gw.cell(given={"speaker": "context"})
    def steered(x, gap, speaker, /, h):
        return gw.tanh(gw.linear("n", x, h, speaker)) / (1 + gap * gap)

    layer = layer_of(steered, num_layers=2, bidirectional=True)
    x, gap, speaker = normal(T, B, I), normal(T, B), normal(B, C)
    y = x
    for k in range(2):
        parts = []
        for suffix in ("", "_reverse"):
            one = gw.nn.Recurrent(steered, y.shape[-1], H, context=C, dtype=torch.float64)
            weights = {
                n: getattr(layer, n.replace("_l0", f"_l{k}{suffix}")) for n in one.state_dict()
            }
            turn = (lambda v: v.flip(0)) if suffix else (lambda v: v)
            options = {"gap": turn(gap), "speaker": speaker}
            parts.append(turn(functional_call(one, weights, (turn(y),), options)[0]))
        y = torch.cat(parts, -1)
    torch.testing.assert_close(layer(x, gap=gap, speaker=speaker)[0], y)


# ---- forms ---------------------------------------------------------------------------------------


def test_batch_first_and_a_sequence_alone():
    layer, (x, further) = layer_of(), given()
    expected, _ = layer(x, **further)
    turned = layer_of(batch_first=True)
    per_step = {n: v.transpose(0, 1) if n in ("mask", "gap") else v for n, v in further.items()}
    y, _ = turned(x.transpose(0, 1), **per_step)
    torch.testing.assert_close(y.transpose(0, 1), expected)
    for form in (lambda v: v, lambda v: v.squeeze(-1)):  # with and without the axis of 1
        alone = {"mask": further["mask"][:, 0], "gap": form(further["gap"][:, 0])}
        alone |= {"speaker": further["speaker"][0], "volume": form(further["volume"][0])}
        torch.testing.assert_close(layer(x[:, 0], **alone)[0], expected[:, 0])


def test_numbers_and_booleans():
    layer, (x, further) = layer_of(), given()
    full = {**further, "gap": torch.full((T, B), 0.5), "volume": torch.full((B, 1), 2.0)}
    full |= {"gap": full["gap"].double(), "volume": full["volume"].double()}
    mask = torch.rand(T, B, I) < 0.5
    expected = flat(layer(x, **{**full, "mask": mask.double()}))
    assert_same(flat(layer(x, **{**further, "mask": mask, "gap": 0.5, "volume": 2})), expected, 0)


LENGTHS = [3, 6, 0, 4]


def test_packed_sequences_take_packed_inputs_and_padded_ones():
    layer, (x, further) = layer_of(), given()
    lengths = [3, 6, 1, 4]
    expected, state = layer(x, lengths=lengths, **further)

    def packed(v):
        return pack_padded_sequence(v, lengths, enforce_sorted=False)

    found = layer(packed(x), **further)
    half = {**further, "mask": packed(further["mask"]), "gap": packed(further["gap"].squeeze(-1))}
    for y, final in (found, layer(packed(x), **half)):
        padded, _ = nn.utils.rnn.pad_packed_sequence(y)
        assert_same(flat((padded, final)), flat((expected, state)), 1e-12)


def test_a_list_of_sequences_takes_lists_of_inputs_and_padded_ones():
    layer, (x, further) = layer_of(), given()
    lengths = [3, 6, 1, 4]
    expected, state = layer(x, lengths=lengths, **further)
    listed = [x[:n, b] for b, n in enumerate(lengths)]
    per_step = {
        "mask": [further["mask"][:n, b] for b, n in enumerate(lengths)],
        "gap": [further["gap"][:n, b, 0] for b, n in enumerate(lengths)],
    }
    for given_as in (further, {**further, **per_step}):
        y, final = layer(listed, **given_as)
        assert_same(flat(final), flat(state), 1e-12)
        for b, n in enumerate(lengths):
            torch.testing.assert_close(y[b], expected[:n, b])


@pytest.mark.parametrize("backend", BACKENDS)
def test_padding_of_inputs_may_hold_anything(backend):
    layer, (x, further) = layer_of(), given()
    over = (torch.arange(T)[:, None] >= torch.tensor(LENGTHS))[..., None]
    dirty = {
        n: v.detach().masked_fill(over, torch.nan).requires_grad_() if v.dim() == 3 else v
        for n, v in further.items()
    }
    results = []
    with gw.use_backend(backend):
        for rows in (further, dirty):
            found = flat(layer(x, lengths=LENGTHS, **rows))
            results.append({**found, **gradients(found, {"x": x, **rows})})
    assert_same(results[1], results[0], 0)


def test_resets_leave_what_is_read_once_for_a_sequence():
    layer, (x, further) = layer_of().eval(), given()
    resets = torch.zeros(T, B, dtype=torch.bool)
    resets[2] = True
    found = layer(x, resets=resets, **further)
    first, second = (
        layer(x[part], **{n: v[part] if v.dim() == 3 else v for n, v in further.items()})
        for part in (slice(2), slice(2, T))
    )
    expected = torch.cat([first[0], second[0]]), second[1]
    assert_same(flat(found), flat(expected), 1e-12)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_and_autocast(half):
    layer = layer_of(dtype=torch.float32)
    x, further = given(dtype=torch.float32)
    rounded = {n: v.detach().to(half) for n, v in further.items()}
    low = copy.deepcopy(layer).to(half)
    expected = flat(
        copy.deepcopy(low).float()(x.to(half).float(), **{n: v.float() for n, v in rounded.items()})
    )
    found = flat(low(x.to(half), **rounded))
    assert_same(found, {n: v.to(half) for n, v in expected.items()}, 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, _ = layer(x, **{**further, "gap": further["gap"].bfloat16()})
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert further["speaker"].grad.dtype == torch.float32


def test_a_trace_is_of_the_same_call_and_values_can_be_pinned():
    layer, (x, further) = layer_of(), given()
    trace = layer.trace(x, **further)
    assert_same(flat((trace.output, trace.state)), flat(layer(x, **further)), 1e-12)
    held = layer.trace(x, pin={"i": 0.25}, **further)
    assert (held["i"] == 0.25).all()
    assert_same(flat(held.output), flat(layer(x, pin={"i": 0.25}, **further)[0]), 1e-12)


def test_dropout_of_the_input_is_that_of_x_alone():
    layer = layer_of(input_dropout=0.5, zoneout=0.1, recurrent_dropout=0.2, weight_drop=0.3)
    x, further = given()
    dropped = gw.rewriting.input_dropout(heard, 0.5)
    assert "v0 = x * noise0 / 0.5 * mask" in gw.explain(dropped).equations
    y, _ = layer(x, **further)
    y.sum().backward()
    assert all(v.grad.isfinite().all() for v in further.values())
    assert (further["speaker"].grad != 0).all()


# ---- single steps and streams --------------------------------------------------------------------


def test_single_steps_are_the_layer():
    layer, (x, further) = layer_of(), given()
    y, _ = layer(x, **further)
    step = gw.nn.RecurrentCell(heard, I, H, context=C, dtype=torch.float64)
    step.load_state_dict({n.removesuffix("_l0"): v for n, v in layer.state_dict().items()})
    state = None
    for t in range(T):
        rows = {n: v[t] if v.dim() == 3 else v for n, v in further.items()}
        state = step(x[t], state, **rows)
        torch.testing.assert_close(state[0], y[t])
    alone = {n: v[0, 0] if v.dim() == 3 else v[0] for n, v in further.items()}
    alone["gap"] = alone["gap"].squeeze(-1)
    torch.testing.assert_close(step(x[0, 0], **alone)[0], y[0, 0])
    torch.testing.assert_close(step(x[0], **{**rows, "gap": 1.5, "volume": 1})[0].shape, (B, H))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch", [1, B])
def test_a_stream_is_the_layer(backend, batch):
    layer, (x, further) = layer_of().eval(), given(batch=batch)
    further = detached(further)
    with gw.use_backend(backend):
        y, state = layer(x, **further)
        stream = layer.stream(batch, speaker=further["speaker"], volume=further["volume"])
        for t in range(T):
            row = stream.step(x[t], mask=further["mask"][t], gap=further["gap"][t])
            torch.testing.assert_close(row, y[t].detach())
        assert_same(flat(stream.state), flat(state), 1e-12)
        stream.reset()
        as_arrays = x[0].detach().numpy(), further["mask"][0].numpy(), further["gap"][0].numpy()
        row = stream.step(as_arrays[0], mask=as_arrays[1], gap=as_arrays[2])
        assert isinstance(row, np.ndarray)
        torch.testing.assert_close(torch.from_numpy(row), y[0].detach())


def test_a_stream_of_one_sequence_takes_rows_and_numbers():
    layer, (x, further) = layer_of().eval(), given(batch=1)
    further = detached(further) | {"gap": torch.full((T, 1, 1), 0.5).double()}
    y, _ = layer(x, **further)
    stream = layer.stream(speaker=further["speaker"][0], volume=float(further["volume"]))
    for t in range(T):
        row = stream.step(
            x[t, 0], mask=further["mask"][t, 0], gap=(0.5, torch.tensor(0.5).double())[t % 2]
        )
        torch.testing.assert_close(row, y[t, 0].detach())


def test_a_stream_of_several_layers_and_of_changed_weights():
    @gw.cell(given={"speaker": "context"})
    def steered(x, gap, speaker, /, h):
        return gw.tanh(gw.linear("n", x, h, speaker)) / (1 + gap * gap)

    layer = layer_of(steered, num_layers=3).eval()
    x, gap, speaker = normal(T, B, I), normal(T, B).detach(), normal(B, C).detach()
    stream = layer.stream(B, speaker=speaker)
    for scale in (1, 2):
        with torch.no_grad():
            for p in layer.parameters():
                p.mul_(scale)
        y, _ = layer(x, gap=gap, speaker=speaker)
        stream.reset()
        for t in range(T):
            torch.testing.assert_close(stream.step(x[t], gap=gap[t]), y[t].detach())


def test_a_stream_takes_another_value_where_a_sequence_begins_anew():
    layer, (x, further) = layer_of().eval(), given()
    further, other = detached(further), detached(given()[1])
    stream = layer.stream(B, speaker=further["speaker"], volume=further["volume"])
    stream.step(x[0], mask=further["mask"][0], gap=further["gap"][0])
    stream.reset([False, True, False, True], speaker=other["speaker"])
    row = stream.step(x[1], mask=further["mask"][1], gap=further["gap"][1])
    begun = layer(
        x[1:2],
        **{
            **{n: v[1:2] if v.dim() == 3 else v for n, v in further.items()},
            "speaker": other["speaker"],
        },
    )[0][0]
    went_on = layer(x[:2], **{n: v[:2] if v.dim() == 3 else v for n, v in further.items()})[0][1]
    torch.testing.assert_close(row[1::2], begun[1::2].detach())
    torch.testing.assert_close(row[::2], went_on[::2].detach())


def test_copies_of_a_stream_have_its_inputs():
    layer, (x, further) = layer_of().eval(), given()
    further = detached(further)
    stream = layer.stream(B, speaker=further["speaker"], volume=further["volume"])
    feed = {"mask": further["mask"][0], "gap": further["gap"][0]}
    expected = stream.step(x[0], **feed).clone()
    copies = [copy.copy(stream), copy.deepcopy(stream), pickle.loads(pickle.dumps(stream))]
    stream.reset(speaker=torch.zeros(B, C, dtype=torch.float64))
    for other in copies:
        other.reset()
        torch.testing.assert_close(other.step(x[0], **feed), expected)


# ---- inputs with axes ----------------------------------------------------------------------------


@gw.cell(
    axes={"M": ("slot", "width")},
    given={"notes": ("slot", "width"), "mask": "slot"},
    sizes={"turn": "hidden"},
)
def reading(x, turn, notes, mask, /, h, M):
    M = 0.5 * M + gw.tanh(gw.linear("key", x, size="width") * notes)
    read = gw.sum(mask * M, "slot")
    return gw.tanh(gw.linear("n", x, h, read) + turn), M


def to_read():
    torch.manual_seed(0)
    layer = gw.nn.Recurrent(reading, I, H, slot=3, width=2, dtype=torch.float64)
    further = {"turn": normal(T, B, H), "notes": normal(B, 3, 2), "mask": normal(B, 3)}
    return layer, normal(T, B, I), further


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_axes_of_an_input_may_lie_in_one_or_apart(backend):
    layer, x, further = to_read()
    (key, n), (to_key, to_n) = (p.split([2, H]) for p in (layer.weight_ih_l0, layer.bias_ih_l0))
    h, M = x.new_zeros(B, H), x.new_zeros(B, 3, 2)
    for t in range(T):
        M = 0.5 * M + torch.tanh((x[t] @ key.T + to_key)[:, None] * further["notes"])
        read = torch.einsum("bs,bsw->bw", further["mask"], M)
        h = x[t] @ n.T + to_n + h @ layer.weight_hh_l0.T + layer.bias_hh_l0 + further["turn"][t]
        h = torch.tanh(h + read @ layer.weight_nh_l0.T + layer.bias_nh_l0)
    sources = {"x": x, **further, **dict(layer.named_parameters())}
    with gw.use_backend(backend):
        _, (found, _) = layer(x, **further)
        in_one = layer(x, **{**further, "notes": further["notes"].flatten(1)})[1][0]
        assert_same(gradients({"h": found[0]}, sources), gradients({"h": h}, sources), 1e-9)
    torch.testing.assert_close(found[0], h)
    assert torch.equal(in_one, found)


def test_steps_and_streams_take_inputs_with_axes():
    layer, x, further = to_read()
    layer, further = layer.eval(), detached(further)
    y, _ = layer(x, **further)
    once = {n: further[n] for n in ("notes", "mask")}
    stream, state = layer.stream(B, **once), None
    step = gw.nn.RecurrentCell(reading, I, H, slot=3, width=2, dtype=torch.float64)
    step.load_state_dict({n.removesuffix("_l0"): v for n, v in layer.state_dict().items()})
    for t in range(T):
        torch.testing.assert_close(stream.step(x[t], turn=further["turn"][t]), y[t].detach())
        state = step(x[t], state, turn=further["turn"][t], **once)
        torch.testing.assert_close(state[0], y[t])
    alone = layer.stream(1, **{n: v[0] for n, v in once.items()})
    torch.testing.assert_close(alone.step(x[0, 0], turn=further["turn"][0, 0]), y[0, 0].detach())
    stream.reset([True, False, False, False], notes=0 * once["notes"])
    torch.testing.assert_close(stream._once["notes"][1:], once["notes"][1:].flatten(1))
    assert (stream._once["notes"][0] == 0).all()


@pytest.mark.parametrize("threads", [2, 3, 4])
def test_threads_share_no_axes_that_an_input_alone_has(threads):
    cell, lengths = gw.cells.attention_decoder, {"position": 17, "align": 24, "width": 40}
    layer = gw.nn.Recurrent(cell, I, 48, **lengths, dtype=torch.float64)
    given = {"keys": normal(3, 17, 24), "annotations": normal(3, 17, 40), "mask": torch.ones(3, 17)}
    given["mask"] = given["mask"].double()
    x, before = normal(20, 3, I), torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        found = layer(x, **given)[0]
    finally:
        torch.set_num_threads(before)
    with gw.use_backend("reference"):
        torch.testing.assert_close(found, layer(x, **given)[0])


def test_an_input_of_other_axes_is_told():
    layer, x, further = to_read()
    with pytest.raises(
        ValueError, match=r"notes should have the shape \[4, 3, 2\] or \[4, 6\], got \[4, 2, 3\]"
    ):
        layer(x, **{**further, "notes": normal(B, 2, 3)})


# ---- what else runs layers -----------------------------------------------------------------------


@pytest.mark.slow
def test_a_compiled_layer_is_one_graph():
    torch._dynamo.reset()
    layer, (x, further) = layer_of(), given()

    def run(x, lengths, further):
        y, state = layer(x, lengths=lengths, **further)
        return y, state, layer.trace(x, pin={"i": 0.25}, **further).output

    lengths = torch.tensor([6, 3, 0, 2])
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    found, expected = flat(compiled(x, lengths, further)), flat(run(x, lengths, further))
    assert_same(found, expected, 1e-12)
    sources = {"x": x, **further, **dict(layer.named_parameters())}
    assert_same(gradients(found, sources), gradients(expected, sources), 1e-10)


def test_an_exported_layer_needs_no_layer():
    layer, (x, further) = layer_of().eval(), given()
    x, further = x.detach(), detached(further)
    exported = torch.export.export(layer, (x,), further)
    x, further = given()
    assert_same(flat(exported.module()(x, **further)), flat(layer(x, **further)), 1e-12)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_model_is_traced_by_jit_and_by_fx():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer_of().eval()

        def forward(self, x, mask, gap, speaker, volume):
            return self.layer(x, mask=mask, gap=gap, speaker=speaker, volume=volume)[0]

    model, (x, further) = Model(), given()
    arguments = (x.detach(), *detached(further).values())
    expected = model(*arguments)
    torch.testing.assert_close(torch.jit.trace(model, arguments)(*arguments), expected)
    graph = torch.fx.symbolic_trace(model)
    assert [n.kwargs.keys() for n in graph.graph.nodes if n.op == "call_module"] == [{*further}]
    torch.testing.assert_close(graph(*arguments), expected)


def test_shapes_are_known_on_meta():
    layer, (x, further) = layer_of(), given()
    expected = {n: v.shape for n, v in flat(layer(x, **further)).items()}
    meta = {n: v.to("meta") for n, v in further.items()}
    found = flat(layer.to("meta")(x.to("meta"), **meta))
    assert {n: v.shape for n, v in found.items()} == expected


def test_gradients_of_each_sequence_and_over_many_inputs():
    layer, (x, further) = layer_of().eval(), given()
    x, further = x.detach(), detached(further)

    def loss(speaker, gap, b):
        rows = {"mask": further["mask"][:, :1], "gap": gap[:, None], "speaker": speaker[None]}
        y, _ = layer(x[:, :1], volume=further["volume"][:1] * b, **rows)
        return y.sin().sum()

    speakers, gaps = further["speaker"], further["gap"]
    found = vmap(grad(loss, (0, 1)), (0, 1, None))(speakers, gaps, 1.0)
    for b in range(B):
        alone = speakers[b].clone().requires_grad_(), gaps[:, b].clone().requires_grad_()
        expected = torch.autograd.grad(loss(*alone, 1.0), alone)
        torch.testing.assert_close(found[0][b], expected[0])
        torch.testing.assert_close(found[1][b], expected[1])


def test_an_ensemble_with_inputs_in_common():
    layers = [randomised(layer_of().eval(), seed) for seed in range(3)]
    x, further = given()
    x, further = x.detach(), detached(further)
    stacked = {
        n: torch.stack([getattr(m, n).detach() for m in layers]) for n in layers[0].state_dict()
    }

    def value(parameters, speaker):
        rows = {**further, "speaker": speaker}
        return functional_call(layers[0], parameters, (x,), rows)[0].square().sum()

    found = vmap(grad(value, (0, 1)), (0, None))(stacked, further["speaker"])
    for k, layer in enumerate(layers):
        speaker = further["speaker"].clone().requires_grad_()
        y, _ = layer(x, **{**further, "speaker": speaker})
        sources = [*layer.parameters(), speaker]
        expected = torch.autograd.grad(y.square().sum(), sources)
        have = [*(found[0][n][k] for n, _ in layer.named_parameters()), found[1][k]]
        for f, e in zip(have, expected, strict=True):
            torch.testing.assert_close(f, e)


def test_forward_mode_and_derivatives_of_second_order():
    layer, (x, further) = layer_of().eval(), given(3, 2)
    names = list(further)

    def run(*rows):
        return layer(x, **dict(zip(names, rows, strict=True)))[0]

    rows = tuple(further.values())
    tangents = tuple(torch.randn_like(v) for v in rows)
    y, tangent = jvp(run, rows, tangents)
    w = torch.randn_like(y)
    pulled = torch.autograd.grad(run(*rows), rows, w)
    expected = sum((p * t).sum() for p, t in zip(pulled, tangents, strict=True))
    torch.testing.assert_close((tangent * w).sum(), expected)
    assert torch.autograd.gradgradcheck(run, rows, fast_mode=True)


# ---- errors --------------------------------------------------------------------------------------


def wrong(**changes):
    x, further = given()
    further = {**further, **changes}
    return x, {n: v for n, v in further.items() if v is not None}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"gap": None}, TypeError, "cell 'heard' reads gap as well as its input; give gap=…"),
        ({"gap": None, "mask": None}, TypeError, "reads mask, gap as well as its input"),
        ({"speeker": 1.0}, TypeError, "argument 'speeker'; did you mean 'speaker'"),
        ({"length": [1]}, TypeError, "argument 'length'; did you mean 'lengths'"),
        ({"zzz": 1.0}, TypeError, "reads mask, gap, speaker, volume beside its input"),
        ({"mask": 1.0}, TypeError, "mask should be a tensor, got float"),
        ({"gap": "1"}, TypeError, "gap should be a tensor or a number, got str"),
        ({"gap": normal(T, B)[1:]}, ValueError, r"the shape \[6, 4, 1\] or \[6, 4\], got"),
        ({"mask": normal(B, T, I)}, ValueError, r"got \[4, 6, 5\]; is batch_first right\?"),
        ({"speaker": normal(T, B, C)}, ValueError, r"speaker should have the shape \[4, 3\]"),
        ({"volume": normal(B, 2)}, ValueError, r"the shape \[4, 1\] or \[4\], got"),
        ({"gap": torch.ones(T, B)}, ValueError, r"gap is torch.float32.*gap.to\(torch.float64\)"),
        ({"gap": torch.ones(T, B).long()}, ValueError, "gap is torch.int64, the input"),
        ({"gap": torch.ones(T, B, device="meta")}, RuntimeError, "gap is on meta"),
        ({"mask": torch.ones(T, B, I).to_sparse()}, TypeError, "mask should be a dense tensor"),
        ({"mask": pack_sequence([torch.ones(2, I)])}, ValueError, "packed sequence, but not"),
    ],
)  # fmt: skip
def test_what_is_given_wrongly_is_told(changes, error, message):
    x, further = wrong(**changes)
    with pytest.raises(error, match=message):
        layer_of()(x, **further)


def test_packed_inputs_of_other_lengths_are_told():
    layer, (x, further) = layer_of(), given()
    packed = pack_padded_sequence(x, [6, 5, 4, 3])
    with pytest.raises(
        ValueError, match="gap is a packed sequence, of other lengths than the input"
    ):
        layer(packed, **{**further, "gap": pack_padded_sequence(further["gap"], [6, 5, 4, 4])})
    x = pack_padded_sequence(x, [3, 6, 4, 5], enforce_sorted=False)
    with pytest.raises(ValueError, match="gap is packed in another order than the input"):
        layer(x, **{**further, "gap": pack_padded_sequence(further["gap"], [6, 5, 4, 3])})


def test_a_layer_without_further_inputs_is_given_none():
    with pytest.raises(
        TypeError, match="unexpected keyword argument 'gap'; cell 'gru' reads nothing"
    ):
        gw.nn.GRU(3, 4)(torch.randn(2, 1, 3), gap=1.0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'gap'"):
        gw.nn.GRUCell(3, 4)(torch.randn(1, 3), gap=1.0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'gap'"):
        gw.nn.GRU(3, 4).stream().step(torch.randn(3), gap=1.0)


def test_an_input_of_the_input_size_fits_the_lowest_layer_alone():
    with pytest.raises(
        ValueError, match="'mask', which has the input's size, 5 in layer 0 and 7 in layer 1"
    ):
        layer_of(num_layers=2)
    assert layer_of(gw.cells.cfc, num_layers=2).num_layers == 2


@pytest.mark.parametrize("name", ["hx", "lengths", "resets", "reset_to", "pin", "names", "input"])
def test_an_input_may_not_have_the_name_of_an_argument(name):
    made = {"gw": gw}
    exec(f"def taken(u, {name}, /, h): return gw.tanh(gw.linear('n', u, h)) * {name}", made)
    cell = gw.cell(made["taken"])
    with pytest.raises(
        ValueError, match=f"an input named '{name}', which is the name of an argument"
    ):
        gw.nn.Recurrent(cell, 3, 4)
    with pytest.raises(ValueError, match=f"an input named '{name}'"):
        gw.nn.RecurrentCell(cell, 3, 4)


def test_streams_and_steps_say_what_is_missing():
    layer, (x, further) = layer_of(), given()
    with pytest.raises(
        TypeError, match="reads speaker, volume as well as its input; give speaker=…"
    ):
        layer.stream(B)
    stream = layer.stream(B, **{n: v for n, v in further.items() if v.dim() == 2})
    with pytest.raises(TypeError, match="reads mask, gap as well as its input"):
        stream.step(x[0])
    with pytest.raises(TypeError, match="unexpected keyword argument 'speaker'"):
        stream.step(x[0], speaker=further["speaker"])
    with pytest.raises(
        ValueError, match=r"gap should have the shape \[4, 1\] or \[4\], got \[3, 1\]"
    ):
        stream.step(x[0], mask=further["mask"][0], gap=further["gap"][0, 1:])
    with pytest.raises(TypeError, match="unexpected keyword argument 'gap'"):
        stream.reset(gap=1.0)
    step = gw.nn.RecurrentCell(heard, I, H, context=C)
    with pytest.raises(TypeError, match="reads mask, gap, speaker, volume as well"):
        step(x[0].float())


def test_a_layer_of_another_cell_keeps_the_inputs():
    layer, (x, further) = layer_of(), given()
    other = layer.with_cell(gw.rewriting.zoneout(layer.cell, 0.5)).eval()
    assert not torch.equal(other(x, **further)[0], layer(x, **further)[0])
    with pytest.raises(ValueError, match="has other inputs than the layer's x, gap"):
        layer_of(gw.cells.cfc).with_cell(gw.cells.rnn)
