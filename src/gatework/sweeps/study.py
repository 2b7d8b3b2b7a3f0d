"""The Optuna study of a sweep, in a store of the user's."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gatework.errors import InputError
from gatework.needed import needed
from gatework.sweeps.space import Space
from gatework.train.config import RunConfig

__all__ = ["described", "open_study", "opened_store", "quiet", "sampler_of"]

ABOUT = "gatework"
"""The attribute of a study that says what all of its runs have in common."""
TRIES, WAIT = 4, 0.5
"""How often a store is opened; seconds between."""
OF_A_MACHINE = {"files", "threads", "device", "save_seconds", "tensorboard"}
"""Settings in which processes that share a study may differ."""


def open_study(name: str, storage: Any, about: Mapping[str, Any]) -> Any:
    """Return the study of that name, a new one if the store has none.

    Args:
        name: the study's.
        storage: the store, from `opened_store`.
        about: what its runs have in common.

    Raises:
        InputError: the study is of other runs.
    """
    optuna = needed("optuna", "sweep")
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        pruner=optuna.pruners.MedianPruner(),
        load_if_exists=True,
    )
    before = study.user_attrs.get(ABOUT)
    if before is None and not study.get_trials(deepcopy=False):
        study.set_user_attr(ABOUT, dict(about))
    elif before != about:
        raise InputError(
            f"the study {name!r} is of other runs{_difference(before or {}, about)}",
            "the settings and the data that it began with, so that its runs can be compared",
            "give the same options as before, or begin another: --study NAME",
        )
    return study


def opened_store(storage: Any) -> Any:
    """Return a store.

    Args:
        storage: as Optuna takes it: a URL such as "sqlite:///sweep.db", or an object.

    Raises:
        InputError: Optuna is missing, or the store cannot be used.
    """
    optuna = needed("optuna", "sweep")
    from sqlalchemy.exc import SQLAlchemyError

    def opened(left: int) -> Any:
        try:
            return optuna.storages.get_storage(storage)
        except (SQLAlchemyError, optuna.exceptions.OptunaError):
            if not left:
                raise
            time.sleep(WAIT)  # another process may be making the store at this moment
            return opened(left - 1)

    try:
        return opened(TRIES - 1)
    except (SQLAlchemyError, ImportError, ValueError, optuna.exceptions.OptunaError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"the store {str(storage)!r} cannot be used ({reason})",
            "one that Optuna can open, such as sqlite:///sweep.db",
            "give another --storage, or none for a file beside the runs",
        ) from None


def _difference(before: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """The first thing that differs, for people."""
    for name in sorted({*before, *about}):
        if before.get(name) != about.get(name):
            return f": {name} was {before.get(name)!s:.80}, and is {about.get(name)!s:.80}"
    return ""


def described(base: RunConfig, space: Space, sha256: str) -> dict[str, Any]:
    """Return what the runs of a sweep have in common, as JSON data with a line for each thing."""
    settings = base.model_dump(mode="json", exclude=OF_A_MACHINE)
    task = settings.pop("task")
    task.pop("held_out")
    about = {**settings, **task, "data": sha256}
    return about | {f"search of {name}": str(values) for name, values in space.items()}


def sampler_of(seed: int, number: int) -> Any:
    """Return what chooses for a trial: the same for the same trials before it, on any process."""
    return needed("optuna", "sweep").samplers.TPESampler(seed=(seed * 1_000_003 + number) % 2**32)


@contextmanager
def quiet() -> Iterator[None]:
    """While entered, Optuna says only what is wrong."""
    log = needed("optuna", "sweep").logging
    before = log.get_verbosity()
    log.set_verbosity(log.WARNING)
    try:
        yield
    finally:
        log.set_verbosity(before)
