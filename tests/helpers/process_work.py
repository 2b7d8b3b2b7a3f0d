"""What the tests of several processes run in the other ones; a fresh process imports it by name."""

import os

import torch
from torch import nn

import gatework as gw

WORLD = 2


class Features(torch.utils.data.Dataset):
    """Sequences [5, 3] read by a layer as they are loaded: [5, 4]."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer

    def __len__(self) -> int:
        return 6

    def input(self, k: int) -> torch.Tensor:
        return torch.linspace(-1, k, 15).view(5, 3)

    def __getitem__(self, k: int) -> torch.Tensor:
        with torch.no_grad():
            return self.layer(self.input(k))[0]


class Tagger(nn.Module):
    """A bidirectional LSTM and a linear map."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = gw.nn.LSTM(3, 4, num_layers=2, bidirectional=True)
        self.out = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.lstm(x)[0])


def tagger() -> Tagger:
    torch.manual_seed(0)
    return Tagger()


def batch() -> torch.Tensor:
    return torch.randn(5, 2 * WORLD, 3, generator=torch.Generator().manual_seed(1))


def train_distributed(rank: int, folder: str) -> None:
    """One backward pass on this process's part of the batch, the gradients saved."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    store = f"file://{folder}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=WORLD)
    model = nn.parallel.DistributedDataParallel(tagger())
    part = batch()[:, 2 * rank : 2 * rank + 2]
    model(part).square().mean().backward()
    torch.save([p.grad for p in model.parameters()], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def step_in_place(layer: nn.Module) -> None:
    """One step of gradient descent on weights in shared memory."""
    y, _ = layer(torch.ones(4, 2, 3))
    y.sum().backward()
    with torch.no_grad():
        for p in layer.parameters():
            p -= 0.1 * p.grad
