"""Between layers and backends: a cell at its sizes as operations that torch can differentiate.

routes.py          the door: plain calls go on at once, all others by a way of their own
differentiable.py  numbers: a run, and its derived backward pass
transforms.py      under `torch.func`, and for gradients of gradients
recorded.py        in a graph: how recorded calls run forward and backward
operator.py        what such a graph holds: two operators of torch
job.py             a cell, its sizes and its program; what runs it
"""
