"""Tensors of every kind in every place: the numbers they stand for are used, or it is an error."""

import copy
import functools

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils._python_dispatch import TorchDispatchMode

import gatework as gw
from gatework.backends.reference import Reference
from numerics import flat


class Annotated(torch.Tensor):
    """A class of its own, with memory like any other."""


class Doubled(torch.Tensor):
    """Stands for twice the numbers of another tensor, as quantised weights stand for others."""

    @staticmethod
    def __new__(cls, half):
        return torch.Tensor._make_wrapper_subclass(cls, half.shape, dtype=half.dtype)

    def __init__(self, half):
        self.half = half

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        def plain(value):
            return value.half * 2 if isinstance(value, Doubled) else value

        if func is torch.ops.aten.detach.default:
            return Doubled(args[0].half.detach())
        args, kwargs = torch.utils._pytree.tree_map(plain, (args, kwargs or {}))
        return func(*args, **kwargs)


def freed(tensor):
    found = tensor.detach().clone()
    found.untyped_storage().resize_(0)
    return found


def freed_part(tensor):
    found = torch.stack([tensor.detach()] * 2)[1]
    found.untyped_storage().resize_(0)
    return found


def imaginary(tensor):
    return torch.complex(torch.zeros_like(tensor), -tensor).conj().imag


SAME = {  # kind -> a tensor of it, with the numbers of another one
    "negated": lambda t: torch._neg_view(-t),
    "imaginary part": imaginary,
    "strided": lambda t: torch.stack([t, t], -1)[..., 0],
    "annotated": lambda t: t.as_subclass(Annotated),
    "two tensors": lambda t: TwoTensor(t.clone(), t.clone()),
    "doubled": lambda t: Doubled(t / 2),
}
ZEROS = {
    "zero": lambda t: torch._efficientzerotensor(t.shape, dtype=t.dtype),
    "expanded": lambda t: t.new_zeros(()).expand(t.shape),
}
REFUSED = {
    "freed": freed,
    "freed part": freed_part,
    "sparse": lambda t: t.to_sparse(),
    "compressed": lambda t: t.flatten(0, -2).to_sparse_csr() if t.dim() > 1 else t.to_sparse(),
    "oneDNN": lambda t: t.to_mkldnn(),
    "functional": torch._to_functional_tensor,
    "meta": lambda t: t.to("meta"),
    "fake": FakeTensorMode().from_tensor,
}


def with_weight(module, change, name):
    """The module with one of its weights changed; a Parameter where it can be one."""
    module = copy.deepcopy(module)
    name = next(n for n, _ in module.named_parameters() if n.startswith(name))
    value = change(getattr(module, name).detach())
    delattr(module, name)
    setattr(module, name, value)
    return module


def differentiated(run, change):
    """The gradients of a call, the gradient of its output changed."""

    def found(module, x, *state):
        leaf = x.detach().clone().requires_grad_()
        y = run(module, leaf, *state)
        gradient = change(torch.linspace(-1, 1, y.numel()).view_as(y))
        return torch.autograd.grad(y, [leaf, *module.parameters()], gradient)

    return found


def output(module, x, *state):
    found = module(x, *state)
    return next(iter(flat(found).values()))


PLACES = {  # place -> a result, from a module, an input, a state and what changes a tensor there
    "input": lambda m, x, s, change: output(m, change(x), s),
    "state": lambda m, x, s, change: output(m, x, (change(s[0]), s[1])),
    "weight": lambda m, x, s, change: output(with_weight(m, change, "weight_hh"), x, s),
    "bias": lambda m, x, s, change: output(with_weight(m, change, "bias_ih"), x, s),
    "gradient": lambda m, x, s, change: differentiated(output, change)(m, x, s),
}
OF_LAYERS = {
    "lengths": lambda m, x, s, change: m(x, s, lengths=change(torch.tensor([5, 0, 2])))[0],
    "state with lengths": lambda m, x, s, change: m(x, (s[0], change(s[1])), lengths=[5, 0, 2])[0],
    "pin": lambda m, x, s, change: m(x, s, pin={"f": change(torch.linspace(0, 1, 8))})[0],
    "returned to": lambda m, x, s, change: m(
        x, s, resets=torch.eye(5, 3).bool(), reset_to=(change(s[0]), s[1])
    )[0],
    "stream's input": lambda m, x, s, change: m.stream(3).step(change(x[0])),
    "stream's weight": lambda m, x, s, change: (
        with_weight(m, change, "weight_hh").stream(3).step(x[0])
    ),
    "stream's bias": lambda m, x, s, change: with_weight(m, change, "bias_ih").stream(3).step(x[0]),
    "stream's state": lambda m, x, s, change: stepped(m.stream(3), x, (change(s[0]), s[1])),
}


def stepped(stream, x, state):
    stream.state = state
    return stream.step(x[0])


@functools.cache  # compiled once; no test changes them
def modules():
    ours, theirs = gw.nn.LSTM(4, 8), torch.nn.LSTM(4, 8)
    return {
        "layer": (ours, torch.randn(5, 3, 4), tuple(torch.randn(2, 1, 3, 8))),
        "step": (gw.nn.LSTMCell(4, 8), torch.randn(3, 4), tuple(torch.randn(2, 3, 8))),
        "accelerated": (
            gw.accelerate(torch.nn.Sequential(theirs))[0],
            torch.randn(5, 3, 4),
            tuple(torch.randn(2, 1, 3, 8)),
        ),
    }


def places():
    for module in ("layer", "step", "accelerated"):
        for place in (*PLACES, *(OF_LAYERS if module != "step" else ())):
            yield pytest.param(module, place, id=f"{module}, {place}")


def plain(result):
    """The numbers of a result, whatever its class is."""
    values = torch.utils._pytree.tree_leaves(result)
    values = [v.a if isinstance(v, TwoTensor) else v for v in values]
    return [(v.half * 2 if isinstance(v, Doubled) else v).as_subclass(torch.Tensor) for v in values]


def assert_equal(found, expected):
    for f, e in zip(plain(found), plain(expected), strict=True):
        torch.testing.assert_close(f.contiguous(), e, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("module", "place"), list(places()))
@pytest.mark.parametrize("kind", [*SAME, *ZEROS])
def test_a_tensor_of_another_kind_gives_the_same_numbers(kind, module, place):
    if place in ("lengths", "pin") and kind in ("imaginary part", "zero", "expanded", "doubled"):
        pytest.skip("there are no lengths of this kind")
    if kind == "doubled" and place in ("gradient", "stream's input", "stream's state"):
        pytest.skip("it can be read in products alone")
    given, call = modules()[module], {**PLACES, **OF_LAYERS}[place]
    change, expected = (SAME | ZEROS)[kind], torch.zeros_like if kind in ZEROS else torch.clone
    assert_equal(call(*given, change), call(*given, expected))


@pytest.mark.parametrize(("module", "place"), list(places()))
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
@pytest.mark.parametrize("kind", REFUSED)
def test_a_tensor_that_cannot_be_read_is_an_error(kind, module, place):
    given, call = modules()[module], {**PLACES, **OF_LAYERS}[place]
    errors = (ValueError, TypeError, RuntimeError, AssertionError, NotImplementedError)
    with pytest.raises(errors) as caught:
        call(*given, REFUSED[kind])
    assert "Internal error" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_a_nested_tensor_is_no_step(layout):
    nested = torch.nested.nested_tensor([torch.randn(2, 4), torch.randn(3, 4)], layout=layout)
    with pytest.raises(TypeError, match="one step of each sequence, got a nested one; give the"):
        gw.nn.LSTMCell(4, 8)(nested)


def test_shapes_without_numbers_are_those_of_the_operator(monkeypatch):
    """However long the sequence, and also outside of the mode that made the tensors."""
    module, fake = gw.nn.Recurrent(gw.cells.lem, 4, 8), FakeTensorMode().from_tensor
    parameters = {n: fake(p.detach()) for n, p in module.named_parameters()}
    monkeypatch.setattr(Reference, "run", lambda *_: pytest.fail("step by step"))
    y, _ = torch.func.functional_call(module, parameters, (fake(torch.randn(5, 3, 4)),))
    assert y.shape == (5, 3, 8)


class _Listening(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("module", [gw.nn.GRU, gw.nn.GRUCell])
def test_a_weight_without_memory_is_named_while_operations_are_watched(module):
    layer = module(4, 8)
    name = next(n for n, _ in layer.named_parameters() if n.startswith("bias_hh"))
    setattr(layer, name, torch.nn.Parameter(layer.get_parameter(name).to("meta")))
    with (
        _Listening(),
        pytest.raises(RuntimeError, match="on one device, got tensors on cpu and meta"),
    ):
        layer(torch.randn(3, 4) if module is gw.nn.GRUCell else torch.randn(5, 3, 4))
