"""Networks whose recurrent matrix is antisymmetric (Chang, Chen, Haber & Chi 2019).

A = U - Uᵀ - γI has eigenvalues of real part -γ, so a step of Euler's method h' = h + ε f(A h) with
a small diffusion γ neither blows up nor forgets.
"""

from gatework.lang import cell, linear, observe, sigmoid, tanh


def _antisymmetric(x, h, gamma):
    """(U - Uᵀ - γI) h; U is the recurrent weight of the gate `n`."""
    forward = linear("n", h, bias=False)
    return forward - linear("n", h, bias=False, transposed=True) - gamma * h


@cell
def antisymmetric_rnn(x, h, *, epsilon=1.0, gamma=0.0):
    """AntisymmetricRNN (Chang et al. 2019): step size epsilon, diffusion gamma."""
    n = tanh(linear("n", x) + _antisymmetric(x, h, gamma))
    return h + epsilon * n


@cell
def gated_antisymmetric_rnn(x, h, *, epsilon=1.0, gamma=0.0):
    """AntisymmetricRNN whose step has a gate; both read the same recurrence (Chang et al. 2019)."""
    a = _antisymmetric(x, h, gamma)
    n = tanh(linear("n", x) + a)
    z = observe("z", sigmoid(linear("z", x) + a))
    return h + epsilon * z * n
