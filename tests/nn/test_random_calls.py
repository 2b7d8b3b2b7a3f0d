"""Random calls with good and bad arguments: a result of the right shape or a clear error.

A bounded run is part of the tests. For a long one:
RANDOM_CALLS=1000000 pytest tests/nn/test_random_calls.py
"""

import os
import random

import numpy as np
import pytest
import torch

import gatework as gw
from numerics import state_sizes
from plain_sizes import plain_sizes

PARTS = 4  # of the calls: workers share them
CALLS = int(os.environ.get("RANDOM_CALLS", "250")) // PARTS
CELLS = ["lstm", "gru", "rnn", "gru_reset_before", "layer_norm_lstm", "projected_lstm"]
CLEAR = (ValueError, TypeError, RuntimeError, IndexError)
ODD = [None, 3, -1, 2.5, "x", [], [[]], np.zeros(3), torch.zeros(()), torch.tensor([True]), {}]


def make_layer(choose):
    name = choose.choice(CELLS)
    cell = gw.cells.catalogue()[name]
    return gw.nn.Recurrent(
        cell,
        choose.choice([1, 3]),
        choose.choice([2, 5]),
        num_layers=choose.choice([1, 2]),
        bidirectional=choose.random() < 0.3,
        learned_state=choose.random() < 0.3,
        batch_first=choose.random() < 0.3,
        dtype=choose.choice([torch.float32, torch.float64]),
        **plain_sizes(cell, 1),
    )


def make_tensor(choose, shape, dtype):
    """Mostly what is asked for; sometimes of another dtype, strided, or with odd numbers."""
    if choose.random() < 0.05:
        dtype = choose.choice([torch.float16, torch.int64, torch.complex64, torch.float64])
    if choose.random() < 0.05:
        shape = [max(0, n + choose.choice([-1, 0, 1])) for n in shape]
    if choose.random() < 0.05:
        shape = shape[: choose.randrange(len(shape) + 1)]
    tensor = torch.zeros(shape, dtype=dtype)
    if dtype.is_floating_point:
        tensor.normal_()
        if choose.random() < 0.05:
            tensor.fill_(choose.choice([float("nan"), float("inf"), torch.finfo(dtype).max]))
        if choose.random() < 0.2 and tensor.dim() > 1:
            tensor = tensor.transpose(0, 1).contiguous().transpose(0, 1)
        if choose.random() < 0.1:
            tensor.requires_grad_()
    return tensor


def make_resets(choose, shape):
    """Mostly booleans of the right shape; sometimes of another dtype or shape, or a list."""
    if choose.random() < 0.1:
        shape = choose.choice([shape[::-1], shape[:1], [*shape, 1], []])
    resets = torch.rand(shape) < 0.3
    if choose.random() < 0.1:
        return choose.choice([resets.float(), resets.long(), resets.tolist(), resets.numpy()])
    return resets.T.contiguous().T if resets.dim() == 2 else resets


def make_arguments(choose, layer):
    dtype = layer.all_weights[0][0].dtype
    steps, batch = choose.choice([1, 2, 4]), choose.choice([0, 1, 3])
    outer = [batch, steps] if layer.batch_first else [steps, batch]
    x = make_tensor(choose, [*outer, layer.input_size], dtype)
    places = layer.num_layers * layer.num_directions
    states = tuple(make_tensor(choose, [places, batch, n], dtype) for n in state_sizes(layer))
    hx = choose.choice([None, states if len(states) > 1 else states[0]])
    options = {}
    if choose.random() < 0.4:
        beyond = choose.random() < 0.1  # one too few and one too many
        options["lengths"] = [choose.randint(-beyond, steps + beyond) for _ in range(batch)]
    if choose.random() < 0.3:
        name = choose.choice([*layer.cell.names, "no such gate"])
        options["pin"] = {
            name: choose.choice([0, 1.0, torch.zeros(layer.hidden_size, dtype=dtype)])
        }
    if choose.random() < 0.3:
        options["resets"] = make_resets(choose, outer)
    if choose.random() < 0.2:
        options["reset_to"] = states if len(states) > 1 else states[0]
    for key in ("lengths", "pin", "resets", "reset_to"):
        if choose.random() < 0.03:
            options[key] = choose.choice(ODD)
    return choose.choice(ODD) if choose.random() < 0.03 else x, hx, options


def check_result(layer, x, y):
    assert y.shape == (*x.shape[:-1], layer.output_size * layer.num_directions)
    assert y.dtype == x.dtype
    if y.requires_grad:
        y.sum().backward()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(PARTS))
def test_random_calls_end_in_a_result_or_a_clear_error(seed):
    choose = random.Random(seed)
    layers = [make_layer(choose) for _ in range(4)]
    ended = {"result": 0, "error": 0}
    for _ in range(CALLS):
        layer = choose.choice(layers)
        x, hx, options = make_arguments(choose, layer)
        call = layer.trace if choose.random() < 0.1 else layer
        try:
            result = call(x, hx, **options)
        except CLEAR:
            ended["error"] += 1
        else:
            check_result(layer, x, result.output if call is not layer else result[0])
            ended["result"] += 1
    assert min(ended.values()) > CALLS / 20, ended
