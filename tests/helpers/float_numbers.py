"""Numbers of float32 at which functions are compared: limits, bends, and all sizes."""

import math

NUMBERS = [
    0.0, -0.0, math.nan, math.inf, -math.inf, 0.25, -0.25, 0.5, -0.5, 0.7, -0.7, 1.0, -1.0, 1.5,
    2.0, -2.0, 3.0, -3.0, 6.0, -6.0, 2.999999, -3.000001, 10.0, -10.0, 20.5, -20.5, 60.0, -60.0,
    88.0, -88.0, 104.0, -104.0, 1000.0, -1000.0, 1e4, -1e4, 1e-7, -1e-7, 1e-20, -1e-20, 1e-38,
    -1e-38, 1e-40, -1e-40, 1e19, -1e19, 1e30, -1e30, 3.4e38, -3.4e38,
]  # fmt: skip
