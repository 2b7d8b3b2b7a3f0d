"""The examples in the docstrings of data, train, lens and the command line are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import gatework.cli
import gatework.data
import gatework.lens
import gatework.train

MODULES = [
    f"{package.__name__}.{module.name}"
    for package in (gatework.data, gatework.train, gatework.lens, gatework.cli)
    for module in pkgutil.iter_modules(package.__path__)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name):
    failures, _ = doctest.testmod(importlib.import_module(name))
    assert not failures
