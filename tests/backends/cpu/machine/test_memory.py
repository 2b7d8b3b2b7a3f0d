"""Memory: a training step gets back what the one before it freed."""

import subprocess
import sys
import threading
from random import Random

import pytest
import torch

from gatework.backends.cpu.machine import memory

STEPS = """
import resource, torch, gatework as gw
torch.set_num_threads(1)
layer, x = gw.nn.LSTM(64, 64), torch.randn(100, 64, 64)
for step in range(7):
    if step == 3:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    layer(x)[0].sum().backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, x.nbytes)
"""


@pytest.mark.parametrize("shape", [(3, 0, 5), (2, 3), (5, 2**20)])
@pytest.mark.parametrize("filled", [False, True])
def test_memory_of_any_size(shape, filled):
    found = memory.maker(shape, torch.float32, filled)()
    assert (found.shape, found.dtype, found.is_contiguous()) == (shape, torch.float32, True)
    assert not filled or not found.any()


@pytest.fixture
def pool(monkeypatch):
    """A pool of its own that leases the smallest tensors, too."""
    monkeypatch.setattr(memory, "WORTH_LEASING", 0)
    monkeypatch.setattr(memory, "_POOL", memory.Pool())
    return memory._POOL


def lease(count, filled=False):
    return memory.leasing((count,), torch.float32, filled)()


def test_a_block_is_leased_again_when_the_last_tensor_in_it_is_gone(pool):
    first = lease(100)
    address, view = first.data_ptr(), first[50:]
    del first
    other = lease(100)
    assert other.data_ptr() != address, "a view still uses it"
    del view
    assert lease(100).data_ptr() == address


def test_a_leased_tensor_is_as_any_other(pool):
    for count, filled in ((7, False), (7, True), (1, True)):
        lease(count).fill_(3)
        found = lease(count, filled)
        assert (found.shape, found.dtype, found.is_contiguous()) == ((count,), torch.float32, True)
        assert not filled or not found.any()
        assert found.untyped_storage().nbytes() == found.nbytes, "what torch.save would write"


def test_the_smallest_block_that_fits_is_taken_and_none_that_is_much_too_large(pool, monkeypatch):
    addresses = {n: t.data_ptr() for n, t in {n: lease(n) for n in (1000, 1100, 2000)}.items()}
    assert lease(990).data_ptr() == addresses[1000]
    assert lease(1050).data_ptr() == addresses[1100]
    made, make = [], memory._in_large_pages
    monkeypatch.setattr(memory, "_in_large_pages", lambda *a: made.append(a[0]) or make(*a))
    lease(1500)
    assert made == [(4 * 1500,)]


def test_a_new_block_takes_the_place_of_free_ones(pool):
    """Else a process whose sequences grow would hold the memory of every length it has seen."""
    kept = [lease(n) for n in (100, 200, 300)]
    while kept:
        del kept[0]
    assert pool.free_bytes() == 4 * 600
    larger = lease(500)
    assert pool.free_bytes() == 0, "100 and 200 are not enough, so 300 goes as well"
    del larger
    assert pool.free_bytes() == 4 * 500


def test_what_is_kept_is_bounded_and_can_be_given_back(pool, monkeypatch):
    monkeypatch.setattr(memory, "MOST_FREE", 4 * 250)
    kept = [lease(100) for _ in range(4)]
    newest = kept[-1].data_ptr()
    while kept:
        del kept[0]
    assert pool.free_bytes() == 4 * 200
    assert lease(100).data_ptr() == newest, "of two that fit alike the last used is taken"
    memory.workspace(1, torch.float32)
    memory.empty_cache()
    assert pool.free_bytes() == 0
    assert not hasattr(memory._kept, "memory")


def test_threads_never_share_a_block(pool):
    failures = []

    def work(seed):
        random, mine = Random(seed), []
        for step in range(400):
            tensor, mark = lease(random.choice((50, 60, 100))), 1000.0 * seed + step
            mine.append((tensor.fill_(mark), mark))
            if len(mine) > 5:
                mine.pop(random.randrange(len(mine)))
            failures.extend(m for t, m in mine if not bool((t == m).all()))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.skipif(sys.platform != "linux", reason="counts page faults as Linux does")
def test_a_step_touches_no_new_memory():
    """In a process of its own: here other tests have freed blocks of any size."""
    done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True)
    faults, row_bytes = map(int, done.stdout.split())
    assert faults < 5 * row_bytes // 4096, "four steps touched more pages than one keeps"
