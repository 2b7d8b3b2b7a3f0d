"""Neurons that spike: leaky, and with a threshold that adapts (Bellec et al. 2020)."""

import math

from gatework.lang import abs, cell, linear, maximum, pointwise, where

LEAK = math.exp(-1 / 20)  # of a membrane of 20 ms, in steps of 1 ms
ADAPTATION = math.exp(-1 / 200)


def _spike(v, threshold, dampening):
    """H(v), with the derivative ψ = γ/ϑ max(0, 1 - |v/ϑ|) in the place of its own, which is 0."""
    step = pointwise(
        lambda v: where(v > 0, 1.0, 0.0),
        lambda v: dampening / threshold * maximum(1 - abs(v / threshold), 0),
    )
    return step(v)


@cell
def lif(x, z, v, *, alpha=LEAK, threshold=1.0, dampening=0.3):
    """LIF: a leaky integrate-and-fire neuron, trained by a surrogate (Bellec et al. 2020, methods).

    The output is the spikes z, 0 or 1; after each, the threshold is taken from the membrane v.
    Two things of the paper are left to the model: a neuron has a weight for its own spike here,
    which `torch.nn.utils.prune.custom_from_mask` takes out, and no refractory period.

    Args:
        alpha: How much of the membrane stays from step to step, exp(-δt/τ).
        threshold: At which it spikes, ϑ.
        dampening: The height of the pseudo-derivative, γ.
    """
    v = alpha * v + linear("i", x, z, bias=False) - z * threshold
    return _spike(v - threshold, threshold, dampening), v


@cell
def alif(x, z, v, a, *, alpha=LEAK, rho=ADAPTATION, beta=0.07, threshold=1.0, dampening=0.3):
    """ALIF: each spike raises the neuron's threshold for a while (Bellec et al. 2020, methods).

    As `lif`, with the threshold A = ϑ + β a; a long memory of what the neuron did.

    Args:
        alpha: How much of the membrane stays from step to step, exp(-δt/τ).
        rho: How much of the adaptation stays.
        beta: How far a spike raises the threshold.
        threshold: That of a neuron at rest, ϑ.
        dampening: The height of the pseudo-derivative, γ.
    """
    a = rho * a + z
    v = alpha * v + linear("i", x, z, bias=False) - z * threshold
    return _spike(v - (threshold + beta * a), threshold, dampening), v, a
