"""Whole sequences of unequal lengths by class: speakers by a vowel, exercises by a watch.

    python benchmarks/classifying.py --vowels FOLDER --watch watch_dataset.npy
    python benchmarks/classifying.py --vowels FOLDER --seeds 0 1 2 3 4

The files are those of two wheels: `aeon/datasets/data/JapaneseVowels` (270 sequences of 7 to 29
steps to learn from, 370 to be judged by, nine speakers) and `seglearn/data/watch_dataset.npy` (140
recordings of 947 to 2,618 steps, seven exercises, ten people; a pickle, which runs code: take it
from the wheel). Of the watch every four steps are averaged, and two people at a time are held out,
so that each recording is judged once by a model that has not met who made it.

The figure is that of the model that training ended with. Beside it a random forest of scikit-learn
on statistics of each channel, and sktime's MiniRocket, which wants one length, on sequences that
are filled up with zeros. Each row is of what is installed: sktime needs numba, which needs another
llvmlite than Gatework, so run the script in two environments. Wanted of the vowels: at least 0.97
in less than a minute, with every seed. Exit code 1 when it is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WANTED, SECONDS = 0.97, 60
AVERAGED = 4
"""Steps of the watch that become one: 12.5 in a second."""
HELD_OUT = 2
"""People that are held out together."""
STEPS = {"vowels": 600, "watch": 400}


class Labelled(NamedTuple):
    """Sequences [steps, channels] and their classes."""

    rows: list[NDArray[np.float32]]
    labels: list[str]

    def some(self, numbers: NDArray[np.int64]) -> Labelled:
        """Those with these numbers."""
        return Labelled([self.rows[k] for k in numbers], [self.labels[k] for k in numbers])


class Judged(NamedTuple):
    """How many were right of how many, and how long all of it took."""

    right: float
    count: int
    seconds: float


Fold = tuple[Labelled, Labelled]
"""What is learned from, and what is held out."""
Method = Callable[[str, Fold, int], float]
"""Returns the accuracy on what is held out."""


def vowels(folder: Path) -> list[Fold]:
    """The parts that the archive has divided them into."""
    return [(_cases(folder / "JapaneseVowels_TRAIN.ts"), _cases(folder / "JapaneseVowels_TEST.ts"))]


def _cases(path: Path) -> Labelled:
    lines = path.read_text().partition("@data\n")[2].split()
    parts = [line.split(":") for line in lines]
    rows = [np.array([c.split(",") for c in channels], np.float32).T for *channels, _ in parts]
    return Labelled(rows, [label for *_, label in parts])


def watch(path: Path) -> list[Fold]:
    """Two people after the other held out."""
    found = np.load(path, allow_pickle=True).item()
    rows = []
    for recording in found["X"]:
        whole = recording[: len(recording) // AVERAGED * AVERAGED]
        rows.append(whole.reshape(-1, AVERAGED, whole.shape[1]).mean(1).astype(np.float32))
    every = Labelled(rows, [found["y_labels"][k] for k in found["y"]])
    people = np.unique(found["subject"])
    held_out = [
        np.isin(found["subject"], people[k : k + HELD_OUT]) for k in range(0, len(people), HELD_OUT)
    ]
    return [(every.some(np.flatnonzero(~h)), every.some(np.flatnonzero(h))) for h in held_out]


def gatework(name: str, fold: Fold, seed: int) -> float:
    """A GRU of 64 units that reads both directions."""
    import gatework as gw

    with tempfile.TemporaryDirectory() as folder:
        learned, held_out = (
            _written(Path(folder, f"{part}.jsonl"), side)
            for part, side in zip(("learned", "held-out"), fold, strict=True)
        )
        run = gw.train_cell(
            gw.cells.gru,
            learned,
            task="classify",
            held_out=(held_out,),
            bidirectional=True,
            pool="last",
            dropout=0.4,
            noise=0.3,
            steps=STEPS[name],
            seed=seed,
            out=Path(folder, "run"),
        )
        return float(run.validations()[-1].figures["accuracy"])


def _written(path: Path, side: Labelled) -> Path:
    """Sequences as JSON lines."""
    with path.open("w") as file:
        for rows, label in zip(*side, strict=True):
            channels = {f"c{k}": rows[:, k].round(6).tolist() for k in range(rows.shape[1])}
            file.write(json.dumps({**channels, "y": label}) + "\n")
    return path


def forest(name: str, fold: Fold, seed: int) -> float:
    """Statistics of each channel, and a random forest."""
    from sklearn.ensemble import RandomForestClassifier

    learned, held_out = fold
    model = RandomForestClassifier(500, random_state=seed, n_jobs=2)
    model.fit(_statistics(learned), learned.labels)
    return float(model.score(_statistics(held_out), held_out.labels))


def _statistics(side: Labelled) -> NDArray[np.float64]:
    """Mean, deviation, quantiles, and the size of a step, of each channel."""
    found = []
    for rows in side.rows:
        quantiles = np.quantile(rows, [0, 0.1, 0.25, 0.5, 0.75, 0.9, 1], axis=0)
        step = np.abs(np.diff(rows, axis=0)).mean(0)
        found.append(np.concatenate([rows.mean(0), rows.std(0), step, quantiles.ravel()]))
    return np.array(found)


def rocket(name: str, fold: Fold, seed: int) -> float:
    """Random convolutions, and a linear classifier."""
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sktime.transformations.panel.rocket import MiniRocketMultivariate

    learned, held_out = fold
    longest = max(len(rows) for side in fold for rows in side.rows)
    made = MiniRocketMultivariate(random_state=seed, n_jobs=2)
    linear = make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(-3, 3, 10)))
    linear.fit(made.fit_transform(_filled(learned, longest)), learned.labels)
    return float(linear.score(made.transform(_filled(held_out, longest)), held_out.labels))


def _filled(side: Labelled, steps: int) -> NDArray[np.float32]:
    """[cases, channels, steps], with zeros at the end."""
    found = np.zeros((len(side.rows), side.rows[0].shape[1], steps), np.float32)
    for case, rows in zip(found, side.rows, strict=True):
        case[:, : len(rows)] = rows.T
    return found


def commonest(name: str, fold: Fold, seed: int) -> float:
    """The class that is commonest."""
    learned, held_out = fold
    names, counts = np.unique(learned.labels, return_counts=True)
    return float(np.mean(np.array(held_out.labels) == names[counts.argmax()]))


METHODS: dict[str, tuple[Method, tuple[str, ...]]] = {
    "Gatework, GRU": (gatework, ("gatework",)),
    "scikit-learn, forest": (forest, ("sklearn",)),
    "sktime, MiniRocket": (rocket, ("sktime", "numba", "sklearn")),
    "commonest class": (commonest, ()),
}
"""What is compared, and the packages that each needs."""


def usable() -> Iterator[tuple[str, Method]]:
    """The methods whose packages are installed; says what is left out."""
    for label, (method, packages) in METHODS.items():
        missing = [package for package in packages if find_spec(package) is None]
        if missing:
            print(f"{label} is left out: {', '.join(missing)} not installed")
        else:
            yield label, method


def judged(name: str, folds: list[Fold], method: Method, seed: int) -> Judged:
    """All that is held out of some folds together."""
    begin, right = time.perf_counter(), 0.0
    for fold in folds:
        right += method(name, fold, seed) * len(fold[1].labels)
    count = sum(len(held_out.labels) for _, held_out in folds)
    return Judged(right, count, time.perf_counter() - begin)


def compared(name: str, folds: list[Fold], seeds: list[int]) -> list[Judged]:
    """Show the accuracies of everyone; return our own."""
    own: list[Judged] = []
    for label, method in usable():
        found = [judged(name, folds, method, seed) for seed in seeds]
        own = own or (found if method is gatework else [])
        shown = " ".join(f"{one.right / one.count:.3f}" for one in found)
        slowest = max(one.seconds for one in found)
        print(f"{name:<8} {label:<22} accuracy {shown}   {slowest:.1f} s", flush=True)
    return own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--vowels", type=Path, help="folder of JapaneseVowels_TRAIN.ts and _TEST")
    parser.add_argument("--watch", type=Path, help="watch_dataset.npy of seglearn")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    asked = parser.parse_args()
    if asked.vowels is None and asked.watch is None:
        parser.error("name data: --vowels or --watch")
    missed = False
    if asked.vowels:
        own = compared("vowels", vowels(asked.vowels), asked.seeds)
        missed = any(o.right / o.count < WANTED or o.seconds >= SECONDS for o in own)
    if asked.watch:
        compared("watch", watch(asked.watch), asked.seeds)
    sys.exit(missed)


if __name__ == "__main__":
    main()
