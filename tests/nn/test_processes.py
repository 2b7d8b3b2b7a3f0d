"""Layers in several processes: loader workers, shared weights, distributed training."""

import copy

import pytest
import torch
from torch import multiprocessing

import gatework as gw
from process_work import WORLD, Features, batch, step_in_place, tagger, train_distributed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_a_layer_runs_in_the_workers_of_a_loader(context):
    data = Features(gw.nn.GRU(3, 4))
    expected = torch.stack([data[k] for k in range(6)])  # after this the kernel is warm here
    loader = torch.utils.data.DataLoader(
        data, batch_size=2, num_workers=2, multiprocessing_context=context
    )
    torch.testing.assert_close(torch.cat(list(loader)), expected, rtol=1e-5, atol=1e-6)


def test_a_step_on_shared_weights_is_seen_by_everyone():
    layer = gw.nn.LSTM(3, 4)
    layer.share_memory()
    alone = copy.deepcopy(layer)
    step_in_place(alone)
    worker = multiprocessing.get_context("spawn").Process(target=step_in_place, args=(layer,))
    worker.start()
    worker.join(120)
    assert worker.exitcode == 0
    for found, expected in zip(layer.parameters(), alone.parameters(), strict=True):
        assert found.is_shared()
        torch.testing.assert_close(found, expected)


def test_distributed_gradients_are_the_mean_over_the_processes(tmp_path):
    multiprocessing.spawn(train_distributed, (str(tmp_path),), nprocs=WORLD)
    model = tagger()
    model(batch()).square().mean().backward()
    for rank in range(WORLD):
        found = torch.load(tmp_path / f"{rank}.pt")
        for gradient, p in zip(found, model.parameters(), strict=True):
            torch.testing.assert_close(gradient, p.grad)
