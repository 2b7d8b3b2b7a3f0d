"""What is asked of a forecast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from gatework.errors import InputError
from gatework.tasks.settings import TableSettings

__all__ = ["SETTINGS", "ForecastSettings"]

Quantile = Annotated[float, Field(gt=0, lt=1)]
Steps = Annotated[int, Field(gt=0, le=100_000)]
MEDIAN = 0.5


class ForecastSettings(TableSettings):
    """Predict the next values of each series.

    Example:
        >>> ForecastSettings.of(horizon=24, target=("load",)).quantiles
        (0.1, 0.5, 0.9)
    """

    usual: ClassVar[Mapping[str, Any]] = {
        "hidden_size": 32,
        "batch_size": 32,
        "dropout": 0.5,
        "learning_rate": 0.002,
    }
    used_by: ClassVar[str] = "gatework forecast"
    kind: Literal["forecast"] = "forecast"
    horizon: Steps = 24
    """Steps that are predicted."""
    context: Steps | None = None
    """Steps that a forecast is made from; unless given, the longest season, twice the horizon at
    least."""
    season: Annotated[tuple[Steps, ...], Field(max_length=8)] = ()
    """Steps after which things come again, such as 24 and 168 of hours; unless given, found from
    the step in time."""
    quantiles: Annotated[tuple[Quantile, ...], Field(min_length=1, max_length=99)] = (0.1, 0.5, 0.9)
    """Which are predicted; the median is the forecast itself."""
    held_out_steps: Steps | None = None
    """Last steps of each series that are held out, in place of a share."""

    @model_validator(mode="after")
    def _quantiles_are_in_order(self) -> Self:
        if list(self.quantiles) != sorted({*self.quantiles, MEDIAN}):
            wanted = ",".join(f"{q:g}" for q in sorted({*self.quantiles, MEDIAN}))
            raise InputError(
                f"quantiles {','.join(f'{q:g}' for q in self.quantiles)}",
                "different ones in their order, the median 0.5 among them",
                f"write --quantiles {wanted}",
            )
        return self


SETTINGS = {"forecast": ForecastSettings}
