"""Training, whatever the task, and the folders that runs leave behind."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING
from typing import Any as _Any

from gatework.train.cells import cell_settings
from gatework.train.config import RunConfig
from gatework.train.manifest import Manifest
from gatework.train.records import Record

if TYPE_CHECKING:
    from gatework.train.loop import Runner, fit
    from gatework.train.run import Run
    from gatework.train.trainer import Trainer

__all__ = [
    "Manifest",
    "Record",
    "Run",
    "RunConfig",
    "Runner",
    "Trainer",
    "cell_settings",
    "fit",
]

_NEED_TORCH = {
    "Run": "gatework.train.run",
    "Runner": "gatework.train.loop",
    "Trainer": "gatework.train.trainer",
    "fit": "gatework.train.loop",
}


def __getattr__(name: str) -> _Any:
    """Load what needs torch when it is first asked for, so that the rest starts at once."""
    if name not in _NEED_TORCH:
        raise AttributeError(f"module 'gatework.train' has no attribute {name!r}")
    return getattr(_import_module(_NEED_TORCH[name]), name)


def __dir__() -> list[str]:
    """Name what is not loaded yet too, so that it completes."""
    return sorted({*globals(), *__all__})
