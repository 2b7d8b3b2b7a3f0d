"""Find the units of a trained language model that track something: python docs/find_units.py RUN.

RUN is the folder that `gatework train` leaves. The text is the run's own held-out text.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gatework.data import load_corpus
from gatework.lens import carry_state, find_peaks, find_units, label_text
from gatework.train import Run


def show(folder: Path) -> None:
    """Print, for each property, the best unit, its scores and where it is most active."""
    run = Run.open(folder)
    model, text = run.load_model(), load_corpus(run.config.files).valid
    found = find_units(model, label_text(text), run=carry_state())
    print(f"{found.steps:,} bytes to choose on, {found.held_out_steps:,} held out")
    for p, name in enumerate(found.properties):
        value, unit, chosen, held_out = found.best(name, 1)[0]
        together = ", ".join(f"{state} {scores[p]:.2f}" for state, scores in found.probe.items())
        print(f"{name}: unit {unit} of {value}, r = {chosen:.2f}, held out {held_out:.2f}")
        print(f"    all units together, R² held out: {together}")
        windows = (symbols for symbols, _ in label_text(text))
        peaks = find_peaks(model, windows, [(value, unit)], count=3, run=carry_state())
        for rank in range(3):
            print(f"    {peaks.activation[0, rank]:6.2f}  {peaks.text(0, rank)!r}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    show(Path(sys.argv[1]))
