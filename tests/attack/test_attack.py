"""Attacks on cells and calls, briefly; see `attack` for long ones."""

import pytest

from attack.run import ATTACKS, attack_of, tried


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cells", "calls"])  # damaged folders: test_folders.py
@pytest.mark.parametrize("seed", [0, 100])
def test_nothing_is_found(name, seed):
    count, found = tried(name, range(seed, seed + 8))
    assert not found, "\n".join(found)
    assert count == 8


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_a_function_of_a_seed(name):
    assert callable(attack_of(name))
