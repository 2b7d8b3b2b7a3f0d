"""The package as it is given away: a source archive, the wheel made of it, a fresh environment."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

import gatework

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
TRIED = """
import torch, gatework as gw
y, (h, c) = gw.nn.LSTM(3, 4)(torch.zeros(5, 2, 3))
print(gw.__file__, gw.__version__, tuple(y.shape))
"""


def run(*command, cwd):
    """What a command prints, where nothing leads to the source tree."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(source, target, folder):
    """What hatchling makes of a source tree."""
    folder.mkdir()
    run(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", folder, cwd=source)
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, made of what the source archive holds."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(build(ROOT, "sdist", folder / "sdist")) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.glob("gatework-*")
    return build(source, "wheel", folder / "dist")


@pytest.fixture(scope="module")
def environment(wheel):
    """The programs of a fresh environment that holds the wheel; torch and others are this one's."""
    folder = wheel.parents[1]
    run(sys.executable, "-m", "venv", "--without-pip", folder / "env", cwd=folder)
    python = folder / "env" / "bin" / "python"
    install = ("pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    run(sys.executable, "-m", *install, cwd=folder)
    (site,) = folder.glob("env/lib/*/site-packages")
    others = [p for p in sys.path if p.endswith("-packages")]
    (site / "others.pth").write_text("\n".join(others))  # are searched after the wheel
    return python.parent


def test_the_wheel_holds_every_file_of_the_package(wheel):
    package = Path(gatework.__file__).parent
    files = {str(p.relative_to(package.parent)) for p in package.rglob("*") if p.is_file()}
    held = {n for n in ZipFile(wheel).namelist() if n.startswith("gatework/")}
    assert held == {f for f in files if "__pycache__" not in f}


def test_a_layer_of_the_installed_wheel_runs(environment, tmp_path):
    file, version, shape = run(environment / "python", "-c", TRIED, cwd=tmp_path).split(" ", 2)
    assert Path(file).is_relative_to(environment.parent)
    assert version == gatework.__version__
    assert shape == "(5, 2, 4)\n"


@pytest.mark.parametrize(
    ("option", "shown"), [("--version", f"gatework {gatework.__version__}"), ("cells", "lstm")]
)
def test_the_command_of_the_installed_wheel_runs(option, shown, environment, tmp_path):
    assert shown in run(environment / "gatework", option, cwd=tmp_path)
