"""How far back each cell remembers, drawn and as a table, over several seeds.

For those who have trained with `gatework compare` and want a figure or numbers of their own:
measurements on disk are data. These networks are tiny and have hardly begun to learn; without
options it takes three minutes. With several folders, one for each seed, curves are means over the
seeds, and bands hold for other seeds and other text.

    $ gatework compare --steps 20 --parameters 6000 --embedding-size 8 --out seed-0
    ...
    $ python examples/draw_horizon.py seed-0 --image horizon.png
    rnn, 1 run(s): above 1.00%: ... (... to ...); above 0.01%: ...; left at 100: ...
    lstm, 1 run(s): ...
    gru, 1 run(s): ...
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from matplotlib.figure import Figure

from gatework.lens import MemoryHorizon

STYLES = [("#b3261e", ":"), ("#0b57d0", "-"), ("#146c2e", "--")]
FLOOR = 1e-9


def joined(folders: list[Path]) -> dict[str, MemoryHorizon]:
    """The horizon of each cell over all folders."""
    cells = json.loads((folders[0] / "comparison.json").read_text(encoding="utf-8"))["cells"]
    return {
        cell: MemoryHorizon.of_runs(
            [MemoryHorizon.load(folder / cell / "horizon.safetensors") for folder in folders]
        )
        for cell in cells
    }


def draw(horizons: dict[str, MemoryHorizon], image: Path) -> None:
    """Draw influence against lag with its band, a line for each cell."""
    figure = Figure((8, 3.6), layout="constrained", dpi=150)
    axes = figure.subplots()
    for (name, horizon), (colour, dash) in zip(horizons.items(), STYLES, strict=False):
        low, high = horizon.band()
        axes.fill_between(horizon.lags, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(horizon.lags, horizon.mean(), dash, color=colour, label=name.upper(), linewidth=2)
    axes.set_yscale("log")
    axes.set(ylim=(FLOOR, 1.5), xlim=(0, horizon.lags[-1]))
    axes.set_xlabel("bytes back, k")
    axes.set_ylabel("influence, as a share of that at k = 0")
    axes.grid(linewidth=0.5, alpha=0.5)
    axes.legend()
    figure.savefig(image)


def table(horizons: dict[str, MemoryHorizon]) -> None:
    """Print how far back influence stays above a share, with bands."""
    for name, horizon in horizons.items():
        assert horizon.mean()[0] == 1, f"{name}: the newest byte has not the largest influence"
        low, high = horizon.band()
        far = f"left at 100: {horizon.mean()[100]:.1e} ({low[100]:.1e} to {high[100]:.1e})"
        reaches = [
            f"above {share:.2%}: {horizon.reach(share)} ({first} to {last})"
            for share in (0.01, 0.0001)
            for first, last in [horizon.reach_band(share)]
        ]
        print(f"{name}, {len(set(horizon.runs))} run(s): {'; '.join(reaches)}; {far}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="+", type=Path, help="what gatework compare left")
    parser.add_argument("--image", type=Path, default=Path("horizon.png"))
    options = parser.parse_args()
    found = joined(options.folders)
    table(found)
    draw(found, options.image)
