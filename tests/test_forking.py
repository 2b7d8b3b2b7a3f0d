"""What another thread is in the middle of is not half done in a forked child."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import llvmlite.binding as llvm
import pytest

import gatework
from gatework import forking
from gatework.backends.cpu import preparation
from gatework.backends.cpu.machine import jit  # noqa: F401 - it lists LLVM's lock
from gatework.lang import expressions

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

LOCKS = {
    "building": lambda: forking.building,
    "expressions": lambda: expressions._lock,
    "numbers": lambda: preparation._lock,
    "LLVM": lambda: llvm.ffi.lib._lock._lock,
}


def in_child(work):
    """The exit code of a forked child: 0 where its work is true."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            code = int(not work())
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def free(lock, patience=5):
    """Whether another thread can take a lock."""
    found = []

    def take():
        found.append(lock.acquire(timeout=patience))
        if found[0]:
            lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return found == [True]


@pytest.mark.parametrize("name", LOCKS)
def test_a_fork_waits_for_a_lock_that_another_thread_holds(name):
    lock = LOCKS[name]()
    held, let_go = threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            let_go.wait(0.3)

    other = threading.Thread(target=hold)
    other.start()
    held.wait()
    # asked by the child's own thread: a new one may get the name of the one that is gone
    code = in_child(lambda: lock.acquire(timeout=3))
    other.join()
    assert code == 0
    assert free(lock)


def test_the_thread_that_forks_may_hold_a_lock_itself():
    with forking.building, expressions._lock:
        assert in_child(lambda: True) == 0
    assert free(forking.building)


def test_a_lock_that_is_listed_while_a_fork_is_under_way_is_left_alone(monkeypatch):
    monkeypatch.setattr(forking, "_locks", [*forking._locks])
    forking._take_all()
    late = forking.brief_lock()
    forking._give_all()
    assert free(late)
    assert free(forking.building)


def test_a_fork_waits_while_a_part_is_imported(monkeypatch):
    found = []
    monkeypatch.delattr(gatework, "use_backend")
    monkeypatch.setattr(
        gatework,
        "_import_module",
        lambda name: found.append(free(forking.building, patience=0)) or sys.modules[name],
    )
    assert gatework.use_backend
    assert found == [False]


def test_what_is_cached_is_made_once_and_kept():
    made = []

    class Thing:
        @forking.cached_property
        def value(self):
            """What it is."""
            made.append(self)
            return [len(made)]

    thing = Thing()
    assert thing.value is thing.value
    assert made == [thing]
    assert Thing.value.__doc__ == "What it is."


def test_threads_that_come_at_once_get_the_same():
    together = threading.Barrier(2, timeout=10)

    class Thing:
        @forking.cached_property
        def value(self):
            together.wait()  # a lock here would let the second thread in too late
            return object()

    thing, found = Thing(), []
    threads = [threading.Thread(target=lambda: found.append(thing.value)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] is found[1]


@pytest.mark.slow
@pytest.mark.parametrize("kept", [True, False], ids=["kept on disk", "not kept"])
def test_children_of_a_process_that_compiles(kept, tmp_path):
    script = Path(__file__).parent / "helpers" / "forking_work.py"
    env = {**os.environ, "GATEWORK_CACHE_DIR": str(tmp_path) if kept else ""}
    done = subprocess.run(
        [sys.executable, script, "10"], env=env, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
