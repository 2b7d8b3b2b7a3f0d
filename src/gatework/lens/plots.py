"""Several models in one picture: each takes a measurement of every model, by the model's name."""

from gatework.lens.flow import draw_flows
from gatework.lens.horizon import draw_horizons
from gatework.lens.retention import draw_retentions

__all__ = ["draw_flows", "draw_horizons", "draw_retentions"]
