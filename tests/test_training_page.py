"""The program of the page "In your training code" that several processes run."""

import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "in-your-training-code.md"


@pytest.mark.slow
def test_two_ranks_end_with_the_same_weights(tmp_path):
    blocks = PAGE.read_text(encoding="utf-8").split("```python\n")
    (program,) = (b.partition("```")[0] for b in blocks if "init_process_group" in b)
    (tmp_path / "ddp.py").write_text(program, encoding="utf-8")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*torchrun, "--nproc-per-node=2", str(tmp_path / "ddp.py")],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ranks = sorted(line for line in done.stdout.splitlines() if line.startswith("rank"))
    sums = [line.partition(": ")[2] for line in ranks]
    assert [line.partition(":")[0] for line in ranks] == ["rank 0 of 2", "rank 1 of 2"]
    assert sums[0] == sums[1]
