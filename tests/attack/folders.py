"""Damaged and hostile run folders: whatever stands in one, a command ends, in good order.

A small good run is damaged in one place or several, then given to a command. It must end soon, with
exit code 0 or 2, with a sentence where it refuses, and without anything that a terminal obeys.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import signal
import socket
import struct
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import gatework as gw
from gatework.cli import main
from gatework.errors import InputError
from gatework.lang.writing import cell_as_data
from gatework.studio.models import open_models
from gatework.train import Run, RunConfig, Runner, Trainer, cell_settings, fit

FILES = (
    "config.yaml",
    "metrics.jsonl",
    "weights.safetensors",
    "best.safetensors",
    "checkpoint.safetensors",
    "text.py",
)
TENSORS = FILES[2:5]
SECONDS = 60
"""Time after which a command is taken to hang; the machine may be busy."""
LONGEST = 4_000
"""Characters that an error may have."""

OWN = gw.rewriting.zoneout(gw.cells.gru.pin(r=1), 0.1)
"""A cell that no catalogue has, so that the run keeps its equations."""

Damage = Callable[[random.Random, Path], None]


def good_run(folder: Path, cell: gw.Cell = gw.cells.gru) -> Path:
    """Make the run that is damaged, with its text in the same folder."""
    path = folder / "run"
    text = folder / "text.py"
    text.write_bytes(b'def f(x):\n    return [x, (x + 1), "s"]\n\n' * 20)
    config = RunConfig.of(
        **cell_settings(cell), hidden_size=5, embedding_size=3, batch_size=2, window=8, steps=4,
        threads=1, files=(text,),
    )  # fmt: skip
    trainer = Trainer.of(config)
    runner = Runner(trainer, Run.create(trainer, path))
    fit([runner], lambda *_: None)
    return path


# ---- damage --------------------------------------------------------------------------------------


def _file(rng: random.Random, run: Path, names: tuple[str, ...] = FILES) -> Path:
    name = rng.choice(names)
    return run.parent / name if name == "text.py" else run / name


def damage_bytes(rng: random.Random, run: Path) -> None:
    """A few bytes changed, put in, taken out or cut off."""
    path = _file(rng, run)
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 2, 5, 50))):
        at = rng.randrange(len(content) + 1) if rng.random() < 0.5 else rng.randrange(200)
        junk = rng.randbytes(rng.choice((1, 1, 4, 40)))
        kind = rng.randrange(4)
        if kind == 0:
            content[at : at + len(junk)] = junk
        elif kind == 1:
            content[at:at] = junk
        elif kind == 2:
            del content[at : at + rng.choice((1, 4, 100))]
        else:
            del content[at:]
    path.write_bytes(content)


SPECIAL = [
    b"", b"\0", b"\xff\xfe", b"\x1b]0;gotcha\x07", "\u202eabc".encode(), b"\xc2\x9b31m",
    b"[" * 5000, b"{" * 5000, b"- " * 3000, b"9" * 5000, b"1e999", b"nan", b".inf", b"-0", b"null",
    b"'" + b"x" * 100_000 + b"'", b"2026-99-99", b"2026-11-28", b"1:30:99", b"0x" + b"f" * 9000,
    b"!!python/object/apply:os.system ['true']", b"!!timestamp x", b"!!binary '*'", b"!!int x",
    b"&a [1]", b"*a", b"<<: {cell: gru}", b"? [1, 2]\n: 3", b"%YAML 9.9\n---\n", b"---\n---\n",
    b'"\\0"', b'"\\uD800"', b'"\\e]0;gotcha\\a"', b"/dev/zero", b"[/dev/zero]", b"[..]", b"['\\']",
    b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
        f"{k}: &{k} [{','.join([f'*{j}'] * 9)}]\n".encode() for j, k in pairwise("abcdefghi")
    ),
]  # fmt: skip
VALUES = [
    None, True, "", "x", "gru\x1b[31m", "\u202e", "\ud800", 0, -1, 1, 3, 10**6, 10**12, 10**30, 2.5,
    1e300, float("nan"), float("inf"), [], [1], {}, {"a": 1}, "9" * 5000, "/dev/zero",
    ["/dev/zero"], ["/proc/self/mem"], ["a\0b"], ["nowhere\x1b]0;x\x07"], [[]] * 3, 1024, 64, 100,
]  # fmt: skip


def damage_yaml(rng: random.Random, run: Path) -> None:
    """A value of config.yaml replaced by another, or by what is special to YAML."""
    path = run / "config.yaml"
    lines = path.read_bytes().split(b"\n")
    at = rng.randrange(len(lines))
    key, colon, _ = lines[at].partition(b":")
    kind = rng.randrange(4)
    if kind == 0:
        lines[at] = key + colon + b" " + rng.choice(SPECIAL)
    elif kind == 1:
        lines.insert(at, rng.choice(SPECIAL))
    elif kind == 2:
        lines.insert(at, rng.choice(lines))
    else:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        inner = settings["config"] if rng.random() < 0.8 else settings
        inner[rng.choice([*inner, "cls", "self", "new"])] = rng.choice(VALUES)
        lines = [yaml.safe_dump(settings).encode("utf-8", "surrogatepass")]
    path.write_bytes(b"\n".join(lines))


def damage_cell(rng: random.Random, run: Path) -> None:
    """Something else in the equations of the cell, or of another cell."""
    path = run / "config.yaml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    config = settings["config"]
    others = (gw.cells.slstm, gw.cells.projected_lstm, gw.rewriting.zoneout(gw.cells.gru, 0.1))
    cell = json.loads(config["equations"] or json.dumps(cell_as_data(rng.choice(others))))
    cell["name"] = config["cell"]
    for _ in range(rng.choice((0, 1, 1, 2))):
        *way, last = rng.choice(list(_places(cell)))
        inner = cell
        for key in way:
            inner = inner[key]
        inner[last] = rng.choice([*VALUES, rng.randrange(40), rng.randrange(40)])
    config["equations"] = json.dumps(cell)
    path.write_bytes(yaml.safe_dump(settings).encode("utf-8", "surrogatepass"))


def _places(data: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every place in nested lists and mappings."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from _places(value, (*above, key))


def damage_metrics(rng: random.Random, run: Path) -> None:
    """A value of a measurement replaced, or a line that is none."""
    path = run / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    at = rng.randrange(len(lines))
    if rng.random() < 0.7:
        record = json.loads(lines[at])
        record[rng.choice([*record, "new"])] = rng.choice(VALUES)
        lines[at] = json.dumps(record)
    else:
        lines.insert(at, rng.choice(SPECIAL).decode("utf-8", "replace"))
    path.write_text("\n".join(lines) + "\n" * rng.randrange(2), encoding="utf-8")


def damage_tensors(rng: random.Random, run: Path) -> None:
    """A tensor of another shape, precision or content, one too few or too many."""
    path = _file(rng, run, TENSORS)
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    name = rng.choice(list(tensors))
    value = tensors[name]
    kind = rng.randrange(8)
    if kind == 0:
        del tensors[name]
    elif kind == 1:
        tensors["more\x1b[31m"] = value.clone()
    elif kind == 2:
        tensors[name] = value.to(rng.choice((torch.float64, torch.int64, torch.bool)))
    elif kind == 3:
        tensors[name] = value.unsqueeze(0)
    elif kind == 4 and value.is_floating_point():
        number = rng.choice((float("nan"), float("inf"), 3e38, -3e38, 1e20, 1e-40, -1.0))
        value.view(-1)[rng.randrange(value.numel())] = number
    elif kind == 5 and value.is_floating_point():
        tensors[name] = value * rng.choice((0.0, 1e10, 1e30, 3e38, -1e30))
    elif kind == 6:
        tensors[name] = torch.randint(0, 256, value.shape).to(value.dtype)
    else:
        metadata = {"trainer": str(rng.choice(VALUES)), "place": rng.choice(('{"step": NaN}', ""))}
    save_file(tensors, path, metadata)


def damage_header(rng: random.Random, run: Path) -> None:
    """A safetensors header that says something else than the truth."""
    path = _file(rng, run, TENSORS)
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    name = rng.choice(list(header))
    entry = header[name]
    if "shape" in entry:
        key = rng.choice(("shape", "dtype", "data_offsets"))
        entry[key] = rng.choice(
            ([10**12], [2**62, 4], [-1], [0], [], "F8_E4M3", "F4", "BF16", "x", [0, 2**63], None)
        )
    told = json.dumps(header).encode()
    length = rng.choice((len(told), len(told), 0, 2**63, 10**9, len(told) + 1))
    path.write_bytes(struct.pack("<Q", length) + told + content[8 + size :])


def damage_kind(rng: random.Random, run: Path) -> None:
    """Something that is no file in the place of one, or nothing."""
    path = _file(rng, run)
    path.unlink()
    kind = rng.randrange(7)
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.mkdir()
    elif kind == 2:
        path.symlink_to(rng.choice(("/dev/zero", "/dev/tty", "/dev/stdin", "/proc/self/mem")))
    elif kind == 3:
        path.symlink_to(path.name)
    elif kind == 4:
        with socket.socket(socket.AF_UNIX) as listener, contextlib.chdir(path.parent):
            listener.bind(path.name)
    elif kind == 5:
        path.touch()
        os.truncate(path, 2**40)  # as large as a disk, and takes no room


def damage_leftovers(rng: random.Random, run: Path) -> None:
    """What stands where files are written before they are put in place."""
    path = _file(rng, run, FILES[:5])
    partial = path.with_name(f".{path.name}.partial")
    kind = rng.randrange(3)
    if kind == 0:
        os.mkfifo(partial)
    elif kind == 1:
        partial.symlink_to(run.parent / "victim")
    else:
        (partial / "full").mkdir(parents=True)


DAMAGES: tuple[Damage, ...] = (
    damage_bytes,
    damage_yaml,
    damage_cell,
    damage_metrics,
    damage_tensors,
    damage_header,
    damage_kind,
    damage_leftovers,
)


# ---- use -----------------------------------------------------------------------------------------


def use_studio(run: Path) -> None:
    """What the studio does before and when the page is opened."""
    for model in open_models(run):
        model.describe()


def use_api(run: Path) -> None:
    """What a program does."""
    opened = Run.open(run)
    list(opened.records())
    opened.load_model()
    opened.load_model(last=True)
    opened.load_trainer(opened.config)


def command(*arguments: str) -> Callable[[Path], None]:
    """A use by the command line."""

    def use(run: Path) -> None:
        with contextlib.suppress(SystemExit):
            main([word.replace("RUN", str(run)) for word in arguments])

    use.__name__ = arguments[0]
    return use


USES: tuple[Callable[[Path], None], ...] = (
    command("sample", "RUN", "--length", "3"),
    command("sample", "RUN", "--length", "3", "--last"),
    command("train", "--resume", "RUN", "--steps", "6"),
    command("inspect", "RUN"),
    use_studio,
    use_api,
)


def attack(seed: int) -> None:
    """Make a run, damage its folder and use it.

    Raises:
        AssertionError: the use did not end in good order.
    """
    with tempfile.TemporaryDirectory() as folder:
        cell = random.Random(-1 - seed).choice((gw.cells.gru, OWN))
        told = _damaged_and_used(seed, good_run(Path(folder), cell))
    assert told is None, told


def _damaged_and_used(seed: int, run: Path) -> str | None:
    rng = random.Random(seed)
    torch.manual_seed(seed)
    damages = [DAMAGES[seed % len(DAMAGES)]]
    damages += [rng.choice(DAMAGES)] if rng.random() < 0.2 else []
    for damage in damages:
        with contextlib.suppress(Exception):  # what is broken already cannot be broken so
            damage(rng, run)
    use = USES[seed // len(DAMAGES) % len(USES)]
    fault = _fault(use, run)
    if (run.parent / "victim").exists():
        fault = "a link was followed and written to"
    told = " + ".join(damage.__name__ for damage in damages)
    return fault and f"{told}, {use.__name__}: {fault}"


def _fault(use: Callable[[Path], None], run: Path) -> str | None:
    """What was wrong with how a use ended."""
    said = io.StringIO()
    try:
        with _alarm(), redirect_stdout(said), redirect_stderr(said), warnings.catch_warnings():
            warnings.simplefilter("always")  # a user would see it
            use(run)
    except InputError as error:
        said.write(str(error))
    except BaseException:
        return traceback.format_exc()
    text = said.getvalue()
    obeyed = sorted({c for c in text if not (c.isprintable() or c in "\n\t")})
    if obeyed:
        return f"printed {obeyed}"
    if "Traceback" in text or "Warning" in text or len(text) > LONGEST:
        return f"said {text[:2000]}"
    return None


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    def hung(*_: object) -> None:
        raise TimeoutError(f"no end after {SECONDS} s")

    former = signal.signal(signal.SIGALRM, hung)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)
