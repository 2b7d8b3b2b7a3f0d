"""How many broken versions of the compiler and the CPU backend do the fast tests see?

    python tests/mutation/run.py                     100 of them, drawn by seed 0
    python tests/mutation/run.py --count 20 --seed 3 others
    python tests/mutation/run.py --only kernel.py    all drawn from the files of that name

Each mutant is the package with one place broken, in a folder of its own. A process that has torch
loaded already is forked for it and runs the tests of its files until one fails. A mutant that no
test sees survives: it is printed, with the line as it was and as it is.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))

from operators import Mutant, mutants  # noqa: E402 - found beside this file

TESTS = {  # the folders that are broken, and what is asked, the likeliest to see it first
    "analysis": (
        "tests/analysis", "tests/compiler", "tests/nn/test_init.py", "tests/lens/test_battery.py",
        "tests/show",
    ),
    "compiler": (
        "tests/compiler", "tests/analysis", "tests/lang", "tests/backends/cpu",
        "tests/nn/test_resets.py", "tests/nn/test_init.py", "tests/nn/test_against_torch.py",
    ),
    "backends/cpu": (
        "tests/backends", "tests/nn/test_against_torch.py", "tests/nn/test_streaming.py",
        "tests/nn/test_resets.py",
    ),
}  # fmt: skip
SPEED_ONLY = ("schedule.py", "target.py", "ir.py")
"""Files whose numbers decide how fast something runs, never what comes out."""
PATIENCE = (
    4.0  # times the unbroken package's time: a mutant that takes longer never ends, and is seen
)


@dataclass(frozen=True)
class Broken:
    """A mutant and where it belongs."""

    path: Path
    mutant: Mutant
    tests: tuple[str, ...]

    def __str__(self) -> str:
        m = self.mutant
        where = f"{self.path.relative_to(ROOT)}:{m.line}"
        return f"{where} ({m.operator})\n    - {m.before}\n    + {m.after}"


def drawn(count: int, seed: int, only: str | None) -> list[Broken]:
    """So many mutants of all files, each file as likely as it is long."""
    found = []
    for folder, tests in TESTS.items():
        for path in sorted((ROOT / "src/gatework" / folder).rglob("*.py")):
            if path.name == only or (only is None and path.name not in SPEED_ONLY):
                found += [Broken(path, m, tests) for m in mutants(path.read_text())]
    return random.Random(seed).sample(found, min(count, len(found)))


@contextlib.contextmanager
def package_with(broken: Broken | None) -> Iterator[Path]:
    """A folder with the whole package, one file of it broken."""
    with tempfile.TemporaryDirectory(prefix="gatework-mutant-") as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        if broken is not None:
            (source / broken.path.relative_to(ROOT / "src")).write_text(broken.mutant.source)
        yield source


def seen(
    broken: Broken | None, tests: Sequence[str], kernels: Path, limit: float = math.inf
) -> str | None:
    """What a child process that runs the tests on a broken package says; None for nothing."""
    with package_with(broken) as source:
        child = os.fork()
        if child == 0:
            _ask(source, kernels, tests)
        status = _wait(child, limit)
    if status is None:
        return "no answer"
    code = os.waitstatus_to_exitcode(status)
    return None if code == 0 else ("a test failed" if code > 0 else f"died of signal {-code}")


def _ask(source: Path, kernels: Path, tests: Sequence[str]) -> None:
    """In the child: run the tests until one fails, and end."""
    import pytest

    os.setpgid(0, 0)
    os.chdir(ROOT)
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(quiet, stream)
    os.environ["PYTHONPATH"] = str(source)
    os.environ["GATEWORK_TEST_KERNELS"] = str(kernels)
    sys.path.insert(0, str(source))
    options = [
        "-x",
        "-q",
        "-m",
        "not slow and not browser",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
    ]
    code = pytest.main([*options, f"--basetemp={source.parent / 'tests'}", *tests])
    os._exit(int(code))


def _wait(child: int, limit: float) -> int | None:
    """The status of a child; None where it had to be ended."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def main() -> None:
    """Draw, break, ask, and print the score."""
    parser = argparse.ArgumentParser(description="Break the code, see which tests notice.")
    parser.add_argument("--count", type=int, default=100, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    parser.add_argument("--only", help="the name of one file, such as kernel.py")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many at a time")
    asked = parser.parse_args()
    import pytest  # noqa: F401 - loaded once, here, for every child
    import torch  # noqa: F401

    chosen, survivors = drawn(asked.count, asked.seed, asked.only), 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(asked.jobs) as pool:
        kernels = Path(folder)  # compiled once, for all mutants: a kernel is kept by its code
        limits = {}
        for tests in {b.tests for b in chosen}:
            start = time.monotonic()
            if (failure := seen(None, tests, kernels)) is not None:
                sys.exit(f"the unbroken package: {failure}; mend that first ({' '.join(tests)})")
            limits[tests] = PATIENCE * (time.monotonic() - start)
        answers = pool.map(lambda b: seen(b, b.tests, kernels, limits[b.tests]), chosen)
        for k, said in enumerate(answers):
            survivors += said is None
            if said is None:
                print(f"\nsurvived: {chosen[k]}", flush=True)
            print(f"\r{k + 1} tried, {survivors} survived", end="", file=sys.stderr, flush=True)
    print(f"\n{len(chosen) - survivors} of {len(chosen)} mutants seen")


if __name__ == "__main__":
    main()
