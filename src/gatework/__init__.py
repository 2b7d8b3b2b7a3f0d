"""Gatework: write the gates once."""

from importlib import import_module as _import_module
from importlib.metadata import version as _version
from importlib.util import find_spec as _find_spec
from typing import TYPE_CHECKING
from typing import Any as _Any

from gatework import cells
from gatework.analysis.equivalence import equivalent
from gatework.forking import building as _building
from gatework.lang import *  # noqa: F403 - the words of the language are public names
from gatework.lang import __all__ as _language
from gatework.lang import rewriting
from gatework.show.explanation import explain

if TYPE_CHECKING:
    from gatework import convert, export, lens, nn
    from gatework.backends import use_backend
    from gatework.backends.cpu.machine.memory import empty_cache
    from gatework.checkup import doctor
    from gatework.estimators import RecurrentClassifier as RecurrentClassifier
    from gatework.estimators import RecurrentForecaster as RecurrentForecaster
    from gatework.estimators import RecurrentRegressor as RecurrentRegressor
    from gatework.nn.accelerate import accelerate, acceleration, restore
    from gatework.nn.to_torch import to_torch
    from gatework.reports.side_by_side import compare
    from gatework.reports.trained import find_learning_rate, train_cell
    from gatework.sweeps import sweep
    from gatework.use import load

__version__ = _version("gatework")

__all__ = [
    "__version__",
    "accelerate",
    "acceleration",
    "cells",
    "compare",
    "convert",
    "doctor",
    "empty_cache",
    "equivalent",
    "explain",
    "export",
    "find_learning_rate",
    "lens",
    "load",
    "nn",
    "restore",
    "rewriting",
    "sweep",
    "to_torch",
    "train_cell",
    "use_backend",
    *_language,
]

_NEED_TORCH = {
    "accelerate": "gatework.nn.accelerate",
    "acceleration": "gatework.nn.accelerate",
    "compare": "gatework.reports.side_by_side",
    "convert": "gatework.convert",
    "doctor": "gatework.checkup",
    "empty_cache": "gatework.backends.cpu.machine.memory",
    "export": "gatework.export",
    "find_learning_rate": "gatework.reports.trained",
    "lens": "gatework.lens",
    "load": "gatework.use",
    "nn": "gatework.nn",
    "restore": "gatework.nn.accelerate",
    "sweep": "gatework.sweeps",
    "to_torch": "gatework.nn.to_torch",
    "train_cell": "gatework.reports.trained",
    "use_backend": "gatework.backends",
}

_ESTIMATORS = ("RecurrentClassifier", "RecurrentForecaster", "RecurrentRegressor")
"""Need scikit-learn too, which may be missing; so they are not among what `*` imports."""
_NEED_TORCH |= dict.fromkeys(_ESTIMATORS, "gatework.estimators")


def __getattr__(name: str) -> _Any:
    """Load what needs torch when it is first asked for, so that the rest starts at once."""
    if name not in _NEED_TORCH:
        raise AttributeError(f"module 'gatework' has no attribute {name!r}")
    with _building:  # a child forked in the middle would wait for the module's lock for ever
        module = _import_module(_NEED_TORCH[name])
    globals()[name] = found = getattr(module, name, module)
    return found


def __dir__() -> list[str]:
    """Name what is not loaded yet too, so that it completes."""
    return sorted({*globals(), *__all__, *(_ESTIMATORS if _find_spec("sklearn") else ())})
