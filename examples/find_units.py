"""The units of a trained language model that follow something in the text.

For those who have trained with `gatework train` and want to measure with a program of their own. It
looks for units that follow strings, brackets, lines and indentation, on the text that the run held
out: chosen on one half, judged on the other. Then it shows where each is most active. This network
is small and has seen little; without options it is trained for a minute and a half and knows more.

    $ gatework train --steps 40 --hidden-size 32 --out small
    ...
    $ python examples/find_units.py small
    ... bytes to choose on, ... held out
    inside a string: unit ... of ..., r = ..., held out ...
        all units together, R² held out: ...
    ...
    position in line: unit ... of ..., r = ..., held out ...
    ...
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
        sys.exit(f"usage: python {sys.argv[0]} RUN, the folder that gatework train leaves")
    show(Path(sys.argv[1]))
