"""The GPU backend: runs the loop of any plan on CUDA as one kernel made for it. Knows no cell.

The hall: one call, from its plan and tensors to results.
    backend.py     what can run here, which form of kernel runs it, and what is kept
    memory.py      how the sequences of a plan lie in memory
    prepared.py    a loop made ready for calls of one shape
    running.py     one call of it: its tensors, and the slots that the kernel is given
    before.py      what is done before the loop, by products over all steps
    after.py       what is done after it: late outputs, gradients of parameters
    products.py    what gates that lie side by side are as one product; matmul.py how exact it is
    rows.py        the tensors of one call by name, for both

A loop: `loop.py` says what a kernel is made for and called with.
    scan/          for loops in which each unit goes its own way
    group/         for loops that multiply by learned matrices; configurations.py says in which ways
                   blocks can share the work, choosing.py which of them is the likely fastest
    block/         for any other
    text/          the text that no plan changes, in CUDA C++; code.py writes expressions in it

A machine: `machine.py` says what is asked of one.
    driver.py      a card with CUDA, by libcuda.py; nvrtc.py compiles for it
"""

from gatework.backends.gpu.backend import Gpu

__all__ = ["Gpu"]
