"""The text of a kernel: what the cache on disk finds it by."""

import os
import subprocess
import sys

from gatework import cells
from gatework.backends.cpu.kernel.build import build
from gatework.backends.cpu.kernel.setting import Setting
from gatework.backends.cpu.vector.target import host
from gatework.compiler.program import program

WRITE = "import runpy, sys; sys.stdout.write(runpy.run_path(sys.argv[1])['texts']())"


def texts():
    """The kernels of cells that read many blocks of one parameter, one after the other."""
    sizes = {"1": 1, "input": 5, "hidden": 9}
    setting = Setting(host(), "float", sizes, widest=2, ragged=False, merged=True)
    programs = [program(cell) for cell in (cells.lstm, cells.gru)]
    plans = [plan for made in programs for plan in (made.forward, made.keeping, made.backward)]
    return "\n".join(build(plan, setting, frozenset()).ir for plan in plans)


def test_a_kernel_has_the_same_text_in_every_process():
    """Else the next process would not find it on disk, and compile it again."""
    done = subprocess.run(
        [sys.executable, "-c", WRITE, __file__],
        env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == texts()
