"""From a plan to machine code for the processor it runs on. Knows no cell.

The hall: one call, from its plan and tensors to results.
    backend.py       what can run here, and what is prepared for it
    schedule.py      how a call is divided: blocks, threads, what is packed when
    compiled.py      a plan as machine code
    invocation.py    a kernel made ready for calls of one shape
    preparation.py   one call of it: its tensors, and the block of addresses
    streaming.py     one step at a time

kernel/   a plan as one function: what lies where, stage by stage, who waits for whom
vector/   rows, tiles and functions as LLVM's vectors; knows no plan
machine/  what the system gives: the compiler, its cache, threads, memory
"""

from gatework.backends.cpu.backend import Cpu

__all__ = ["Cpu"]
