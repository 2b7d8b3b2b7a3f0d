"""torch's own module inputs: ours gives torch's results, gradients and exceptions.

The inputs are those that torch's own test suite is generated from.
"""

import functools
import re

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence
from torch.testing._internal import common_modules as torch_inputs

import gatework as gw
from numerics import assert_same, flat, gradients, randomised

SOURCES = {  # class name -> its inputs, its faulty inputs
    "RNN": (
        functools.partial(torch_inputs.module_inputs_torch_nn_RNN_GRU, is_rnn=True),
        torch_inputs.module_error_inputs_torch_nn_RNN_GRU,
    ),
    "GRU": (
        functools.partial(torch_inputs.module_inputs_torch_nn_RNN_GRU, is_rnn=False),
        torch_inputs.module_error_inputs_torch_nn_RNN_GRU,
    ),
    "LSTM": (
        torch_inputs.module_inputs_torch_nn_LSTM,
        torch_inputs.module_error_inputs_torch_nn_RNN_GRU,
    ),
    "RNNCell": (
        functools.partial(torch_inputs.module_inputs_torch_nn_RNN_GRU_Cell, is_rnn=True),
        torch_inputs.module_error_inputs_torch_nn_RNN_GRU_Cell,
    ),
    "GRUCell": (
        torch_inputs.module_inputs_torch_nn_RNN_GRU_Cell,
        torch_inputs.module_error_inputs_torch_nn_RNN_GRU_Cell,
    ),
    "LSTMCell": (
        torch_inputs.module_inputs_torch_nn_LSTMCell,
        torch_inputs.module_error_inputs_torch_nn_LSTMCell,
    ),
}
ARGUMENTS = {"device": "cpu", "requires_grad": True, "training": True}


def described(name: str, k: int, constructor) -> str:
    values = [*map(str, constructor.args), *(f"{a}={v}" for a, v in constructor.kwargs.items())]
    return f"{name}-{k}-{' '.join(values)}"


def inputs():
    for name, (make, _) in SOURCES.items():
        samples = make(None, dtype=torch.float64, with_packed_sequence=True, **ARGUMENTS)
        for k, sample in enumerate(samples):
            shown = described(name, k, sample.constructor_input)
            bare = sample.constructor_input.kwargs.get("bias") is False  # kernels of their own
            marks = [pytest.mark.slow] if bare else []
            yield pytest.param(name, sample, id=shown, marks=marks)


def error_inputs():
    for name, (_, make) in SOURCES.items():
        for dtype in (torch.float64, torch.float32):
            for k, sample in enumerate(make(None, dtype=dtype, **ARGUMENTS)):
                shown = described(name, k, sample.module_error_input.constructor_input)
                yield pytest.param(name, sample, id=f"{shown} {dtype}")


def leaves(arguments) -> dict[str, torch.Tensor]:
    return {f"input {n}": t for n, t in flat(arguments).items() if t.requires_grad}


def fresh(value):
    """The same argument with leaves of its own."""
    if isinstance(value, PackedSequence):
        return value._replace(data=fresh(value.data))
    if isinstance(value, tuple):
        return tuple(fresh(v) for v in value)
    return value.detach().clone().requires_grad_()


def results(module: torch.nn.Module, arguments, keywords) -> dict[str, torch.Tensor]:
    arguments = tuple(fresh(a) for a in arguments)
    outputs = flat(module(*arguments, **keywords))
    return {
        **outputs,
        **gradients(outputs, {**leaves(arguments), **dict(module.named_parameters())}),
    }


@pytest.mark.parametrize(("name", "sample"), list(inputs()))
def test_torchs_inputs_give_torchs_results_and_gradients(name, sample):
    made, given = sample.constructor_input, sample.forward_input
    theirs = randomised(getattr(torch.nn, name)(*made.args, **made.kwargs, dtype=torch.float64))
    ours = getattr(gw.nn, name)(*made.args, **made.kwargs, dtype=torch.float64)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    found = results(ours, given.args, given.kwargs)
    assert_same(found, results(theirs, given.args, given.kwargs), 1e-10)

    back = getattr(torch.nn, name)(*made.args, **made.kwargs, dtype=torch.float64)
    back.load_state_dict(ours.state_dict())
    assert_same(dict(back.named_parameters()), dict(theirs.named_parameters()), 0)


@pytest.mark.parametrize(("name", "sample"), list(error_inputs()))
def test_torchs_faulty_inputs_raise_torchs_exceptions(name, sample):
    made, given = (
        sample.module_error_input.constructor_input,
        sample.module_error_input.forward_input,
    )

    def fail(library):
        module = getattr(library, name)(*made.args, **made.kwargs)
        if sample.error_on is torch_inputs.ModuleErrorEnum.CONSTRUCTION_ERROR:
            pytest.fail(f"{library.__name__}.{name} accepted {made.args} {made.kwargs}")
        module(*given.args, **given.kwargs)

    with pytest.raises(sample.error_type) as theirs:
        fail(torch.nn)
    with pytest.raises(sample.error_type) as ours:
        fail(gw.nn)
    assert type(ours.value) is type(theirs.value)
    assert re.search(sample.error_regex, str(theirs.value))
    assert re.search(sample.error_regex, str(ours.value)), f"torch says: {theirs.value}"
