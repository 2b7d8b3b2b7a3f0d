"""The memory horizon against the Jacobian itself, in float64, and against cells of known memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.autograd.functional import jacobian

import gatework as gw
from gatework.lens import MemoryHorizon, memory_horizon

T, B, I, H = 9, 2, 3, 4
MAX_LAG = 6


def direct_influence(layer, inputs: torch.Tensor) -> np.ndarray:
    """‖∂h_T/∂x_{T−k}‖ (Frobenius) for each sequence by itself, [B, K+1]."""
    rows = []
    for b in range(inputs.shape[1]):
        one = inputs[:, b : b + 1]
        full = jacobian(lambda x: layer(x)[0][-1, 0], one)  # [H, T, 1, I]
        norms = full[:, :, 0].square().sum((0, 2)).sqrt()  # [T]
        rows.append(norms.flip(0)[: MAX_LAG + 1].numpy())
    return np.stack(rows)


@pytest.mark.parametrize("probes", [1, 2, 4])
def test_the_estimate_is_right_on_average_and_exact_with_a_probe_for_every_unit(probes):
    torch.manual_seed(3)
    layer = gw.nn.LSTM(I, H, dtype=torch.float64)
    inputs = torch.randn(T, 1, I, dtype=torch.float64)
    many = inputs.expand(-1, 1 if probes == H else 500, -1)
    squares = memory_horizon(layer, [many], MAX_LAG, probes=probes).influence ** 2
    expected = direct_influence(layer, inputs)[0] ** 2
    np.testing.assert_allclose(squares.mean(0), expected, rtol=1e-9 if probes == H else 0.15)


def test_with_one_unit_the_estimate_is_the_norm():
    """With H = 1 the random sign does not matter, so one probe gives the norm itself."""
    torch.manual_seed(4)
    layer = gw.nn.LSTM(I, 1, dtype=torch.float64)
    inputs = torch.randn(T, B, I, dtype=torch.float64)
    estimate = memory_horizon(layer, [inputs], MAX_LAG, probes=1).influence
    np.testing.assert_allclose(estimate, direct_influence(layer, inputs), rtol=1e-12)


def leaky(decay: float):
    """h_t = decay · h_{t−1} + x_t, whose influence is exactly decay^k."""

    def layer(inputs):
        state = torch.zeros_like(inputs[0])
        outputs = []
        for x in inputs:
            state = decay * state + x
            outputs.append(state)
        return torch.stack(outputs), state

    return layer


@pytest.mark.parametrize("decay", [0.5, 0.9])
def test_a_leaky_integrator_forgets_at_its_rate(decay):
    horizon = memory_horizon(leaky(decay), [torch.randn(60, 3, 2)], 50)
    np.testing.assert_allclose(horizon.mean(), decay ** np.arange(51), rtol=1e-4)
    assert horizon.reach(0.01) == math.ceil(math.log(0.01) / math.log(decay))


def test_a_delay_line_remembers_for_exactly_its_length():
    def sum_of_now_and_then(inputs):
        return inputs + torch.cat([torch.zeros_like(inputs[:5]), inputs[:-5]]), None

    horizon = memory_horizon(sum_of_now_and_then, [torch.randn(60, 3, 2)], 20)
    assert np.flatnonzero(horizon.mean()).tolist() == [0, 5]
    assert horizon.reach() == 6


def test_batches_are_joined_sequence_by_sequence():
    torch.manual_seed(5)
    layer = gw.nn.GRU(I, H, dtype=torch.float64)
    inputs = torch.randn(T, 5, I, dtype=torch.float64)
    parts = memory_horizon(layer, inputs.split([2, 3], dim=1), MAX_LAG, probes=4)
    whole = memory_horizon(layer, [inputs], MAX_LAG, probes=4)
    assert parts.influence.shape == (5, MAX_LAG + 1)
    np.testing.assert_allclose(parts.influence, whole.influence, rtol=1e-9)


def test_the_seed_decides_the_estimate():
    layer, inputs = gw.nn.RNN(I, H), torch.randn(T, B, I)
    first, again, other = (
        memory_horizon(layer, [inputs], MAX_LAG, probes=1, seed=s).influence for s in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_measuring_leaves_no_gradient_in_the_weights():
    layer = gw.nn.RNN(I, H)
    memory_horizon(layer, [torch.randn(T, B, I)], MAX_LAG)
    assert all(weight.grad is None for weight in layer.parameters())


def test_the_band_holds_the_mean_and_narrows_with_more_sequences():
    rng = np.random.default_rng(0)
    decay = 0.5 ** np.arange(8)

    def horizon(sequences: int) -> MemoryHorizon:
        return MemoryHorizon(decay * rng.lognormal(size=(sequences, 8)))

    few, many = horizon(20), horizon(2000)
    for measured in (few, many):
        low, high = measured.band()
        assert (low <= measured.mean()).all()
        assert (measured.mean() <= high).all()
        first, last = measured.reach_band(0.05)
        assert first <= measured.reach(0.05) <= last
    assert (np.subtract(*many.band())[1:] > np.subtract(*few.band())[1:]).all()


def test_a_memory_beyond_the_longest_lag_is_reported_as_such():
    assert MemoryHorizon(np.ones((3, 11))).reach() == 11


@pytest.mark.parametrize(
    ("batches", "message"),
    [([], "empty"), ([torch.zeros(MAX_LAG, B, I)], "more than max_lag = 6")],
)
def test_too_little_data_is_an_error(batches, message):
    with pytest.raises(ValueError, match=message):
        memory_horizon(gw.nn.RNN(I, H), batches, MAX_LAG)


def test_states_have_a_horizon_of_their_own():
    model = torch.nn.Sequential(torch.nn.Linear(I, I), gw.nn.LSTM(I, H, num_layers=2))
    found = memory_horizon(model, [torch.randn(T, B, I)], MAX_LAG)
    assert set(found.states) == {"1.l0.h", "1.l0.c", "1.l1.h", "1.l1.c"}
    np.testing.assert_allclose(found.of_state("1.l1.h").influence, found.influence, rtol=0.8)
    with pytest.raises(ValueError, match=r"no state named '1.l1.x'; did you mean '1.l1.h'"):
        found.of_state("1.l1.x")


def test_several_runs_have_the_mean_of_their_means_and_a_wider_band():
    rng = np.random.default_rng(0)
    runs = [
        MemoryHorizon(decay ** np.arange(8) * rng.lognormal(0, 0.1, (50, 8)))
        for decay in (0.4, 0.5, 0.6)
    ]
    joined = MemoryHorizon.of_runs(runs)
    np.testing.assert_allclose(joined.mean(), np.mean([run.mean() for run in runs], 0))
    low, high = joined.band()
    assert (low <= joined.mean()).all()
    assert (joined.mean() <= high).all()
    for run in runs:
        narrow = np.subtract(*run.band()[::-1])
        assert (narrow[3:] < (high - low)[3:]).all()
    assert joined.reach_band()[0] < joined.reach_band()[1]


def test_batches_of_symbols_are_traced_to_what_the_first_layer_reads():
    embedding, layer = torch.nn.Embedding(9, I), gw.nn.GRU(I, H)
    symbols = torch.randint(9, (T, B))
    model = torch.nn.Sequential(embedding, layer)
    found = memory_horizon(model, [symbols], MAX_LAG)
    expected = memory_horizon(layer, [embedding(symbols)], MAX_LAG)
    np.testing.assert_allclose(found.influence, expected.influence, rtol=1e-5)


@pytest.mark.parametrize("arguments", [{"max_lag": -1}, {"max_lag": 3, "probes": 0}])
def test_lags_and_probes_that_make_no_sense_are_an_error(arguments):
    with pytest.raises(ValueError, match="expected at least 0 steps and 1 probe"):
        memory_horizon(gw.nn.GRU(I, H), [torch.randn(T, B, I)], **arguments)


def test_packed_sequences_are_refused():
    packed = torch.nn.utils.rnn.pack_padded_sequence(torch.randn(T, 2, I), torch.tensor([T, 3]))
    with pytest.raises(TypeError, match="given a PackedSequence; expected a tensor"):
        memory_horizon(gw.nn.GRU(I, H), [packed], MAX_LAG)
