"""Forks while other threads compile; run as a script, by its own process.

Each child makes, compiles and runs layers; every other one forks a child that does the same. The
number of forks is the argument; the exit code tells whether all of them came to their end.
"""

import os
import sys
import threading
import time
import warnings

import torch

import gatework as gw

PATIENCE = 60  # seconds after which a child is taken to wait for ever


def call_torch_once() -> None:
    """Call the operations that layers call: each gets ready in its first call.

    A child forked while another thread is in the first call waits for its end for ever, in torch's
    `at::_ops` and the C++ library's `__cxa_guard_acquire`, with or without Gatework.
    """
    use(torch.nn.GRU(3, 4))
    rows = torch.randn(2, 3).unsqueeze(0).to(torch.float64)
    rows.new_zeros(1), rows.new_empty(1), torch.arange(3).resize_(2).contiguous().numpy()


def use(layer: torch.nn.Module) -> None:
    layer(torch.randn(4, 2, 3))[0].sum().backward()


def unseen(k: int) -> torch.nn.Module:
    """A layer of a cell that nobody has compiled."""
    return gw.nn.Recurrent(gw.cell(lambda x, h: gw.tanh(gw.linear("a", x, h)) * (k / 7919)), 3, 5)


def compile_on(first: int, stop: threading.Event) -> None:
    while not stop.is_set():
        first += 2
        use(unseen(first))


def child(generations: int) -> int:
    use(unseen(10**6 + os.getpid()))
    use(gw.nn.LSTM(3, 4))
    gw.nn.GRU(3, 4).stream().step(torch.randn(1, 3))
    return forked(generations - 1) if generations > 1 else 0


def forked(generations: int) -> int:
    """The exit code of a child."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            code = child(generations)
        finally:
            os._exit(code)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return 9


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # Python warns of what is tried here
    torch.set_num_threads(1)
    call_torch_once()
    stop = threading.Event()
    threads = [threading.Thread(target=compile_on, args=(k, stop)) for k in (0, 1)]
    for thread in threads:
        thread.start()
    codes = []
    for k in range(int(sys.argv[1])):
        codes.append(forked(1 + k % 2))
        if codes[-1]:
            break
    stop.set()
    for thread in threads:
        thread.join()
    print(codes)
    sys.exit(any(codes))
