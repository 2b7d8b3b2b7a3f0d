"""The next steps of a series, with quantiles: `RecurrentForecaster`.

Legend: T steps, N targets, F covariates, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from gatework.errors import InputError
from gatework.estimators.models import ForecastModel, Scale
from gatework.estimators.settings import check_settings, make_layer, seeded
from gatework.estimators.training import train
from gatework.lang import Cell
from gatework.nn.given import array_of

Rows = NDArray[np.float64]


class RecurrentForecaster(BaseEstimator):  # type: ignore[misc]
    """The next steps of one series or several in parallel, learned by recurrent layers of any cell.

    It learns from every stretch of `context + horizon` steps of the series. The layers read the
    context, and go on into the horizon, of which they see what is known ahead, the covariates, and
    a mask that says that the targets are not. Missing values (NaN) are masked in the same way.

    Args:
        horizon: How many steps ahead it forecasts.
        context: How many steps it reads before them.
        cell: The name of a cell of the catalogue, or a cell of your own.
        quantiles: Which quantiles it forecasts, rising; those of 0.1 and 0.9 hold 80 % between
            them. `predict` gives the median, or the middle one.
        season: After how many steps the series repeats itself, such as 24 of hourly data. Then the
            layers read the value of the season before too, and learn what differs from it.
        hidden_size: Units of each layer.
        num_layers: Layers.
        dropout: The share of values left out in training, between layers and before the result.
        max_epochs: How often the training data are gone through.
        batch_size: Stretches in a step of training.
        learning_rate: The highest of the run; it rises, then falls as a cosine.
        early_stopping: Whether to hold out the end of the series, keep the weights that are best on
            it, and stop when they are not bettered.
        validation_fraction: Which share of the series is held out then.
        n_iter_no_change: After how many epochs without a better one it stops.
        random_state: Seeds weights, dropout and batches.
        device: Where it is trained and used, "cpu" or "cuda".

    Attributes:
        model_: The trained torch module; it reads and gives scaled numbers.
        n_iter_: The epochs that it was trained.
        loss_curve_: The mean quantile loss, scaled, of each epoch; `validation_curve_` of what was
            held out.

    Example:
        >>> import numpy as np, gatework as gw
        >>> y = np.sin(np.arange(300) / 5)
        >>> model = gw.RecurrentForecaster(10, 30, hidden_size=16, max_epochs=40, random_state=0)
        >>> model.fit(y[:290]).predict().shape, model.predict_quantiles().shape
        ((10,), (10, 3))
        >>> model.score(y[290:]) > -0.2  # the mean absolute error, negative
        True
    """

    def __init__(
        self,
        horizon: int = 1,
        context: int = 32,
        cell: str | Cell = "gru",
        *,
        quantiles: Sequence[float] = (0.1, 0.5, 0.9),
        season: int | None = None,
        hidden_size: int = 64,
        num_layers: int = 1,
        dropout: float = 0.0,
        max_epochs: int = 30,
        batch_size: int = 32,
        learning_rate: float = 0.005,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        random_state: Any = None,
        device: str = "cpu",
    ) -> None:
        self.horizon = horizon
        self.context = context
        self.cell = cell
        self.quantiles = quantiles
        self.season = season
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.dropout = dropout
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state
        self.device = device

    bidirectional = False  # what is to come is not read backward

    def fit(self, y: Any, X: Any = None) -> Self:
        """Train on a series.

        Args:
            y: [T] or [T, N]: an array, a tensor, a DataFrame or a column; NaN where missing.
            X: Covariates of the same steps, [T, F], that are known ahead, such as the hour or a
                price that is set the day before.

        Raises:
            InputError: If the series is shorter than `context + horizon`, or a setting is out of
                range.
        """
        check_settings(self)
        self._check_windows()
        series, known = _rows("y", y), self._covariates(X, len(_rows("y", y)))
        self._check_length(len(series))
        self._flat, self._columns = np.ndim(y) == 1, known.shape[1]
        held = round(len(series) * self.validation_fraction) if self.early_stopping else 0
        if self.early_stopping:
            self._check_held(len(series), held)
        learned = len(series) - held
        self._scales = Scale(series[:learned]), Scale(known[:learned])
        rows = self._scaled(series, known)
        with seeded(self) as generator:
            layer = make_layer(self, 2 * rows.shape[1])
            made = ForecastModel(layer, series.shape[1], len(self.quantiles), self.dropout)
            self.model_ = made.to(self.device)
            self._train(rows, learned, held, generator)
        self._past = series, known
        return self

    def predict(self, X: Any = None, *, y: Any = None, past_X: Any = None) -> Rows:
        """The median of the next steps, [horizon] or [horizon, N] as y was fitted.

        Args:
            X: The covariates of those steps, [horizon, F], if it was fitted with some.
            y: The series up to where the forecast begins, at least `context` steps; the one that it
                was fitted to when not given.
            past_X: The covariates of the steps of y.
        """
        quantiles = self.predict_quantiles(X, y=y, past_X=past_X)
        nearest = np.abs(np.asarray(self.quantiles) - 0.5).argmin()
        return np.asarray(quantiles[..., nearest])

    def predict_quantiles(self, X: Any = None, *, y: Any = None, past_X: Any = None) -> Rows:
        """The quantiles of the next steps, [horizon, Q] or [horizon, N, Q]; as `predict`."""
        check_is_fitted(self)
        series, known = self._past
        if y is not None:
            series = _rows("y", y)
            known = self._covariates(past_X, len(series), self._columns)
        least = self.context + (self.season or 0)
        if len(series) < least:
            raise InputError(
                f"a past of {len(series)} steps",
                f"at least {least}, those of the context and the season",
                "give more of the series, or forecast without y=, from what was fitted",
            )
        ahead = self._covariates(X, self.horizon, self._columns)
        unknown = np.full((self.horizon, series.shape[1]), np.nan)
        rows = self._scaled(np.vstack([series, unknown]), np.vstack([known, ahead]))
        window = rows[-self.context - self.horizon :, None].to(self.device)
        model = self.model_.to(self.device)
        try:
            with torch.no_grad():
                found = self._completed(model(window, self.horizon), window)[:, 0].cpu()
        finally:
            model.cpu()  # so that it is pickled for any machine
        scale = self._scales[0]
        whole = scale.back(found.double().transpose(-1, -2)).transpose(-1, -2)
        quantiles = np.sort(whole.numpy(), -1)
        return quantiles[:, 0] if self._flat else quantiles

    def score(self, y: Any, X: Any = None) -> float:
        """The mean absolute error of the forecast of y, negative, so that more is better.

        Args:
            y: What came in the next `horizon` steps after those that it was fitted to.
            X: The covariates of these steps.
        """
        wanted, found = _rows("y", y), _rows("the forecast", self.predict(X))
        if wanted.shape != found.shape:
            raise InputError(
                f"y with the shape {list(wanted.shape)}",
                f"what came in the next steps, {list(found.shape)}",
                f"give the {len(found)} steps after those that were fitted",
            )
        return -float(np.nanmean(np.abs(wanted - found)))

    # ---- windows -------------------------------------------------------------------------------

    def _scaled(self, series: Rows, known: Rows) -> Tensor:
        """All that the layers may read, [T, N + F], or [T, 2 N + F] with the season before."""
        of_series, of_known = self._scales
        targets = of_series(torch.from_numpy(series))
        parts = [targets, of_known(torch.from_numpy(known))]
        if self.season:
            parts.append(_last_season(targets, self.season, self.horizon))
        return torch.cat(parts, -1)

    def _completed(self, found: Tensor, window: Tensor) -> Tensor:
        """Forecasts [horizon, B, N, Q] with the season before, from which they differ."""
        if not self.season:
            return found
        before = window[-self.horizon :, :, -found.shape[2] :]
        return found + before.nan_to_num(0.0)[..., None]

    def _train(self, rows: Tensor, learned: int, held: int, generator: torch.Generator) -> None:
        """Train on the windows of [T, n]; those that end past what is learned from are held out."""
        length, n = self.context + self.horizon, self.model_.shape[0]
        first = self.season or 0
        windows = rows.unfold(0, length, 1).movedim(-1, 0)  # [length, windows, n], no copy
        levels = torch.tensor(tuple(self.quantiles), device=self.device)
        starts = torch.arange(first, learned - length + 1)

        def loss(numbers: Tensor) -> Tensor:
            window = windows[:, numbers].to(self.device)
            wanted = window[-self.horizon :, :, :n]
            seen = window.clone()
            seen[-self.horizon :, :, :n] = torch.nan
            found = self._completed(self.model_(seen, self.horizon), seen)
            return _pinball(found, wanted, levels)

        def batches() -> Sequence[Tensor]:
            order = torch.randperm(len(starts), generator=generator)
            return torch.split(starts[order], self.batch_size)

        ends = range(max(first, learned - self.context), len(rows) - length + 1) if held else ()
        held_out = torch.split(torch.tensor(ends), self.batch_size) if held else ()
        steps = -(-len(starts) // self.batch_size)
        train(self, self.model_, batches, steps, loss, held_out)
        self.model_.cpu()

    # ---- checks --------------------------------------------------------------------------------

    def _check_windows(self) -> None:
        for name in ("horizon", "context", "season"):
            value = getattr(self, name)
            if name == "season" and value is None:
                continue
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{name}={value!r}", "a whole number from 1 on", f"give {name}=24")
        levels = list(self.quantiles)
        if not levels or sorted(set(levels)) != levels or not 0 < levels[0] <= levels[-1] < 1:
            raise InputError(
                f"quantiles={self.quantiles!r}",
                "numbers between 0 and 1, rising",
                "give quantiles=(0.1, 0.5, 0.9)",
            )

    def _check_length(self, steps: int, *, what: str = "a series") -> None:
        least = self.context + self.horizon + (self.season or 0)
        if steps < least:
            raise InputError(
                f"{what} of {steps} steps",
                f"at least {least}: context, horizon and season",
                "give a longer one, or a shorter context=",
            )

    def _check_held(self, steps: int, held: int) -> None:
        if held < self.horizon:
            raise InputError(
                f"validation_fraction={self.validation_fraction} of {steps} steps, {held}",
                f"at least one horizon, {self.horizon} steps",
                "hold out more, or give early_stopping=False",
            )
        self._check_length(steps - held, what="what is left to learn from,")

    def _covariates(self, X: Any, steps: int, columns: int | None = None) -> Rows:
        """The covariates [steps, F]; none when X is not given."""
        rows = np.empty((steps, 0)) if X is None else _rows("X", X)
        if len(rows) != steps or (columns is not None and rows.shape[1] != columns):
            raise InputError(
                f"covariates with the shape {list(rows.shape)}",
                f"{steps} steps of {'some' if columns is None else columns} covariates",
                "give X= of the same steps and columns as in fit",
            )
        return rows


def _rows(what: str, given: Any) -> Rows:
    """A series as [T, n]."""
    given = given.detach().cpu().numpy() if isinstance(given, Tensor) else given
    array = array_of(what, np.asarray(given) if isinstance(given, list | tuple) else given)
    if array is None or array.ndim not in (1, 2):
        came = type(given).__name__ if array is None else f"the shape {list(array.shape)}"
        raise InputError(
            f"{what} is {came}",
            "one series, [steps] or [steps, columns]",
            "give an array, a DataFrame or a column; of several series, the columns of one",
        )
    rows = array.astype(np.float64).reshape(len(array), -1)
    if np.isinf(rows).any():
        raise InputError(
            f"{what} has infinite values",
            "finite numbers, or NaN where one is missing",
            "write NaN in their place",
        )
    return rows


def _last_season(targets: Tensor, season: int, horizon: int) -> Tensor:
    """For each step the value at the same place of the last season that a forecast can know."""
    back = season * -(-horizon // season)
    before = torch.full_like(targets, torch.nan)
    before[back:] = targets[:-back]
    return before


def _pinball(found: Tensor, wanted: Tensor, levels: Tensor) -> Tensor:
    """The mean quantile loss of [horizon, B, N, Q], over those targets [horizon, B, N] that are."""
    error = wanted[..., None] - found
    loss = torch.maximum(levels * error, (levels - 1) * error)
    known = ~wanted.isnan()
    return loss[known].sum() / (known.sum().clamp(min=1) * len(levels))
