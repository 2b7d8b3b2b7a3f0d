"""Long Expressive Memory: two coupled states with learned time steps."""

from gatework.lang import cell, linear, sigmoid, tanh


@cell
def lem(x, h, z, *, dt=1.0):
    """LEM (Rusch, Mishra, Erichson & Mahoney 2022, eq. 3); dt is the longest time step."""
    step_h = dt * sigmoid(linear("dt_h", x, h))
    step_z = dt * sigmoid(linear("dt_z", x, h))
    z = (1 - step_z) * z + step_z * tanh(linear("n_z", x, h))
    h = (1 - step_h) * h + step_h * tanh(linear("n_h", x, z, group="zh"))
    return h, z
