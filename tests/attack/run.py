"""Attack for as long as you like: `python tests/attack/run.py --minutes 30 --seed 7`.

Seeds are tried in turn, each in a forked process, so that one that dies is a finding like any
other. What was found is printed with the call that finds it again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS / "helpers")]

ATTACKS = ("cells", "calls", "folders")
SEEDS = 20  # tried by one process
LIMIT = 600.0  # seconds for one process


def attack_of(name: str) -> Callable[[int], None]:
    """The attack of a name."""
    found: Callable[[int], None] = import_module(f"attack.{name}").attack
    return found


def tried(name: str, seeds: range) -> tuple[int, list[str]]:
    """How many seeds were tried and what was found, in a process of its own."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        _try(name, seeds, write)
    os.close(write)
    ended = _wait(child)
    with os.fdopen(read) as pipe:
        lines = pipe.read().splitlines()
    done = sum(line.startswith("done ") for line in lines)
    found = [line.replace("\x1f", "\n") for line in lines if not line.startswith("done ")]
    if ended is not None:
        found.append(f"{name} {seeds[done]}: the process {ended}")
    return min(done + (ended is not None), len(seeds)), found


def _try(name: str, seeds: range, write: int) -> None:
    warnings.simplefilter("ignore")
    attack = attack_of(name)
    with os.fdopen(write, "w", buffering=1) as pipe:
        for seed in seeds:
            try:
                attack(seed)
            except BaseException:
                text = f"{name} {seed}: {traceback.format_exc(limit=-6)}"
                pipe.write(text.replace("\n", "\x1f") + "\n")
            pipe.write(f"done {seed}\n")
    os._exit(0)


def _wait(child: int) -> str | None:
    """How a process ended, if not well."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            code = os.waitstatus_to_exitcode(status)
            return None if code == 0 else f"ended with {code}"
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "gave no answer"


def main() -> None:
    """Attack in turn until the time is over."""
    parser = argparse.ArgumentParser(description="Attack with random inputs.")
    parser.add_argument("names", nargs="*", default=ATTACKS, help=f"of {', '.join(ATTACKS)}")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    asked = parser.parse_args()
    end = time.monotonic() + 60 * asked.minutes
    counts, found = dict.fromkeys(asked.names, 0), 0
    while time.monotonic() < end:
        for name in asked.names:
            start = asked.seed + counts[name]
            count, said = tried(name, range(start, start + SEEDS))
            counts[name] += count
            found += len(said)
            for text in said:
                print(f"\n{text}", flush=True)
        print(f"\r{counts}, {found} found", end="", file=sys.stderr, flush=True)
    print(f"\n{counts}, {found} found")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
