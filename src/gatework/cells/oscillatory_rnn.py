"""Networks of driven, damped oscillators: h is the position of each unit, z its velocity."""

from gatework.lang import cell, linear, sigmoid, tanh, vector


@cell
def cornn(x, h, z, *, dt=0.1, gamma=1.0, epsilon=1.0):
    """coRNN: coupled oscillators (Rusch & Mishra 2021a, eq. 3), with n̄ = n - 1.

    Args:
        dt: The time step.
        gamma: The frequency γ.
        epsilon: The damping ε.
    """
    n = tanh(linear("n", x, h, z))  # the force
    z = z + dt * (n - gamma * h - epsilon * z)
    return h + dt * z, z


@cell
def unicornn(x, h, z, *, dt=0.1, alpha=0.0):
    """UnICORNN: undamped oscillators, each at a pace of its own (Rusch & Mishra 2021b).

    Args:
        dt: The longest time step.
        alpha: The stiffness α.
    """
    n = tanh(linear("n", x) + vector("w") * h)
    step = dt * sigmoid(vector("c"))
    z = z - step * (n + alpha * h)
    return h + step * z, z
