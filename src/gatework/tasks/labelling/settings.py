"""What is asked of labelled sequences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from gatework.tasks.settings import TableSettings

__all__ = ["SETTINGS", "ClassifySettings", "LabelSettings", "RegressSettings", "TagSettings"]


class LabelSettings(TableSettings):
    """What classification, regression and tagging have in common."""

    usual: ClassVar[Mapping[str, Any]] = {"hidden_size": 64}
    gives: ClassVar[tuple[str, ...]] = ("gap", "mask", "time")
    used_by: ClassVar[str] = "gatework predict"
    tunable: ClassVar[tuple[str, ...]] = ("gaps", "noise")
    gaps: bool = False
    """Whether the time since the row before is a feature; a cell that reads `gap` has it always."""
    noise: float = Field(0.0, ge=0, le=10, allow_inf_nan=False)
    """Deviation of noise that is added to scaled inputs in training; helps where there are few."""
    division: int = Field(0, ge=0, lt=2**32)
    """Seed of the choice of what is held out, where no files are given for it."""


class PooledSettings(LabelSettings):
    """Of one prediction for a sequence."""

    tunable: ClassVar[tuple[str, ...]] = ("gaps", "noise", "pool")
    pool: Literal["last", "mean", "max"] = "mean"
    """Which outputs of the layers decide: that of the last step, or mean or largest of all."""


class ClassifySettings(PooledSettings):
    """Predict the class of each sequence.

    Example:
        >>> ClassifySettings.of(pool="last").kind
        'classify'
    """

    kind: Literal["classify"] = "classify"
    balanced: bool = False
    """Whether rare classes weigh as much as common ones."""


class RegressSettings(PooledSettings):
    """Predict a number for each sequence."""

    kind: Literal["regress"] = "regress"


class TagSettings(LabelSettings):
    """Predict the class of each row."""

    kind: Literal["tag"] = "tag"
    balanced: bool = False
    """Whether rare classes weigh as much as common ones."""


SETTINGS = {"classify": ClassifySettings, "regress": RegressSettings, "tag": TagSettings}
