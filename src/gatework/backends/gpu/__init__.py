"""The GPU backend: runs the loop of any plan on CUDA as one kernel made for it."""
