"""A plan as one function of machine code. `build.py` is its table of contents."""
