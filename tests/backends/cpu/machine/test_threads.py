"""Threads: several callers at once, a forked child, no OpenMP, fewer threads than asked for."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from gatework import cells
from gatework.backends.cpu import Cpu, schedule
from gatework.backends.cpu.machine import threads
from gatework.backends.cpu.vector.target import host
from gatework.backends.reference import Reference
from gatework.compiler.program import program
from plan_calls import all_sizes, assert_same, random_call

PLAN = program(cells.gru).keeping


def problem(batch):
    """A call and what the reference makes of it."""
    call = random_call(PLAN, (5, batch), all_sizes(cells.gru, 9, 40), torch.float64)
    return call, Reference().run(PLAN, call)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_torch_brings_its_runtime():
    assert threads.team_size_function()


@pytest.mark.parametrize("batch", [2, 50])
def test_python_threads_where_openmp_is_missing(batch, two_threads, monkeypatch):
    monkeypatch.setattr(threads, "_openmp", lambda: None)
    call, expected = problem(batch)
    assert_same(Cpu().run(PLAN, call), expected, 1e-10)


@pytest.mark.parametrize("batch", [2, 50])
def test_a_team_smaller_than_asked_for(batch, monkeypatch):
    """OpenMP may give fewer threads, when it is nested for instance."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(
        threads, "run", lambda function, address, arguments, count: function(arguments)
    )
    call, expected = problem(batch)
    assert_same(Cpu().run(PLAN, call), expected, 1e-10)


@pytest.mark.parametrize("batch", [2, 50])
def test_callers_at_the_same_time(batch, two_threads):
    backend, (call, expected) = Cpu(), problem(batch)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: backend.run(PLAN, call), range(24)):
            assert_same(found, expected, 1e-10)


def _in_child(backend, call, results):
    results.put(backend.run(PLAN, call).states[0].sum().item())


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child(two_threads, monkeypatch):
    """The child's copy of the OpenMP pool has no threads: it must not wait for them."""
    monkeypatch.undo()  # poisoning is torch's own work, which does wait for them
    torch.use_deterministic_algorithms(False)
    backend, (call, expected) = Cpu(), problem(2)
    backend.run(PLAN, call)
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(backend, call, results))
    child.start()
    child.join(60)
    child.kill()
    assert child.exitcode == 0
    assert results.get() == pytest.approx(expected.states[0].sum().item())


@pytest.mark.parametrize(("worth", "count"), [(0, 4), (10**9, 1)])
def test_no_thread_is_woken_for_little_work(worth, count, monkeypatch):
    monkeypatch.setattr(schedule, "WORTH_SHARING", worth)
    call, _ = problem(50)
    assert schedule.choose(PLAN, call, "double", host(), threads=4).threads == count
