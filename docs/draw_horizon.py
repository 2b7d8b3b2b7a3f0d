"""Draw the README's figure from a comparison: python docs/draw_horizon.py COMPARISON_FOLDER.

The folder is what `gatework compare --out COMPARISON_FOLDER` leaves.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from matplotlib.figure import Figure

IMAGE = Path(__file__).parent / "images" / "horizon.png"
STYLES = [("#b3261e", ":"), ("#0b57d0", "-"), ("#146c2e", "--")]
FLOOR = 1e-9


def draw(folder: Path) -> None:
    """Draw influence against lag with its band, a line for each cell."""
    cells = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))["cells"]
    figure = Figure((8, 3.6), layout="constrained", dpi=150)
    axes = figure.subplots()
    for (name, cell), (colour, dash) in zip(cells.items(), STYLES, strict=False):
        lags = range(len(cell["influence"]))
        low, high = cell["influence_band"]
        axes.fill_between(lags, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(lags, cell["influence"], dash, color=colour, label=name.upper(), linewidth=2)
    axes.set_yscale("log")
    axes.set(ylim=(FLOOR, 1.5), xlim=(0, len(lags) - 1))
    axes.set_xlabel("bytes back, k")
    axes.set_ylabel("influence, as a share of that at k = 0")
    axes.grid(linewidth=0.5, alpha=0.5)
    axes.legend()
    IMAGE.parent.mkdir(exist_ok=True)
    figure.savefig(IMAGE)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    draw(Path(sys.argv[1]))
