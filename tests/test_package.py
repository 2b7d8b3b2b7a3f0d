"""What the packages offer completes in a notebook before anything of it is used."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "package", ["gatework", "gatework.bench", "gatework.data", "gatework.train"]
)
def test_all_names_complete_before_they_are_loaded(package):
    code = (
        f"import sys, {package} as package; print(*set(package.__all__) - set(dir(package)));"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr or "torch was loaded"
    assert done.stdout.split() == []


def test_what_needs_torch_is_among_them():
    code = "import gatework; print(*dir(gatework))"
    names = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"nn", "lens", "accelerate", "convert", "doctor", "restore"} <= {*names.stdout.split()}
