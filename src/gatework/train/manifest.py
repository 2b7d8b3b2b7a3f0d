"""`config.yaml` of a run folder: its settings, and what they met.

The file can come from a stranger, so it is read within limits and by a small part of YAML: numbers,
texts, lists and mappings, no references and no tags.
"""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import Field

from gatework.errors import InputError
from gatework.files import read_bytes
from gatework.printable import brief
from gatework.settings import Checked
from gatework.train.config import RunConfig

if TYPE_CHECKING:
    from gatework.tasks import Source, Task

__all__ = ["MANIFEST", "Manifest", "find_runs", "is_run", "read_manifest"]

MANIFEST = "config.yaml"
MOST_BYTES, MOST_DEPTH, MOST_RUNS = 1 << 20, 8, 8
"""Of the file; of lists and mappings in each other; of runs that are looked at together."""
EXPECTED = "a run folder, as `gatework train` leaves it"

Text = Annotated[str, Field(max_length=10_000)]


class Manifest(Checked):
    """What `config.yaml` of a run holds: the settings, and what they met."""

    format: Literal[2] = 2
    """Version of the run folder's layout."""
    config: RunConfig
    source: Text
    """What was learned from."""
    sizes: tuple[Annotated[int, Field(ge=0, le=2**62)], Annotated[int, Field(ge=0, le=2**62)]]
    """How much there was to learn from and how much was held out, in what the task counts."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Of all of it."""
    understood: dict[Text, Any] = Field(default_factory=dict)
    """What the task found in it: columns, classes, scales."""
    parameters: Annotated[int, Field(ge=0, le=2**62)]
    """Learned numbers in the whole model."""
    versions: Annotated[dict[Text, Text], Field(max_length=20)]

    @classmethod
    def describe(cls, config: RunConfig, task: Task, source: Source, parameters: int) -> Manifest:
        """Describe a run that is about to begin."""
        versions = {
            "gatework": version("gatework"),
            "python": platform.python_version(),
            "torch": version("torch"),
        }
        return cls(
            config=config.settled,
            source=source.name,
            sizes=source.sizes,
            sha256=source.sha256,
            understood=task.understood,
            parameters=parameters,
            versions=versions,
        )

    def as_yaml(self) -> str:
        """Return the file's content."""
        content: dict[str, Any] = self.model_dump(mode="json")
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def read_manifest(path: Path) -> Manifest:
    """Read `config.yaml` of the run folder `path`.

    Raises:
        InputError: there is none, or it is damaged.
    """
    file = path / MANIFEST
    try:
        settings = _parsed(read_bytes(file, MOST_BYTES).decode())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"no run in {str(path)!r}", EXPECTED, _runs_nearby(path)) from None
    except (OSError, yaml.YAMLError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:300]
        raise _damaged(file, f"cannot be read ({reason})") from None
    if not isinstance(settings, dict):
        raise _damaged(file, "holds no settings")
    if settings.get("format") == 1:
        raise InputError(
            f"{str(file)!r} is of a run of an earlier Gatework",
            "a run folder of this one's layout",
            "train again; its weights can be read with safetensors",
        )
    return Manifest.of(**{str(name): value for name, value in settings.items()})


def is_run(path: Path) -> bool:
    """Whether a folder holds a run."""
    return (path / MANIFEST).exists()


def find_runs(path: Path) -> list[Path]:
    """Return `path` if it is a run folder, else the run folders in it, as `compare` leaves them.

    Raises:
        InputError: there are very many.
    """
    folders = sorted(file.parent for file in path.glob(f"*/{MANIFEST}"))
    if is_run(path) or not folders:
        return [path]  # reading it says what is missing
    if len(folders) > MOST_RUNS:
        raise InputError(
            f"{len(folders)} runs in {str(path)!r}",
            f"one run, or a folder of up to {MOST_RUNS} that are to be compared",
            f"name one of them, such as {folders[-1]}",
        )
    return folders


def _runs_nearby(path: Path) -> str:
    """Say where runs lie, to one who named a folder that holds none."""
    for folder in (path, Path("runs")):
        runs = sorted(file.parent for file in folder.glob(f"*/{MANIFEST}"))
        if runs:
            return f"the last one in {folder}/ is {runs[-1]}"
    return "train one first: gatework train"


def _damaged(file: Path, reason: str) -> InputError:
    return InputError(f"{str(file)!r} {reason}", EXPECTED, "restore the file, or train again")


# ---- YAML ----------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader if not yaml.__with_libyaml__ else yaml.CSafeLoader):  # type: ignore[misc]
    """Refuses a key that stands twice; YAML would take the last one."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        content: dict[Any, Any] = super().construct_mapping(node, deep=True)
        if len(content) < len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key stands twice")
        return content


def _parsed(text: str) -> Any:
    """Parse a text whose structure is looked at first: what is refused is never built."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        for kind in ("anchor", "tag"):
            if (name := getattr(event, kind, None)) is not None:
                raise yaml.YAMLError(f"the {kind} {brief(name)}, where none is expected")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH:
            raise yaml.YAMLError(f"more than {MOST_DEPTH} lists and mappings in each other")
    return yaml.load(text, Loader=_Loader)
