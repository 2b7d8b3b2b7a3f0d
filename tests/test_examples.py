"""Every example in a docstring of the package runs and prints what it says."""

import doctest
import importlib
import pkgutil

import pytest

import gatework

MODULES = sorted(
    m.name
    for m in pkgutil.walk_packages(gatework.__path__, "gatework.")
    if "__main__" not in m.name
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


def test_examples_are_there():
    found = doctest.DocTestFinder(exclude_empty=True)
    modules = [importlib.import_module(n) for n in MODULES]
    assert sum(bool(t.examples) for m in modules for t in found.find(m)) >= 15
