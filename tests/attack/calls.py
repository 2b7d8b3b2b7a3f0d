"""Layers of ours called with every kind of tensor, under everything that records torch's work.

A call gives what torch.nn gives for the same numbers, or an error of a kind that a user can catch.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import gatework as gw

CLEAR = (ValueError, TypeError, RuntimeError, NotImplementedError)  # torch's own errors are these
NAMES = ("LSTM", "GRU", "RNN")
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
CALLS = 12  # of one seed


# ---- kinds of tensor: each holds the numbers of the one it is made from --------------------------


def _negated(t: Tensor) -> Tensor:
    return torch.complex(torch.zeros_like(t), -t).conj().imag


def _strided(t: Tensor) -> Tensor:
    return torch.stack((t, -t), -1)[..., 0]


def _turned(t: Tensor) -> Tensor:
    return t.transpose(0, -1).contiguous().transpose(0, -1)


def _shifted(t: Tensor) -> Tensor:
    room = t.new_empty(t.numel() + 3)
    room[3:] = t.flatten()
    return room[3:].view(t.shape)


def _inference(t: Tensor) -> Tensor:
    with torch.inference_mode():
        return t.clone()


KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda t: t.clone(),
    "strided": _strided,
    "turned": _turned,
    "shifted": _shifted,
    "negated": _negated,
    "inference": _inference,
    "parameter": lambda t: nn.Parameter(t.clone()),
    "buffer": lambda t: nn.Buffer(t.clone()),
    "two": lambda t: TwoTensor(t.clone(), t.clone()),
    "sparse": Tensor.to_sparse,
    "meta": lambda t: t.to("meta"),
    "mkldnn": Tensor.to_mkldnn,
    "nested": lambda t: torch.nested.as_nested_tensor([*t], layout=torch.jagged),
    "zero": lambda t: torch._efficientzerotensor(t.shape, dtype=t.dtype),
}


# ---- what records ------------------------------------------------------------------------------


class _Listening(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class _Overhearing(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def _inside(mode: Callable[[], object]) -> Callable:
    def record(call: Callable[[Tensor], Tensor], example: Tensor, x: Tensor) -> Tensor:
        with mode():
            return call(x)

    return record


def _jit(call: Callable[[Tensor], Tensor], example: Tensor, x: Tensor) -> Tensor:
    return torch.jit.trace(call, (example,), check_trace=False)(x)


def _fx(mode: str) -> Callable:
    def record(call: Callable[[Tensor], Tensor], example: Tensor, x: Tensor) -> Tensor:
        return make_fx(call, tracing_mode=mode)(example)(x)

    return record


RECORDERS: dict[str, Callable] = {
    "nothing": lambda call, example, x: call(x),
    "no_grad": _inside(torch.no_grad),
    "inference_mode": _inside(torch.inference_mode),
    "jit.trace": _jit,
    "make_fx real": _fx("real"),
    "make_fx fake": _fx("fake"),
    "make_fx symbolic": _fx("symbolic"),
    "flops": _inside(lambda: FlopCounterMode(display=False)),
    "dispatch mode": _inside(_Listening),
    "function mode": _inside(_Overhearing),
    "device": _inside(lambda: torch.device("cpu")),
    "vmap": lambda call, example, x: torch.func.vmap(call)(x[None])[0],
    "functionalize": lambda call, example, x: torch.func.functionalize(call)(x),
}


# ---- what is called ----------------------------------------------------------------------------


def _pair(choose: random.Random, dtype: torch.dtype) -> tuple[nn.Module, nn.Module, bool]:
    """A module of torch's, one of ours with its weights, and whether it is a single step."""
    name, single = choose.choice(NAMES), choose.random() < 0.3
    sizes = choose.choice([1, 3, 8]), choose.choice([1, 4, 17])
    options = {} if single else {
        "num_layers": choose.choice([1, 1, 2]), "bidirectional": choose.random() < 0.3
    }  # fmt: skip
    name += "Cell" if single else ""
    theirs = getattr(nn, name)(*sizes, dtype=dtype, **options)
    if choose.random() < 0.3:
        ours = gw.accelerate(type(theirs)(*sizes, dtype=dtype, **options))
    else:
        ours = getattr(gw.nn, name)(*sizes, dtype=dtype, **options)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours, single


def attack(seed: int) -> None:
    """Some calls, each of a kind of tensor under a recorder."""
    choose = random.Random(seed)
    torch.manual_seed(seed)
    for _ in range(CALLS):
        _attack_once(choose)


def _attack_once(choose: random.Random) -> None:
    dtype = choose.choice([torch.float32, torch.float32, torch.float64])
    theirs, ours, single = _pair(choose, dtype)
    batch, steps = choose.choice([1, 2, 5]), choose.choice([1, 2, 7])
    shape = (batch,) if single else (steps, batch)
    x, example = (torch.randn(*shape, ours.input_size, dtype=dtype) for _ in range(2))
    kind, recorder = choose.choice(list(KINDS)), choose.choice(list(RECORDERS))
    weight = choose.choice([None, None, *(n for n, _ in ours.named_parameters())])
    if kind == "zero":  # the numbers are zero, whatever it is made from
        (x if weight is None else theirs.get_parameter(weight).data).zero_()
    expected = _first(theirs(x)).detach()
    given = x
    try:
        if weight is None:
            given = KINDS[kind](x)
        else:
            value = KINDS[kind](theirs.get_parameter(weight).detach())
            for module in (theirs, ours):
                setattr(module, weight, nn.Parameter(value, requires_grad=False))
    except CLEAR:  # torch has no such tensor of these numbers
        return

    def run(module: nn.Module) -> Tensor | None:
        return _plain(RECORDERS[recorder](lambda v: _first(module(v)), example, given))

    try:
        found = run(ours)
    except CLEAR:
        return
    except Exception:
        if _fails(run, theirs):  # as torch.nn's layer does there
            return
        raise
    if found is not None:
        difference = (found - expected).abs().max().item()
        if not difference <= TOLERANCE[dtype]:
            where = f"{kind} {weight or 'input'} under {recorder}"
            fault = f"{ours} {dtype} {where}: differs by {difference:.1e}"
            # torch's own recorders lose what some kinds of tensor stand for
            assert _fails(lambda m: _compare(run(m), expected), theirs), fault


def _compare(found: Tensor | None, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def _fails(run: Callable[[nn.Module], object], module: nn.Module) -> bool:
    try:
        run(module)
    except Exception:
        return True
    return False


def _first(result: Tensor | tuple) -> Tensor:
    return result if isinstance(result, Tensor) else result[0]


def _plain(t: Tensor) -> Tensor | None:
    if isinstance(t, TwoTensor):
        t = t.a
    if t.is_meta or t.is_nested:
        return None
    t = t.to_dense() if t.layout != torch.strided else t
    return t.detach().clone()
