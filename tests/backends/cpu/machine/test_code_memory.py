"""Where machine code lies, and what happens where there is no memory for it."""

import ctypes
import gc
import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

import far_apart
from far_apart import forked
from gatework.backends.cpu.machine import code_memory, jit
from gatework.backends.cpu.vector.errors import CodeMemoryError
from gatework.backends.cpu.vector.target import host

ANSWER = """
@number = private constant i64 {}
define i64 @answer() nounwind {{
  %seen = load volatile i64, ptr @number
  ret i64 %seen
}}
"""
ONLY_MADE_EXECUTABLE_ONCE = 65, 1, 0, 0, 0  # prctl: PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")


def library(number):
    return jit.Library(jit.compile_object(ANSWER.format(number), host()), ("answer",))


def answer(found):
    return ctypes.CFUNCTYPE(ctypes.c_int64)(found.address("answer"))()


@pytest.mark.slow
@on_linux
def test_an_object_lies_together_where_free_memory_is_far_apart(tmp_path):
    script = Path(far_apart.__file__)
    env = {**os.environ, "GATEWORK_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, script], env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


def resident():
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


@on_linux
def test_memory_goes_back_with_a_library():
    image = jit.compile_object(ANSWER.format(7), host())

    def make_and_drop(times):
        for _ in range(times):
            jit.Library(image, ("answer",))
        gc.collect()
        return resident()

    before = make_and_drop(2 * jit.SERVED)
    assert make_and_drop(20 * jit.SERVED) - before < 4 * 2**20


def test_a_library_outlives_its_linker(monkeypatch):
    monkeypatch.setattr(jit, "SERVED", 2)
    found = [library(k) for k in range(7)]
    del found[1::2]
    jit._linker.cache_clear()
    gc.collect()
    assert [answer(f) for f in found] == [0, 2, 4, 6]


@on_linux
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_machine_code_is_forbidden():
    """The system says no: an error, where LLVM would end the process."""
    library(1)
    image = jit.compile_object(ANSWER.format(2), host())

    def forbid_and_try():
        if ctypes.CDLL(None).prctl(*ONLY_MADE_EXECUTABLE_ONCE):
            os._exit(77)
        with pytest.raises(CodeMemoryError, match="forbidden"):
            jit.Library(image, ("answer",))

    code = forked(forbid_and_try)
    if code == 77:
        pytest.skip("this Linux cannot forbid it")
    assert code == 0


def test_there_is_no_memory(monkeypatch):
    def refuse(*_, **__):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(code_memory.mmap, "mmap", refuse)
    with pytest.raises(CodeMemoryError, match=r"Cannot allocate memory.*use_backend"):
        library(3)


def test_what_cannot_be_linked_is_an_error():
    with pytest.raises(CodeMemoryError, match="could not be put"):
        jit.Library(b"no object", ("answer",))
