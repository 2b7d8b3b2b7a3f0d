"""Texts: each symbol, a byte or a character, is predicted from all before it."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING
from typing import Any as _Any

if TYPE_CHECKING:
    from gatework.tasks.text.evaluation import bits_per_symbol
    from gatework.tasks.text.model import LanguageModel
    from gatework.tasks.text.sampling import generate
    from gatework.tasks.text.task import TextTask

__all__ = ["LanguageModel", "TextTask", "bits_per_symbol", "generate"]

_NEED_TORCH = {
    "LanguageModel": "gatework.tasks.text.model",
    "TextTask": "gatework.tasks.text.task",
    "bits_per_symbol": "gatework.tasks.text.evaluation",
    "generate": "gatework.tasks.text.sampling",
}


def __getattr__(name: str) -> _Any:
    """Load what needs torch when it is first asked for: settings are read without it."""
    if name not in _NEED_TORCH:
        raise AttributeError(f"module 'gatework.tasks.text' has no attribute {name!r}")
    return getattr(_import_module(_NEED_TORCH[name]), name)


def __dir__() -> list[str]:
    """Name what is not loaded yet too, so that it completes."""
    return sorted({*globals(), *__all__})
