"""The next steps of a series, with quantiles: `RecurrentForecaster`.

Legend: T steps, N targets, F covariates, Q quantiles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from gatework.data.scaling import fit
from gatework.errors import InputError
from gatework.estimators.series import Rows, one_sequence, quantile_loss, rows_of
from gatework.estimators.settings import check_settings, make_layer, seeded
from gatework.estimators.training import on_device, train
from gatework.lang import Cell
from gatework.tasks.features import Features
from gatework.tasks.forecasting.model import Forecaster
from gatework.tasks.forecasting.task import TOGETHER, stacked
from gatework.tasks.forecasting.windows import Shape, Windows
from gatework.tasks.task import Batch


class RecurrentForecaster(BaseEstimator):  # type: ignore[misc]
    """The next steps of one series or several in parallel, learned by recurrent layers of any cell.

    It learns from every stretch of `context + horizon` steps of the series, with the model of
    the forecasting task: each step of the past forecasts the quantiles of all steps
    ahead, from the layers' output and what is known ahead. Missing values (NaN) are masked.

    Args:
        horizon: How many steps ahead it forecasts.
        context: How many steps it reads before them.
        cell: The name of a cell of the catalogue, or a cell of your own.
        quantiles: Which quantiles it forecasts, rising; those of 0.1 and 0.9 hold 80 % between
            them. `predict` gives the median, or the middle one.
        season: After how many steps the series repeats itself, such as 24 of hourly data. Then a
            forecast begins at the value of the season before, which must lie in the context, else
            at the last one.
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
            InputError: If the series is shorter than a season, `context` and `horizon` together,
                or a setting is out of range.
        """
        check_settings(self)
        self._check_windows()
        series = rows_of("y", y)
        known = self._covariates(X, len(series))
        self._check_length(len(series))
        self._flat, self._columns = np.ndim(y) == 1, known.shape[1]
        held = round(len(series) * self.validation_fraction) if self.early_stopping else 0
        if self.early_stopping:
            self._check_held(len(series), held)
        learned = len(series) - held
        self._scale = fit([series[:learned]])
        self._features = Features.fit(one_sequence(series[:learned], known[:learned]), np.arange(1))
        with seeded(self) as seed:
            windows = self._windows(series, known)
            self.model_ = self._model(windows).to(self.device)
            self._train(windows, learned, len(series), seed)
        self._past = series, known
        return self

    def predict(self, X: Any = None, *, y: Any = None, past_X: Any = None) -> Rows:
        """The median of the next steps, [horizon] or [horizon, N] as y was fitted.

        Args:
            X: The covariates of those steps, [horizon, F], if it was fitted with some.
            y: The series up to where the forecast begins, at least `context` steps and a season;
                the one that it was fitted to when not given.
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
            series = rows_of("y", y)
            known = self._covariates(past_X, len(series), self._columns)
        if len(series) < self._read:
            raise InputError(
                f"a past of {len(series)} steps",
                f"at least {self._read}, those of the context and of a season before it",
                "give more of the series, or forecast without y=, from what was fitted",
            )
        ahead = self._covariates(X, self.horizon, self._columns)
        unknown = np.full((self.horizon, series.shape[1]), np.nan)
        windows = self._windows(np.vstack([series, unknown]), np.vstack([known, ahead]))
        batch = stacked([windows.window(0, len(series) - 1)])
        with torch.no_grad(), on_device(self.model_, self.device):
            found = self._found(batch)[0, 0].double().cpu().numpy()  # [K, N, Q]
        whole = self._scale.undo(found.swapaxes(1, 2), range(found.shape[1])).swapaxes(1, 2)
        quantiles = np.sort(whole, -1)
        return quantiles[:, 0] if self._flat else quantiles

    def score(self, y: Any, X: Any = None) -> float:
        """The mean absolute error of the forecast of y, negative, so that more is better.

        Args:
            y: What came in the next `horizon` steps after those that it was fitted to.
            X: The covariates of these steps.
        """
        wanted, found = rows_of("y", y), rows_of("the forecast", self.predict(X))
        if wanted.shape != found.shape:
            raise InputError(
                f"y with the shape {list(wanted.shape)}",
                f"what came in the next steps, {list(found.shape)}",
                f"give the {len(found)} steps after those that were fitted",
            )
        return -float(np.nanmean(np.abs(wanted - found)))

    # ---- windows -------------------------------------------------------------------------------

    def _windows(self, series: Rows, known: Rows) -> Windows:
        """What takes windows out of a series [T, N] and its covariates [T, F]."""
        targets, lags = series.shape[1], self._lags
        future = tuple(range(targets, targets + known.shape[1]))
        shape = Shape(self.context, self.horizon, lags)
        sequences = one_sequence(series, known)
        return Windows(sequences, self._features, targets, future, (), [self._scale], shape, 1.0)

    @property
    def _lags(self) -> tuple[int, ...]:
        """How far back the season lies that is known of every step ahead."""
        return (self.season * -(-self.horizon // self.season),) if self.season else ()

    @property
    def _read(self) -> int:
        """The steps that a forecast hangs on: the context is read as what a season changed."""
        return self.context + max(self._lags, default=0)

    def _model(self, windows: Windows) -> Forecaster:
        return Forecaster(
            self._features.size,
            len(windows.places_ahead),
            windows.shape.earlier,
            windows.targets,
            self.horizon,
            len(self.quantiles),
            partial(make_layer, self),
            self.dropout,
        )

    def _found(self, batch: Batch) -> Tensor:
        """Scaled quantiles [P, B, K, N, Q] of a batch."""
        more = {name: value.to(self.device) for name, value in batch.more.items()}
        found: Tensor = self.model_(batch.inputs.to(self.device), **more)[0]
        return found

    def _train(self, windows: Windows, learned: int, steps: int, seed: int) -> None:
        """Train on the windows that end before what is held out, which the others reach into."""
        levels = torch.tensor(tuple(self.quantiles), device=self.device)
        size = self.batch_size
        starts = np.arange(self._read - 1, learned - self.horizon)
        ends = np.arange(learned - 1, steps - self.horizon)

        def drawn() -> Iterator[Batch]:
            random = np.random.default_rng(seed)
            while True:
                order = random.permutation(starts)
                for k in range(0, len(order), size):
                    yield stacked(
                        [windows.window(0, int(row), TOGETHER) for row in order[k : k + size]]
                    )

        def loss(batch: Batch) -> Tensor:
            return quantile_loss(self._found(batch), batch.targets.to(self.device), levels)

        held_out = [
            stacked([windows.window(0, int(row)) for row in ends[k : k + size]])
            for k in range(0, len(ends) if self.early_stopping else 0, size)
        ]
        batches = drawn()
        train(self, self.model_, lambda: next(batches), -(-len(starts) // size), loss, held_out)
        self.model_.cpu()

    # ---- checks --------------------------------------------------------------------------------

    def _check_windows(self) -> None:
        for name in ("horizon", "context", "season"):
            value = getattr(self, name)
            if name == "season" and value is None:
                continue
            if not isinstance(value, int) or value < 1:
                raise InputError(f"{name}={value!r}", "a whole number from 1 on", f"give {name}=24")
        if self._lags and self.context < self._lags[0]:
            raise InputError(
                f"context={self.context} with season={self.season} and horizon={self.horizon}",
                f"at least {self._lags[0]} steps, in which the season before lies",
                f"give context={self._lags[0]}",
            )
        self._check_quantiles()

    def _check_quantiles(self) -> None:
        levels = list(self.quantiles)
        if not levels or sorted(set(levels)) != levels or not 0 < levels[0] <= levels[-1] < 1:
            raise InputError(
                f"quantiles={self.quantiles!r}",
                "numbers between 0 and 1, rising",
                "give quantiles=(0.1, 0.5, 0.9)",
            )

    def _check_length(self, steps: int, *, what: str = "a series") -> None:
        least = self._read + self.horizon
        if steps < least:
            raise InputError(
                f"{what} of {steps} steps",
                f"at least {least}: a season, the context and the horizon",
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
        rows = np.empty((steps, 0)) if X is None else rows_of("X", X)
        if len(rows) != steps or (columns is not None and rows.shape[1] != columns):
            raise InputError(
                f"covariates with the shape {list(rows.shape)}",
                f"{steps} steps of {'some' if columns is None else columns} covariates",
                "give X= of the same steps and columns as in fit",
            )
        return rows
