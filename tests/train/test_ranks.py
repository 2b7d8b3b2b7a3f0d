"""Several processes take the steps that one takes."""

import copy
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from gatework.data import Corpus
from gatework.tasks.task import Part
from gatework.train import RunConfig
from gatework.train.ranks import ALONE, Ranks
from language_models import trainer_on


class InThreads(Ranks):
    """Ranks whose processes are threads of this one."""

    def __init__(self, rank, count, meeting):
        super().__init__(rank, count)
        object.__setattr__(self, "meeting", meeting)

    def add_up(self, tensors):
        barrier, board = self.meeting
        board[self.rank] = [tensor.clone() for tensor in tensors]
        barrier.wait()
        sums = [sum(parts) for parts in zip(*board.values(), strict=True)]
        barrier.wait()
        for tensor, total in zip(tensors, sums, strict=True):
            tensor.copy_(total)


@pytest.mark.parametrize(("count", "batch_size"), [(2, 6), (3, 4)])
def test_ranks_together_are_one(count, batch_size):
    corpus = Corpus.of("text", b"def f(x): return [x]\n" * 99, b"def" * 9)
    config = RunConfig.of(hidden_size=8, embedding_size=4, batch_size=batch_size, window=8, steps=9)
    whole = trainer_on(corpus, config)
    meeting = (threading.Barrier(count, timeout=60), {})
    parts = [
        type(whole)(config, whole.task, corpus, InThreads(k, count, meeting)) for k in range(count)
    ]
    costs = {}

    def train(trainer):
        costs[trainer.ranks.rank] = [trainer.step(0.5).cost for _ in range(5)]

    threads = [threading.Thread(target=train, args=(trainer,)) for trainer in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = [whole.step(0.5).cost for _ in range(5)]
    for rank in range(count):
        np.testing.assert_allclose(costs[rank], expected, rtol=1e-6)
    for one, other in zip(whole.model.parameters(), parts[1].model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("rows", "count"), [(0, 2), (1, 2), (7, 3), (6, 3)])
def test_parts_are_the_whole(rows, count):
    taken = [list(range(rows))[Part(rank, count).slice(rows)] for rank in range(count)]
    assert [row for part in taken for row in part] == list(range(rows))
    assert max(map(len, taken)) - min(map(len, taken)) <= 1


def test_alone_nothing_is_sent():
    tensor = torch.ones(2)
    ALONE.add_up([tensor])
    assert tensor.tolist() == [1, 1]
    assert ALONE.agree(0.5, True) == (0.5, True)
    assert ALONE.gathered("mine") == ["mine"]
    assert copy.copy(ALONE).leads


ADDING = """
import torch
from gatework.train.ranks import started_by_torchrun

ranks = started_by_torchrun("cpu")
for turn in range(3):  # what is sent changes as soon as it was added
    tensors = [torch.full((2, 3), 10.0**ranks.rank), torch.tensor(ranks.rank + turn)]
    ranks.add_up(tensors)
    count = ranks.count
    assert (tensors[0] == sum(10.0**k for k in range(count))).all(), tensors
    assert tensors[1] == sum(range(count)) + turn * count, tensors
"""


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_processes_add_up(tmp_path, count):
    script = tmp_path / "adding.py"
    script.write_text(ADDING)
    told = ["--standalone", f"--nproc-per-node={count}", str(script)]
    command = [sys.executable, "-m", "torch.distributed.run", *told]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
