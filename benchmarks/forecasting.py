"""A day ahead of electricity demand: the error beside that of the best seasonal naive forecast.

    python benchmarks/forecasting.py --taylor taylor.py --victoria mstl_elec_vic.csv
    python benchmarks/forecasting.py --victoria mstl_elec_vic.csv --steps 300 --seeds 0 1 2

The files are those of two wheels: `pmdarima/datasets/taylor.py` (half-hourly, England and Wales,
2000) and `statsmodels/tsa/stl/tests/results/mstl_elec_vic.csv` (hourly, Victoria, 2012).

The last two weeks are held out: fourteen forecasts of a day, each from all that came before. The
figure is that of the model that training ended with, since the best one was chosen by what is held
out. What is read, dropout, units and steps were chosen on five earlier fortnights.
NeuralForecast's LSTM reads as many steps, for as long, where it is installed. Wanted: at least 30 %
below the naive error, with every seed. Exit code 1 when it is missed.
"""

from __future__ import annotations

import argparse
import ast
import csv
import statistics
import sys
import tempfile
import warnings
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

import gatework as gw

WANTED = 0.30
DAYS = 14
FIRST_OF_TAYLOR = datetime(2000, 6, 5)


class Demand(NamedTuple):
    """A series of demand, and how many of its steps are a day."""

    name: str
    path: Path
    day: int


class Error(NamedTuple):
    """Mean absolute errors of a model, and of the best naive forecast; how long it learned."""

    model: float
    naive: float
    seconds: float

    @property
    def below(self) -> float:
        """By which share the model's is below the naive one."""
        return 1 - self.model / self.naive


def taylor(source: Path, folder: Path) -> Demand:
    """The numbers that stand in pmdarima's module, with their dates."""
    lists = [n for n in ast.walk(ast.parse(source.read_text())) if isinstance(n, ast.List)]
    values = ast.literal_eval(max(lists, key=lambda found: len(found.elts)))
    path = folder / "taylor.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["ds", "y"])
        for k, value in enumerate(values):
            table.writerow([FIRST_OF_TAYLOR + timedelta(minutes=30 * k), value])
    return Demand("taylor", path, 48)


def ours(demand: Demand, steps: int, seed: int, folder: Path) -> Error:
    run = gw.train_cell(
        gw.cells.lstm,
        demand.path,
        task="forecast",
        horizon=demand.day,
        held_out_steps=DAYS * demand.day,
        steps=steps,
        seed=seed,
        out=folder / f"{demand.name}-{seed}",
    )
    last = run.validations()[-1]
    return Error(last.figures["MAE"], last.naive["MAE"], last.seconds)


def neuralforecast(demand: Demand, seed: int, naive: float, seconds: float) -> Error:
    """Its LSTM on the same steps of the past, for so long."""
    import pandas as pd
    from neuralforecast import NeuralForecast
    from neuralforecast.losses.pytorch import MQLoss
    from neuralforecast.models import LSTM

    table = pd.read_csv(demand.path, parse_dates=["ds"]).assign(unique_id="demand")
    model = LSTM(
        h=demand.day,
        input_size=7 * demand.day,
        encoder_hidden_size=32,
        loss=MQLoss(quantiles=[0.1, 0.5, 0.9]),
        scaler_type="standard",
        max_steps=1_000_000,
        max_time={"seconds": seconds},
        random_seed=seed,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
    )
    freq = pd.infer_freq(table["ds"])
    forecasts = NeuralForecast([model], freq=freq).cross_validation(
        table, n_windows=DAYS, step_size=demand.day
    )
    median = next(name for name in forecasts if name.startswith("LSTM") and name.endswith("median"))
    error = float(np.abs(forecasts[median] - forecasts["y"]).mean())
    return Error(error, naive, seconds)


def compared(
    demand: Demand, steps: int, seeds: list[int], folder: Path, seconds: float | None
) -> list[Error]:
    """Show the errors of everyone; return our own. Others learn as long unless `seconds` says."""
    own = [ours(demand, steps, seed, folder) for seed in seeds]
    show(demand, "Gatework, LSTM", own)
    if find_spec("neuralforecast") is None:
        print("NeuralForecast is not installed: pip install neuralforecast")
    else:
        pairs = zip(seeds, own, strict=True)
        others = [
            neuralforecast(demand, seed, mine.naive, seconds or mine.seconds)
            for seed, mine in pairs
        ]
        show(demand, "NeuralForecast, LSTM", others)
    return own


def show(demand: Demand, name: str, found: list[Error]) -> None:
    errors = " ".join(f"{error.model:8.1f}" for error in found)
    middle = statistics.median(error.below for error in found)
    print(
        f"{demand.name:<10} {name:<22} MAE {errors}   naive {found[0].naive:8.1f}   "
        f"below {middle:.0%}   {statistics.median(error.seconds for error in found):.0f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--taylor", type=Path, help="taylor.py of pmdarima")
    parser.add_argument("--victoria", type=Path, help="mstl_elec_vic.csv of statsmodels")
    parser.add_argument("--steps", type=int, default=300, help="training steps of each model")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, help="for NeuralForecast; as ours unless given")
    asked = parser.parse_args()
    if asked.taylor is None and asked.victoria is None:
        parser.error("name a file: --taylor or --victoria")
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        series = [taylor(asked.taylor, folder)] if asked.taylor else []
        if asked.victoria:
            series.append(Demand("victoria", asked.victoria, 24))
        own = [
            error
            for demand in series
            for error in compared(demand, asked.steps, asked.seeds, folder, asked.seconds)
        ]
    sys.exit(any(error.below < WANTED for error in own))


if __name__ == "__main__":
    main()
