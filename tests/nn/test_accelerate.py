"""`accelerate`, `acceleration` and `restore`: the same model before, between and after.

A model's outputs and all gradients are compared with those of a copy that nobody touched.
"""

import copy
import io
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils.rnn import pack_padded_sequence

import gatework as gw
from gatework import backends
from gatework.backends import preference
from gatework.nn import swapped
from gatework.nn.recurrent import Recurrent
from gatework.nn.steps import RecurrentCell
from numerics import assert_same, flat, gradients, randomised
from standing_in import standing_in

TOLERANCE = 1e-10
pytestmark = [pytest.mark.usefixtures("float64"), pytest.mark.slow]

LAYERS = {
    "lstm": lambda: nn.LSTM(3, 5),
    "stacked": lambda: nn.LSTM(3, 5, num_layers=3, bidirectional=True, batch_first=True),
    "projected": lambda: nn.LSTM(3, 5, proj_size=2, num_layers=2),
    "no bias": lambda: nn.LSTM(3, 5, bias=False),
    "gru": lambda: nn.GRU(3, 5, num_layers=2, bidirectional=True),
    "rnn": lambda: nn.RNN(3, 5),
    "relu": lambda: nn.RNN(3, 5, nonlinearity="relu", batch_first=True),
}
CELLS = {
    "lstm cell": lambda: nn.LSTMCell(3, 5),
    "gru cell": lambda: nn.GRUCell(3, 5, bias=False),
    "rnn cell": lambda: nn.RNNCell(3, 5),
    "relu cell": lambda: nn.RNNCell(3, 5, nonlinearity="relu"),
}
ALL = {**LAYERS, **CELLS}


def sample(module):
    shape = (4, 3) if isinstance(module, nn.RNNCellBase) else (6, 4, 3)
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def everything(model, *inputs):
    """Outputs and the gradient of the input and every parameter."""
    x, *rest = (i.detach().clone().requires_grad_() for i in inputs)
    outputs = flat(model(x, *rest))
    return {**outputs, **gradients(outputs, {"x": x, **dict(model.named_parameters())})}


def agree(model, untouched, *inputs):
    inputs = inputs or (sample(model),)
    assert_same(everything(model, *inputs), everything(untouched, *inputs), TOLERANCE)


@pytest.fixture
def runs(monkeypatch):
    """How often a layer or step of ours has run."""
    count = {"ours": 0}
    for cls in (Recurrent, RecurrentCell):
        plain = cls.forward

        def counted(self, *args, _plain=plain, **options):
            count["ours"] += 1
            return _plain(self, *args, **options)

        monkeypatch.setattr(cls, "forward", counted)
    return count


# ---- one module --------------------------------------------------------------------------------


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_a_module_gives_the_same_and_is_the_same(make, runs):
    module = randomised(make())
    untouched = copy.deepcopy(module)
    parameters, keys, text = (
        dict(module.named_parameters()),
        list(module.state_dict()),
        repr(module),
    )
    attributes, cls = dict(vars(module)), type(module)

    assert gw.accelerate(module) is module
    with gw.use_backend("cpu"):  # else torch's own code runs a single step
        agree(module, untouched)
    assert runs["ours"] == 1
    assert isinstance(module, cls)
    assert repr(module) == text[:-1] + ", accelerated)"
    assert list(module.state_dict()) == keys
    assert all(p is parameters[n] for n, p in module.named_parameters())

    assert gw.restore(module) is module
    assert type(module) is cls
    assert vars(module).keys() == attributes.keys()
    assert all(vars(module)[n] is v for n, v in attributes.items())
    agree(module, untouched)
    assert runs["ours"] == 1


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_an_accelerated_module_is_copied_and_pickled(make, runs):
    module = gw.accelerate(randomised(make()))
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    for twin in (
        copy.deepcopy(module),
        pickle.loads(pickle.dumps(module)),
        torch.load(file, weights_only=False),
    ):
        assert type(twin) is type(module)
        assert twin is not module
        before = runs["ours"]
        with gw.use_backend("cpu"):
            agree(twin, module)
        assert runs["ours"] == before + 2
        agree(gw.restore(twin), gw.restore(copy.deepcopy(module)))


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_what_others_read_from_torchs_modules_is_there(make):
    module = make()
    names = [n for n in dir(module) if not n.startswith("__") and n != "forward"]
    before = {n: getattr(module, n) for n in names}
    gw.accelerate(module)
    for name, value in before.items():
        now = getattr(module, name)
        assert callable(now) if callable(value) else now is value or now == value, name


def test_torchs_own_code_runs_where_it_is_the_faster_one(runs):
    for make, shape, ours in (
        (CELLS["lstm cell"], (4, 3), 0),
        (LAYERS["lstm"], (1, 4, 3), 1),
        (LAYERS["gru"], (1, 4, 3), 1),
        (LAYERS["rnn"], (2, 4, 3), 0),
        (LAYERS["rnn"], (3, 3), 1),
        (LAYERS["relu"], (3, 2, 3), 0),  # batch first
        (LAYERS["relu"], (2, 3, 3), 1),
    ):
        runs["ours"] = 0
        module = gw.accelerate(make())
        module(torch.randn(shape))
        assert runs["ours"] == ours
    packed = nn.utils.rnn.pack_sequence([torch.randn(2, 3), torch.randn(1, 3)])
    runs["ours"] = 0
    gw.accelerate(LAYERS["rnn"]())(packed)
    assert runs["ours"] == 0


def test_torchs_helpers_work():
    layer = gw.accelerate(nn.LSTM(3, 5, batch_first=True, bidirectional=True))
    x = torch.randn(4, 6, 3)
    layer.flatten_parameters()
    h = torch.zeros(layer.get_expected_hidden_size(x, None))
    assert h.shape == (2, 4, 5)
    layer.check_forward_args(x, (h, h), None)
    layer.permute_hidden((h, h), torch.tensor([1, 0, 3, 2]))
    assert [len(names) for names in layer.all_weights] == [4, 4]
    assert layer.all_weights[0][0] is layer.weight_ih_l0
    assert layer._flat_weights[0] is layer.weight_ih_l0
    assert layer.mode == "LSTM"
    assert layer.proj_size == 0


def test_packed_sequences_and_states():
    layer = randomised(nn.GRU(3, 5, num_layers=2, bidirectional=True))
    untouched = copy.deepcopy(layer)
    packed = pack_padded_sequence(torch.randn(6, 4, 3), [2, 6, 1, 3], enforce_sorted=False)
    state = torch.randn(4, 4, 5)
    gw.accelerate(layer)
    assert_same(flat(layer(packed, state)), flat(untouched(packed, state)), TOLERANCE)
    assert_same(flat(layer(packed, hx=state)), flat(untouched(packed, hx=state)), TOLERANCE)


def test_ours_comes_with_it():
    layer = gw.accelerate(nn.LSTM(3, 5, num_layers=2))
    x = torch.randn(6, 4, 3)
    assert layer.trace(x)["f"].shape == (6, 4, 5)
    assert (layer(x, lengths=[6, 2, 0, 1])[0][2:, 1] == 0).all()
    y, _ = layer(x, pin={"o": 0.0})
    assert (y == 0).all()
    stream = layer.stream()
    assert torch.allclose(stream.step(x[0, :1]), layer(x[:1, :1])[0][0])


def test_weights_that_are_replaced_are_seen():
    layer, other = nn.LSTM(3, 5), randomised(nn.LSTM(3, 5))
    gw.accelerate(layer)
    layer.weight_hh_l0 = other.weight_hh_l0
    for name in ("weight_ih_l0", "bias_ih_l0", "bias_hh_l0"):
        setattr(layer, name, getattr(other, name))
    agree(layer, other)


def test_dtype_and_device_changes():
    layer = gw.accelerate(nn.LSTM(3, 5).to(torch.float32))
    layer.to(torch.float64)
    agree(layer, gw.restore(copy.deepcopy(layer)))
    layer.to(torch.bfloat16)
    x = torch.randn(6, 4, 3, dtype=torch.bfloat16)
    assert torch.equal(layer(x)[0], gw.restore(copy.deepcopy(layer))(x)[0])
    assert layer.to("meta")(x.to("meta"))[0].shape == (6, 4, 5)


def test_dropout_between_layers_follows_the_mode():
    layer = gw.accelerate(nn.LSTM(3, 5, num_layers=2, dropout=0.5))
    x = torch.randn(6, 4, 3)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    assert torch.equal(layer.eval()(x)[0], layer(x)[0])


def test_the_random_state_is_left_alone():
    layer = nn.LSTM(3, 5, num_layers=2)
    before = torch.get_rng_state()
    gw.restore(gw.accelerate(layer))
    assert torch.equal(torch.get_rng_state(), before)


# ---- a model -----------------------------------------------------------------------------------


class Tagger(nn.Module):
    """Layers, single steps, a shared layer and a hidden one."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 3)
        self.below = nn.LSTM(3, 4, bidirectional=True, batch_first=True)
        self.above = nn.ModuleDict({"gru": nn.GRU(8, 5, batch_first=True)})
        self.again = self.above["gru"]
        self.step = nn.LSTMCell(5, 6)
        self.out = nn.Linear(6, 2)

    def forward(self, x):
        x = self.below(self.embed(x) if x.dtype == torch.int64 else x)[0]
        x = self.above["gru"](x)[0] + self.again(x.flip(1))[0]
        state = None
        for t in range(x.shape[1]):
            state = self.step(x[:, t], state)
        return self.out(state[0])


def test_a_model_with_its_optimiser_trains_as_before():
    model = randomised(Tagger())
    untouched = copy.deepcopy(model)
    optimisers = [torch.optim.Adam(m.parameters(), 0.01) for m in (model, untouched)]
    keys = list(model.state_dict())
    tokens = torch.randint(20, (4, 7))
    for step in range(4):
        if step == 1:
            gw.accelerate(model)
        if step == 3:
            gw.restore(model)
        for m, optimiser in zip((model, untouched), optimisers, strict=True):
            optimiser.zero_grad()
            m(tokens).square().mean().backward()
            optimiser.step()
        assert list(model.state_dict()) == keys
        assert_same(dict(model.state_dict()), dict(untouched.state_dict()), 1e-8)


def test_shared_modules_stay_shared():
    model = gw.accelerate(Tagger())
    assert model.again is model.above["gru"]
    assert list(gw.acceleration(model).changed) == ["below", "above.gru", "step"]
    assert not gw.acceleration(model).left
    assert repr(gw.acceleration(model)).splitlines()[2:] == [
        "  changed above.gru: GRU(8, 5, batch_first=True, accelerated)",
        "  changed step: LSTMCell(5, 6, accelerated), by torch's code, which is faster for single "
        "steps",
    ]
    agree(model, gw.restore(copy.deepcopy(model)), torch.randn(4, 7, 3))


def test_hooks_and_training_mode_stay(runs):
    layer, seen = randomised(nn.LSTM(3, 5)), []
    layer.register_forward_pre_hook(lambda m, args: (2 * args[0],))
    layer.register_forward_hook(lambda m, args, out: (out[0] + 1, out[1]))
    layer.register_full_backward_hook(lambda m, gi, go: seen.append("backward"))
    layer.register_state_dict_post_hook(lambda m, s, prefix, meta: s.update(extra=torch.ones(1)))
    layer.register_load_state_dict_post_hook(lambda m, keys: seen.append("loaded"))
    layer.eval()
    x = torch.randn(6, 4, 3, requires_grad=True)
    expected = layer(x)[0]
    gw.accelerate(layer)
    assert not layer.training
    found = layer(x)[0]
    assert runs["ours"] == 1
    assert torch.allclose(found, expected)
    found.sum().backward()
    assert "extra" in layer.state_dict()
    layer.load_state_dict({n: p for n, p in layer.state_dict().items() if n != "extra"})
    assert seen == ["backward", "loaded"]


def test_twice_is_once():
    model = gw.accelerate(gw.accelerate(Tagger()))
    classes = [type(m) for m in gw.restore(gw.restore(model)).modules()]
    assert classes == [type(m) for m in Tagger().modules()]


def test_layers_of_gatework_are_no_matter_of_it():
    model = nn.Sequential(gw.nn.LSTM(3, 5))
    with pytest.warns(UserWarning, match=r"no recurrent layer of torch\.nn"):
        gw.accelerate(model)
    assert repr(gw.acceleration(model)).startswith("0 recurrent module(s) on Gatework, 0 left")


# ---- parametrisations and what derives from torch's classes ------------------------------------


class Halved(nn.Module):
    def forward(self, weight):
        return weight / 2


@pytest.mark.parametrize("first", ["parametrised", "accelerated"])
def test_parametrisations_stay(first, runs):
    layer, untouched = randomised(nn.LSTM(3, 5, num_layers=2)), None
    if first == "accelerated":
        gw.accelerate(layer)
    parametrize.register_parametrization(layer, "weight_hh_l0", Halved())
    parametrizations.weight_norm(layer, "weight_ih_l1")
    if first == "parametrised":
        untouched = copy.deepcopy(layer)
        gw.accelerate(layer)
    twin = copy.deepcopy(layer)
    untouched = untouched or gw.restore(copy.deepcopy(layer))
    for module in (layer, twin):
        assert module.weight_hh_l0.equal(module.parametrizations.weight_hh_l0.original / 2)
        before = runs["ours"]
        agree(module, untouched)
        assert runs["ours"] == before + 1
    assert type(gw.restore(twin)).__base__ is nn.LSTM
    agree(twin, untouched)
    parametrize.remove_parametrizations(layer, "weight_hh_l0")  # torch's copies share a class:
    parametrize.remove_parametrizations(layer, "weight_ih_l1")  # untouched is of no use from here
    assert type(layer) is type(gw.accelerate(nn.LSTM(3, 5)))
    assert type(gw.restore(layer)) is nn.LSTM


def test_the_older_weight_norm_and_its_hook(runs):
    layer = randomised(nn.GRU(3, 5))
    with warnings.catch_warnings(action="ignore"):
        nn.utils.weight_norm(layer, "weight_hh_l0")
    gw.accelerate(layer)
    with torch.no_grad():
        layer.weight_hh_l0_g.mul_(3)
    found = everything(layer, sample(layer))
    assert runs["ours"] == 1
    assert_same(found, everything(gw.restore(layer), sample(layer)), TOLERANCE)


class Spoken(nn.LSTM):
    """A layer as libraries derive it: other defaults, an attribute of its own."""

    def __init__(self, size):
        super().__init__(3, size, batch_first=True)
        self.scale = 2.0

    def reset_parameters(self):
        for p in self.parameters():
            nn.init.constant_(p, 0.1)

    def scaled(self, x):
        return self.scale * self(x)[0]


def test_a_derived_class_that_leaves_forward_alone_is_accelerated(runs):
    layer = Spoken(5)
    expected = layer.scaled(sample(layer))
    gw.accelerate(layer)
    assert isinstance(layer, Spoken)
    assert torch.allclose(layer.scaled(sample(layer)), expected)
    assert runs["ours"] == 1
    twin = pickle.loads(pickle.dumps(layer))
    assert type(twin) is type(layer)
    assert torch.allclose(twin.scaled(sample(layer)), expected)
    layer.reset_parameters()
    assert (layer.weight_hh_l0 == 0.1).all()
    parametrize.register_parametrization(layer, "weight_hh_l0", Halved())
    gw.restore(layer)
    assert type(layer).__base__ is Spoken
    assert type(gw.restore(twin)) is Spoken


class Doubled(nn.LSTM):
    def forward(self, input, hx=None):
        return super().forward(2 * input, hx)


class Mirrored(nn.GRU):
    def permute_hidden(self, hx, permutation):
        return hx


def test_what_cannot_be_changed_is_left_and_said_so():
    with_name = nn.LSTM(3, 4)
    with_name.cell = "mine"
    patched = nn.GRU(3, 4)
    patched.forward = lambda x: x
    model = nn.ModuleDict(
        {
            "own": Doubled(3, 4),
            "mirror": Mirrored(3, 4),
            "patched": patched,
            "named": with_name,
            "fine": nn.RNN(3, 4),
        }
    )
    before = [type(m) for m in model.values()]
    with pytest.warns(UserWarning, match="4 left as before"):
        gw.accelerate(model)
    assert [type(m) for m in model.values()][:-1] == before[:-1]
    report = gw.acceleration(model)
    assert list(report.changed) == ["fine"]
    assert report.left == {
        "own": "its class Doubled has a forward of its own",
        "mirror": "its class Mirrored has a permute_hidden of its own",
        "patched": "its forward has been replaced",
        "named": "its attribute 'cell' is in the way; Gatework uses that name",
    }
    assert str(report).splitlines()[1] == "  changed fine: RNN(3, 4, accelerated), from 3 steps on"


def test_modules_that_torchscript_compiled_are_left():
    model = nn.Sequential(nn.Linear(3, 3), nn.LSTM(3, 4))
    with warnings.catch_warnings(action="ignore"):
        scripted = torch.jit.script(model)
    with pytest.warns(UserWarning, match="TorchScript has compiled it"):
        gw.accelerate(scripted)


def test_what_is_no_module_is_refused():
    with pytest.raises(TypeError, match=r"expects a torch\.nn\.Module, got list"):
        gw.accelerate([nn.LSTM(3, 4)])
    with pytest.raises(TypeError, match="got type; give an object of the class"):
        gw.accelerate(nn.LSTM)
    with pytest.raises(TypeError, match=r"restore expects a torch\.nn\.Module"):
        gw.restore(None)


# ---- tools of torch around an accelerated model ------------------------------------------------


def test_functional_call():
    layer, other = nn.LSTM(3, 5), randomised(nn.LSTM(3, 5))
    gw.accelerate(layer)
    x = sample(layer)
    found = torch.func.functional_call(layer, dict(other.named_parameters()), x)
    assert_same(flat(found), flat(other(x)), TOLERANCE)


def test_torch_jit_trace_and_onnx_record_torchs_own_operations():
    layer = gw.accelerate(randomised(nn.LSTM(3, 5)).eval())
    with warnings.catch_warnings(action="ignore"):
        traced = torch.jit.trace(layer, torch.randn(6, 4, 3))
    x = torch.randn(6, 4, 3)
    assert_same(flat(traced(x)), flat(layer(x)), TOLERANCE)


def test_autocast_gives_what_torch_gives():
    layer = randomised(nn.LSTM(3, 5)).float()
    x = torch.randn(6, 4, 3, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        expected = layer(x)[0]
        found = gw.accelerate(layer)(x)[0]
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)


def test_a_backend_chosen_by_hand_runs():
    layer = gw.accelerate(randomised(nn.LSTM(3, 5)))
    with gw.use_backend("reference"):
        agree(layer, gw.restore(copy.deepcopy(layer)))


def test_torch_compile_sees_one_operator():
    model = gw.accelerate(nn.Sequential(nn.LSTM(3, 5)))
    x = torch.randn(6, 4, 3)
    with torch._dynamo.config.patch(allow_rnn=True):
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        assert_same(flat(compiled(x)), flat(model(x)), TOLERANCE)


@pytest.mark.filterwarnings("ignore")  # torch's, about its own doing
def test_torch_compile_breaks_the_graph_as_at_torchs_layers():
    model, tokens = randomised(Tagger()), torch.randint(20, (4, 7))
    untouched = copy.deepcopy(model)
    gw.accelerate(model)

    def step(m, tokens):
        loss = m(tokens).square().mean()
        loss.backward()
        return loss

    compiled = torch.compile(step, backend="aot_eager")
    for steps in (7, 5, 6):  # the second has free steps
        piece = tokens[:, :steps]
        assert_same(flat(compiled(model, piece)), flat(step(untouched, piece)), TOLERANCE)
        grads = [{n: p.grad for n, p in m.named_parameters()} for m in (model, untouched)]
        assert_same(*grads, TOLERANCE)


def test_fx_takes_an_accelerated_layer_as_one_node():
    model = gw.accelerate(nn.Sequential(nn.LSTM(3, 5)))
    x = torch.randn(6, 4, 3)
    assert_same(flat(torch.fx.symbolic_trace(model)(x)), flat(model(x)), 0)


def test_gradients_of_every_sample():
    layer = gw.accelerate(randomised(nn.LSTM(3, 5)))
    weights, x = dict(layer.named_parameters()), torch.randn(6, 4, 3)

    def loss(weights, sample):
        return torch.func.functional_call(layer, weights, sample.unsqueeze(1))[0].square().sum()

    found = torch.func.vmap(torch.func.grad(loss), (None, 1))(weights, x)
    one = torch.func.grad(loss)(weights, x[:, 2])
    assert_same({n: g[2] for n, g in found.items()}, one, TOLERANCE)


def test_pruning_acts(runs):
    layer = gw.accelerate(randomised(nn.GRU(3, 5)))
    prune.l1_unstructured(layer, "weight_hh_l0", 0.5)
    found = everything(layer, sample(layer))
    assert runs["ours"] == 1
    assert_same(found, everything(gw.restore(layer), sample(layer)), TOLERANCE)


def test_export_has_free_steps_and_batch():
    layer = gw.accelerate(randomised(nn.GRU(3, 5)))
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    exported = torch.export.export(layer, (torch.randn(6, 4, 3),), dynamic_shapes=(free,))
    x = torch.randn(9, 2, 3)
    assert_same(flat(exported.module()(x)), flat(layer(x)), TOLERANCE)


def test_every_class_of_torch_has_its_twin():
    assert [c.__name__ for c in swapped._COMBINED] == [
        "LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell",
    ]  # fmt: skip


@pytest.mark.parametrize("autocast", [False, True])
def test_sixteen_bits_run_on_a_backend_that_takes_them(autocast):
    dtype = torch.float32 if autocast else torch.bfloat16
    layer, x = torch.nn.LSTM(3, 5, dtype=dtype), torch.randn(4, 2, 3, dtype=dtype)
    gw.accelerate(layer)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        expected, _ = layer(x)
        swapped._compiled.cache_clear()
        with standing_in() as backend:
            found, _ = layer(x)
        swapped._compiled.cache_clear()
    assert backend.seen == [{torch.bfloat16}]
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.02)


def test_cudnn_runs_accelerated_layers_at_which_it_is_faster():
    x = torch.randn(4, 2, 3, dtype=torch.float32)
    swapped._compiled.cache_clear()
    with standing_in() as backend, pytest.MonkeyPatch.context() as patch:
        order = {n: backends._BACKENDS[n] for n in ("gpu", "torch")}  # as on CUDA
        patch.setattr(backends, "_BACKENDS", order)
        patch.setattr(preference, "DEVICES", {"cpu"})
        for units in (64, 65):
            gw.accelerate(torch.nn.LSTM(3, units, dtype=x.dtype))(x)
            assert len(backend.seen) == units - 64
    swapped._compiled.cache_clear()
