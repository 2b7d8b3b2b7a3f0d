"""All that a trainer is, in one safetensors file: what an interrupted run needs to go on exactly.

    model.<name>               weights
    optimizer.<name>.<moment>  AdamW's step count and moments of that weight
    state.<i>                  the recurrent state carried into the next window
    random                     torch's random state (dropout draws from it)
    metadata "trainer"         JSON: seconds spent, windows read

No pickle: a file from a stranger can be wrong, but it cannot run anything.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from gatework.data import InputError
from gatework.files import write_atomically
from gatework.train.model import LanguageModel, State
from gatework.train.trainer import Trainer

__all__ = ["load_trainer", "load_weights", "save_trainer", "save_weights"]


def save_weights(model: LanguageModel, path: Path) -> None:
    """Write the model's `state_dict`."""
    weights = {name: weight.contiguous() for name, weight in model.state_dict().items()}
    write_atomically(path, save(weights))


def load_weights(model: LanguageModel, path: Path) -> None:
    """Read what `save_weights` wrote.

    Raises:
        InputError: the file is missing, damaged, or of another model.
    """
    tensors, _ = _read(path)
    _restore_weights(model, tensors, path)


def save_trainer(trainer: Trainer, path: Path) -> None:
    """Write everything the trainer needs to go on."""
    tensors = {f"model.{name}": w for name, w in trainer.model.state_dict().items()}
    for name, weight in trainer.model.named_parameters():
        for key, value in trainer.optimizer.state[weight].items():
            tensors[f"optimizer.{name}.{key}"] = value
    for i, part in enumerate(_parts(trainer.carry.state)):
        tensors[f"state.{i}"] = part
    tensors["random"] = torch.get_rng_state()
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    place = {"seconds": trainer.seconds, "windows": trainer.streams.position}
    metadata = {"trainer": json.dumps(place)}
    write_atomically(path, save(tensors, metadata))


def load_trainer(trainer: Trainer, path: Path) -> None:
    """Put a new trainer where the saved one was; torch's random state is set as well.

    Raises:
        InputError: the file is missing, damaged, or of another model.
    """
    tensors, metadata = _read(path)
    try:
        place = json.loads(metadata["trainer"])
        trainer.seconds, trainer.streams.position = float(place["seconds"]), int(place["windows"])
        torch.set_rng_state(tensors["random"])
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise _damaged(path, f"no usable place in training: {error}") from None
    _restore_weights(trainer.model, _under("model.", tensors), path)
    for name, weight in trainer.model.named_parameters():
        if moments := _under(f"optimizer.{name}.", tensors):
            trainer.optimizer.state[weight] = dict(moments)
    parts = tuple(_under("state.", tensors).values())
    trainer.carry.state = parts[0] if len(parts) == 1 else parts or None


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors, sorted by name, and the metadata."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in sorted(file.keys())}, file.metadata()
    except FileNotFoundError:
        expected, mend = f"a file {path.name} in the run folder", "name a complete run folder"
        raise InputError(f"{str(path)!r} is missing", expected, mend) from None
    except (SafetensorError, OSError) as error:
        raise _damaged(path, str(error)) from None


def _restore_weights(model: LanguageModel, weights: dict[str, Tensor], path: Path) -> None:
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise _damaged(path, " ".join(str(error).split())) from None


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(
        f"{str(path)!r} cannot be used: {reason}",
        "the file as the run wrote it, beside its config.yaml",
        "restore the file, or train again",
    )


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _parts(state: State | None) -> tuple[Tensor, ...]:
    if state is None:
        return ()
    return (state,) if isinstance(state, Tensor) else state
