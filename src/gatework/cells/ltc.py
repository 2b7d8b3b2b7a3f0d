"""The liquid time-constant network (Hasani, Lechner, Amini, Rus & Grosu 2021)."""

from gatework.lang import cell, exp, observe, sigmoid, vector, weight


@cell
def ltc(x, gap, /, h, *, unfolds=6):
    """LTC: a gate sets both the target and the time constant (Hasani et al. 2021, eq. 1 and 3).

    ḣ = -(1/τ + f) h + f A with f = σ(γ x + γᵣ h + μ), by the fused solver of algorithm 1: a step
    that is implicit in h and explicit in f, `unfolds` times in the gap, the time since the last
    step. τ is learned as its logarithm, so it stays positive. The authors' code gives each pair of
    neurons a sigmoid of its own; this is the paper's f, a layer.
    """
    gamma, gamma_r, mu = weight("gamma"), weight("gamma_r"), vector("mu", 0.0)
    rate, a, dt = exp(-vector("log_tau", 0.0)), vector("a"), gap / unfolds
    for k in range(1, unfolds + 1):
        f = observe(f"f{k}", sigmoid(gamma(x) + gamma_r(h) + mu))
        h = (h + dt * f * a) / (1 + dt * (rate + f))
    return h
