"""Tables of series small enough to be looked at, and what is understood of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from gatework.tasks.forecasting.settings import ForecastSettings
from gatework.tasks.forecasting.task import ForecastTask, Series

Table = Mapping[str, Sequence[object]]


@pytest.fixture
def written(tmp_path) -> Callable[[Table], Path]:
    """Write a table; a value that is None is missing."""

    def write(table: Table) -> Path:
        rows = zip(*table.values(), strict=True)
        lines = [",".join("" if value is None else str(value) for value in row) for row in rows]
        path = tmp_path / "loads.csv"
        path.write_text("\n".join([",".join(table), *lines]) + "\n")
        return path

    return write


@pytest.fixture
def loaded(written) -> Callable[..., tuple[ForecastTask, Series]]:
    """A table as a task and what it learns from; settings beside it."""
    pytest.importorskip("polars")

    def load(table: Table, **settings: object) -> tuple[ForecastTask, Series]:
        return ForecastTask.load(ForecastSettings.of(**settings), (written(table),))

    return load
