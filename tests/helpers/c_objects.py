"""Cells as C objects: what is run, and how near it has to be."""

from __future__ import annotations

import torch

import gatework as gw
from feeding import fed, recurrent

CELLS = {
    c.name: c for c in (getattr(gw.cells, n) for n in gw.cells.__all__) if hasattr(c, "states")
}
STEPS = 7


def assert_near(found, layer, x):
    """Within 1e-6 of float64, or three times what rounding to float32 costs torch there."""
    layer = layer.eval()
    with gw.use_backend("reference"), torch.no_grad():
        single, double = layer(x), layer.double()(x.double())
    if isinstance(double, tuple):
        single, double = single[0], double[0]
    rounding = (single - double).abs().max()
    largest = max(1, double.abs().max())
    assert (found - double).abs().max() <= max(1e-6 * largest, 3 * rounding)


def layer_and_inputs(cell):
    torch.manual_seed(5)
    hidden = 12 if cell.has_hidden_size() or not cell.axis_names() else None
    layer = recurrent(cell, 4, hidden, **cell.usual_sizes(12))
    x = torch.randn(STEPS, 4)
    rows = fed(cell, layer.sizes(0), x, False)
    roles = {s.name: s.role for s in cell.further}
    return layer, [x, *(rows[n] for n in sorted(rows, key=lambda n: roles[n] != "sequence"))]
