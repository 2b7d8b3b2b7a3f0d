"""The workflow of the public forge tries what the package says of itself."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TEXT = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
JOBS = yaml.safe_load(TEXT)["jobs"]


def test_every_python_that_is_named_is_tried():
    named = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if "Python :: 3." in c]
    assert JOBS["fast"]["strategy"]["matrix"]["python"] == named
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_the_oldest_torch_that_is_allowed_is_tried():
    (torch,) = (d for d in PROJECT["dependencies"] if d.startswith("torch>"))
    oldest = torch.replace(">=", "==") + ".*"
    assert JOBS["fast"]["strategy"]["matrix"]["torch"] == [oldest, "torch"]


def test_what_is_installed_and_made_exists():
    extras = set(re.findall(r"\.\[(\w+)\]", TEXT))
    assert extras
    assert extras <= set(PROJECT["optional-dependencies"])
    targets = set(re.findall(r"run: make (\w+)", TEXT))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {t for t in targets if f"\n{t}:" not in makefile} == set()
