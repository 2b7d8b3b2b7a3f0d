"""Tasks whose answer is known: one symbol is remembered over p steps, and forgotten then."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import gatework as gw

SURE = 60.0  # σ(±60) is 1 or 0 to float64


def lstm_that_writes_when_told() -> gw.nn.LSTM:
    """One unit; inputs: the symbol, and 1 where it is to be written over what was stored."""
    layer = gw.nn.LSTM(2, 1, dtype=torch.float64)
    with torch.no_grad():
        for p in layer.parameters():
            p.zero_()
        layer.weight_ih_l0[:, 1] = torch.tensor([2 * SURE, -2 * SURE, 0, 0])  # i, f, g, o
        layer.bias_ih_l0.copy_(torch.tensor([-SURE, SURE, 0, SURE]))
        layer.weight_ih_l0[2, 0] = 0.5
    return layer


def gru_that_writes_when_told() -> gw.nn.GRU:
    layer = gw.nn.GRU(2, 1, dtype=torch.float64)
    with torch.no_grad():
        for p in layer.parameters():
            p.zero_()
        layer.weight_ih_l0[1, 1] = -2 * SURE  # r, z, n
        layer.bias_ih_l0[1] = SURE
        layer.weight_ih_l0[2, 0] = 0.5
    return layer


LAYERS = {"c": lstm_that_writes_when_told, "h": gru_that_writes_when_told}
every_layer = pytest.mark.parametrize(("state", "make"), LAYERS.items(), ids=["lstm", "gru"])
every_p = pytest.mark.parametrize("p", [1, 2, 7, 30])


def symbols(p: int, rounds: int = 3, batch: int = 4) -> torch.Tensor:
    """A random symbol at every step; every p + 1 steps one is to be remembered, [T, B, 2]."""
    steps = rounds * (p + 1)
    told = (torch.arange(steps) % (p + 1) == 0).double()
    return torch.stack([torch.randn(steps, batch).double(), told[:, None].expand(-1, batch)], -1)


@every_layer
@every_p
def test_the_horizon_shows_exactly_p(state, make, p):
    horizon = gw.lens.memory_horizon(make(), [symbols(p)], max_lag=2 * p + 2)
    for found in (horizon, horizon.of_state(f"l0.{state}")):
        assert np.flatnonzero(found.mean() > 1e-9).tolist() == [p]
        assert found.reach() == p + 1


@every_layer
@every_p
def test_retention_shows_exactly_p(state, make, p):
    found = gw.lens.retention(make(), [symbols(p)], lags=range(1, p + 4))
    survival = found.survival[f"l0.{state}"][:, 0]
    assert found.lags[np.flatnonzero(survival > 1e-9)].tolist() == list(range(1, p + 1))
    shares = gw.lens.kept_shares(make(), symbols(p))
    for start in (0, p + 1):
        assert (shares.between(f"l0.{state}", start, start + p) == 1).all()
        assert (shares.between(f"l0.{state}", start, start + p + 1) < 1e-9).all()


@every_p
def test_a_delay_line_of_p_units_shows_exactly_p(p):
    layer = gw.nn.Recurrent(gw.cells.rnn_relu, 1, p + 1, dtype=torch.float64)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.weight_ih_l0[0, 0] = 1
        layer.weight_hh_l0.diagonal(-1).fill_(1)
    x = 1 + torch.rand(2 * p + 3, 3, 1, dtype=torch.float64)
    last = gw.lens.memory_horizon(layer, [x], 2 * p, rows=lambda result: result[0][-1, :, -1:])
    assert np.flatnonzero(last.mean()).tolist() == [p]
    whole = gw.lens.memory_horizon(layer, [x], 2 * p, probes=64)
    assert np.flatnonzero(whole.mean()).tolist() == list(range(p + 1))
    assert (gw.lens.retention(layer, [x]).mean["l0.h"] == 0).all()  # it keeps nothing in place
    flow = gw.lens.gradient_flow(layer, [x], lambda model, x: model(x)[0][-1, :, -1].sum())
    assert np.flatnonzero(flow.mean("l0.h")).tolist() == list(range(p + 1))
    assert flow.growth("l0.h") == pytest.approx(1)


@pytest.mark.slow
def test_a_trained_network_remembers_the_first_symbol():
    """What is to be remembered comes at the first of p + 1 steps, and noise after it."""
    p, torch_seed = 15, 0
    torch.manual_seed(torch_seed)
    layer, decoder = gw.nn.GRU(2, 16), nn.Linear(16, 1)
    optimizer = torch.optim.Adam([*layer.parameters(), *decoder.parameters()], 1e-2)

    def batch() -> torch.Tensor:
        x = torch.randn(p + 1, 64, 2)
        x[..., 1] = 0
        x[0, :, 1] = 1
        return x

    for _ in range(400):
        x = batch()
        loss = (decoder(layer(x)[0][-1])[:, 0] - x[0, :, 0]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05
    horizon = gw.lens.memory_horizon(
        layer, [batch()], p, rows=lambda result: decoder(result[0][-1])
    )
    assert horizon.mean().argmax() == p
    assert np.sort(horizon.mean())[-2] < 0.5
