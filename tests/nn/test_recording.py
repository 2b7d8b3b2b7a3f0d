"""Everything that records torch's operations sees the operator, or is told the way out.

What would die if native code were given what is recorded runs in a process of its own: the script
below the table, which the first test starts once.
"""

import io
import os
import subprocess
import sys

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils.rnn import pack_padded_sequence
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)
from torch.utils.flop_counter import FlopCounterMode

import gatework as gw
from numerics import flat
from parts_of_suite import mostly_slow

pytestmark = pytest.mark.filterwarnings(
    "ignore:`torch.jit:DeprecationWarning",
    "ignore:TF32 acceleration on top of oneDNN:UserWarning",
)


class Called(torch.nn.Module):
    """A module that calls a layer in some way with what it is given."""

    def __init__(self, layer, call):
        super().__init__()
        self.layer, self.call = layer, call

    def forward(self, *given):
        return self.call(self.layer, *given)


def packed(layer, x, lengths):
    y, state = layer(pack_padded_sequence(x, lengths.cpu(), enforce_sorted=False))
    return y.data, state


def accelerated(layer):
    return gw.accelerate(torch.nn.Sequential(layer))[0]


def sequences(steps, batch):
    return (torch.randn(steps, batch, 4),)


def batch_first(steps, batch):
    return (torch.randn(batch, steps, 4),)


def with_lengths(steps, batch):
    return torch.randn(steps, batch, 4), torch.randint(1, steps + 1, (batch,))


def with_state(steps, batch):
    return torch.randn(steps, batch, 4), *torch.randn(2, 1, batch, 8)


def with_resets(steps, batch):
    return torch.randn(steps, batch, 4), torch.rand(steps, batch) < 0.5


def rows(steps, batch):
    return (torch.randn(batch, 4),)


def whole(layer, *given):
    return layer(*given)


def calls():
    """What is recorded, by name: a module, and what makes its inputs for other sizes."""
    return {
        "lstm": (Called(gw.nn.LSTM(4, 8), whole), sequences),
        "rnn": (Called(gw.nn.RNN(4, 8), whole), sequences),
        "bare layer": (gw.nn.GRU(4, 8), sequences),
        "stacked": (Called(gw.nn.GRU(4, 8, 2, bidirectional=True), whole), sequences),
        "batch first": (Called(gw.nn.LSTM(4, 8, batch_first=True), whole), batch_first),
        "eval": (Called(gw.nn.LSTM(4, 8, 2, dropout=0.5), whole).eval(), sequences),
        "any cell": (Called(gw.nn.Recurrent(gw.cells.lem, 4, 8), whole), sequences),
        "learned state": (Called(gw.nn.LSTM(4, 8, learned_state=True), whole), sequences),
        "half": (
            Called(gw.nn.GRU(4, 8).bfloat16(), lambda f, x: f(x.bfloat16())[0].float()),
            sequences,
        ),
        "state": (Called(gw.nn.LSTM(4, 8), lambda f, x, h, c: f(x, (h, c))), with_state),
        "lengths": (Called(gw.nn.LSTM(4, 8), lambda f, x, n: f(x, lengths=n)), with_lengths),
        "packed": (Called(gw.nn.GRU(4, 8), packed), with_lengths),
        "resets": (Called(gw.nn.GRU(4, 8), lambda f, x, r: f(x, resets=r)), with_resets),
        "pin": (Called(gw.nn.LSTM(4, 8), lambda f, x: f(x, pin={"f": 0.5})), sequences),
        "traced": (Called(gw.nn.LSTM(4, 8), lambda f, x: f.trace(x)["i"]), sequences),
        "lstm step": (Called(gw.nn.LSTMCell(4, 8), whole), rows),
        "gru step": (gw.nn.GRUCell(4, 8), rows),
        "rnn step": (Called(gw.nn.RNNCell(4, 8), whole), rows),
        "accelerated": (Called(accelerated(torch.nn.LSTM(4, 8)), whole), sequences),
        "accelerated, lengths": (
            Called(accelerated(torch.nn.GRU(4, 8)), lambda f, x, n: f(x, lengths=n)),
            with_lengths,
        ),
        "accelerated step": (Called(accelerated(torch.nn.GRUCell(4, 8)), whole), rows),
    }


NAMES = list(calls())


def assert_equal(found, expected):
    found, expected = flat(found), flat(expected)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)


def gradients(run, module, given):
    """The results of a call, and the gradients of their squares' sum."""
    results = flat(run(*given))
    loss = sum(r.square().sum() for r in results.values())
    return *results.values(), *torch.autograd.grad(loss, [*module.parameters()])


def operators(graph):
    return [str(n.target) for n in graph.graph.nodes if "gatework" in str(n.target)]


def check_traced(name):
    """torch.jit.trace: right for other inputs and sizes, with gradients, after saving."""
    module, make = calls()[name]
    for learning in (True, False):  # what it records must not depend on it
        with torch.set_grad_enabled(learning):
            traced = torch.jit.trace(module, make(5, 3))
        file = io.BytesIO()
        torch.jit.save(traced, file)
        file.seek(0)
        for run in (traced, torch.jit.load(file)):
            for sizes in ((5, 3), (7, 2)):
                given = make(*sizes)
                with torch.no_grad():
                    assert_equal(run(*given), module(*given))
            given = make(4, 2)
            parameters = run if run is not traced else module
            assert_equal(gradients(run, parameters, given), gradients(module, module, given))


def check_made(name):
    """make_fx with numbers: the operator, right for another input; gradients as well."""
    module, make = calls()[name]
    given, other = make(5, 3), make(5, 3)
    if name == "packed":  # torch's packing is recorded for the lengths at hand
        other = (other[0], given[1])
    graph = make_fx(module)(*given)
    assert operators(graph) or name == "accelerated step"  # where torch's own code runs
    assert_equal(graph(*other), module(*other))

    def learn(*given):
        return gradients(module, module, given)

    graph = make_fx(learn)(*given)
    assert "gatework.backward.default" in operators(graph) or name == "accelerated step"
    assert_equal(graph(*other), learn(*other))


def check_counted(name):
    """A mode of the user's sees the operators; so does one for functions."""
    module, make = calls()[name]
    given = make(5, 3)
    expected = gradients(module, module, given)
    for mode in (Operations(), Functions()):
        with mode:
            assert_equal(gradients(module, module, given), expected)
        assert any("gatework" in s for s in mode.seen) or name == "accelerated step"


class Operations(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


class Functions(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


CHECKS = {"traced": check_traced, "made": check_made, "counted": check_counted}


@pytest.fixture(scope="module")
def outcomes():
    """What each check of each call came to, found in a process of its own: it may die."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    run = subprocess.run(
        [sys.executable, __file__], env=environment, capture_output=True, text=True
    )
    lines = [line.split("\t") for line in run.stdout.splitlines() if line.count("\t") == 2]
    return {(check, name): outcome for check, name, outcome in lines}, run


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("check", CHECKS)
def test_what_is_recorded_gives_the_same_numbers(outcomes, check, name):
    found, run = outcomes
    assert (check, name) in found, f"the process ended with {run.returncode}: {run.stderr[-2000:]}"
    assert found[check, name] == "right"


def main():
    """Each check of each call: a line with the name of the error, or that it is right."""
    import traceback
    import warnings

    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    for name in NAMES:
        for check, run in CHECKS.items():
            torch.manual_seed(0)
            # layer.trace is no call of a module, so torch's warnings about its checks are heard
            with warnings.catch_warnings():
                if name == "traced":
                    warnings.simplefilter("ignore", torch.jit.TracerWarning)
                try:
                    run(name)
                    outcome = "right"
                except Exception as error:
                    traceback.print_exc()
                    outcome = repr(error)[:300].replace("\t", " ")
            print(check, name, outcome, sep="\t", flush=True)


def test_lengths_that_do_not_fit_are_refused_when_a_record_runs():
    module = Called(gw.nn.GRU(4, 8), lambda f, x, n: f(x, lengths=n)[0])
    x, right = torch.randn(5, 2, 4), torch.tensor([5, 2])
    records = [torch.jit.trace(module, (x, right)), make_fx(module)(x, right)]
    records += [torch.export.export(module, (x, right)).module(), module]
    for record in records:
        for wrong in ([-1, 2], [6, 2]):
            with pytest.raises(Exception, match="lengths should be between 0 and the 5 steps"):
                record(x, torch.tensor(wrong))


LENGTHS = {
    "call": lambda layer, x, n: layer(x, lengths=n),
    "tensor": lambda layer, x, n: layer(x, lengths=torch.tensor(n)),
    "resets": lambda layer, x, n: layer(x, lengths=n, resets=torch.zeros(5, 2).bool()),
    "trace": lambda layer, x, n: layer.trace(x, lengths=n),
    "pin": lambda layer, x, n: layer(x, lengths=n, pin={"z": 0.5}),
    "no gradients": lambda layer, x, n: torch.no_grad()(layer)(x, lengths=n),
    "reference": lambda layer, x, n: gw.use_backend("reference")(layer)(x, lengths=n),
    "accelerated": lambda layer, x, n: accelerated(torch.nn.GRU(4, 8))(x, lengths=n),
    "vmap": lambda layer, x, n: torch.vmap(lambda n: layer(x, lengths=n)[0])(torch.tensor([n])),
    "grad": lambda layer, x, n: torch.func.grad(lambda x: layer(x, lengths=n)[0].sum())(x),
    "jvp": lambda layer, x, n: torch.func.jvp(lambda x: layer(x, lengths=n)[0], (x,), (x,)),
    "a mode": lambda layer, x, n: Operations().__enter__() and layer(x, lengths=n),
}


@pytest.mark.parametrize("name", LENGTHS)
@pytest.mark.parametrize("wrong", [[-1, 2], [5, 6]], ids=str)
def test_lengths_that_do_not_fit_are_refused_on_every_way_in(name, wrong):
    layer, x = gw.nn.GRU(4, 8), torch.randn(5, 2, 4)
    LENGTHS[name](layer, x, [0, 5]) if name != "a mode" else None
    with (
        Operations() if name == "a mode" else torch.enable_grad(),
        pytest.raises(ValueError, match="lengths should be between 0 and the 5 steps"),
    ):
        (LENGTHS["tensor"] if name == "a mode" else LENGTHS[name])(layer, x, wrong)


# ---- make_fx without numbers, torch.func ---------------------------------------------------------


@pytest.mark.parametrize("mode", ["fake", "symbolic"])
@pytest.mark.parametrize("name", ["stacked", "lengths", "resets", "gru step"])
def test_make_fx_without_numbers_finds_the_operator(name, mode):
    module, make = calls()[name]
    parameters = dict(module.named_parameters())

    def call(parameters, *given):
        return torch.func.functional_call(module, parameters, given)

    graph = make_fx(call, tracing_mode=mode)(parameters, *make(5, 3))
    assert operators(graph)
    other = make(7, 2) if mode == "symbolic" else make(5, 3)
    assert_equal(graph(parameters, *other), module(*other))


TRANSFORMED = {
    "grad": lambda f: torch.func.grad(lambda x: f(x).sum()),
    "vmap": lambda f: torch.vmap(f, in_dims=1, out_dims=1),
    "vmap of grad": lambda f: torch.vmap(torch.func.grad(lambda x: f(x).sum()), in_dims=1),
    "jvp": lambda f: lambda x: torch.func.jvp(f, (x,), (x,))[1],
    "functionalize": torch.func.functionalize,
    "grad of functionalize": lambda f: torch.func.grad(
        lambda x: torch.func.functionalize(f)(x).sum()
    ),
    "functionalize of grad": lambda f: torch.func.functionalize(
        torch.func.grad(lambda x: f(x).sum())
    ),
    "two gradients": lambda f: twice_differentiated(f),
}


def twice_differentiated(f):
    def found(x):
        leaf = x.detach().requires_grad_()
        (first,) = torch.autograd.grad(f(leaf).square().sum(), leaf, create_graph=True)
        return torch.autograd.grad(first.square().sum(), leaf)[0]

    return found


@pytest.mark.parametrize("name", mostly_slow(TRANSFORMED, [*TRANSFORMED][:2]))
def test_make_fx_of_what_is_transformed(name):
    layer, theirs = gw.nn.GRU(4, 8), torch.nn.GRU(4, 8)
    theirs.load_state_dict(layer.state_dict())
    change, x, other = TRANSFORMED[name], *torch.randn(2, 5, 3, 4)
    ours = change(lambda x: layer(x)[0])
    assert_equal(make_fx(ours)(x)(other), ours(other))
    if "vmap" not in name and name != "jvp":  # torch's own kernels have no rules for these
        assert_equal(ours(other), change(lambda x: theirs(x)[0])(other))


# ---- torch.fx, TorchScript, ONNX, streams --------------------------------------------------------


def test_torch_fx_finds_one_node_for_each_call():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.step = gw.nn.LSTM(4, 8), gw.nn.GRUCell(8, 8)

        def forward(self, x, lengths):
            y, (h, _) = self.layer(x, lengths=lengths)
            return self.step(y[0], h[0])

    model = Model()
    graph = torch.fx.symbolic_trace(model)
    assert [n.target for n in graph.graph.nodes if n.op == "call_module"] == ["layer", "step"]
    given = with_lengths(5, 3)
    assert torch.equal(graph(*given), model(*given))
    with pytest.raises(RuntimeError, match=r"trace a model that holds it.*torch.export"):
        torch.fx.symbolic_trace(model.layer)


@pytest.mark.parametrize("name", ["lstm", "gru step", "accelerated"])
def test_torchscript_is_told_the_way_out(name):
    with pytest.raises(RuntimeError, match=r"(?s)torch.export.*gatework.restore"):
        torch.jit.script(torch.nn.Sequential(next(calls()[name][0].modules())))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # this way of exporting is
@pytest.mark.parametrize("name", ["bare layer", "lengths", "lstm step", "accelerated, lengths"])
def test_onnx_export_by_tracing_is_told_the_way_out(name):
    module, make = calls()[name]
    with pytest.raises(RuntimeError, match=r"ONNX has no operator for .*gatework.restore"):
        torch.onnx.export(module, make(5, 3), io.BytesIO(), dynamo=False)


def test_a_stream_is_told_that_it_cannot_be_part_of_a_graph():
    stream, x = gw.nn.LSTM(4, 8).stream(3), torch.randn(3, 4)
    expected = gw.nn.Stream.step(stream, x).clone()
    stream.reset()
    recorders = [lambda f: torch.jit.trace(f, (x,)), lambda f: make_fx(f)(x)]
    for record in (*recorders, lambda f: make_fx(f, tracing_mode="fake")(x)):
        with pytest.raises(RuntimeError, match=r"stream is no part of a graph.*torch.export"):
            record(lambda x: stream.step(x))
    with Operations():  # which makes no graph
        assert torch.equal(stream.step(x), expected)


# ---- counting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("learned", [True, False], ids=["input learned", "input given"])
@pytest.mark.parametrize("name", ["GRU", "LSTM", "RNN"])
def test_operations_are_counted_as_torch_counts_its_own(name, learned, steps):
    counts = []
    for package in (torch.nn, gw.nn):
        layer = getattr(package, name)(4, 8, 2, bidirectional=True)
        x = torch.randn(steps, 3, 4, requires_grad=learned)
        # oneDNN's LSTM is one kernel that torch has no formula for
        with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
            y = layer(x)[0]
            forward = counter.get_total_flops()
            y.sum().backward()
        counts.append((forward, counter.get_total_flops() - forward))
    assert counts[0] == counts[1]
    assert min(counts[0]) > 0


def test_a_backward_pass_is_counted_alone():
    y = gw.nn.GRU(4, 8)(torch.randn(5, 3, 4))[0]
    with FlopCounterMode(display=False) as counter:
        y.sum().backward()
    assert list(counter.get_flop_counts()["Global"]) == [torch.ops.gatework.backward]


# ---- what looks on, or keeps, and changes nothing ------------------------------------------------


def selective(policy):
    return lambda: create_selective_checkpoint_contexts(lambda *a, **k: policy)


def checkpointed(**options):
    return lambda layer, x: checkpoint(layer, x, use_reentrant=False, **options)


def inside(make):
    def call(layer, x):
        with make():
            return layer(x)

    return call


LOOKED_ON = {
    "checkpoint": checkpointed(),
    "selective, saved": checkpointed(context_fn=selective(CheckpointPolicy.MUST_SAVE)),
    "selective, again": checkpointed(context_fn=selective(CheckpointPolicy.PREFER_RECOMPUTE)),
    "save_on_cpu": inside(torch.autograd.graph.save_on_cpu),
    "hooks": inside(
        lambda: torch.autograd.graph.saved_tensors_hooks(lambda t: [t.clone()], lambda t: t[0])
    ),
    "torch.device": inside(lambda: torch.device("cpu")),
}


@pytest.mark.parametrize("how", LOOKED_ON)
@pytest.mark.parametrize("name", ["stacked", "gru step", "accelerated"])
def test_checkpoints_and_hooks_change_nothing(name, how):
    module, make = calls()[name]
    given = make(5, 3)
    found = gradients(lambda x: LOOKED_ON[how](module, x), module, given)
    assert_equal(found, gradients(module, module, given))


if __name__ == "__main__":
    main()
