"""Training that is killed at any moment goes on, and ends with the bits of the whole run."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "attack" / "killing.py"


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "steps"), [(1, 600), (2, 400)])
def test_a_run_that_is_killed_ends_with_the_same_bits(ranks, steps):
    options = ["--kills", "4", "--ranks", str(ranks), "--steps", str(steps)]
    done = subprocess.run([sys.executable, SCRIPT, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the same bits" in done.stdout
