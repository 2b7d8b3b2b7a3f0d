"""A sensor read one value at a time: forecast, alarm, a state that outlives the program.

For those who run a model where data arrives step by step. A GRU learns to forecast the next
reading of a turning shaft. Then readings come one by one, and `layer.stream()` holds the state
between them. In between the program is stopped, and a new one goes on from a file. Later a bearing
breaks, which no forecast expects.

    $ python examples/sensor_stream.py
    mean error of the forecast: 0.1...; of saying that it stays as it is: 0.3...
    one reading at a time gives what the whole sequence gives: True
    stopped after reading 500 and gone on from a file: the same to the last bit, True
    the bearing breaks at reading 800, the alarm comes at reading 80...
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

import gatework as gw

STOP, BREAK, END = 500, 800, 1000


class Forecaster(nn.Module):
    """A GRU and, from its output, the next reading."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = gw.nn.GRU(1, 24)
        self.out = nn.Linear(24, 1)

    def forward(self, readings: Tensor) -> Tensor:
        """What comes after each of the readings [T, B, 1]."""
        return self.out(self.layer(readings)[0])


def vibration(steps: int, count: int) -> Tensor:
    """Readings [T, count, 1] of a shaft; from step BREAK on its bearing rattles."""
    t, phase = torch.arange(steps)[:, None], 6.28 * torch.rand(2, count)
    shaft = torch.sin(0.4 * t + phase[0]) + 0.5 * torch.sin(0.93 * t + phase[1])
    rattle = (t >= BREAK) * torch.sin(2.5 * t)
    return (shaft + rattle + 0.1 * torch.randn(steps, count)).unsqueeze(-1)


def train(model: Forecaster, updates: int = 300) -> None:
    """Learn to forecast the next reading."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(updates):
        readings = vibration(100, 16)
        loss = (model(readings[:-1]) - readings[1:]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def listen(model: Forecaster, readings: Tensor, file: Path) -> Iterator[Tensor]:
    """The forecast after each reading [1]; the state is taken from a file and left in it."""
    stream = model.layer.stream()
    if file.exists():
        stream.state = gw.nn.state.load(file)
    for reading in readings:
        yield model.out(stream.step(reading))
    gw.nn.state.save(stream.state, file)


def main() -> None:
    """Train, listen, stop and go on, and raise the alarm."""
    torch.set_num_threads(1)  # there is too little work to share
    torch.manual_seed(0)
    model = Forecaster()
    train(model)
    readings = vibration(END, 1)[:, 0]  # [T, 1]
    with tempfile.TemporaryDirectory() as folder:
        forecasts = torch.stack(list(listen(model, readings, Path(folder, "whole"))))
        parts = readings[:STOP], readings[STOP:]
        resumed = [f for part in parts for f in listen(model, part, Path(folder, "parts"))]

    error = (forecasts[:-1] - readings[1:]).abs().squeeze(-1)  # at reading 1, 2, …
    stays = (readings[:-1] - readings[1:]).abs()
    well, usual = slice(0, BREAK - 1), error[: BREAK // 2]
    alarms = (error > usual.mean() + 6 * usual.std()).nonzero() + 1
    at_once = model(readings[:, None]).squeeze(1)
    print(
        f"mean error of the forecast: {error[well].mean():.2f}; of saying that it stays as it is: "
        f"{stays[well].mean():.2f}"
    )
    same = torch.allclose(forecasts, at_once, atol=1e-4)
    print(f"one reading at a time gives what the whole sequence gives: {same}")
    same = torch.equal(forecasts, torch.stack(resumed))
    print(f"stopped after reading {STOP} and gone on from a file: the same to the last bit, {same}")
    print(f"the bearing breaks at reading {BREAK}, the alarm comes at reading {alarms[0].item()}")


if __name__ == "__main__":
    main()
