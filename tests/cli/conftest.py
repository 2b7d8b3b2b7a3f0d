"""The command, run in this process in an empty folder, with a text small enough to be quick."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from gatework.cli import main

SMALL = "--hidden-size 8 --embedding-size 4 --batch-size 4 --window 8"


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def gatework(tmp_path, monkeypatch, capsys) -> Callable[..., Result]:
    """Run `gatework` with the given arguments."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = capsys.readouterr()
        return Result(ended.value.code or 0, said.out, said.err)

    return run


@pytest.fixture
def small() -> list[str]:
    """Options for a model whose steps take milliseconds."""
    return SMALL.split()


@pytest.fixture
def text(tmp_path) -> str:
    (tmp_path / "text.py").write_bytes(b"def f(x):\n    return [x, (x + 1)]\n\n" * 100)
    return "text.py"


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """Where the run lies of which every test has a copy; the first that asks trains it."""
    return tmp_path_factory.mktemp("trained") / "mine"


@pytest.fixture
def run_folder(gatework, text, small, trained) -> Path:
    """A finished run of the text beside it, of the test's own."""
    if not trained.exists():
        assert gatework("train", text, *small, "--steps", "4", "--out", str(trained)).code == 0
    return Path(shutil.copytree(trained, "mine"))
