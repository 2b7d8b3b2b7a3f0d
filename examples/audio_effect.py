"""An audio effect in C: a network that distorts a guitar's sound, without Python.

A small LSTM learns to sound like a valve that is driven too far, from a tone alone. It is written
as an object file with a header; `audio_effect.c` beside this program sends 48,000 samples a second
through it. Where a C compiler is found it is built and run, and what it gives is compared.

    $ python examples/audio_effect.py
    learned  error ... of the sound's power
    wrote    amp.o amp.h amp.a
    C        ...
"""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import torch

import gatework as gw

RATE = 48_000  # samples a second


def plucked(seconds: float) -> torch.Tensor:
    """A string that is plucked and fades, [samples]."""
    t = torch.arange(int(seconds * RATE)) / RATE
    tones = sum(torch.sin(2 * torch.pi * 110 * k * t) / k for k in range(1, 6))
    return tones * torch.exp(-3 * (t % 0.25))


def driven(sound: torch.Tensor) -> torch.Tensor:
    """The sound of a valve, softer upward than downward."""
    return torch.tanh(3 * sound + 0.3) - torch.tanh(torch.tensor(0.3))


def train(model: torch.nn.Sequential, steps: int = 60) -> float:
    """Learn from random stretches of 64 samples; return the error as a share of the power."""
    sound = plucked(1.0)
    wanted = driven(sound)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(steps):
        starts = torch.randint(len(sound) - 64, (32,))
        places = starts + torch.arange(64)[:, None]  # [64, 32]
        found = model[1](model[0](sound[places][..., None])[0])[..., 0]
        error = (found - wanted[places]).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    return float(error.detach() / wanted.square().mean())


torch.manual_seed(0)
model = torch.nn.Sequential(gw.nn.LSTM(1, 16), torch.nn.Linear(16, 1))
print(f"learned  error {train(model):.2f} of the sound's power")
written = gw.export.c(model.eval(), "amp", target="x86-64-v2")
print("wrote   ", *(file.name for file in written))

sound = plucked(1.0)
Path("tone.f32").write_bytes(sound.numpy().tobytes())
compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
if compiler is None:
    print("C        no compiler was found: build examples/audio_effect.c with amp.o yourself")
else:
    source = Path(__file__).with_suffix(".c")
    command = [compiler, "-O2", "-I.", str(source), "amp.o", "-o", "audio_effect"]
    subprocess.run(command, check=True)
    done = subprocess.run(["./audio_effect", "tone.f32"], check=True, capture_output=True)
    found = np.frombuffer(done.stdout, np.float32)
    with torch.no_grad():
        expected = model[1](model[0](sound[:, None, None])[0]).flatten().numpy()
    apart = np.abs(found - expected).max()
    assert apart < 1e-4, f"the object gives something else, by {apart}"
    print(f"C        {len(found):,} samples, at most {apart:.0e} apart from torch")
