"""RNN, LSTM, GRU and their cells against torch.nn's, by hypothesis: results and all gradients."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import gatework as gw
from numerics import assert_same, flat, gradients, randomised, state_sizes

TOLERANCE = 1e-10
SIZES = st.sampled_from([1, 2, 3, 7, 33])


@st.composite
def layer_arguments(draw):
    """The name of a layer and arguments for its constructor."""
    name = draw(st.sampled_from(["RNN", "LSTM", "GRU"]))
    arguments = {
        "input_size": draw(SIZES),
        "hidden_size": draw(SIZES),
        "num_layers": draw(st.integers(1, 3)),
        "bias": draw(st.booleans()),
        "batch_first": draw(st.booleans()),
        "bidirectional": draw(st.booleans()),
    }
    if name == "RNN":
        arguments["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    if name == "LSTM" and arguments["hidden_size"] > 1 and draw(st.booleans()):
        arguments["proj_size"] = draw(st.integers(1, min(arguments["hidden_size"] - 1, 4)))
    return name, arguments


def twins(name: str, arguments: dict):
    """torch's module and ours with the same random weights."""
    theirs = randomised(getattr(torch.nn, name)(**arguments, dtype=torch.float64))
    ours = getattr(gw.nn, name)(**arguments, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64)


LAYOUTS = {  # how the same values may lie in memory; each gives a differentiable view of its leaf
    "contiguous": lambda leaf: leaf,
    "transposed": lambda leaf: leaf.transpose(0, -1).contiguous().transpose(0, -1),
    "strided": lambda leaf: torch.stack([leaf, -leaf], -1)[..., 0],
    "expanded": lambda leaf: leaf[..., :1].expand(leaf.shape),
}


def state_shapes(layer: gw.nn.Recurrent, *batch: int) -> list[tuple[int, ...]]:
    rows = layer.num_layers * layer.num_directions
    return [(rows, *batch, n) for n in state_sizes(layer)]


def everything(module, inputs: dict, call) -> dict[str, torch.Tensor]:
    """Outputs, states and the gradient of every input and parameter."""
    inputs = {n: t.detach().clone().requires_grad_() for n, t in inputs.items()}
    outputs = flat(call(module, inputs))
    return {**outputs, **gradients(outputs, {**inputs, **dict(module.named_parameters())})}


def state_of(inputs: dict, view=lambda leaf: leaf):
    states = tuple(view(t) for n, t in inputs.items() if n.startswith("state"))
    return (states if len(states) > 1 else states[0]) if states else None


def agree(theirs, ours, inputs: dict, call, our_call=None) -> None:
    expected = everything(theirs, inputs, call)
    assert_same(everything(ours, inputs, our_call or call), expected, TOLERANCE)


@given(
    layer_arguments(),
    st.sampled_from([1, 2, 5]),
    st.sampled_from([None, 0, 1, 2, 5]),
    st.booleans(),
    st.sampled_from(sorted(LAYOUTS)),
)
@pytest.mark.slow
@settings(max_examples=max(120, settings.default.max_examples))
def test_layers_are_torchs(layer, steps, batch, with_state, layout):
    name, arguments = layer
    theirs, ours = twins(name, arguments)
    view = LAYOUTS[layout]
    middle = [] if batch is None else [batch]
    shape = [steps, *middle, arguments["input_size"]]
    if middle and arguments["batch_first"]:
        shape[:2] = shape[1::-1]
    inputs = {"x": normal(*shape)}
    if with_state:
        shapes = state_shapes(ours, *middle)
        inputs |= {f"state{k}": normal(*s) for k, s in enumerate(shapes)}
    agree(theirs, ours, inputs, lambda m, i: m(view(i["x"]), state_of(i, view)))


@st.composite
def lengths_of_a_batch(draw, minimum: int = 1):
    return draw(st.lists(st.integers(minimum, 6), min_size=1, max_size=5))


@given(layer_arguments(), lengths_of_a_batch(), st.booleans(), st.booleans())
@pytest.mark.slow
@settings(max_examples=max(60, settings.default.max_examples))
def test_packed_sequences_are_torchs(layer, lengths, enforce_sorted, with_state):
    name, arguments = layer
    theirs, ours = twins(name, arguments)
    if enforce_sorted:
        lengths = sorted(lengths, reverse=True)
    inputs = {"x": normal(max(lengths), len(lengths), arguments["input_size"])}
    if with_state:
        shapes = state_shapes(ours, len(lengths))
        inputs |= {f"state{k}": normal(*s) for k, s in enumerate(shapes)}

    def call(module, inputs):
        packed = pack_padded_sequence(inputs["x"], lengths, enforce_sorted=enforce_sorted)
        y, state = module(packed, state_of(inputs))
        assert isinstance(y, PackedSequence)
        padded, steps = pad_packed_sequence(y)
        assert steps.tolist() == lengths
        return y, padded, state

    agree(theirs, ours, inputs, call)


@given(layer_arguments(), lengths_of_a_batch(), st.integers(0, 2), st.booleans())
@pytest.mark.slow
@settings(max_examples=max(60, settings.default.max_examples))
def test_lengths_are_what_torch_does_with_packed_sequences(layer, lengths, extra, as_tensor):
    name, arguments = layer
    theirs, ours = twins(name, arguments)
    batch_first, steps = arguments["batch_first"], max(lengths) + extra
    x = normal(steps, len(lengths), arguments["input_size"])
    inputs = {"x": x.transpose(0, 1) if batch_first else x}
    shapes = state_shapes(ours, len(lengths))
    inputs |= {f"state{k}": normal(*s) for k, s in enumerate(shapes)}

    def packing(module, inputs):
        packed = pack_padded_sequence(
            inputs["x"], lengths, batch_first=batch_first, enforce_sorted=False
        )
        y, state = module(packed, state_of(inputs))
        return pad_packed_sequence(y, batch_first=batch_first, total_length=steps)[0], state

    def direct(module, inputs):
        given = torch.tensor(lengths) if as_tensor else lengths
        return module(inputs["x"], state_of(inputs), lengths=given)

    agree(theirs, ours, inputs, packing, direct)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_many_unequal_sequences_are_those_of_packing(name, threads):
    """Enough rows for every height of tile and for threads that share sequences or units."""
    arguments = {"input_size": 9, "hidden_size": 33, "num_layers": 2, "bidirectional": True}
    theirs, ours = twins(name, arguments)
    lengths = torch.randint(1, 24, (37,), generator=torch.Generator().manual_seed(0))
    inputs = {"x": normal(23, 37, 9)}
    inputs |= {f"state{k}": normal(*s) for k, s in enumerate(state_shapes(ours, 37))}

    def packing(module, inputs):
        packed = pack_padded_sequence(inputs["x"], lengths, enforce_sorted=False)
        y, state = module(packed, state_of(inputs))
        return pad_packed_sequence(y, total_length=23)[0], state

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        agree(
            theirs, ours, inputs, packing,
            lambda m, i: m(i["x"], state_of(i), lengths=lengths),
        )  # fmt: skip
    finally:
        torch.set_num_threads(before)


@given(
    st.sampled_from(["RNNCell", "LSTMCell", "GRUCell"]),
    SIZES,
    SIZES,
    st.booleans(),
    st.sampled_from([None, 0, 1, 5]),
    st.booleans(),
    st.sampled_from(sorted(LAYOUTS)),
)
@pytest.mark.slow
@settings(max_examples=max(80, settings.default.max_examples))
def test_cells_are_torchs(name, input_size, hidden_size, bias, batch, with_state, layout):
    arguments = {"input_size": input_size, "hidden_size": hidden_size, "bias": bias}
    theirs, ours = twins(name, arguments)
    view = LAYOUTS[layout]
    middle = [] if batch is None else [batch]
    inputs = {"x": normal(*middle, input_size)}
    if with_state:
        inputs |= {f"state{k}": normal(*middle, hidden_size) for k in range(len(ours.cell.states))}
    agree(theirs, ours, inputs, lambda m, i: m(view(i["x"]), state_of(i, view)))


LAYERS = ["RNN", "LSTM", "GRU"]
CELLS = ["RNNCell", "LSTMCell", "GRUCell"]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("shape", [(0, 2, 3), (0, 3)])
def test_no_steps_raise_torchs_exception(name, shape):
    modules = twins(name, {"input_size": 3, "hidden_size": 4})
    for module in modules:
        with pytest.raises(RuntimeError, match="Expected sequence length to be larger than 0"):
            module(torch.zeros(shape, dtype=torch.float64))


# ---- construction ------------------------------------------------------------------------------

VARIANTS = {
    "plain": {},
    "bare": {"bias": False},
    "deep": {"num_layers": 3, "dropout": 0.5},
    "both": {"bidirectional": True, "batch_first": True, "num_layers": 2},
}


def constructions():
    for name in LAYERS:
        for label, arguments in VARIANTS.items():
            yield pytest.param(name, {**arguments}, id=f"{name} {label}")
    yield pytest.param("LSTM", {"proj_size": 2, "num_layers": 2, "bidirectional": True}, id="proj")
    yield pytest.param("RNN", {"nonlinearity": "relu"}, id="relu")
    for name in CELLS:
        for label in ("plain", "bare"):
            yield pytest.param(name, VARIANTS[label], id=f"{name} {label}")
    yield pytest.param("RNNCell", {"nonlinearity": "relu"}, id="relu cell")


@pytest.mark.parametrize(("name", "arguments"), list(constructions()))
def test_construction_is_torchs(name, arguments):
    """The same parameters in the same order, the same initial numbers, the same repr."""
    modules = []
    for library in (torch.nn, gw.nn):
        torch.manual_seed(3)
        modules.append(getattr(library, name)(4, 5, **arguments))
    theirs, ours = modules
    assert_same(ours.state_dict(), theirs.state_dict(), 0)
    assert repr(ours) == repr(theirs)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    torch.manual_seed(7)
    theirs.reset_parameters()
    torch.manual_seed(7)
    ours.reset_parameters()
    assert_same(ours.state_dict(), theirs.state_dict(), 0)


@pytest.mark.parametrize("name", LAYERS)
def test_positional_arguments_are_torchs(name):
    positional = (3, 4, 2, *(["relu"] if name == "RNN" else []), False, True, 0.0, True)
    theirs, ours = (getattr(library, name)(*positional) for library in (torch.nn, gw.nn))
    assert repr(ours) == repr(theirs)
    for attribute in ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout",
                      "bidirectional"):  # fmt: skip
        assert getattr(ours, attribute) == getattr(theirs, attribute)
    ours.flatten_parameters()
    shapes = [[w.shape for w in layer] for layer in theirs.all_weights]
    assert [[w.shape for w in layer] for layer in ours.all_weights] == shapes


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_copies_pickles_and_conversions_keep_the_numbers(name):
    theirs, ours = twins(name, {"input_size": 3, "hidden_size": 4})
    x = normal(2, 3) if name.endswith("Cell") else normal(5, 2, 3)
    expected = flat(theirs(x))
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert_same(flat(other(x)), expected, TOLERANCE)
    single = {n: v.float() for n, v in expected.items()}
    assert_same(flat(ours.to(torch.float32)(x.float())), single, 1e-5)
    assert {p.dtype for p in ours.to(torch.bfloat16).parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("name", LAYERS)
def test_dropout_between_layers_is_torchs(name):
    arguments = {"input_size": 3, "hidden_size": 4, "num_layers": 2, "dropout": 1.0}
    theirs, ours = twins(name, arguments)
    x = normal(5, 2, 3)
    assert_same(flat(ours(x)), flat(theirs(x)), TOLERANCE)
    assert_same(flat(ours.eval()(x)), flat(theirs.eval()(x)), TOLERANCE)


@pytest.mark.parametrize("name", LAYERS)
def test_useless_dropout_warns_as_torch_does(name):
    for library in (torch.nn, gw.nn):
        with pytest.warns(UserWarning, match="dropout option adds dropout after all but last"):
            getattr(library, name)(3, 4, dropout=0.5)


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_frozen_parameters_and_inputs_get_no_gradient(name):
    _, ours = twins(name, {"input_size": 3, "hidden_size": 4})
    frozen = next(iter(dict(ours.named_parameters())))
    getattr(ours, frozen).requires_grad_(False)
    x = normal(2, 3) if name.endswith("Cell") else normal(5, 2, 3)
    outputs = flat(ours(x))
    next(iter(outputs.values())).sum().backward()
    for n, p in ours.named_parameters():
        assert (p.grad is None) == (n == frozen), n
    with torch.no_grad():
        assert not any(t.requires_grad for t in flat(ours(x)).values())


def test_a_gru_pinned_to_r_1_and_z_0_is_a_vanilla_rnn_bit_for_bit():
    gru = randomised(gw.nn.GRU(3, 4, num_layers=2, bidirectional=True, dtype=torch.float64))
    rnn = gw.nn.RNN(3, 4, num_layers=2, bidirectional=True, dtype=torch.float64)
    candidate = {n: v[8:] for n, v in gru.state_dict().items()}  # the rows of n, after r and z
    rnn.load_state_dict(candidate)
    inputs = {"x": normal(6, 3, 3), "state0": normal(4, 3, 4)}
    with gw.use_backend("reference"):
        lengths = [6, 4, 0]
        expected = everything(rnn, inputs, lambda m, i: m(i["x"], i["state0"], lengths=lengths))
        found = everything(
            gru, inputs, lambda m, i: m(i["x"], i["state0"], lengths=lengths, pin={"r": 1, "z": 0})
        )
    for n in candidate:
        full = found[f"gradient of {n}"]
        assert (full[:8] == 0).all(), f"{n}: a pinned gate has a gradient"
        found[f"gradient of {n}"] = full[8:]
    assert_same(found, expected, 0)


def test_a_gru_pinned_elsewhere_is_no_vanilla_rnn():
    gru = randomised(gw.nn.GRU(3, 4, dtype=torch.float64))
    x = normal(6, 3, 3)
    held, half = (gru(x, pin={"r": 1, "z": z})[0] for z in (0, 0.5))
    assert not torch.allclose(held, half)


@pytest.mark.parametrize(
    "make",
    [
        lambda package: package.RNN(3, 4),
        lambda package: package.RNN(3, 4, nonlinearity="relu", bias=False),
        lambda package: package.GRU(3, 4, num_layers=2, bidirectional=True),
        lambda package: package.LSTM(3, 4, num_layers=2, batch_first=True),
        lambda package: package.LSTM(3, 4, bidirectional=True, proj_size=2),
    ],
)
def test_what_other_code_looks_for_is_there(make):
    ours, theirs = make(gw.nn), make(torch.nn)
    assert (ours.mode, ours.proj_size) == (theirs.mode, theirs.proj_size)
    assert ours._flat_weights_names == theirs._flat_weights_names
    assert [id(w) for w in ours._flat_weights] == [id(w) for w in ours.parameters()]
    x = torch.randn(5, 2, 3)
    size = theirs.get_expected_hidden_size(x, None)
    assert ours.get_expected_hidden_size(x, None) == size
    state = ours(x)[1]
    ours.check_forward_args(x, state, None)
    wrong = tuple(s[:, :1] for s in state) if isinstance(state, tuple) else state[:, :1]
    for layer in (ours, theirs):
        with pytest.raises(RuntimeError, match=r"Expected hidden"):
            layer.check_forward_args(x, wrong, None)
        with pytest.raises(RuntimeError, match="equal to input_size"):
            layer.check_input(x[..., :2], None)
    swapped = gw.accelerate(theirs).double()
    assert [id(w) for w in swapped._flat_weights] == [id(w) for w in swapped.parameters()]
