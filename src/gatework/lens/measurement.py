"""Measurements as data: arrays with named axes, saved and loaded in one way, drawn later.

A file is safetensors: every array under the name of its field, or field/key where a field holds
several by name, and in the header, under "gatework.measurement", JSON with the measurement's type,
the axes of its arrays and all fields that are no arrays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from gatework.files import write_atomically
from gatework.lens.drawing import Plot

__all__ = ["Arrays", "Measurement", "axes", "load"]

Arrays = Mapping[str, NDArray[Any]]
"""Arrays by what they are measured on, such as "encoder.l0.f"; see `gatework.lens.watch`."""

FORMAT, HEADER = 1, "gatework.measurement"


def axes(*names: str) -> dict[str, tuple[str, ...]]:
    """Metadata of a field that holds an array, or arrays by name: what each dimension counts.

    Example:
        >>> from dataclasses import field
        >>> influence = field(metadata=axes("sequence", "lag"))
    """
    return {"axes": names}


@dataclass(frozen=True, eq=False)
class Measurement:
    """What every measurement can do. A field is an array, arrays by name, or plain JSON.

    Attributes:
        has_drawing: whether measurements of its kind draw themselves, by a `plot` of their own.

    Raises:
        ValueError: when one is made whose arrays have other axes than declared.
    """

    types: ClassVar[dict[str, type[Measurement]]] = {}
    has_drawing: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        cls.has_drawing = cls.plot is not Measurement.plot
        Measurement.types[cls.__name__] = cls

    def __post_init__(self) -> None:
        for name, expected in self.axes().items():
            for key, array in _named(name, getattr(self, name)).items():
                if array.ndim != len(expected):
                    raise ValueError(
                        f"{type(self).__name__}.{key} has the shape {list(array.shape)}; "
                        f"expected the axes {', '.join(expected)}"
                    )

    @classmethod
    def axes(cls) -> dict[str, tuple[str, ...]]:
        """The axes of each field that holds arrays."""
        return {f.name: f.metadata["axes"] for f in fields(cls) if "axes" in f.metadata}

    def save(self, path: str | Path) -> None:
        """Write the measurement to a safetensors file; `gatework.lens.load` reads it.

        Example:
            >>> import numpy as np
            >>> from gatework.lens import MemoryHorizon, load
            >>> MemoryHorizon(np.ones((3, 11))).save("horizon.safetensors")
            >>> load("horizon.safetensors").reach()
            11
        """
        arrays: dict[str, NDArray[Any]] = {}
        plain: dict[str, Any] = {}
        keys: dict[str, list[str]] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if "axes" not in one.metadata:
                plain[one.name] = value
                continue
            arrays |= {n: np.asarray(a, order="C") for n, a in _named(one.name, value).items()}
            if isinstance(value, Mapping):
                keys[one.name] = list(value)
        about = {
            "format": FORMAT,
            "type": type(self).__name__,
            "axes": self.axes(),
            "keys": keys,
            "fields": plain,
        }
        write_atomically(Path(path), save(arrays, {HEADER: json.dumps(about)}))

    def plot(self) -> Plot:
        """Draw the measurement: a `gatework.lens.drawing.Plot`, which can be saved as SVG or PNG.

        Raises:
            TypeError: measurements of its kind have no drawing.

        Example:
            >>> import torch, gatework as gw
            >>> layer, x = gw.nn.LSTM(4, 8), torch.randn(30, 3, 4)
            >>> gw.lens.retention(layer, [x], lags=[1, 5, 20]).plot().save("retention.png")
        """
        drawn = [name for name, kind in Measurement.types.items() if kind.has_drawing]
        raise TypeError(
            f"a {type(self).__name__} has no drawing; expected a measurement that has one: "
            f"{', '.join(drawn)}"
        )

    def _repr_html_(self) -> str | None:
        """What a notebook shows; None leaves it to the text."""
        return self.plot()._repr_html_() if self.has_drawing else None

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a measurement of this type that `save` wrote.

        Raises:
            ValueError: the file holds something else, or is damaged.
        """
        found = load(path)
        if not isinstance(found, cls):
            raise ValueError(
                f"{str(path)!r} holds a {type(found).__name__}; expected a {cls.__name__}; "
                "gatework.lens.load reads any measurement"
            )
        return found


def load(path: str | Path) -> Measurement:
    """Read a measurement that `save` wrote, of whatever type.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds no measurement, or is damaged.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {})[HEADER])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _restored(about, arrays)
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{str(path)!r} is no measurement ({error}); "
            "expected a file that `save` of a measurement wrote"
        ) from None


def _restored(about: Mapping[str, Any], arrays: Arrays) -> Measurement:
    if about["format"] != FORMAT:
        raise ValueError(f"format {about['format']}; this version reads {FORMAT}")
    kind = Measurement.types[about["type"]]
    values = {name: _tuples(value) for name, value in about["fields"].items()}
    for name in kind.axes():
        keys = about["keys"].get(name)
        values[name] = (
            arrays[name] if keys is None else {key: arrays[f"{name}/{key}"] for key in keys}
        )
    return kind(**values)


def _named(name: str, value: NDArray[Any] | Arrays) -> dict[str, NDArray[Any]]:
    """The arrays of a field by the names under which they are saved."""
    if isinstance(value, Mapping):
        return {f"{name}/{key}": array for key, array in value.items()}
    return {name: value}


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
