"""Labels as what a head is trained on: classes by number, or scaled numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatework.data.scaling import Scaling, fit
from gatework.errors import InputError

__all__ = ["MISSING", "Classes", "Numbers"]

MISSING = -100
"""Stands for a label that is not there; cross entropy passes over it."""
MOST_CLASSES = 100_000
SHOWN = 8


class Classes:
    """The classes that labels name.

    Example:
        >>> classes = Classes(["run", "walk"])
        >>> classes.numbers(np.array(["walk", "run"]), "data").tolist()
        [1, 0]
    """

    scores: int
    """Of the head: one for each class."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.scores = len(self.names)

    @classmethod
    def of(cls, labels: NDArray[Any], name: str) -> Classes:
        """Return the classes of what is learned from.

        Raises:
            InputError: there are fewer than two, or they are numbers of many values.
        """
        written = _written(labels)
        names = sorted(set(written[written != ""].tolist()), key=_by_number)
        if len(names) < 2:
            only = f"the one class {names[0]!r}" if names else "no class"
            raise InputError(
                f"{only} in what is learned from of {name}",
                "two or more",
                "check the column of labels, or hold out less",
            )
        if labels.dtype.kind == "f" and len(names) > max(20, len(labels) // 2):
            raise InputError(
                f"{len(names):,} different numbers as classes in {name}",
                "classes that stand often",
                "predict numbers: --task regress",
            )
        return cls(names)

    def numbers(self, labels: NDArray[Any], name: str) -> NDArray[np.int64]:
        """Return labels as numbers of classes.

        Raises:
            InputError: one was not in what was learned from.
        """
        written = _written(labels)
        known = {text: k for k, text in enumerate(self.names)} | {"": MISSING}
        if unknown := sorted(set(written.tolist()) - known.keys()):
            more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
            raise InputError(
                f"the class {unknown[0]!r}{more} in {name}, of which nothing was learned",
                f"classes there are: {', '.join(self.names[:SHOWN])}"
                + " …" * (len(self.names) > SHOWN),
                "put some of it into what is learned from, or leave it out",
            )
        return np.array([known[text] for text in written.tolist()], np.int64)

    def shares(self, data: Any) -> tuple[float, ...]:
        """Return the share of each class, as a run wrote it down.

        Raises:
            InputError: it is damaged.
        """
        try:
            found = tuple(float(share) for share in data)
        except (TypeError, ValueError):
            found = ()
        if len(found) != self.scores or not all(0 <= share <= 1 for share in found):
            raise _damaged("shares of classes")
        return found

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {"classes": list(self.names)}

    @classmethod
    def of_data(cls, data: Any) -> Classes:
        """Return what `as_data` wrote down.

        Raises:
            InputError: it is damaged.
        """
        names = data.get("classes") if isinstance(data, dict) else None
        if not isinstance(names, list) or not 2 <= len(names) <= MOST_CLASSES:
            raise _damaged("classes")
        return cls([str(name) for name in names])


class Numbers:
    """Numbers that are predicted, scaled by what is learned from."""

    scores = 1
    names: tuple[str, ...] = ()

    def __init__(self, scaling: Scaling) -> None:
        self.scaling = scaling

    @classmethod
    def of(cls, labels: NDArray[Any], name: str) -> Numbers:
        """Return the scaling of what is learned from.

        Raises:
            InputError: labels are no numbers.
        """
        return cls(fit([_as_numbers(labels, name)]))

    def numbers(self, labels: NDArray[Any], name: str) -> NDArray[np.float32]:
        """Return labels scaled."""
        return self.scaling.apply(_as_numbers(labels, name))[:, 0]

    def undo(self, scaled: NDArray[Any]) -> NDArray[np.float64]:
        """Return scaled numbers as they were."""
        return self.scaling.undo(scaled.reshape(-1, 1), [0])[:, 0]

    def as_data(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {"target": self.scaling.as_data()}

    @classmethod
    def of_data(cls, data: Any) -> Numbers:
        """Return what `as_data` wrote down.

        Raises:
            InputError: it is damaged.
        """
        if not isinstance(data, dict) or "target" not in data:
            raise _damaged("target")
        return cls(Scaling.of_data(data["target"], 1))


def _as_numbers(labels: NDArray[Any], name: str) -> NDArray[np.float64]:
    try:
        numbers = labels.astype(np.float64).reshape(-1, 1)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"targets of {name} that are no numbers ({error})",
            "a number for each sequence",
            "predict classes: --task classify",
        ) from None
    if not np.isfinite(numbers).all():
        at = int((~np.isfinite(numbers[:, 0])).argmax())
        raise InputError(
            f"target {numbers[at, 0]} of sequence {at + 1:,} of {name}",
            "a finite number for each sequence",
            "fill it in, or leave the sequence out",
        )
    return numbers


def _written(labels: NDArray[Any]) -> NDArray[np.str_]:
    """Labels as texts; "" where there is none."""
    if labels.dtype.kind == "f":
        return np.array(["" if np.isnan(v) else _as_text(v) for v in labels.tolist()])
    return np.array(["" if v is None else str(v) for v in labels.tolist()])


def _as_text(number: float) -> str:
    """A number as people write it, all its digits: 1 and not 1.0."""
    return repr(int(number)) if number.is_integer() else repr(number)


def _by_number(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:
        return np.inf, text


def _damaged(what: str) -> InputError:
    return InputError(
        f"a run that does not say its {what}",
        "it as the run wrote it down",
        "restore its config.yaml, or train again",
    )
