"""Which settings a sweep tries: ranges and choices, checked before anything is trained."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, get_args

from gatework.errors import InputError, suggest
from gatework.lang.definition import Cell
from gatework.printable import brief
from gatework.train.cells import cell_settings, check_cell
from gatework.train.config import RunConfig

__all__ = ["Choices", "Dimension", "Range", "Space", "space_of"]

OF_A_RUN = (
    "cell", "hidden_size", "layers", "bidirectional", "dropout", "batch_size", "window",
    "learning_rate", "weight_decay", "clip", "precision", "seed",
)  # fmt: skip
"""Settings that may differ from run to run: neither the data nor the budget does."""
SHORT = {"lr": "learning_rate"}
EXAMPLE = "--search hidden_size=32..256:log, --search cell=gru,lstm"


@dataclass(frozen=True)
class Range:
    """Numbers from one to another, both included.

    Attributes:
        low: The least.
        high: The largest.
        log: Whether as many are tried from 1 to 10 as from 10 to 100.
        whole: Whether they are whole numbers.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def drawn(self, name: str, trial: Any) -> dict[str, Any]:
        """Return what an Optuna trial tries, as settings."""
        if self.whole:
            return {name: trial.suggest_int(name, int(self.low), int(self.high), log=self.log)}
        return {name: trial.suggest_float(name, self.low, self.high, log=self.log)}

    def ends(self, name: str) -> list[dict[str, Any]]:
        """Settings at the ends."""
        return [{name: int(end) if self.whole else end} for end in (self.low, self.high)]


@dataclass(frozen=True)
class Choices:
    """One of several settings.

    Attributes:
        options: What each is called in the study, and the settings of a run that it stands for.
    """

    options: Mapping[str, Mapping[str, Any]]

    def drawn(self, name: str, trial: Any) -> dict[str, Any]:
        """Return what an Optuna trial tries, as settings."""
        return dict(self.options[trial.suggest_categorical(name, list(self.options))])

    def ends(self, name: str) -> list[dict[str, Any]]:
        """All of them."""
        return list(map(dict, self.options.values()))


Dimension: TypeAlias = Range | Choices
Space: TypeAlias = dict[str, Dimension]


def space_of(search: Mapping[str, Any], base: RunConfig) -> Space:
    """Return what is searched, each setting with the values that are tried.

    Args:
        search: of each setting "1e-4..1e-2:log", "32..256", "gru,lstm", or a list of values.
        base: settings that all runs have in common.

    Raises:
        InputError: there is no such setting, or a value that it cannot have.

    Example:
        >>> base = RunConfig.of(threads=1)
        >>> space_of({"lr": "1e-4..1e-2:log"}, base)
        {'learning_rate': Range(low=0.0001, high=0.01, log=True, whole=False)}
        >>> list(space_of({"cell": "gru,lstm"}, base)["cell"].options)
        ['gru', 'lstm']
    """
    known = (*OF_A_RUN, *base.task.tunable)
    space = {}
    for given, values in search.items():
        name = SHORT.get(given, given).replace("-", "_")
        if name not in known:
            raise InputError(
                f"a search of {given!r}",
                f"settings that change no data and no budget: {', '.join(known)}",
                f"{suggest(name, known)}leave it out, or give it as an option of all runs",
            )
        space[name] = _dimension(name, values, base)
    if not space:
        raise InputError("no setting to search", f"one or more, as in {EXAMPLE}", "name one")
    for name, dimension in space.items():
        for settings in dimension.ends(name):
            with_settings(base, settings)
    return space


def with_settings(base: RunConfig, chosen: Mapping[str, Any]) -> RunConfig:
    """Return settings with some of them chosen anew; those of the task may be among them.

    Raises:
        InputError: one has a value that it cannot have.
    """
    return RunConfig.of(**{**{n: getattr(base, n) for n in RunConfig.model_fields}, **chosen})


def _dimension(name: str, values: Any, base: RunConfig) -> Dimension:
    if isinstance(values, Range | Choices):
        return values
    if isinstance(values, str) and ".." in values:
        return _range(name, values, _kinds(name, base))
    several = values.split(",") if isinstance(values, str) else values
    if not isinstance(several, Sequence) or len({*map(_label, several)}) < 2:
        raise _unusable(name, values)
    of_cells = name == "cell"
    return Choices({_label(v): _settings_of_cell(v) if of_cells else {name: v} for v in several})


def _range(name: str, text: str, kinds: set[Any]) -> Range:
    form = re.fullmatch(r"([^:]+?)\.\.([^:]+?)(:log)?", text.replace(" ", ""))
    try:
        low, high = (float(form[1]), float(form[2])) if form else (math.nan, math.nan)
    except ValueError:
        low = high = math.nan
    whole = int in kinds and float not in kinds
    log = bool(form and form[3])
    if not kinds & {int, float}:
        raise InputError(f"{name}={text}, a range", f"choices of {name}", f"write {name}=ONE,OTHER")
    fits = low < high < math.inf and (low > 0 or not log)
    if not fits or (whole and not (low.is_integer() and high.is_integer())):
        raise _unusable(name, text)
    return Range(low, high, log, whole)


def _kinds(name: str, base: RunConfig) -> set[Any]:
    """The types that a setting's values have."""
    fields = {**type(base.task).model_fields, **type(base).model_fields}
    return set(_types(fields[name].annotation))


def _types(annotation: Any) -> list[Any]:
    parts = get_args(annotation)
    return [t for part in parts for t in _types(part)] if parts else [annotation]


def _label(value: Any) -> str:
    return value.name if isinstance(value, Cell) else str(value)


def _settings_of_cell(value: Any) -> dict[str, Any]:
    if isinstance(value, Cell):
        return {**cell_settings(value)}
    return {"cell": check_cell(str(value)), "equations": None}


def _unusable(name: str, values: Any) -> InputError:
    return InputError(
        f"{name}={brief(values)}",
        "a range such as 32..256 (whole where the setting is; :log after it needs a least above "
        "0), or choices, two or more, such as gru,lstm",
        f"write it as in {EXAMPLE}",
    )
