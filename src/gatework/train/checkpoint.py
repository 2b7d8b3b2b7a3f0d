"""What a run saves of its model and its trainer, as safetensors files.

weights.safetensors, best.safetensors:

    <name>                     weights, by the names of the model's `state_dict`
    metadata "place"           JSON: step and held-out cost (`Place`)

checkpoint.safetensors, all that an interrupted run needs to go on exactly:

    model.<name>               weights
    optimizer.<name>.<moment>  AdamW's step count and moments of that weight
    state.<i>                  the recurrent state carried into the next window, of all processes
    random.<rank>              torch's random state (dropout draws from it), of each process
    metadata "trainer"         JSON: seconds spent, windows read

No pickle: a file from a stranger can be wrong, but it cannot run anything. What the settings say
should be in a file is known before it is read, so nothing else is ever given memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from gatework.errors import InputError
from gatework.files import read_bytes, write_atomically
from gatework.nn.recurrent import State
from gatework.tasks import SequenceModel, Task
from gatework.train.config import RunConfig
from gatework.train.models import make_model, state_shapes, weight_shapes
from gatework.train.trainer import Trainer

__all__ = [
    "Place",
    "SavedTrainer",
    "load_weights",
    "read_place",
    "read_trainer",
    "restore_trainer",
    "save_trainer",
    "save_weights",
]

HEADER = 1 << 24
"""At most so many bytes of a file may be names and shapes."""
MOMENTS = ("exp_avg", "exp_avg_sq")

Shapes = dict[str, tuple[torch.dtype, tuple[int, ...]]]


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Place(_Told):
    """Where in the course of its run a model was saved."""

    step: Annotated[int, Field(ge=0, le=2**62)]
    progress: Annotated[float, Field(ge=0, le=1)]
    cost: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
    """Cost of held-out data."""


class _Spent(_Told):
    """How far a trainer had come."""

    seconds: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
    windows: Annotated[int, Field(ge=0, le=2**40)]


class _Content(NamedTuple):
    tensors: dict[str, Tensor]
    metadata: dict[str, str]


# ---- weights -------------------------------------------------------------------------------------


def save_weights(model: SequenceModel, path: Path, place: Place | None = None) -> None:
    """Write the model's `state_dict`, and where in its run it is from."""
    weights = {name: weight.contiguous() for name, weight in model.state_dict().items()}
    metadata = {} if place is None else {"place": place.model_dump_json()}
    write_atomically(path, save(weights, metadata))


def load_weights(config: RunConfig, task: Task, path: Path) -> SequenceModel:
    """Return the model with what `save_weights` wrote.

    Raises:
        InputError: the file is missing, damaged, or of another model.
    """
    tensors = _read(path, _weights(config, task)).tensors
    model = make_model(config, task)
    model.load_state_dict(tensors)
    return model


def read_place(config: RunConfig, task: Task, path: Path) -> Place | None:
    """Return where in its run a saved model is from; None if that was not written down.

    Raises:
        InputError: the file is missing, damaged, or of another model.
    """
    metadata = _read(path, _weights(config, task)).metadata
    if "place" not in metadata:
        return None
    try:
        return Place.model_validate_json(metadata["place"])
    except ValidationError:
        raise _damaged(path, "it does not say where in its run it was saved") from None


def _weights(config: RunConfig, task: Task) -> Shapes:
    return {name: (torch.float32, shape) for name, shape in weight_shapes(config, task).items()}


# ---- trainers ------------------------------------------------------------------------------------


def save_trainer(trainer: Trainer, path: Path | None) -> None:
    """Write everything the trainer needs to go on.

    Args:
        trainer: of this process; where several train together, each calls this.
        path: the file; None for a process that does not write.
    """
    carried = _parts(trainer.carry.state) if trainer.task.carries else ()
    own = ([part.cpu() for part in carried], torch.get_rng_state())
    everyone = trainer.ranks.gathered(own)
    if path is None:
        return
    tensors = {f"model.{name}": w for name, w in trainer.model.state_dict().items()}
    for name, weight in trainer.model.named_parameters():
        for key, value in trainer.optimizer.state[weight].items():
            tensors[f"optimizer.{name}.{key}"] = value
    for i, parts in enumerate(zip(*(states for states, _ in everyone), strict=True)):
        tensors[f"state.{i}"] = torch.cat(parts, dim=1)  # [L * D, B, n], B of all processes
    for rank, (_, random) in enumerate(everyone):
        tensors[f"random.{rank}"] = random
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    spent = _Spent(seconds=trainer.seconds, windows=trainer.batches.position)
    write_atomically(path, save(tensors, {"trainer": spent.model_dump_json()}), durable=True)


class SavedTrainer(NamedTuple):
    """What a checkpoint holds, found to fit the settings."""

    tensors: dict[str, Tensor]
    spent: _Spent
    path: Path


def read_trainer(config: RunConfig, task: Task, path: Path, ranks: int = 1) -> SavedTrainer:
    """Read what `save_trainer` wrote.

    Args:
        config: the run's settings.
        task: what it learns.
        path: the file.
        ranks: how many processes trained together, and will again.

    Raises:
        InputError: the file is missing, damaged, or of another model.
    """
    needed, further = _checkpoint(config, task, ranks)
    tensors, metadata = _read(path, needed, further)
    try:
        spent = _Spent.model_validate_json(metadata["trainer"])
    except (KeyError, ValidationError):
        raise _damaged(path, "no usable place in training") from None
    return SavedTrainer(tensors, spent, path)


def restore_trainer(trainer: Trainer, saved: SavedTrainer) -> None:
    """Put a new trainer where the saved one was; torch's random state is set as well.

    Raises:
        InputError: what was saved is no random state.
    """
    tensors = saved.tensors
    try:
        rank = trainer.ranks.rank
        torch.set_rng_state(tensors[f"random.{rank}"])
    except RuntimeError as error:
        raise _damaged(saved.path, f"random.{rank}: {error}") from None
    trainer.seconds, trainer.batches.position = saved.spent.seconds, saved.spent.windows
    trainer.model.load_state_dict(_under("model.", tensors))
    for name, weight in trainer.model.named_parameters():
        if moments := _under(f"optimizer.{name}.", tensors):
            trainer.optimizer.state[weight] = dict(moments)
    own = trainer.ranks.part.slice(trainer.config.batch_size)
    parts = tuple(part[:, own].contiguous() for part in _under("state.", tensors).values())
    trainer.carry.state = parts[0] if len(parts) == 1 else parts or None


def _checkpoint(config: RunConfig, task: Task, ranks: int) -> tuple[Shapes, list[Shapes]]:
    """What a checkpoint must hold, and the groups that it has from the first step on."""
    weights = weight_shapes(config, task)
    needed: Shapes = {f"model.{name}": (torch.float32, shape) for name, shape in weights.items()}
    random = torch.get_rng_state()
    optimizer: list[Shapes] = []  # a weight that no gradient reaches has none of it
    for name, shape in weights.items():
        moments = {f"optimizer.{name}.{moment}": (torch.float32, shape) for moment in MOMENTS}
        optimizer.append({f"optimizer.{name}.step": (torch.float32, ()), **moments})
    states = state_shapes(config, task)
    carried = {f"state.{i}": (torch.float32, shape) for i, shape in enumerate(states)}
    for rank in range(ranks):
        needed[f"random.{rank}"] = (random.dtype, tuple(random.shape))
    return needed, [*optimizer, carried]


# ---- reading -------------------------------------------------------------------------------------


def _read(path: Path, needed: Shapes, further: list[Shapes] | None = None) -> _Content:
    """Read the tensors, sorted by name, and the metadata, if they are what is expected.

    Args:
        path: the file.
        needed: what it must hold.
        further: groups of which it may hold all or nothing.
    """
    groups = further or []
    everything = _bytes(needed) + sum(map(_bytes, groups))
    try:
        content = read_bytes(path, everything + HEADER, _bytes(needed))
        tensors = load(content)
        metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except FileNotFoundError:
        expected, mend = f"a file {path.name} in the run folder", "name a complete run folder"
        raise InputError(f"{str(path)!r} is missing", expected, mend) from None
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from None
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise _damaged(path, " ".join(str(error).split())[:300]) from None
    except MemoryError:
        raise _damaged(path, "it does not fit into memory") from None
    if fault := _fault(tensors, needed, groups):
        raise _damaged(path, fault)
    return _Content(dict(sorted(tensors.items())), metadata.get("__metadata__") or {})


def _fault(tensors: Mapping[str, Tensor], needed: Shapes, groups: list[Shapes]) -> str | None:
    """Say what is wrong with what a file holds, None where nothing is."""
    expected = dict(needed)
    for group in groups:
        if not group.keys().isdisjoint(tensors):
            expected |= group
    if missing := sorted(expected.keys() - tensors.keys()):
        return f"{missing[0]} is missing"
    if unknown := sorted(tensors.keys() - expected.keys()):
        return f"it holds {unknown[0][:80]!r}, which this model does not have"
    for name, (dtype, shape) in expected.items():
        tensor = tensors[name]
        if tensor.dtype != dtype or tuple(tensor.shape) != shape:
            came = f"{tensor.dtype} {list(tensor.shape)}"
            return f"{name} is {came}, config.yaml means {dtype} {list(shape)}"
        if tensor.is_floating_point() and not tensor.isfinite().all():
            return f"{name} holds numbers that are not finite (NaN or infinity)"
        if name.endswith((".step", ".exp_avg_sq")) and (tensor < 0).any():
            return f"{name} holds numbers below 0"
    return None


def _bytes(shapes: Shapes) -> int:
    total = 0
    for dtype, shape in shapes.values():
        count = dtype.itemsize
        for size in shape:
            count *= size
        total += count
    return total


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(
        f"{str(path)!r} cannot be used: {reason}",
        "the file as the run wrote it, beside its config.yaml",
        "restore the file, or train again",
    )


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _parts(state: State | None) -> tuple[Tensor, ...]:
    if state is None:
        return ()
    return (state,) if isinstance(state, Tensor) else state
