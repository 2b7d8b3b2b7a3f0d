"""Kill training at random moments, go on, and compare with the run that nobody killed.

    python tests/attack/killing.py --kills 50
    python tests/attack/killing.py --kills 50 --ranks 2

Training processes are forked from one that has loaded everything, so that a kill costs a second.
A run outlives some ten kills; so many runs are trained that there are enough.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

from safetensors.torch import load_file

from gatework.cli import (
    main,
    training,  # noqa: F401
)
from gatework.reports import trained  # noqa: F401 - loaded before processes are forked

OPTIONS = (
    "--cell gru --hidden-size 24 --embedding-size 8 --batch-size 6 --window 16 --dropout 0.2 "
    "--layers 2 --threads 1 --save-every 0.05s"
)
TEXT = b"def f(x):\n    return [x, (x + 1)]\n\n" * 200


def train(folder: Path, arguments: list[str], ranks: int, life: float | None) -> int:
    """Train in processes of their own; kill them after so many seconds. How many were killed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = [_forked(folder, arguments, rank, ranks, port) for rank in range(ranks)]
    if life is not None:
        time.sleep(life)
        for child in children:
            os.kill(child, signal.SIGKILL)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    failed = [s for s in statuses if os.WIFEXITED(s) and os.WEXITSTATUS(s)]
    assert not failed, f"training ended with {failed}\n{(folder / 'log').read_text()[-2000:]}"
    return sum(os.WIFSIGNALED(s) for s in statuses)


def _forked(folder: Path, arguments: list[str], rank: int, ranks: int, port: int) -> int:
    child = os.fork()
    if child:
        return child
    os.chdir(folder)
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1), os.dup2(log, 2)
    if ranks > 1:
        names = {"RANK": rank, "WORLD_SIZE": ranks, "MASTER_PORT": port, "LOCAL_RANK": rank}
        os.environ |= {name: str(value) for name, value in names.items()}
        os.environ["MASTER_ADDR"] = "127.0.0.1"
    code = 1
    try:
        main(["train", *arguments])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    finally:
        sys.stdout.flush()
        os._exit(code)


def attack(folder: Path, kills: int, steps: int, ranks: int, seed: int) -> int:
    """Compare a run that is killed so often with one that is not; how many kills it took."""
    generator = random.Random(seed)
    (folder / "text").write_bytes(TEXT)
    arguments = ["text", "--steps", str(steps), *OPTIONS.split()]
    began = time.monotonic()
    train(folder, [*arguments, "--out", "whole"], ranks, None)
    whole = time.monotonic() - began
    killed = 0
    while not _is_done(folder / "killed"):
        there = (folder / "killed" / "config.yaml").exists()
        more = ["--resume", "killed"] if there else [*arguments, "--out", "killed"]
        life = generator.uniform(0.02, whole / 2) if killed < kills else None
        killed += train(folder, more, ranks, life) // ranks
    for name in ("weights", "checkpoint"):
        same(*(load_file(folder / run / f"{name}.safetensors") for run in ("whole", "killed")))
    return killed


def _is_done(run: Path) -> bool:
    return (run / "report.html").exists()  # the last that is written


def same(one: dict, other: dict) -> None:
    """Raise unless two files have the same bits."""
    assert one.keys() == other.keys()
    unequal = [name for name in one if not one[name].equal(other[name])]
    assert not unequal, unequal


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--steps", type=int, default=4_000)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    count = 0
    for seed in itertools.count(options.seed):
        with tempfile.TemporaryDirectory() as place:
            left = options.kills - count
            count += attack(Path(place), left, options.steps, options.ranks, seed)
        print(f"seed {seed}: {count} kills, {options.ranks} processes: the same bits", flush=True)
        if count >= options.kills:
            break
