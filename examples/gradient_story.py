"""Who remembers the beginning? The vanilla RNN, the LSTM and the GRU side by side.

For those who learn or teach what gates are for. The first of a hundred numbers must be told at the
end. Before anything is learned, the gradient says who can learn it; then the errors say who did. A
vanilla RNN may come to know the sign of the number, which costs 0.083, and not more. At the end two
gates of the GRU are held, and it is a vanilla RNN.

    $ python examples/gradient_story.py
    what is left of the gradient at the first step, and the error after training
    RNN   ...e-..., vanishing   ...
    LSTM  ...e-..., healthy     0.00...
    GRU   ...e-..., healthy     0.00...
    a new GRU with reset = 1 and update = 0: ...e-..., vanishing
    is that the vanilla RNN? True
"""

import torch
from torch import Tensor, nn

import gatework as gw
from gatework.lens import GradientFlow, gradient_flow, hold

STEPS, UNITS = 100, 32


class Rememberer(nn.Module):
    """A layer and, from its last output, one number."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.out = nn.Linear(UNITS, 1)

    def forward(self, x: Tensor) -> Tensor:
        """One number for each sequence of x [T, B, 2]."""
        y, _ = self.layer(x)
        return self.out(y[-1])


def sequences(count: int) -> tuple[Tensor, Tensor]:
    """A number in -1…1 with a mark on it, then noise, [T, count, 2]; the number, [count, 1]."""
    x = 0.2 * torch.randn(STEPS, count, 2)
    x[..., 1] = 0.0
    x[0, :, 0] = 2 * torch.rand(count) - 1
    x[0, :, 1] = 1.0
    return x, x[0, :, :1].clone()


def train(model: Rememberer, updates: int = 300) -> float:
    """Train a model; its squared error on sequences that it has not seen."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(updates):
        x, wanted = sequences(32)
        loss = (model(x) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    x, wanted = sequences(1000)
    with torch.no_grad():
        return (model(x) - wanted).square().mean().item()


def told(flow: GradientFlow) -> str:
    """How much of the gradient at the last step is left at the first, and what that is called."""
    *_, memory = flow.norms  # the LSTM's c, the others' h
    newest, *_, oldest = flow.mean(memory)
    return f"{oldest / newest:.0e}, {flow.verdict(memory):9}"


def main() -> None:
    """Measure, train and hold."""
    torch.set_num_threads(1)  # there is too little work to share
    print("what is left of the gradient at the first step, and the error after training")
    x, _ = sequences(32)
    for kind in (gw.nn.RNN, gw.nn.LSTM, gw.nn.GRU):
        torch.manual_seed(0)
        model = Rememberer(kind(2, UNITS))
        if kind is not gw.nn.RNN:  # it has no gate that could be opened
            gw.nn.init.chrono_(model.layer, longest=STEPS)  # (Tallec & Ollivier 2018)
        flow = gradient_flow(model, [x])
        print(f"{kind.__name__:4}  {told(flow)}   {train(model):.4f}")

    gru = gw.nn.GRU(2, UNITS)
    with hold(gru, {"l0.r": 1.0, "l0.z": 0.0}):
        print(f"a new GRU with reset = 1 and update = 0: {told(gradient_flow(gru, [x]))}")
    same = gw.equivalent(gw.cells.gru.pin(r=1, z=0), gw.cells.rnn)
    print(f"is that the vanilla RNN? {same}")


if __name__ == "__main__":
    main()
